"""Handlers two and three: a key of the registry, and the way about: panes, rooms, zoom, the prompt, scope, and the texts behind a row."""

from __future__ import annotations

import time
from typing import ClassVar

from textual import events
from textual.binding import Binding, BindingType
from textual.widgets import Input

from actions.core import Action
from cockpit.errors import BadInput, CockpitError
from cockpit.tui import travel
from cockpit.tui.detail import Room
from cockpit.tui.prompt import Prompt
from cockpit.tui.reading import Reading
from cockpit.tui.table import VirtualTable
from cockpit.tui.textlines import LineView

TWICE_SECONDS = 2.0


class Wayfinding(Reading):
    """What the keys of the screen itself do; the parts it moves among are made by the class that composes the screen."""

    BINDINGS: ClassVar[list[BindingType]] = [
        *(Binding(str(number), f"pane({kind.name!r})", f"Pane {kind.title}", show=False) for number, kind in enumerate(travel.PANES, 1)),
        Binding("z", "zoom", "Zoom the pane", show=False),
        Binding("escape", "up", "Back; clear the filter", show=False),
        # Taken before the pane gets them, so that what follows in the same breath is typed into the line and is no key of the pane.
        Binding("slash", "prompt('/')", "Filter rows, search text", show=False, priority=True),
        Binding("colon", "prompt(':')", "Go to a view or run an action", show=False, priority=True),
        Binding("d", "describe", "Describe", show=False),
        Binding("y", "yaml", "YAML", show=False),
        Binding("e", "events", "Events", show=False),
        Binding("Y", "copy", "Copy the name, or those marked", show=False),
        Binding("0", "namespaces", "All namespaces, or the current one", show=False),
        Binding("ctrl+z", "faults", "Only what is faulty", show=False),
        Binding("ctrl+s", "save", "Save what is shown to a file", show=False),
        Binding("question_mark", "help", "Help", show=False),
        Binding("q,ctrl+c", "leave", "Back; at the root twice: quit", show=False),
    ]
    _asked_to_quit_at = float("-inf")

    # -- keys of the registry -------------------------------------------------------------------------------------------------------------

    def check_action(self, action: str, parameters: tuple[object, ...]) -> bool | None:
        """A registry key is live only where its action fits; in read-only mode nothing that changes is bound."""
        if action not in ("verb", "prompt"):
            return True
        typing = len(self.screen_stack) > 1 or isinstance(self.focused, Input)
        return not typing and (action == "prompt" or self.verbs.for_key(str(parameters[0]), self.table().view) is not None)

    def action_verb(self, key: str) -> None:
        """A key of the registry was pressed."""
        view, keys = self.focus_of()
        action = self.verbs.for_key(key, view)
        if action is not None:
            self.desk.start(action, self.verbs.filled(action, view, keys))

    def go(self, text: str) -> None:
        """Follow a command line: a pane, a view, a word of the screen, or an action with its parameters."""
        try:
            word, rest = travel.split(text)
            self._go(word, rest)
        except CockpitError as error:
            self.complain(error)

    def _go(self, word: str, rest: list[str]) -> None:
        if word in travel.PANE_WORDS:
            self._leave_all()
            self.action_pane(travel.PANE_WORDS[word])
            self._filter_by(rest)
        elif word in travel.VIEW_WORDS:
            self.enter(Room(view=travel.VIEW_WORDS[word]()))
            self._filter_by(rest)
        elif word in travel.APP_WORDS:
            getattr(self, "action_" + travel.APP_WORDS[word])(*rest[:1])
        elif word:
            self._do(word, rest)

    def _do(self, word: str, rest: list[str]) -> None:
        action: Action | None = self.verbs.named(word)
        if action is None:
            from actions.core.params import nearest

            raise BadInput(f"unknown command {word!r}", nearest(word, travel.words([one.name for one in self.verbs.actions])))
        view, keys = self.focus_of()
        given = travel.pairs(rest)
        self.desk.start(action, given or self.verbs.filled(action, view, keys))

    def _filter_by(self, rest: list[str]) -> None:
        query = next((part.removeprefix("/") for part in rest if part.startswith("/")), "")
        if query:
            self.table().filter(query)

    # -- rooms ----------------------------------------------------------------------------------------------------------------------------

    def leave(self) -> None:
        """Back one room; the last one gives the panes back."""
        if self.detail.stack and not self.detail.back(self.scene):
            self.screen_stack[0].remove_class("-detail")
            self.panes[self.active].focus()
        self.tell()

    def _leave_all(self) -> None:
        while self.detail.stack:
            self.leave()

    def on_row_window_moved(self) -> None:
        """The footer belongs to the row under the cursor."""
        self.tell()

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        """Enter: the next room down, or the log of a pod."""
        room = self.detail.room
        if room is not None and room.turn is not None and room.view is not None:
            self.leave()
            room.turn(str(event.key))
            return
        view = event.table.view.enter(self.scene, event.key)
        if view is not None:
            self.enter(Room(view=view))
            return
        action = self.verbs.stream_for(event.table.view.kind)
        if action is not None:
            self.desk.start(action, self.verbs.filled(action, event.table.view, [event.key]))

    def on_line_view_asked(self, event: LineView.Asked) -> None:
        """A digit or a bracket in a log."""
        room = self.detail.room
        if room is not None and room.turn is not None:
            room.turn(event.word)

    # -- the way about --------------------------------------------------------------------------------------------------------------------

    def action_pane(self, name: str) -> None:
        """Focus a pane; from a drill-down, leave it."""
        self._leave_all()
        self.active = name
        self.lay_out()
        self.panes[name].focus()

    def action_zoom(self) -> None:
        """Give the pane the whole screen, or give it back."""
        self.zoomed = not self.zoomed
        self.lay_out()

    def action_up(self) -> None:
        """Clear the filter, else go back a room, else unzoom."""
        table = self.table()
        if self.front() is table and table.order.query:
            table.filter("")
        elif self.detail.room is not None:
            self.leave()
        elif self.zoomed:
            self.action_zoom()
        elif table.marks:
            table.action_unmark()

    def action_leave(self) -> None:
        """Back; at the root the second press quits."""
        if self.detail.room is not None:
            self.leave()
        elif time.monotonic() - self._asked_to_quit_at < TWICE_SECONDS:
            self.exit(0)
        else:
            self._asked_to_quit_at = time.monotonic()
            self.say("q again quits")

    def action_prompt(self, mode: str) -> None:
        """Open the line for a command or a filter."""
        front = self.front()
        known = front.order.query if mode == "/" and isinstance(front, VirtualTable) else ""
        self.prompt.open(mode, travel.words([action.name for action in self.verbs.actions]), known)

    def on_prompt_typed(self, event: Prompt.Typed) -> None:
        """Filter while typing; run a command when entered."""
        front = self.front()
        if event.mode == "/" and isinstance(front, VirtualTable):
            front.filter(event.text or "")
        elif event.mode == "/" and event.final and isinstance(front, LineView):
            front.search(event.text or "")
        if event.final:
            front.focus()
            if event.mode == ":" and event.text:
                self.go(event.text)

    def action_namespaces(self, chosen: str = "") -> None:
        """`:ns name` goes there; the key 0 turns between all and the current one."""
        current = self.session.kube.namespace if self.session is not None else None
        self.namespace = chosen or (current if self.namespace is None else None)
        self.reload()

    def action_faults(self) -> None:
        """Only rows with something wrong, or all."""
        self.faults_only = not self.faults_only
        self.reload()

    # -- layout ---------------------------------------------------------------------------------------------------------------------------

    def on_resize(self, event: events.Resize) -> None:
        """Choose the layout that fits."""
        self.terminal_size = event.size
        self.lay_out()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """The focused pane is the active one."""
        if event.widget.id in self.panes and event.widget.id != self.active:
            self.active = event.widget.id
            self.lay_out()
        self.tell()
