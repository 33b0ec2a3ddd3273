"""One action run without a screen: a view is read and shown; a plan is confirmed, applied and, when asked, waited for."""

from __future__ import annotations

import sys
import threading
import time
from contextlib import suppress
from dataclasses import dataclass, field, replace
from typing import Any

from actions.core import Action, Outcome, Plan, Result, Risk
from actions.core.permissions import check, judged
from cockpit.errors import (
    ActionFailed,
    BadInput,
    CockpitError,
    Disabled,
    Interrupted,
    NotAuthorised,
    NotServed,
    Refused,
    TimedOut,
    Unreachable,
)
from cockpit.flags import Asked
from cockpit.narration import ask, ask_secret, say
from cockpit.snapshot import Snapshot
from cockpit.telling import alarm, in_time, judge, pour, tabulate, warn
from cockpit.worlds import World, alone, may_go_without

WAIT_SECONDS = 600.0
LOOK_SECONDS = 1.0


@dataclass
class Call:
    """An action with its parameters, about to run; `streamed` says that stdout has had its records."""

    asked: Asked
    action: Action
    params: Any
    world: World
    result: Result
    streamed: bool = False
    started: float = field(default_factory=time.monotonic)

    def left(self, default: float | None = None) -> float | None:
        """Seconds until the time allowed is over; None when nothing limits it."""
        allowed = self.asked.timeout_seconds or default
        return None if allowed is None else self.started + allowed - time.monotonic()


def run(call: Call) -> None:
    """Run it; the answer is in `call.result`, a failure is raised.

    The journal is looked through while a view waits for the API, and before a plan is made.
    """
    reminder = threading.Thread(target=_remind, args=(call,), name="reminder", daemon=True)
    reminder.start()
    if call.action.plan is not None:
        reminder.join()
    _kind(call)
    reminder.join()


def _kind(call: Call) -> None:
    """An errand, a change, a stream or a view."""
    if call.action.plan is not None and call.action.records is not None:
        _errand(call)
    elif call.action.plan is not None:
        _change(call)
    elif call.action.streams:
        _stream(call)
    else:
        _view(call)


def _view(call: Call) -> None:
    """A view's records as the result; what the cluster does not serve is said, and is not an empty table that looks true."""
    _read(call)
    tabulate(call, _looked(call, call.world.snapshot()))
    if call.world.simulated:
        say(f"cluster {call.world.name}: SIMULATED")
    judge(call)


def _read(call: Call) -> None:
    needs = call.action.needs_of(call.params)
    try:
        with suppress(NotServed):
            call.world.fill(needs, call.action.can_lack)
    except (Unreachable, NotAuthorised) as error:
        if not may_go_without(call.asked, call.action):
            raise
        warn(call, f"{error.message}: going without a cluster")
        call.world = alone(call.asked, error)
    picture = call.world.snapshot()
    for source in needs:
        limits = picture.limits(source)
        if call.world.session is None:
            break
        if picture.absent(source) or picture.forbidden(source):
            why = picture.health[source].error
            warn(call, f"{source}: {why.message if why else 'not served by this cluster'}")
        elif limits:
            warn(call, f"{source}: {limits}")


def _stream(call: Call) -> None:
    """Records as they come: lines for a person, JSON lines, or all of them in one object."""
    _read(call)
    pour(call, call.world.snapshot())


def _planned(call: Call) -> tuple[Snapshot, Plan]:
    """What is seen, and the plan made of it, shown."""
    call.world.fill(call.action.needs_of(call.params), call.action.can_lack)
    picture = call.world.snapshot()
    reason = call.action.disabled(picture, call.params)
    if reason:
        raise Disabled(f"{call.action.name}: {reason}")
    picture = _looked(call, picture)
    assert call.action.plan is not None
    # The steps that this person may not take are told before the first is taken, and then none is.
    plan = judged(call.action.plan(picture, call.params).on(call.world.simulated), call.world.clients)
    _preview(call, plan)
    return picture, plan


def _errand(call: Call) -> None:
    """Plan, confirm, apply, read the records or hand the terminal over, and take the changes back."""
    picture, plan = _planned(call)
    call.params = plan.params or call.params
    if plan.attaches and not (sys.stdin.isatty() and sys.stdout.isatty()) and not call.asked.dry_run:
        raise BadInput(f"{call.action.name} takes over the terminal, and this is none", "run it in a terminal, or give it a --command")
    _confirm(call, plan)
    if call.asked.dry_run:
        _apply(call, plan)
        return
    from actions.core.passing import lasting

    try:
        with lasting(plan, call.world.clients, action=call.action.name, params=call.params) as made:
            call.result.changes, call.result.journal_id = made.changes, made.journal_id
            read = _attach if plan.attaches else pour if call.action.streams else tabulate
            read(call, picture)
    except KeyboardInterrupt:
        raise Interrupted("interrupted", "what was made for it is removed") from None
    judge(call)


def _attach(call: Call, picture: Snapshot) -> None:
    assert call.action.attach is not None
    with in_time(call) as stop:
        argv = call.action.attach(call.world.clients, picture, call.params, stop)
    call.result.result = {"exit_code": call.world.clients.shell.attach(argv)}


def _change(call: Call) -> None:
    """Plan, confirm, apply, wait."""
    _, plan = _planned(call)
    if plan.already:
        call.result.result = {"already": plan.already}
    else:
        _confirm(call, plan)
        _apply(call, plan)
    if call.asked.wait and call.action.follow is not None and call.world.session is not None and not (call.asked.dry_run or plan.already):
        _wait(call, call.action, plan.params or call.params)


