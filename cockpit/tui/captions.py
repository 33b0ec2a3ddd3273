"""What a pane says of itself: its title, which drops whole pieces where there is no room, and the words that stand instead of rows."""

from __future__ import annotations

from textwrap import wrap

from rich.cells import cell_len

from cockpit.inert import inert
from cockpit.tui.cells import Part, Tone
from cockpit.tui.lines import CELL_LIMIT, whole_pieces
from cockpit.tui.ordering import Order
from cockpit.tui.views import Scene, limits, note, trouble

TITLE_ENDS = 6
"""Cells of a border line that its corners and the blanks around the title take."""
RULE: Part = (" ── ", Tone.TRACK)


def title_parts(order: Order, scene: Scene, number: str, marked: int, width: int) -> list[Part]:
    """Number and name, what is wrong, what is not seen, the filter, the totals, the marks; together no wider than a border of `width`."""
    view = order.view
    parts: list[Part] = [(f"{number} " if number else "", Tone.INFO), (view.title, Tone.STRONG)]
    wrong = " · ".join(filter(None, (trouble(view, scene) if order.rows else "", view.alert(scene))))
    if wrong:
        parts.append((f" ▲ {wrong}", Tone.WARN))
    if limited := whole_pieces(limits(view, scene), width - TITLE_ENDS - 3 - _length(parts)):
        parts.append((f" ○ {limited}", Tone.INFO))
    if order.filtered:
        word = f"/{order.query}" if order.query else "faults only"
        parts += [RULE, (f"{word} {len(order.keys):,} of {order.rows:,}", Tone.INFO)]
    marks: list[Part] = [(f" ◆ {marked} marked", Tone.INFO)] if marked else []
    if order.rows:
        said = whole_pieces(view.headline(scene, order.rows, order.sums), width - TITLE_ENDS - _length([*parts, *marks, RULE]))
        parts += [RULE, (said, Tone.MUTED)] if said else []
    return parts + marks


def note_parts(order: Order, scene: Scene, width: int) -> list[Part]:
    """Lines that stand where no row does, wrapped to `width`."""
    if order.rows and not order.keys:
        why = f'match "{order.query}" — esc clears' if order.query else "are faulty — ctrl+z shows all"
        return [(f"no {order.view.noun}s {why}", Tone.MUTED)]
    return [(piece, tone) for text, tone in note(order.view, scene, order.rows) for piece in wrap(inert(text, CELL_LIMIT), width)]


def _length(parts: list[Part]) -> int:
    return sum(cell_len(text) for text, _ in parts)
