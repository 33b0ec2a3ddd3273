"""A window on the rows of a view: it renders the lines on screen and nothing else, and repaints the lines that changed."""

from __future__ import annotations

from typing import Any, ClassVar

from rich.segment import Segment
from rich.style import Style
from textual.geometry import Region, Size
from textual.message import Message
from textual.scroll_view import ScrollView
from textual.strip import Strip

from cockpit.store import Changes
from cockpit.tui.captions import note_parts, title_parts
from cockpit.tui.cells import Cell, Part, Tone
from cockpit.tui.lines import MARGIN, Fitted, content, fit, header_segments, measured, padded, row_segments
from cockpit.tui.ordering import Order
from cockpit.tui.views import Scene, View, stale

SIZE_SECONDS = 0.5


class RowWindow(ScrollView, can_focus=True):
    """Shows a View; the cursor is a key, so it stays on its row whatever happens around it."""

    COMPONENT_CLASSES: ClassVar[set[str]] = {f"table--{tone.value}" for tone in Tone} | {"table--cursor", "table--cursor-idle"}

    class Moved(Message):
        """The cursor stands on another row, or what is under it changed."""

        def __init__(self, table: RowWindow) -> None:
            super().__init__()
            self.table = table

    def __init__(self, view: View, number: str = "", **more: Any) -> None:
        super().__init__(**more)
        self.view, self.number = view, number
        self.order = Order(view)
        self.scene = Scene()
        self.cursor: Any = None
        self.marks: set[Any] = set()
        self.last_mark: Any = None
        self._row = 0
        self._fitted = Fitted()
        self._needs: list[int] = []
        self._cells: dict[Any, tuple[Cell, ...]] = {}
        self._strips: dict[Any, Strip] = {}
        self._styles: dict[tuple[Tone, int], Style] = {}
        self._title_parts: list[Part] = []
        self._notes: list[Part] = []
        self._stale = False
        self._sized_at = float("-inf")
        self.lines_painted = 0

    # -- what is shown --------------------------------------------------------------------------------------------------------------------

    def show(self, view: View, scene: Scene) -> None:
        """Turn to another view."""
        self.view, self.order, self.scene = view, Order(view), scene
        self.cursor, self._row, self.marks, self.last_mark = None, 0, set(), None
        self.scroll_to(y=0, animate=False)
        self.reload(scene)

    def reload(self, scene: Scene) -> None:
        """Read the view anew: another scope, another filter, or more changes than can be named."""
        self.scene = scene
        self.order.rebuild(scene)
        if self.order.query or scene.faults_only or self.order.filtered:
            self.order.filter(scene, self.order.query)
        self._repaint_all()

    def advance(self, scene: Scene, changes: Changes) -> None:
        """Take a newer picture in: touched rows are looked at again, and lines that look different are repainted."""
        trusted = self._trust
        self.scene = scene
        touched = self.view.touched(scene, changes)
        if touched is None or trusted != self._trust:
            self.reload(scene)
            return
        keys = touched if isinstance(touched, (set, frozenset)) else set(touched)
        self.order.touch(scene, keys)
        self._refresh_cells(keys)
        self.settle(scene)

    @property
    def _trust(self) -> tuple[Any, ...]:
        """What may be believed; when that changes, unknowns may have become known in any row."""
        picture = self.scene.snapshot
        return (self.scene.connected, *((picture.believed(source), picture.limits(source)) for source in self.view.sources))

    def settle(self, scene: Scene, ticking: bool = False) -> None:
        """Sort, size and title, each only when due; with `ticking` the visible rows are looked at for the passing of time."""
        self.scene = scene
        if ticking and self.view.ticking:
            self._refresh_cells(None)
        if ticking and len(self.order.keys) < self.size.height:
            self._close_blank()
        painted = self._on_screen()
        if self.order.settle(scene.now):
            self._follow_cursor()
            self._repaint_moved(painted)
        self._resize()
        self._retitle()

    def _refresh_cells(self, keys: Any) -> None:
        top = self._top
        for line, key in enumerate(self._on_screen()):
            if keys is None or key in keys:
                before, now = self._cells.get(key), self._read(key)
                if before != now:
                    self._cells[key] = now
                    self._repaint_line(top + line)
                    if key == self.cursor:
                        self.post_message(self.Moved(self))
        if keys is not None and len(self._cells) > 4 * self.size.height + 64:
            self._cells.clear()
            self._strips.clear()
        elif keys is not None:
            for key in self._cells.keys() & keys - set(self._on_screen()):
                del self._cells[key]

    def _read(self, key: Any) -> tuple[Cell, ...]:
        if not self.view.has(self.scene, key):
            return ()
        cells = self.view.cells(self.scene, key)
        self._measure(cells)
        return cells

    # -- the columns ----------------------------------------------------------------------------------------------------------------------

    def _measure(self, cells: tuple[Cell, ...]) -> None:
        """Columns grow with what is read; those on screen are fitted anew once, before the next frame."""
        needs = [measured(column, one) for column, one in zip(self.view.columns, cells, strict=True)]
        if not self._needs:
            self._needs = [0] * len(needs)
        if any(need > known for need, known in zip(needs, self._needs, strict=True)):
            self._needs = [max(pair) for pair in zip(needs, self._needs, strict=True)]
            self.call_later(self._refit)

    def _close_blank(self) -> None:
        """Columns in which nothing stands any more give their room back; only while all rows are on screen, so that scrolling moves no column."""
        rows = [cells for key in self.order.keys if (cells := self._cells.get(key))]
        if len(rows) == len(self.order.keys) and rows:
            filled = [any(measured(column, cells[at]) for cells in rows) for at, column in enumerate(self.view.columns)]
            self._needs = [need if stands else 0 for need, stands in zip(self._needs, filled, strict=True)]
            self._refit()

    def _refit(self) -> None:
        """Give the columns their room."""
        fitted = fit(self.view.columns, self.scrollable_size.width, self._needs, self.order.column)
        if fitted != self._fitted:
            self._fitted = fitted
            self._strips.clear()
            self.refresh()

    # -- the window -----------------------------------------------------------------------------------------------------------------------

    @property
    def _top(self) -> int:
        return self.scroll_offset.y

    def _on_screen(self) -> list[Any]:
        return self.order.keys[self._top : self._top + max(0, self.size.height - 1)]

    def _repaint_line(self, row: int) -> None:
        line = row - self._top + 1
        if 1 <= line < self.size.height:
            if row < len(self.order.keys):
                self._strips.pop(self.order.keys[row], None)
            self.refresh(Region(0, line, self.scrollable_size.width, 1))

    def _repaint_moved(self, painted: list[Any]) -> None:
        shown = self._on_screen()
        for line in range(max(len(painted), len(shown))):
            if line >= len(painted) or line >= len(shown) or painted[line] != shown[line]:
                self.refresh(Region(0, line + 1, self.scrollable_size.width, 1))

    def _repaint_all(self) -> None:
        self._cells.clear()
        self._strips.clear()
        self._follow_cursor()
        self._resize(force=True)
        self._needs = []
        self._cells |= {key: self._read(key) for key in self._on_screen()}
        self._refit()
        self._retitle()
        self.refresh()

    def _resize(self, force: bool = False) -> None:
        size = Size(self.scrollable_size.width, len(self.order.keys) + 1)
        if size != self.virtual_size and (force or self.scene.now - self._sized_at >= SIZE_SECONDS):
            self._sized_at = self.scene.now
            self.virtual_size = size

    def _follow_cursor(self) -> None:
        keys = self.order.keys
        if self.cursor is not None and self._row < len(keys) and keys[self._row] == self.cursor:
            return
        visible = self._top <= self._row < self._top + self.size.height - 1
        try:
            self._row = keys.index(self.cursor)
        except ValueError:
            self._row = max(0, min(self._row, len(keys) - 1))
            self.cursor = keys[self._row] if keys else None
        self.post_message(self.Moved(self))
        if visible:
            self._keep_visible()

    def _keep_visible(self) -> None:
        page = max(1, self.size.height - 1)
        if self._row < self._top:
            self.scroll_to(y=self._row, animate=False, immediate=True, force=True)
        elif self._row >= self._top + page:
            self.scroll_to(y=self._row - page + 1, animate=False, immediate=True, force=True)

    # -- painting -------------------------------------------------------------------------------------------------------------------------

    def render_line(self, y: int) -> Strip:
        """One line of the window: the header, a row, or a note."""
        width = self.scrollable_size.width
        self.lines_painted += 1
        if y == 0:
            segments = header_segments(self._fitted, self.order.column, self.order.down, self._style)
            return self._filled(segments, width)
        row = self._top + y - 1
        if row >= len(self.order.keys):
            return self._note_line(y, width)
        key = self.order.keys[row]
        strip = self._strips.get(key)
        if strip is None:
            strip = self._strips[key] = self._row_strip(key, width)
        return strip

    def _row_strip(self, key: Any, width: int) -> Strip:
        if key not in self._cells:
            self._cells[key] = self._read(key)
        cells = self._cells[key]
        state = (2 if self.has_focus else 1) if key == self.cursor else 0
        margin = ("▸" if key == self.cursor else " ") + ("◆" if key in self.marks else " ")
        if not cells:
            return self._filled([Segment(padded(margin, MARGIN), self._style(Tone.MUTED, state))], width, state)
        segments = row_segments(cells, self._fitted, (margin, Tone.INFO), lambda tone: self._style(tone, state))
        return self._filled(segments, width, state)

    def _note_line(self, y: int, width: int) -> Strip:
        at = y - 2
        if self.order.keys or not 0 <= at < len(self._notes):
            return self._filled([], width)
        text, tone = self._notes[at]
        return self._filled([Segment("  " + padded(text, max(0, width - 3)), self._style(tone))], width)

    def _filled(self, segments: list[Segment], width: int, state: int = 0) -> Strip:
        return Strip(segments).adjust_cell_length(width, self._style(Tone.PLAIN, state))

    def _style(self, tone: Tone, state: int = 0) -> Style:
        if self._stale and tone is not Tone.BAD:
            tone = Tone.MUTED
        found = self._styles.get((tone, state))
        if found is None:
            found = self.get_component_rich_style(f"table--{tone.value}")
            if state:
                found += Style(bgcolor=self.get_component_rich_style("table--cursor" if state == 2 else "table--cursor-idle").bgcolor)
            self._styles[tone, state] = found
        return found

    def _retitle(self) -> None:
        notes = note_parts(self.order, self.scene, max(20, self.scrollable_size.width - 3))
        old = stale(self.view, self.scene)
        if notes != self._notes or old != self._stale:
            self._notes, self._stale = notes, old
            self._strips.clear()
            self._styles.clear()
            self.refresh()
        parts = title_parts(self.order, self.scene, self.number, len(self.marks), self.outer_size.width)
        if parts != self._title_parts:
            self._title_parts = parts
            # The property would repaint the whole widget; the title is the border's first line.
            self._border_title = content(parts)
            self.refresh(Region(-1, -1, self.outer_size.width, 1))

    def notify_style_update(self) -> None:
        """Forget styles when the theme or the focus changed."""
        super().notify_style_update()
        self._styles.clear()
        self._strips.clear()
