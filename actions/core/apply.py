"""What was confirmed is what is done: one generic function for every verb, and the server's own judgement for a dry run."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Callable, Mapping
from typing import Any

from actions.core import JSON_PATCH, Change, Clients, Plan, Result
from actions.core.journal import Journal
from actions.core.performing import Performer
from actions.core.permissions import check
from actions.core.sealing import hidden_in, mask, unsealed
from actions.core.standing import differences
from cockpit.errors import CockpitError, Conflict


def apply(
    plan: Plan,
    clients: Clients,
    *,
    action: str,
    params: Any,
    dry_run: bool = False,
    journal: Journal | None = None,
    on_done: Callable[[Change], None] = lambda change: None,
    tell: Callable[[str], None] = lambda line: None,
    stop: threading.Event | None = None,
    leave: Callable[[str], bool] = lambda program: True,
) -> Result:
    """Apply a plan's changes in order; stops at the first that fails and says which were made. A dry run asks the server to judge each.

    `tell` hears how steps that take their time go on, `stop` ends them. Every program of the plan is looked for before the first change; `leave` is
    asked on ctrl-c whether one is to be left running.
    """
    check(plan)
    result = Result(action=action, dry_run=dry_run, warnings=list(plan.warnings))
    result.cluster = clients.kube.cluster if clients.kube else None
    result.simulated = clients.kube.simulated if clients.kube else None
    _look_for_programs(plan, clients, dry_run)
    try:
        made = unsealed(plan.changes, clients, dry_run)
    except CockpitError as error:
        raise ApplyFailed(error, result) from error
    book = journal or Journal()
    performer = Performer(clients, dry_run, tell, stop or threading.Event(), book, leave)
    entry = None if dry_run or not plan.changes else begun(book, plan, clients, action, params)
    result.journal_id, performer.entry = entry, entry or ""
    try:
        for index, change in enumerate(plan.changes):
            answer = performer.perform(made[index])
            result.changes.append(described(change, answer))
            if entry:
                book.mark(entry, index)
            on_done(change)
    except CockpitError as error:
        failure = _failure(error, plan, len(result.changes), clients)
        mask(failure, hidden_in(made))
        result.ok, result.error = False, failure.to_dict()
        if entry:
            book.end(entry, "failed", failure.message)
        raise ApplyFailed(failure, result) from None
    if entry:
        book.end(entry, "done")
    return result


def _look_for_programs(plan: Plan, clients: Clients, dry_run: bool) -> None:
    """NotFound for a program that is not installed, before anything is changed."""
    if not dry_run:
        for program in dict.fromkeys(change.argv[0] for change in plan.changes if change.via == "shell"):
            clients.shell.require(program)


def begun(book: Journal, plan: Plan, clients: Clients, action: str, params: Any, passing: bool = False) -> str:
    """Announce a plan in the journal, with where it is applied and by whom; its entry."""
    kube = clients.kube
    where = (kube.cluster, kube.server, kube.user) if kube else ("", "", "")
    return book.begin(action, where[0], dataclasses.asdict(params), plan, where[1], where[2], passing)


class ApplyFailed(CockpitError):
    """A change was refused; `result` holds those made before it, and the code and exit code are the cause's own."""

    def __init__(self, cause: CockpitError, result: Result) -> None:
        super().__init__(cause.message, cause.hint)
        self.code, self.exit_code = cause.code, cause.exit_code
        self.result = result


def _failure(error: CockpitError, plan: Plan, index: int, clients: Clients) -> CockpitError:
    """Why a change was not made, as far as it can be told: what moved, or which step it was."""
    change = plan.changes[index]
    if isinstance(error, Conflict) and change.via == "kube":
        return _told(error, change, clients)
    return _in_step(error, change, index, len(plan.changes))


def _told(error: CockpitError, change: Change, clients: Clients) -> CockpitError:
    """The conflict with what changed: the fields of the change that are not as they were when it was planned."""
    if change.verb != "patch":
        return error
    try:
        now = clients.kube.request("GET", change.target.path())
    except CockpitError as other:
        return Conflict(f"{error.message} ({change.target} can no longer be read: {other.message})", error.hint)
    moved = differences((change.inverse.body if change.inverse else None) or {}, now)
    said = moved or "none of the fields that this sets, but something else of it"
    return Conflict(f"{change.target} changed since it was planned: {said}", error.hint)


def described(change: Change, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The change as it was made: an object the server named has that name."""
    shown = change.to_dict()
    if change.verb == "create" and not change.target.name:
        shown["object"]["name"] = (answer.get("metadata") or {}).get("name") or ""
    return shown


def _in_step(error: CockpitError, change: Change, index: int, steps: int) -> CockpitError:
    """The failure of a program or of AWS, with the step it was and how to go on; others as they are."""
    if change.via not in ("shell", "aws"):
        return error
    placed = CockpitError(f"step {index + 1} of {steps}, {change.summary}: {error.message}")
    again = "" if "run the same again" in error.hint else "then run the same again: it plans from what exists"
    placed.hint = "\n".join(filter(None, (error.hint, again)))
    placed.code, placed.exit_code = error.code, error.exit_code
    return placed


__all__ = ["JSON_PATCH", "ApplyFailed", "apply", "begun", "described"]
