"""The screen put together: five panes over one store, three handlers (a tick, a key, a way), and nothing that knows an action by name."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable
from typing import Any, ClassVar

from textual import messages
from textual.app import ComposeResult
from textual.containers import Container
from textual.worker import Worker, WorkerState

from cockpit.errors import CockpitError
from cockpit.memory import few_arenas
from cockpit.store import Changes
from cockpit.tui import terminal, travel
from cockpit.tui.desk import Desk
from cockpit.tui.detail import Detail, Room
from cockpit.tui.frames import Frames, writer
from cockpit.tui.heatmap import HeatMap
from cockpit.tui.help import StartScreen
from cockpit.tui.palette import Actions
from cockpit.tui.prompt import Prompt, PromptLine
from cockpit.tui.resources import Names
from cockpit.tui.status import CautionLine, ContextLine, KeyLine, Place
from cockpit.tui.table import VirtualTable
from cockpit.tui.theme import COCKPIT
from cockpit.tui.verbs import Verbs
from cockpit.tui.views import Scene
from cockpit.tui.wayfinding import Wayfinding

TICK_SECONDS = 0.05
SECOND = 1.0
WATCHED = (
    *("api", "nodes", "pods", "jobs", "nodepools", "nodeclaims", "queues", "events", "served"),
    *("volumeclaims", "gpus", "efa", "prices", "progress", "lastwords"),
)
OpenSession = Callable[[Any, Callable[[], None]], Any]


class CockpitApp(Wayfinding):
    """`open_session(options, on_change)` connects; it is called in a thread after the first paint."""

    CSS_PATH = "cockpit.tcss"
    TITLE = "cockpit"
    COMMANDS: ClassVar[set[Any]] = {Actions}
    ENABLE_COMMAND_PALETTE = True

    def __init__(self, open_session: OpenSession, options: Any, verbs: Verbs | None = None, **more: Any) -> None:
        super().__init__(**more)
        self.register_theme(COCKPIT)
        self.theme = COCKPIT.name
        self.animation_level = "none"
        self.open_session, self.options = open_session, options
        self.verbs = verbs or Verbs(readonly=bool(options.readonly))
        self.session: Any = None
        self.panes: dict[str, VirtualTable] = {}
        self.namespace: str | None = options.namespace
        self.faults_only = False
        self.scene = Scene()
        self.place = Place(readonly=self.verbs.readonly)
        self.desk = Desk(self)
        self.frames = Frames(writer(self))
        self.active = "cluster"
        self.zoomed = False
        self._changed = True
        self._ink = 0
        self._second_at = 0.0

    def compose(self) -> ComposeResult:
        yield ContextLine(id="context")
        yield CautionLine(id="caution")
        views = {view.name: (number, view) for number, view in enumerate((kind() for kind in travel.PANES), 1)}
        with Container(id="panes"):
            for name in ("cluster", "jobs"):
                yield VirtualTable(views[name][1], str(views[name][0]), id=name)
            yield HeatMap(id="heat")
            for name in ("nodepools", "gpus", "efa"):
                yield VirtualTable(views[name][1], str(views[name][0]), id=name)
        yield Detail(id="detail")
        yield PromptLine()
        yield KeyLine(id="keys")

    def on_mount(self) -> None:
        """Lay out, bind the registry's keys, and connect once the first frame is out."""
        self.panes |= {pane.id or "": pane for pane in self.query("#panes VirtualTable").results(VirtualTable)}
        self.heat, self.detail, self.prompt = self.query_one(HeatMap), self.query_one(Detail), self.query_one(Prompt)
        self.around = (self.query_one(ContextLine), self.query_one(CautionLine), self.query_one(KeyLine))
        self.lay_out()
        self.panes[self.active].focus()
        self.set_interval(TICK_SECONDS, self.tick)
        self.call_after_refresh(self.connect)

    # -- the outside world ----------------------------------------------------------------------------------------------------------------

    def connect(self) -> None:
        """Load the registry and open the session, in a thread."""
        for key in self.verbs.keys:
            # Not taken before the pane: `j` and `c` in one breath must reach their row in that order.
            self.bind(key, f"verb({key!r})", description=key, show=False)
        self.run_worker(self._open, thread=True, group="session", exclusive=True, exit_on_error=False)

    def _open(self) -> None:
        try:
            session = self.open_session(self.options, self._on_change)
        except CockpitError as error:
            self.call_from_thread(self._not_open, error)
            return
        self.call_from_thread(self._opened, session)

    def _on_change(self) -> None:
        self._changed = True

    def _opened(self, session: Any) -> None:
        self.session, self._changed = session, True
        self.scene = dataclasses.replace(self.scene, restore_key=self.verbs.key_from("checkpoint"))
        session.store.expect(*WATCHED)
        session.watch(WATCHED)
        self.reload()
        self.desk.remind()

    def _not_open(self, error: CockpitError) -> None:
        self.push_screen(StartScreen(error.message, error.hint), self._chosen)

    def _chosen(self, answer: str | None) -> None:
        if answer == "quit" or answer is None:
            self.exit(3)
            return
        if answer == "practice":
            self.options = dataclasses.replace(self.options, sim=True)
        self.run_worker(self._open, thread=True, group="session", exclusive=True, exit_on_error=False)

    def reconnect(self, **changed: Any) -> None:
        """Leave this cluster for another."""
        if self.session is not None:
            self.session.close()
        self.session, self.options = None, dataclasses.replace(self.options, **changed)
        self.scene = Scene()
        self.reload()
        self.run_worker(self._open, thread=True, group="session", exclusive=True, exit_on_error=False)

    def action_contexts(self, chosen: str = "") -> None:
        """`:ctx name` connects to another context."""
        if chosen:
            self._leave_all()
            self.reconnect(context=chosen, sim=False)
            return
        from cockpit.clients.kubeconfig import contexts

        now = self.session.kube.context if self.session is not None else ""
        try:
            names = {*contexts(self.options.kubeconfig), *([now] if now else [])}
        except CockpitError as error:
            self.complain(error)
            return
        self.enter(Room(view=Names("Contexts", names, now), turn=self.action_contexts))

    async def on_unmount(self) -> None:
        """Let go of the cluster."""
        self.desk.looks.close()
        if self.session is not None:
            self.session.close()

    def on_worker_state_changed(self, event: Worker.StateChanged) -> None:
        """What nobody foresaw in a worker is told; the screen goes on."""
        if event.state is WorkerState.ERROR:
            self.say(f"{event.worker.group}: {type(event.worker.error).__name__}; this is a fault of the cockpit, please report it", "error")

    # -- handler one: time ----------------------------------------------------------------------------------------------------------------

    def tick(self) -> None:
        """The only clock of the screen: what changed goes to the panes, once a second time itself does."""
        if not self.frames.due():
            return
        now = time.time()
        if self._changed and self.session is not None:
            self._changed = False
            snapshot, changes = self.session.store.drain()
            self.scene = dataclasses.replace(self.scene, snapshot=snapshot, namespace=self.namespace, now=now, connected=True)
            self._advance(changes)
        self.desk.pump()
        if now - self._second_at >= SECOND:
            self._second_at = now
            if not self.is_headless and terminal.gone():
                terminal.hang_up()
            self._let_time_pass(now)
        self.call_after_refresh(self._sent)

    def repaint(self) -> None:
        """Show what is not in the picture: what is being read from outside, and how that ended."""
        looks = self.desk.looks
        self.scene = dataclasses.replace(self.scene, reading=looks.reading, misread=looks.misread)
        self.detail.settle(self.scene)

    def _advance(self, changes: Changes) -> None:
        for pane in self.panes.values():
            pane.advance(self.scene, changes)
        self.heat.advance(self.scene, changes)
        self.detail.advance(self.scene, changes)
        self.tell()

    def _let_time_pass(self, now: float) -> None:
        self.scene = dataclasses.replace(self.scene, now=now)
        for pane in self.panes.values():
            pane.settle(self.scene, ticking=True)
        self.detail.settle(self.scene)
        self.tell()

    def _sent(self) -> None:
        ink = self.heat.lines_painted + self.detail.ink + sum(pane.lines_painted for pane in self.panes.values())
        if ink != self._ink:
            self._ink = ink
            self.frames.sent()

    def on_terminal_supports_synchronized_output(self, message: messages.TerminalSupportsSynchronizedOutput) -> None:
        """The terminal has taken the last frame."""
        self.frames.answered()


def run(options: Any) -> int:
    """Open the cockpit on this terminal; its exit code."""
    from cockpit.session import open_session
    from cockpit.tui import skeleton

    few_arenas()
    try:
        app = CockpitApp(open_session, options, driver_class=terminal.driver())
        return app.run() or app.return_code or 0
    finally:
        skeleton.erase()
