"""From a key to a done change, for every action alike: parameters, plan, confirmation, application. Nothing is painted before the cluster says so."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actions.core import Action, Change, Plan, Result, Risk, params_of, parse
from actions.core.apply import ApplyFailed, apply
from actions.core.journal import Entry, Journal
from actions.core.passing import lasting
from actions.core.permissions import judged
from actions.core.sealing import prompt_for
from cockpit.errors import CockpitError
from cockpit.tui.confirm import ConfirmScreen
from cockpit.tui.detail import Room
from cockpit.tui.form import FormScreen
from cockpit.tui.logs import Feed, following, turned
from cockpit.tui.looking import Looks
from cockpit.tui.secret import SecretScreen
from cockpit.tui.textlines import Line
from cockpit.tui.unfinished import UnfinishedScreen

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class Desk:
    """Where actions are carried out on behalf of the person at the keys."""

    def __init__(self, app: CockpitApp) -> None:
        self.app = app
        self.feed: Feed | None = None
        self.looks = Looks(app)
        self.last_command = ""
        self._told: deque[tuple[str, str]] = deque()
        self._progress: Room | None = None

    def start(self, action: Action, values: Mapping[str, str]) -> None:
        """Begin an action with the values the row gives; says why when it does not apply."""
        refusal = self.app.verbs.refusal(action, self.app.scene.snapshot, values)
        if refusal:
            self.app.say(f"{action.title}: {refusal}", "warning")
        elif action.plan is not None:
            self._change(action, dict(values))
        elif self.app.session is None:
            self.app.say(f"{action.title}: not connected", "warning")
        else:
            self._read(action, dict(values))

    def _change(self, action: Action, values: dict[str, str]) -> None:
        """Straight to the plan when the row gives all that is required, else by the form.

        The dialog opens within the key's own turn, so that a key typed ahead is an answer to it and no key of the pane.
        """
        given = {**self._here(action), **values}
        asks = not values if action.form is None else action.form
        if asks or self.app.verbs.missing(action, values) or action.plan is None:
            form = FormScreen(action, self.app.scene.snapshot, given)
            self.app.push_screen(form, lambda settled: self._settled(action, *settled) if settled is not None else None)
            return
        try:
            params = parse(action.params, given)
            plan = action.plan(self.app.scene.snapshot, params) if action.look is None else Plan()
        except CockpitError as error:
            self.app.complain(error)
            return
        self._settled(action, params, plan)

    def _settled(self, action: Action, params: Any, plan: Plan) -> None:
        """The plan as it is, or the plan of what is read first."""
        if action.look is None:
            self._confirm(action, params, plan)
        elif self.app.session is None:
            self.app.say(f"{action.title}: not connected", "warning")
        else:
            self.looks.before(action, params, lambda plan: self._confirm(action, params, plan))

    def _here(self, action: Action) -> dict[str, str]:
        """The namespace a change goes to unless another is named: the one looked at, else the context's."""
        space = self.app.namespace or (self.app.session.kube.namespace if self.app.session is not None else "")
        asks = action.risk is not Risk.READ and any(one.name == "namespace" for one in params_of(action.params))
        return {"namespace": space} if asks and space else {}

    def _confirm(self, action: Action, params: Any, plan: Plan) -> None:
        plan = plan.on(self.app.session.kube.simulated if self.app.session is not None else None)
        if plan.already and not plan.changes:
            self.app.say(plan.already)
        elif action.risk_of(plan) is Risk.READ:
            self._begin(action, plan.params or params, plan)
        else:
            dialog = ConfirmScreen(action, plan, self.app.place)
            self.app.push_screen(dialog, lambda yes: self._begin(action, plan.params or params, dialog.plan) if yes else None)
            self.app.run_worker(self._judge(dialog, plan), group="judge", exclusive=True, exit_on_error=False)

    async def _judge(self, dialog: ConfirmScreen, plan: Plan) -> None:
        """Tell the dialog which steps are forbidden; without a cluster there is nobody to ask, and nothing will be done either."""
        session = self.app.session
        dialog.judged(plan if session is None else await asyncio.to_thread(judged, plan, session.clients))

    def _begin(self, action: Action, params: Any, plan: Plan) -> None:
        if action.records is not None and self.app.session is not None:
            self._errand(action, params, plan)
        else:
            self.app.run_worker(self._apply(action, params, plan), group="action", exit_on_error=False)

    def _errand(self, action: Action, params: Any, plan: Plan) -> None:
        """What is made only for a while: a program on the terminal, or records in a room; leaving it takes it back."""
        if plan.attaches:
            self.app.run_worker(self._take_over(action, params, plan), group="action", exit_on_error=False)
        else:
            self._stream(action, dict(vars(params)), plan)

    async def _take_over(self, action: Action, params: Any, plan: Plan) -> None:
        session, picture = self.app.session, self.app.scene.snapshot
        assert session is not None and action.attach is not None
        with ExitStack() as made:
            try:
                self.app.say(f"{action.title}: starting")
                await asyncio.to_thread(made.enter_context, lasting(plan, session.clients, action=action.name, params=params))
                argv = await asyncio.to_thread(action.attach, session.clients, picture, params, threading.Event())
                with self.app.suspend():
                    session.shell.attach(argv)
                await asyncio.to_thread(made.close)
            except CockpitError as error:
                self.app.complain(error)
                return
        self.app.say(f"{action.title}: done, and removed")

    def close(self) -> None:
        """Leave what is being read, and let go of what was made for it."""
        if self.feed is not None:
            self.feed.leave()

    async def _apply(self, action: Action, params: Any, plan: Plan) -> None:
        session = self.app.session
        if session is None:
            self.app.say(f"{action.title}: not connected", "error")
            return
        answers = await self._secrets(plan)
        clients = replace(session.clients, ask=answers.pop) if answers is not None else None
        if clients is None:
            self.app.say(f"{action.title}: left; nothing was changed")
            return
        try:
            result = await asyncio.to_thread(
                apply,
                plan,
                clients,
                action=action.name,
                params=params,
                on_done=self._done,
                tell=lambda line: self._told.append((action.title, line)),
            )
        except ApplyFailed as error:
            self.app.complain(error, f"{action.title}: {len(error.result.changes)} of {len(plan.changes)} changes made. ")
            return
        finally:
            self._show_progress()
            self._progress = None
        self._tell(action, result)

    async def _secrets(self, plan: Plan) -> dict[str, str] | None:
        """What a person types for the secrets of a plan, by the question for each; None when one was left."""
        answers: dict[str, str] = {}
        for question in (prompt_for(change, key) for change in plan.changes for key, source in change.sealed.items() if source == "prompt"):
            typed = await self.app.push_screen_wait(SecretScreen(question))
            if not typed:
                return None
            answers[question] = typed
        return answers

    def _done(self, change: Change) -> None:
        self.last_command = change.line or change.summary

    def _tell(self, action: Action, result: Result) -> None:
        count = len(result.changes)
        self.app.say(f"{action.title}: done" + (f", {count} changes" if count > 1 else ""))
        for warning in result.warnings:
            self.app.say(warning, "warning")

    def _read(self, action: Action, values: dict[str, str]) -> None:
        if self.app.verbs.missing(action, values) or (action.form and not values):
            self.app.run_worker(self._ask_then_read(action, values), group="action", exit_on_error=False)
            return
        if action.look is not None:
            self._refresh(action, values)
            return
        self._stream(action, following(action, values) if action.streams else values)

    def _refresh(self, action: Action, values: dict[str, str]) -> None:
        """Read from outside what the tables show."""
        try:
            self.looks.refresh(action, parse(action.params, values))
        except CockpitError as error:
            self.app.complain(error)

    async def _ask_then_read(self, action: Action, values: dict[str, str]) -> None:
        settled = await self.app.push_screen_wait(FormScreen(action, self.app.scene.snapshot, values))
        if settled is not None:
            given = {name: value for name, value in vars(settled[0]).items() if value not in (None, "", ())}
            self._stream(action, following(action, given) if action.streams else given)

    def _stream(self, action: Action, values: dict[str, Any], plan: Plan | None = None) -> None:
        session = self.app.session
        assert session is not None
        if self.feed is not None:
            self.feed.close()
        feed = self.feed = Feed(action, session.clients, self.app.scene.snapshot, values, plan)
        feed.start()
        told = [value for name, value in values.items() if name != "follow" and value is not False]
        about = " ".join(", ".join(value) if isinstance(value, tuple) else str(value) for value in told)
        about = values["name"] if plan is not None else about
        room = Room(title=f"{action.title} {about}", following=True, close=feed.close)

        def turn(word: str) -> None:
            changed = turned(action, values, word, self._pods(values))
            if changed != values:
                self.app.leave()
                self._stream(action, changed)

        if plan is None:
            room.turn = turn
        self.app.enter(room)

    def _pods(self, values: Mapping[str, Any]) -> list[str]:
        """The pods that `[` and `]` go through: those of the job, or of the job the pod belongs to."""
        picture, space = self.app.scene.snapshot, values.get("namespace")
        for key in picture.jobs:
            names = [pod.key.name for pod in picture.pods_of(key)]
            if space in (None, "", key.namespace) and (key.name == values.get("job") or values.get("pod") in names):
                return names
        return []

    def _show_progress(self) -> None:
        """What long steps tell goes into a text of its own, which can be left while they go on."""
        while self._told:
            title, text = self._told.popleft()
            line, shown = Line(text), self.app.detail.room
            if self._progress is None:
                self._progress = shown = Room(title=f"{title} goes on", following=True)
                self.app.enter(self._progress)
            self._progress.lines.append(line)
            if shown is self._progress:
                self.app.detail.text.append([line], 0)

    # -- what was cut short -----------------------------------------------------------------------------------------------------------------

    def remind(self) -> None:
        """Offer to finish or undo what an earlier cockpit left half-made on this cluster, the newest first."""
        kube = self.app.session.kube
        left = [] if self.app.verbs.readonly else Journal().cut_short(kube.cluster, kube.server)
        if left:
            ways = [action for action in self.app.verbs.actions if action.mends]
            self.app.push_screen(UnfinishedScreen(left[0], ways), lambda word: self._mend(left[0], word))

    def _mend(self, entry: Entry, word: str | None) -> None:
        if word == "keep":
            Journal().end(entry.id, "kept")
            self.remind()
        elif word and (action := self.app.verbs.named(word)) is not None:
            self.start(action, {"id": entry.id})

    def pump(self) -> None:
        """Hand what the stream brought to the text on screen."""
        self._show_progress()
        if self.feed is None:
            return
        lines, dropped = self.feed.drain()
        if lines or dropped:
            room = self.app.detail.room
            if room is not None and room.view is None:
                room.lines.extend(lines)
                self.app.detail.text.append(lines, dropped)

    def fetch(self, title: str, path: str, to_lines: Any) -> None:
        """Read one object in a thread and open it as text."""
        self.app.run_worker(self._fetch(title, path, to_lines), group="fetch", exclusive=True, exit_on_error=False)

    async def _fetch(self, title: str, path: str, to_lines: Any) -> None:
        session = self.app.session
        if session is None:
            self.app.say("not connected", "warning")
            return
        try:
            found = await asyncio.to_thread(session.kube.request, "GET", path)
            lines: list[Line] = to_lines(found)
        except CockpitError as error:
            self.app.complain(error)
            return
        self.app.enter(Room(title=title, lines=lines))
