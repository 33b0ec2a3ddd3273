"""What an action reads from outside by itself: in a thread, before its plan is asked, or for its own sake; what it finds goes to the store."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any, ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Vertical
from textual.screen import ModalScreen
from textual.widgets import Static

from actions.core import Action, Plan
from cockpit.errors import CockpitError
from cockpit.store import Fact, Synced
from cockpit.tui.cells import Part, Tone
from cockpit.tui.confirm import joined
from cockpit.tui.lines import content

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp

LEAVE: list[Part] = [("esc", Tone.INFO), (" leave", Tone.MUTED)]


class LookScreen(ModalScreen[bool]):
    """Stands where the confirmation will: no key typed ahead can agree to a plan that is not seen yet. False when left."""

    BINDINGS: ClassVar[list[BindingType]] = [Binding("escape,n,q", "leave", "Leave")]

    def __init__(self, action: Action, about: str) -> None:
        super().__init__()
        self.verb, self.about = action, about

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="look") as box:
            box.border_title = content([(self.verb.title, Tone.STRONG)]).markup
            yield Static(joined([[("◐ ", Tone.INFO), (f"reading {self.about} …", Tone.PLAIN)], [("", Tone.PLAIN)], LEAVE]))

    def action_leave(self) -> None:
        self.dismiss(False)


class Looks:
    """The reading that is under way; one at a time, a newer one ends the older."""

    def __init__(self, app: CockpitApp) -> None:
        self.app = app
        self.reading, self.misread = "", ""
        self._stop = threading.Event()

    def before(self, action: Action, params: Any, go_on: Callable[[Plan], None]) -> None:
        """Read behind a dialog that can be left, then plan, then go on with the plan."""
        stop, screen = self._anew(), LookScreen(action, about(params))
        self.app.push_screen(screen, lambda done: None if done else stop.set())
        self.app.run_worker(self._then_plan(action, params, stop, screen, go_on), group="look", exit_on_error=False)

    async def _then_plan(self, action: Action, params: Any, stop: threading.Event, screen: LookScreen, go_on: Callable[[Plan], None]) -> None:
        plan, failure = Plan(), None
        try:
            await self._look(action, params, stop)
            plan = action.plan(self.app.session.store.snapshot(), params) if action.plan is not None else plan
        except CockpitError as error:
            failure = error
        if stop.is_set():
            return
        await screen.dismiss(True)
        if failure is not None:
            self.app.complain(failure, f"{action.title}: ")
        else:
            go_on(plan)

    def refresh(self, action: Action, params: Any) -> None:
        """Read for its own sake; the tables say that it goes on, how it ended, and from when they are."""
        self.app.run_worker(self._for_itself(action, params, self._anew()), group="look", exit_on_error=False)

    async def _for_itself(self, action: Action, params: Any, stop: threading.Event) -> None:
        self.reading, self.misread = about(params), ""
        self.app.repaint()
        try:
            await self._look(action, params, stop)
        except CockpitError as error:
            self.misread = error.message
            self.app.complain(error, f"{action.title}: ")
        if self._stop is stop:
            self.reading = ""
            self.app.repaint()

    async def _look(self, action: Action, params: Any, stop: threading.Event) -> None:
        session = self.app.session

        def read() -> None:
            heard: set[str] = set()
            try:
                for fact in (action.look or _nothing)(session.clients, session.store.snapshot(), params, stop):
                    heard.add(fact.source)
                    session.store.apply(fact)
            finally:  # nobody watches these sources: what was heard is all there is, and none of them is still starting
                session.store.apply(*(Synced(name) for name in sorted(heard)))

        await asyncio.to_thread(read)

    def _anew(self) -> threading.Event:
        self._stop.set()
        self._stop = threading.Event()
        return self._stop

    def close(self) -> None:
        """End what is being read."""
        self._stop.set()


def about(params: Any) -> str:
    """What is read, in the words of the parameters that name it."""
    if node := getattr(params, "node", ()):
        return f"what is on {node if isinstance(node, str) else ', '.join(node)}"
    if hasattr(params, "gpu"):
        return "the device plugin and its configurations"
    if hasattr(params, "id"):
        return "the journal, and what it tells of as it is now"
    job, space = getattr(params, "job", ""), getattr(params, "namespace", "")
    return f"the checkpoints of {job}" if job else f"the checkpoints in {space}" if space else "all checkpoints"


def _nothing(*_: Any) -> Iterator[Fact]:
    return iter(())
