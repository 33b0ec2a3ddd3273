"""The first paint: the frame of the five panes in raw ANSI, a few milliseconds after the process starts and before the imports.

Nothing here imports the toolkit. The alternate screen is entered once, here; the driver below leaves it to the toolkit to paint over, so the
take-over does not flicker.
"""

from __future__ import annotations

import os
import sys
from typing import TextIO

ENTER = "\x1b[?1049h"
LEAVE = "\x1b[?1049l\x1b[?25h\x1b[0m"
BACKGROUND, SURFACE, FRAME, TEXT, ACCENT, QUIET = (16, 20, 27), (21, 27, 36), (43, 53, 67), (230, 237, 245), (122, 167, 224), (111, 125, 143)
NARROW, LOW = 100, 28
WIDE, TALL = 160, 46
painted = False

Box = tuple[int, int, int, int, str]


def boxes(width: int, height: int) -> list[Box]:
    """The panes as (x, y, width, height, title) at this size, laid out as the screen will be."""
    rows = height - 3
    if width < NARROW or height < LOW:
        return [(0, 2, width, rows, "1 Cluster")]
    top, middle = rows * 40 // 100, rows * 34 // 100
    low = rows - top - middle
    wide = width >= WIDE and height >= TALL
    first = width * (38 if wide else 53) // 100
    second = width * 36 // 100 if wide else width - first
    found: list[Box] = [
        (0, 2, first, top, "1 Cluster"),
        (first, 2, second, top, "3 Jobs"),
        (0, 2 + top, first, middle, "2 Nodepools"),
        (first, 2 + top, second, middle, "4 GPU"),
        (0, 2 + top + middle, width, low, "5 EFA"),
    ]
    return [*found, (first + second, 2, width - first - second, top + middle, "Heat map")] if wide else found


def frame(width: int, height: int) -> str:
    """The whole first frame as one string."""
    ground = _paint(TEXT, BACKGROUND)
    out = [ground, "\x1b[2J\x1b[H\x1b[?25l", _paint(ACCENT, SURFACE), f" cockpit  {'connecting …':<{max(0, width - 10)}}"[:width]]
    for x, y, wide, high, title in boxes(width, height):
        out += _box(x, y, wide, high, title)
    out += [f"\x1b[{height};1H", _paint(QUIET, SURFACE), " " * width, ground]
    return "".join(out)


def _box(x: int, y: int, wide: int, high: int, title: str) -> list[str]:
    edge, word = _paint(FRAME, BACKGROUND), _paint(TEXT, BACKGROUND)
    number, _, name = title.partition(" ") if title[0].isdigit() else ("", "", title)
    shown = f" {number + ' ' if number else ''}{name} "
    out = [f"\x1b[{y + 1};{x + 1}H", edge, "╭─", word, shown, edge, "─" * max(0, wide - 3 - len(shown)), "╮"]
    for row in range(1, high - 1):
        out += [f"\x1b[{y + 1 + row};{x + 1}H│", f"\x1b[{y + 1 + row};{x + wide}H│"]
    return [*out, f"\x1b[{y + high};{x + 1}H╰", "─" * max(0, wide - 2), "╯"]


def _paint(ink: tuple[int, int, int], ground: tuple[int, int, int]) -> str:
    if os.environ.get("NO_COLOR"):
        return "\x1b[0m"
    return "\x1b[0;38;2;{};{};{};48;2;{};{};{}m".format(*ink, *ground)


def paint(out: TextIO | None = None) -> bool:
    """Paint the frame when standard output is a terminal; True when it was painted."""
    global painted
    out = out or sys.__stdout__
    if out is None or not out.isatty() or os.environ.get("TERM", "") == "dumb":
        return False
    size = os.get_terminal_size(out.fileno())
    out.write(ENTER + frame(size.columns, size.lines))
    out.flush()
    painted = True
    return True


def erase(out: TextIO | None = None) -> None:
    """Give the terminal back, when the toolkit never took over."""
    global painted
    out = out or sys.__stdout__
    if painted and out is not None:
        out.write(LEAVE)
        out.flush()
        painted = False
