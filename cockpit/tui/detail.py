"""What Enter, d, y, e and L open: a stack of rooms, each a table with its facts or a text; Esc goes back one."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from textual.app import ComposeResult
from textual.containers import Vertical
from textual.content import Content
from textual.widget import Widget
from textual.widgets import Static

from cockpit.store import Changes
from cockpit.tui.cells import Part
from cockpit.tui.lines import content
from cockpit.tui.resources import Names
from cockpit.tui.table import VirtualTable
from cockpit.tui.textlines import Line, LineView
from cockpit.tui.views import Scene, View

FRAME_LINES = 3
"""A table's border and its headings."""
AROUND_LINES = 8
"""The lines around the screen, and facts of a usual length."""


@dataclass
class Room:
    """One level of a drill-down; where the cursor stood is kept for the way back. `close` ends what feeds it."""

    view: View | None = None
    title: str = ""
    lines: list[Line] = field(default_factory=list)
    following: bool = False
    cursor: Any = None
    close: Callable[[], None] = lambda: None
    turn: Callable[[str], None] | None = None


class Facts(Static):
    """The lines above a table that say what the room is about."""

    def __init__(self, **more: Any) -> None:
        super().__init__("", classes="-empty", **more)
        self.shown: list[tuple[Part, ...]] = []

    def put(self, lines: list[tuple[Part, ...]]) -> None:
        """Show these lines; the layout is done again only when their number changed."""
        if lines != self.shown:
            grown, self.shown = len(lines) != len(self.shown), lines
            self.set_class(not lines, "-empty")
            self.update(Content("\n").join([content(line) for line in lines]), layout=grown)


class Detail(Vertical):
    """Persistent widgets, a table, a second one below it, and a text; nothing is mounted when a room opens."""

    def __init__(self, **more: Any) -> None:
        super().__init__(**more)
        self.facts, self.text = Facts(id="facts"), LineView(id="text")
        self.table, self.below = (VirtualTable(Names("Nothing", (), ""), id=name) for name in ("room", "below"))
        self.stack: list[Room] = []
        self._shares: tuple[bool, int | None] | None = None
        self.scene = Scene()

    def compose(self) -> ComposeResult:
        yield from (self.facts, self.table, self.below, self.text)

    @property
    def room(self) -> Room | None:
        """What is open now."""
        return self.stack[-1] if self.stack else None

    @property
    def ink(self) -> int:
        """Lines painted so far."""
        return self.table.lines_painted + self.below.lines_painted + self.text.lines_painted

    def open(self, room: Room, scene: Scene) -> None:
        """Go down one level."""
        if self.stack:
            self.stack[-1].cursor = self.table.cursor
        self.stack.append(room)
        self._enter(room, scene)

    def back(self, scene: Scene) -> bool:
        """Go up one level; False when that leaves the drill-down."""
        self.stack.pop().close()
        if not self.stack:
            return False
        self._enter(self.stack[-1], scene)
        return True

    def _enter(self, room: Room, scene: Scene) -> None:
        self.scene = scene
        table, text = self.table, self.text
        table.display, text.display = room.view is not None, room.view is None
        lower = room.view.below() if room.view is not None else None
        self.below.show(lower or Names("Nothing", (), ""), scene)
        if room.view is not None:
            table.show(room.view, scene)
            if room.cursor in table.order.keys:
                table.put_cursor(table.order.keys.index(room.cursor))
            self.facts.put(room.view.facts(scene))
        else:
            self.facts.put([])
            text.open(room.title, room.lines, room.following)
        self._share()
        self.front.focus()

    @property
    def front(self) -> Widget:
        """The widget that shows the room, or the part of it that is looked at."""
        if self.room is None or self.room.view is None:
            return self.text
        return self.below if self.below.display and self.below.has_focus else self.table

    def _share(self) -> None:
        """The lower table is there when it has rows; the upper one then takes what its rows need, at most half."""
        shown = bool(self.below.order.rows) or bool(self.below.view.alert(self.scene))
        rows = self.table.order.rows + FRAME_LINES
        height = rows if shown and rows < (self.app.size.height - AROUND_LINES) // 2 else None
        if (shown, height) == self._shares:
            return
        if not shown and self.below.has_focus:
            self.table.focus()
        self._shares = (shown, height)
        self.below.display, self.table.styles.height = shown, height if height is not None else "1fr"

    def advance(self, scene: Scene, changes: Changes) -> None:
        """Take a newer picture in."""
        self.scene = scene
        if self.room is not None and self.room.view is not None:
            self.table.advance(scene, changes)
            self.below.advance(scene, changes)
            self._share()
            self.facts.put(self.room.view.facts(scene))

    def settle(self, scene: Scene) -> None:
        """Let time pass."""
        if self.room is not None and self.room.view is not None:
            self.table.settle(scene, ticking=True)
            self.below.settle(scene, ticking=True)
            self._share()
            if self.room.view.ticking:
                self.facts.put(self.room.view.facts(scene))
