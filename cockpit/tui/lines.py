"""From cells to terminal cells: columns fitted to a width, text cut and padded by display width, pieces styled by tone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.content import Content

from cockpit.inert import inert
from cockpit.tui.bars import LOWER_EIGHTHS
from cockpit.tui.cells import Cell, Part, Tone
from cockpit.tui.views import Column

MARGIN = 2
CELL_LIMIT = 400
StyleOf = Callable[[Tone], Style]


@dataclass(frozen=True)
class Fitted:
    """The columns that fit, as (index, column, width), and the space between them."""

    columns: tuple[tuple[int, Column, int], ...] = ()
    gap: int = 1


def fit(columns: Sequence[Column], width: int) -> Fitted:
    """Two spaces between columns when all fit, else one; then the least important are dropped; spare width goes to those that flex."""
    kept = list(enumerate(columns))
    room = width - MARGIN
    gap = 2 if _needs(kept, 2) <= room else 1
    while kept and _needs(kept, gap) > room:
        worst = max(kept, key=lambda pair: pair[1].drop)
        if worst[1].drop == 0:
            break
        kept.remove(worst)
    return Fitted(_stretched(kept, max(0, room - _needs(kept, gap))), gap)


def _needs(kept: Sequence[tuple[int, Column]], gap: int) -> int:
    return sum(one.width + gap for _, one in kept) - gap


def _stretched(kept: Sequence[tuple[int, Column]], spare: int) -> tuple[tuple[int, Column, int], ...]:
    widths = {index: one.width for index, one in kept}
    weight = sum(one.flex for _, one in kept)
    for index, one in sorted((pair for pair in kept if pair[1].flex), key=lambda pair: (pair[1].most - pair[1].width) / pair[1].flex):
        extra = min(max(0, one.most - one.width), spare * one.flex // weight)
        widths[index] += extra
        spare, weight = spare - extra, weight - one.flex
    return tuple((index, one, widths[index]) for index, one in kept)


def padded(text: str, width: int, right: bool = False) -> str:
    """`text` made exactly `width` cells wide; a cut ends in an ellipsis."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def cell_segments(cell: Cell, width: int, right: bool, style_of: StyleOf) -> list[Segment]:
    """One cell as segments that are together exactly `width` wide."""
    if len(cell.parts) == 1:
        text, tone = cell.parts[0]
        return [Segment(padded(inert(text, CELL_LIMIT), width, right), style_of(tone))]
    made: list[Segment] = []
    left = width
    for text, tone in cell.parts:
        shown = inert(text, CELL_LIMIT)
        length = cell_len(shown)
        if length > left and shown[0] in LOWER_EIGHTHS:
            shown, length = shown[len(shown) - left :], left
        elif length > left and made and tone is Tone.MUTED:
            break
        elif length > left:
            shown, length = padded(shown, left), left
        if length:
            made.append(Segment(shown, style_of(tone)))
            left -= length
    if left:
        pad = Segment(" " * left, style_of(Tone.PLAIN))
        made = [pad, *made] if right else [*made, pad]
    return made


def row_segments(cells: Sequence[Cell], fitted: Fitted, margin: Part, style_of: StyleOf) -> list[Segment]:
    """A whole row: the margin (cursor and mark), then its cells."""
    plain = style_of(Tone.PLAIN)
    made = [Segment(padded(margin[0], MARGIN), style_of(margin[1]))]
    for position, (index, column, width) in enumerate(fitted.columns):
        if position:
            made.append(Segment(" " * fitted.gap, plain))
        made.extend(cell_segments(cells[index], width, column.right, style_of))
    return made


def header_segments(fitted: Fitted, sorted_by: Column, down: bool, style_of: StyleOf) -> list[Segment]:
    """The headings; the column sorted by carries ↑ or ↓."""
    made = [Segment(" " * MARGIN, style_of(Tone.MUTED))]
    for position, (_, column, width) in enumerate(fitted.columns):
        if position:
            made.append(Segment(" " * fitted.gap, style_of(Tone.MUTED)))
        chosen = column is sorted_by
        arrow = ("↓" if down else "↑") if chosen else ""
        title = column.title[: max(0, width - len(arrow))] + arrow
        made.append(Segment(padded(title, width, column.right), style_of(Tone.INFO if chosen else Tone.MUTED)))
    return made


TONE_STYLES = {
    Tone.PLAIN: "$foreground",
    Tone.MUTED: "$text-muted",
    Tone.STRONG: "bold $foreground",
    Tone.GOOD: "$success",
    Tone.WARN: "$warning",
    Tone.BAD: "bold $error",
    Tone.INFO: "$primary",
    Tone.BAR: "$primary",
    Tone.TRACK: "$track",
}


def content(parts: Iterable[Part], limit: int = CELL_LIMIT) -> Content:
    """Toned pieces as Textual content: inert, and never read as markup."""
    return Content.assemble(*((inert(text, limit), TONE_STYLES.get(tone, "$foreground")) for text, tone in parts))
