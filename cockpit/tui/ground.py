"""What the handlers stand on: the parts of the screen, which of them has the attention, and the lines around them."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Iterator
from typing import Any

from textual.app import App
from textual.geometry import Size
from textual.widget import Widget

from cockpit.errors import CockpitError
from cockpit.inert import inert
from cockpit.tui import status, travel
from cockpit.tui.cells import Tone
from cockpit.tui.desk import Desk
from cockpit.tui.detail import Detail
from cockpit.tui.heatmap import HeatMap
from cockpit.tui.help import shown
from cockpit.tui.lines import content
from cockpit.tui.prompt import Prompt
from cockpit.tui.skeleton import LOW, NARROW, TALL, WIDE
from cockpit.tui.status import CautionLine, ContextLine, KeyLine, Place
from cockpit.tui.table import VirtualTable
from cockpit.tui.verbs import Verbs
from cockpit.tui.views import Scene, View

SHORT = 78


class Ground(App[int]):
    """The parts are made by the class that composes the screen."""

    verbs: Verbs
    session: Any
    options: Any
    scene: Scene
    place: Place
    _where = ""
    desk: Desk
    detail: Detail
    prompt: Prompt
    around: tuple[ContextLine, CautionLine, KeyLine]
    terminal_size = Size(80, 24)
    heat: HeatMap
    panes: dict[str, VirtualTable]
    active: str
    zoomed: bool
    namespace: str | None
    faults_only: bool

    # -- what has the attention -----------------------------------------------------------------------------------------------------------

    def front(self) -> Widget:
        """The widget that has the person's attention."""
        return self.detail.front if self.detail.room is not None else self.panes[self.active]

    def table(self) -> VirtualTable:
        """The table in front, or the pane below a text."""
        room = self.detail.room
        if room is not None and room.view is not None:
            return self.detail.below if self.detail.front is self.detail.below else self.detail.table
        return self.panes[self.active]

    def focus_of(self) -> tuple[View, list[Any]]:
        """The view in front and its target rows; a text has none."""
        room = self.detail.room
        if room is not None and room.view is None:
            return self.table().view, []
        return self.table().view, self.table().targets()

    def footer(self) -> Iterator[tuple[str, str, bool]]:
        """The keys that apply to the focused row, (key, word, enabled)."""
        view, keys = self.focus_of()
        room = self.detail.room
        if room is not None and room.view is None:
            yield from (("/", "search", True), ("n N", "next", True), ("w", "wrap", True), ("t", "times", True), ("c", "copy", True))
            if room.turn is not None:
                yield from (("s", "follow", True), ("0-6", "since", True), ("[ ]", "rank", True))
            yield ("esc", "back", True)
            return
        yield ("⏎", "open", bool(keys))
        for action in self.verbs.actions if self.session is not None else ():
            if action.key and self.verbs.fits(action, view):
                refusal = self.verbs.refusal(action, self.scene.snapshot, self.verbs.filled(action, view, keys))
                yield (shown(action.key), action.title.lower(), refusal is None)
        yield from (("/", "filter", True), (":", "go", True), ("z", "zoom", True), ("?", "help", True))

    def say(self, text: str, severity: Any = "information") -> None:
        """A toast, inert."""
        self.notify("\n".join(inert(line, 400) for line in text.split("\n")), severity=severity, markup=False)

    def complain(self, error: CockpitError, before: str = "") -> None:
        """A failure as a toast: what, and how to mend it."""
        self.say(f"{before}{error.message}" + (f"\n→ {error.hint}" if error.hint else ""), "error")

    def reload(self) -> None:
        self.scene = dataclasses.replace(self.scene, namespace=self.namespace, faults_only=self.faults_only, now=time.time())
        for pane in self.panes.values():
            pane.reload(self.scene)
        self.heat.reload(self.scene)
        if self.detail.room is not None and self.detail.room.view is not None:
            self.detail.table.reload(self.scene)
            self.detail.below.reload(self.scene)
        self.tell()
        self.lay_out()

    def tell(self) -> None:
        """The context, caution and key lines; each is repainted only when its text differs."""
        self.place = self._place()
        self._name_place()
        context, caution, keys = self.around
        context.put(status.context_parts(self.place, self.scene))
        faults = [fault for name in ("cluster", "jobs", "nodepools", "efa") for fault in self.panes[name].order.newest_faults()]
        caution.put(status.caution_parts(status.cautions(self.scene, faults), self.desk.last_command, self.terminal_size.width - 2))
        keys.put(status.key_parts(self.footer(), self.terminal_size.width - 2))

    def _place(self) -> Place:
        kube = self.session.kube if self.session is not None else None
        nodes = self.scene.snapshot.nodes
        first = nodes.get(next(iter(nodes), None))
        one = self.terminal_size.width < NARROW or self.terminal_size.height < LOW
        return Place(
            cluster=kube.cluster if kube else "",
            region=first.region if first else "",
            namespace=self.namespace,
            readonly=self.verbs.readonly,
            simulated=bool(kube and kube.simulated) or bool(first and first.simulated),
            connected=self.session is not None,
            tabs=tuple(self.panes[name].view.title for name in (kind.name for kind in travel.PANES)) if one and self.panes else (),
            active=self.panes[self.active].view.title if self.panes else "",
            short=self.terminal_size.width < SHORT,
        )

    # -- layout ---------------------------------------------------------------------------------------------------------------------------

    def lay_out(self) -> None:
        """One pane at a time when small, the heat map beside the panes when large."""
        if not self.panes:
            return
        width, height = self.terminal_size
        small = width < NARROW or height < LOW
        screen = self.screen_stack[0]
        screen.set_class(small or self.zoomed, "-one")
        screen.set_class(not small and width >= WIDE and height >= TALL and not self.zoomed, "-wide")
        screen.set_class(self.zoomed and not small and self.active == "gpus", "-heat")
        for name, pane in self.panes.items():
            pane.set_class(name == self.active, "-active")
        self.tell()

    def _name_place(self) -> None:
        """Where the context line has no room for it, the panes' lower border says which cluster this is."""
        where = f"{self.place.cluster or 'no cluster'} · ns {self.namespace or 'all'}" if self.place.tabs else ""
        if where != self._where:
            self._where = where
            for pane in self.panes.values():
                pane.border_subtitle = content([(where, Tone.MUTED)]).markup if where else ""