def _remind(call: Call) -> None:
    """Say what an earlier cockpit was about to do when it was cut short."""
    from actions.core.journal import Journal

    kube = call.world.clients.kube
    for entry in Journal().cut_short(kube.cluster, kube.server) if kube is not None else ():
        made = f"{len(entry.done)} of {len(entry.changes)} changes made"
        on = "" if entry.passing else f"--action finish --id {entry.id}, or "
        say(f"warning: {entry.action} {entry.id} was cut short, {made}: {on}--action undo --id {entry.id}")


def _looked(call: Call, picture: Snapshot) -> Snapshot:
    """The picture with what the action reads from outside by itself; running out of time ends that reading."""
    if call.action.look is None:
        return picture
    with in_time(call) as stop:
        for fact in call.action.look(call.world.clients, picture, call.params, stop):
            call.world.store.apply(fact)
    return call.world.snapshot()


def _preview(call: Call, plan: Plan) -> None:
    told = () if not call.asked.output and not needs_yes(call.action, plan) else tuple(change.summary for change in plan.changes)
    for line in (*plan.notes, *told):
        say(line)
    for text in (*plan.warnings, *(f"forbidden: {text}" for text in plan.denied)):
        warn(call, text)
    if plan.denied:
        call.result.changes = [change.to_dict() for change in plan.changes]


def needs_yes(action: Action, plan: Plan) -> bool:
    """True when a person must agree first: what destroys, and what spends real money."""
    risk = action.risk_of(plan)
    return risk is Risk.DESTROY or (risk is Risk.SPEND and not plan.simulated)


def _confirm(call: Call, plan: Plan) -> None:
    """Agreed to, where that is asked; what is forbidden is not asked about."""
    check(plan)
    if call.asked.yes or call.asked.dry_run or not needs_yes(call.action, plan):
        return
    word = plan.confirm if call.action.risk_of(plan) is Risk.SPEND else ""
    answer = ask(f"type {word} to go on:" if word else "go on? [y/N]")
    if answer is not None and (answer == word if word else answer.lower() in ("y", "yes")):
        return
    call.result.changes = [change.to_dict() for change in plan.changes]
    if answer is None:
        raise Refused(f"{call.action.name} needs --yes", "nothing was changed; `changes` holds the plan, and --dry-run lets the server judge it")
    raise Refused(f"{call.action.name} was not confirmed", "nothing was changed")


def _apply(call: Call, plan: Plan) -> None:
    from actions.core.apply import ApplyFailed, apply

    params, stop, late = plan.params or call.params, threading.Event(), threading.Event()
    timer = alarm(call.left(), late, stop)
    clients = replace(call.world.clients, ask=ask_secret)
    try:
        applied = apply(plan, clients, action=call.action.name, params=params, dry_run=call.asked.dry_run, tell=say, stop=stop, leave=_leave)
    except ApplyFailed as error:
        if late.is_set():
            error.code, error.exit_code = TimedOut.code, TimedOut.exit_code
        raise
    finally:
        if timer is not None:
            timer.cancel()
    call.result.changes, call.result.journal_id = applied.changes, applied.journal_id


def _leave(program: str) -> bool:
    """Whether a program that ctrl-c interrupts goes on by itself; so it does when nobody can be asked."""
    try:
        answer = ask(f"leave {program} running? [Y/n]")
    except KeyboardInterrupt:
        return True
    return answer is None or answer.lower() not in ("n", "no")


def _wait(call: Call, action: Action, params: Any) -> None:
    """Follow what was started to its end; a time-out leaves it running."""
    assert action.follow is not None and call.world.session is not None
    call.world.session.watch(action.follow_needs)
    outcome = _follow(call, action, params)
    if outcome.done:
        outcome = _last_look(call, action, params, outcome)
    call.result.result = outcome.result
    if not outcome.done:
        hint = "it goes on running; raise --timeout to wait longer"
        raise TimedOut(f"{action.name} is not over after {call.asked.timeout_seconds or WAIT_SECONDS:g} s: {outcome.line}", hint)
    if not outcome.ok:
        raise ActionFailed(outcome.line, _explained(call, action, params))


def _follow(call: Call, action: Action, params: Any) -> Outcome:
    assert action.follow is not None
    told = ""
    while True:
        call.world.wake.clear()
        outcome = action.follow(call.world.snapshot(), params)
        if outcome.line and outcome.line != told:
            told = outcome.line
            say(told)
        left = call.left(WAIT_SECONDS) or 0.0
        if outcome.done or left <= 0:
            return outcome
        call.world.wake.wait(min(LOOK_SECONDS, left))


def _last_look(call: Call, action: Action, params: Any, outcome: Outcome) -> Outcome:
    """Read everything once more when it is over, so that the result holds the last step and not the last one that was seen go by."""
    assert action.follow is not None
    try:
        call.world.fill(action.follow_needs, action.can_lack)
    except CockpitError as error:
        warn(call, f"the result may lack the last steps: {error.message}")
        return outcome
    again = action.follow(call.world.snapshot(), params)
    return again if again.done else outcome


def _explained(call: Call, action: Action, params: Any) -> str:
    if action.explain is None:
        return ""
    try:
        return action.explain(call.world.clients, call.world.snapshot(), params)
    except CockpitError as error:
        return f"its log could not be read: {error.message}"
