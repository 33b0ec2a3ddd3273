"""From cells to terminal cells: columns fitted to a width, text cut and padded by display width, pieces styled by tone."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from rich.cells import cell_len, set_cell_size
from rich.segment import Segment
from rich.style import Style
from textual.content import Content

from cockpit.inert import inert
from cockpit.tui.bars import LOWER_EIGHTHS, bar
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


def measured(column: Column, cell: Cell) -> int:
    """Terminal cells that a cell would like to have; a bar is content with its column's least width."""
    if cell.gauge is not None:
        return column.width
    return sum(len(text) if text.isascii() else cell_len(text) for text, _ in cell.parts)


def fit(columns: Sequence[Column], width: int, needs: Sequence[int] = (), chosen: Column | None = None) -> Fitted:
    """Columns at the width their content needs, none where all cells are blank; the least important are dropped when not all fit.

    `needs` is the widest content seen by column (empty: no row was seen), `chosen` the column that carries the sort arrow. What is left over
    goes to those that flex up to what they need, then to the space between, then to bars, then to those that flex up to their most.
    """
    room = width - MARGIN
    kept = [one for one in enumerate(columns) if not needs or needs[one[0]] or not one[1].drop]
    wish = {index: _wish(one, needs[index] if needs else one.width, one is chosen) for index, one in kept}
    widths = {index: min(one.width, wish[index]) for index, one in kept}
    while kept and sum(widths[index] + 1 for index, _ in kept) - 1 > room:
        worst = max(kept, key=lambda pair: pair[1].drop)
        if worst[1].drop == 0:
            break
        kept.remove(worst)
    gap = 2 if sum(wish[index] + 2 for index, _ in kept) - 2 <= room else 1
    flexing = [pair for pair in kept if pair[1].flex]
    spare = room - sum(widths[index] + gap for index, _ in kept) + gap
    spare = _grow(widths, [pair for pair in flexing if not pair[1].bar], wish, spare)
    spare = _grow(widths, [pair for pair in flexing if pair[1].bar], {index: one.most for index, one in kept}, spare)
    _grow(widths, [pair for pair in flexing if not pair[1].bar], {index: one.most for index, one in kept}, spare)
    return Fitted(tuple((index, one, widths[index]) for index, one in kept), gap)


def _wish(column: Column, need: int, chosen: bool) -> int:
    return max(len(column.title) + chosen, min(need, max(column.width, column.most) if column.flex else column.width))


def _grow(widths: dict[int, int], among: Sequence[tuple[int, Column]], most: Mapping[int, int], spare: int) -> int:
    """Share `spare` by weight, no column beyond its `most`; returns what is left."""
    weight = sum(one.flex for _, one in among)
    for index, one in sorted(among, key=lambda pair: (most[pair[0]] - widths[pair[0]]) / pair[1].flex):
        extra = max(0, min(most[index] - widths[index], spare * one.flex // weight))
        widths[index] += extra
        spare, weight = spare - extra, weight - one.flex
    return spare


def padded(text: str, width: int, right: bool = False) -> str:
    """`text` made exactly `width` cells wide; a cut ends in an ellipsis."""
    length = len(text) if text.isascii() else cell_len(text)
    if length > width:
        return set_cell_size(text, width - 1) + "…" if width > 0 else ""
    return " " * (width - length) + text if right else text + " " * (width - length)


def whole_pieces(text: str, room: int) -> str:
    """As many of the pieces between dots as fit whole, the first ones first."""
    pieces = text.split(" · ")
    while pieces and cell_len(" · ".join(pieces)) > room:
        pieces.pop()
    return " · ".join(pieces)


def cell_segments(cell: Cell, width: int, right: bool, style_of: StyleOf) -> list[Segment]:
    """One cell as segments that are together exactly `width` wide."""
    if cell.gauge is not None:
        return [Segment(text, style_of(tone)) for text, tone in bar(cell.gauge[0], width) if text]
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
