"""The table every pane is made of: a window of rows with a cursor, marks, sorting and filtering by key and by mouse."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.message import Message

from cockpit.tui.lines import MARGIN
from cockpit.tui.views import Column
from cockpit.tui.window import RowWindow


class VirtualTable(RowWindow):
    """A RowWindow with hands."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("down,j", "move(1)", "Down", show=False),
        Binding("up,k", "move(-1)", "Up", show=False),
        Binding("g,home", "jump(0)", "Top", show=False),
        Binding("G,end", "jump(-1)", "Bottom", show=False),
        Binding("ctrl+f,pagedown", "page(1)", "Page down", show=False),
        Binding("ctrl+b,pageup", "page(-1)", "Page up", show=False),
        Binding("enter", "open", "Open"),
        Binding("h,left", "app.focus_previous", "Previous pane", show=False),
        Binding("right", "app.focus_next", "Next pane", show=False),
        Binding("space", "mark", "Mark", show=False),
        Binding("ctrl+@,ctrl+space", "mark_range", "Mark from the last mark to here", show=False),
        Binding("ctrl+backslash", "unmark", "Clear marks", show=False),
        Binding("less_than_sign,shift+left", "sort_next(-1)", "Sort by previous column", show=False),
        Binding("greater_than_sign,shift+right", "sort_next(1)", "Sort by next column", show=False),
        Binding("O", "sort_reverse", "Reverse the sort", show=False),
    ]

    class Opened(Message):
        """Enter or a double click on a row."""

        def __init__(self, table: VirtualTable, key: Any) -> None:
            super().__init__()
            self.table, self.key = table, key

    def on_resize(self, event: events.Resize) -> None:
        """Fit the columns again."""
        self._strips.clear()
        self._resize(force=True)
        self._cells |= {key: self._read(key) for key in self._on_screen() if key not in self._cells}
        self._refit()

    def on_focus(self) -> None:
        """The cursor row shows where the focus is."""
        self._strips.pop(self.cursor, None)

    def on_blur(self) -> None:
        """The cursor row shows where the focus is not."""
        self._strips.pop(self.cursor, None)

    def targets(self) -> list[Any]:
        """The marked rows, or the one under the cursor."""
        marked = [key for key in self.order.keys if key in self.marks] if self.marks else []
        return marked or ([self.cursor] if self.cursor is not None else [])

    def put_cursor(self, row: int) -> None:
        """Move the cursor to a row and keep it in sight."""
        keys = self.order.keys
        if not keys:
            return
        before, self._row = self._row, max(0, min(row, len(keys) - 1))
        self.cursor = keys[self._row]
        self._repaint_line(before)
        self._repaint_line(self._row)
        self._keep_visible()
        self.post_message(self.Moved(self))

    def action_move(self, step: int) -> None:
        self.put_cursor(self._row + step)

    def action_jump(self, row: int) -> None:
        self._resize(force=True)
        self.put_cursor(row if row >= 0 else len(self.order.keys) - 1)

    def action_page(self, step: int) -> None:
        self.put_cursor(self._row + step * max(1, self.size.height - 2))

    def action_open(self) -> None:
        if self.cursor is not None:
            self.post_message(self.Opened(self, self.cursor))

    def action_mark(self) -> None:
        if self.cursor is not None:
            self.marks ^= {self.cursor}
            self.last_mark = self.cursor
            self._repaint_line(self._row)
            self.put_cursor(self._row + 1)
            self._retitle()

    def action_mark_range(self) -> None:
        """Everything between the last mark and the cursor, both included; without a mark the row itself."""
        keys = self.order.keys
        if self.cursor is None:
            return
        start = keys.index(self.last_mark) if self.last_mark in self.marks and self.last_mark in keys else self._row
        first, last = sorted((start, self._row))
        self.marks |= set(keys[first : last + 1])
        self.last_mark = self.cursor
        self._strips.clear()
        self._retitle()
        self.refresh()

    def action_unmark(self) -> None:
        self.marks.clear()
        self._strips.clear()
        self._retitle()
        self.refresh()

    def action_sort_next(self, step: int) -> None:
        columns = [column for _, column, _ in self._fitted.columns]
        at = columns.index(self.order.column) if self.order.column in columns else 0
        self.sort_by(columns[(at + step) % len(columns)])

    def action_sort_reverse(self) -> None:
        self.sort_by(self.order.column, not self.order.down)

    def sort_by(self, column: Column, down: bool = False) -> None:
        """Sort by a column at once."""
        self.order.sort_by(self.scene, column, down)
        self._strips.clear()
        self._follow_cursor()
        self._refit()
        self.refresh()

    def filter(self, query: str) -> None:
        """Show matching rows only; the title says how many."""
        self.order.filter(self.scene, query)
        self._repaint_all()

    def on_key(self, event: events.Key) -> None:
        """A capital that is no other key sorts by the column it begins; again, it reverses."""
        letter = event.character or ""
        if len(letter) != 1 or not letter.isupper() or event.key in self.screen.active_bindings:
            return
        column = next((one for _, one, _ in self._fitted.columns if one.title.startswith(letter)), None)
        if column is not None:
            event.stop()
            self.sort_by(column, column is self.order.column and not self.order.down)

    def on_click(self, event: events.Click) -> None:
        """A row: move there; twice: open it; a heading: sort by it, again: reverse."""
        x, y = event.x - self.gutter.left, event.y - self.gutter.top
        if y == 0:
            column = next((one for one, start, end in self._spans() if start <= x < end), None)
            if column is not None:
                self.sort_by(column, not self.order.down if column is self.order.column else False)
        elif 0 < y < self.size.height and self._top + y - 1 < len(self.order.keys):
            self.put_cursor(self._top + y - 1)
            if event.chain == 2:
                self.action_open()

    def _spans(self) -> Iterator[tuple[Column, int, int]]:
        at = MARGIN
        for _, column, width in self._fitted.columns:
            yield column, at, at + width + self._fitted.gap
            at += width + self._fitted.gap
