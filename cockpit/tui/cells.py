"""What a view puts in a row, free of any toolkit: cells with a tone, and numbers as a person reads them.

A tone is a meaning, never a colour; `cockpit.tcss` gives each its colour, and a glyph or a word always says the same.
"""

from __future__ import annotations

import enum
import re
from typing import NamedTuple

UNKNOWN = "–"
_NUMBER = re.compile(r"(\d+)")
_ZONE = re.compile(r"[a-z]{2}(?:-[a-z]+)+-(\d+[a-z])")


class Tone(enum.Enum):
    """How a piece of text is meant; the value is the component class of a table."""

    PLAIN = "plain"
    MUTED = "muted"
    STRONG = "strong"
    GOOD = "good"
    WARN = "warn"
    BAD = "bad"
    INFO = "info"
    BAR = "bar"
    TRACK = "track"
    HEAT0 = "heat0"
    HEAT1 = "heat1"
    HEAT2 = "heat2"
    HEAT3 = "heat3"
    HEAT4 = "heat4"
    HEAT5 = "heat5"


HEATS = (Tone.HEAT0, Tone.HEAT1, Tone.HEAT2, Tone.HEAT3, Tone.HEAT4, Tone.HEAT5)
Part = tuple[str, Tone]


class Cell(NamedTuple):
    """One cell: its pieces in order, a piece may be empty; with `gauge` a bar as wide as its column, filled to its ratio (None: unknown)."""

    parts: tuple[Part, ...]
    gauge: tuple[float | None] | None = None

    @property
    def text(self) -> str:
        """The cell without its tones."""
        return "".join(text for text, _ in self.parts)


def cell(text: str, tone: Tone = Tone.PLAIN) -> Cell:
    """A cell of one piece."""
    return Cell(((text, tone),))


def gauge(ratio: float | None) -> Cell:
    """A bar that takes the width its column gets."""
    return Cell((), (ratio,))


BLANK = cell("")
DASH = cell(UNKNOWN, Tone.MUTED)


def number(value: float | None, form: str = "{:,.0f}", tone: Tone = Tone.PLAIN) -> Cell:
    """A number in a format, or a dash when it is not known."""
    return DASH if value is None else cell(form.format(value), tone)


def age(seconds: float) -> str:
    """Seconds as 12s, 6m12s, 3h04m or 2d3h."""
    whole = max(0, int(seconds))
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m{whole % 60:02d}s"
    if whole < 86400:
        return f"{whole // 3600}h{whole % 3600 // 60:02d}m"
    return f"{whole // 86400}d{whole % 86400 // 3600}h"


def dollars(amount: float | None, per_hour: bool = True) -> str:
    """$98.41/h; a dash when no price is known."""
    if amount is None:
        return UNKNOWN
    return (f"${amount:,.2f}" if amount < 10_000 else f"${amount:,.0f}") + ("/h" if per_hour else "")


def gigabits(bits_per_second: float | None) -> str:
    """Gigabits per second, without the unit."""
    if bits_per_second is None:
        return UNKNOWN
    amount = bits_per_second / 1e9
    if amount < 0.0005:
        return "0.0"
    return f"{amount:,.0f}" if amount >= 1000 else f"{amount:.1f}" if amount >= 1 or not amount else f"{amount:.3f}"


def gibibytes(size_bytes: float | None) -> str:
    """GiB, with the unit."""
    return UNKNOWN if size_bytes is None else f"{size_bytes / 2**30:,.0f} GiB"


def count(amount: int, one: str, many: str = "") -> str:
    """3 nodes, 1 node."""
    return f"{amount:,} {one if amount == 1 else many or one + 's'}"


def short_node(name: str) -> str:
    """An EC2 node's name without its domain."""
    head, _, domain = name.partition(".")
    return head if domain.endswith("internal") else name


def short_zone(zone: str, region: str) -> str:
    """us-west-2a as 2a, also where the region is not told."""
    if region and zone.startswith(region):
        return zone[len(region) - 1 :]
    known = _ZONE.fullmatch(zone)
    return known[1] if known else zone


def natural(text: str) -> str:
    """A sort key under which node-9 stands before node-10; one string, since a pane keeps one a row."""
    return "".join(piece.zfill(20) if piece.isdigit() and piece.isascii() else piece for piece in _NUMBER.split(text))
