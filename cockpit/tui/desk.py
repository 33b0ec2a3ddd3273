"""From a key to a done change, for every action alike: parameters, plan, confirmation, application. Nothing is painted before the cluster says so."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from actions.core import Action, Change, Plan, Result, Risk, params_of, parse
from actions.core.apply import ApplyFailed, apply
from actions.core.sealing import prompt_for
from cockpit.errors import CockpitError
from cockpit.tui.confirm import ConfirmScreen
from cockpit.tui.detail import Room
from cockpit.tui.form import FormScreen
from cockpit.tui.logs import Feed, following, turned
from cockpit.tui.looking import Looks
from cockpit.tui.secret import SecretScreen
from cockpit.tui.textlines import Line

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class Desk:
    """Where actions are carried out on behalf of the person at the keys."""

    def __init__(self, app: CockpitApp) -> None:
        self.app = app
        self.feed: Feed | None = None
        self.looks = Looks(app)
        self.last_command = ""

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
        if not values or self.app.verbs.missing(action, values) or action.plan is None:
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
            self._begin(action, params, plan)
        else:
            dialog = ConfirmScreen(action, plan, self.app.place)
            self.app.push_screen(dialog, lambda yes: self._begin(action, params, plan) if yes else None)

    def _begin(self, action: Action, params: Any, plan: Plan) -> None:
        self.app.run_worker(self._apply(action, params, plan), group="action", exit_on_error=False)

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
            result = await asyncio.to_thread(apply, plan, clients, action=action.name, params=params, on_done=self._done)
        except ApplyFailed as error:
            self.app.complain(error, f"{action.title}: {len(error.result.changes)} of {len(plan.changes)} changes made. ")
            return
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
        if self.app.verbs.missing(action, values) or (action.asks and not values):
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

    def _stream(self, action: Action, values: dict[str, Any]) -> None:
        session = self.app.session
        assert session is not None
        if self.feed is not None:
            self.feed.close()
        feed = self.feed = Feed(action, session.clients, self.app.scene.snapshot, values)
        feed.start()
        about = " ".join(str(value) for name, value in values.items() if name not in ("follow",))
        room = Room(title=f"{action.title} {about}", following=True, close=feed.close)

        def turn(word: str) -> None:
            changed = turned(action, values, word, self._pods(values))
            if changed != values:
                self.app.leave()
                self._stream(action, changed)

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

    def pump(self) -> None:
        """Hand what the stream brought to the text on screen."""
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
