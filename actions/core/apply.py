"""What was confirmed is what is done: one generic function for every verb, and the server's own judgement for a dry run."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.core import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Change, Clients, Plan, Result
from actions.core.journal import Journal, state_home
from actions.core.render import fill
from cockpit.errors import CockpitError, NotFound, TimedOut
from cockpit.snapshot import Snapshot

FIELD_MANAGER = "cockpit"
GONE_SECONDS, GONE_POLL_SECONDS = 300.0, 0.5
"""How long a change waits for objects to go beyond their grace, and how often it looks."""


def apply(
    plan: Plan,
    clients: Clients,
    *,
    action: str,
    params: Any,
    dry_run: bool = False,
    journal: Journal | None = None,
    on_done: Callable[[Change], None] = lambda change: None,
    on_line: Callable[[str], None] = lambda line: None,
    leave: Callable[[str], bool] = lambda program: True,
) -> Result:
    """Apply a plan's changes in order; stops at the first that fails and says which were made. A dry run asks the server to judge each.

    Every program the plan runs is looked for before the first change. `on_line` gets their words as they come; `leave` is asked on ctrl-c whether
    the program is to be left running.
    """
    result = Result(action=action, dry_run=dry_run, warnings=list(plan.warnings))
    result.cluster = clients.kube.cluster if clients.kube else None
    result.simulated = clients.kube.simulated if clients.kube else None
    if not dry_run:
        for program in dict.fromkeys(change.argv[0] for change in plan.changes if change.via == "shell"):
            clients.shell.require(program)
    book = None if dry_run or not plan.changes else journal or Journal()
    entry_id = book.begin(action, result.cluster or "", dataclasses.asdict(params), plan.changes) if book else None
    result.journal_id = entry_id
    index, run = 0, _Run(clients, dry_run, state_home() / "steps" / (entry_id or "none"), on_line, leave)
    try:
        for index, change in enumerate(plan.changes):
            answer = run.perform(change, index)
            result.changes.append(_done(change, answer))
            if book and entry_id:
                book.mark(entry_id, index)
            on_done(change)
    except CockpitError as error:
        result.ok, result.error = False, error.to_dict()
        if book and entry_id:
            book.end(entry_id, "failed", error.message)
        raise ApplyFailed(_in_step(error, plan, index), result) from error
    if book and entry_id:
        book.end(entry_id, "done")
    return result


class ApplyFailed(CockpitError):
    """A change was refused; `result` holds those made before it, and the code and exit code are the cause's own."""

    def __init__(self, cause: CockpitError, result: Result) -> None:
        super().__init__(cause.message, cause.hint)
        self.code, self.exit_code = cause.code, cause.exit_code
        self.result = result


def _done(change: Change, answer: Mapping[str, Any]) -> dict[str, Any]:
    """The change as it was made: an object the server named has that name."""
    shown = change.to_dict()
    if change.verb == "create" and not change.target.name:
        shown["object"]["name"] = (answer.get("metadata") or {}).get("name") or ""
    return shown


def _in_step(error: CockpitError, plan: Plan, index: int) -> CockpitError:
    """The failure of a program or of AWS, with the step it was and how to go on; others as they are."""
    change = plan.changes[index]
    if change.via not in ("shell", "aws"):
        return error
    placed = CockpitError(f"step {index + 1} of {len(plan.changes)}, {change.summary}: {error.message}")
    again = "" if "run the same again" in error.hint else "then run the same again: it plans from what exists"
    placed.hint = "\n".join(filter(None, (error.hint, again)))
    placed.code, placed.exit_code = error.code, error.exit_code
    return placed


@dataclass
class _Run:
    """One plan being applied; `known` holds what AWS answered, for the holes of later changes.

    `spaces` are namespaces that a dry run would have made: what goes into them cannot be judged by a server that does not have them.
    """

    clients: Clients
    dry_run: bool
    logs: Path
    on_line: Callable[[str], None]
    leave: Callable[[str], bool]
    known: dict[str, Any] = field(default_factory=dict)
    spaces: set[str] = field(default_factory=set)

    def perform(self, change: Change, index: int) -> Mapping[str, Any]:
        """Make one change; what the server answers."""
        if change.via in ("shell", "checkpoints", "aws"):
            if not self.dry_run:
                {"shell": self._shell, "checkpoints": self._checkpoints, "aws": self._aws}[change.via](change, index)
            return {}
        if change.holes:
            values = {name: self.known.get(name) or f"known-later-{name.replace('_', '-')}" for name in change.holes}
            change = dataclasses.replace(change, body=fill(change.body, values))
        if self.dry_run and change.target.namespace in self.spaces:
            return {}
        if self.dry_run and change.target.kind == "Namespace":
            self.spaces.add(change.target.name)
        params: dict[str, str] = {"dryRun": "All"} if self.dry_run else {}
        make = {"create": _create, "apply": _apply, "patch": _patch, "delete": _delete, "wait": _wait}[change.verb]
        return make(change, self.clients.kube, params)

    def _shell(self, change: Change, index: int) -> None:
        log = self.logs.with_name(f"{self.logs.name}-{index + 1}-{Path(change.argv[0]).name}.log")
        stdin = as_yaml(change.body) if change.body is not None else ""
        self.clients.shell.attend(change.argv, log, stdin, self.on_line, change.env, self.leave)

    def _checkpoints(self, change: Change, index: int) -> None:
        from actions.core.looking import remove

        remove(self.clients, Snapshot(), change.target.namespace, change.body or {})

    def _aws(self, change: Change, index: int) -> None:
        assert change.body is not None
        arguments = fill(change.body["arguments"], self.known) if change.holes else change.body["arguments"]
        self.known |= self.clients.aws.at(change.body["region"]).change(change.body["call"], arguments, self.on_line)


def as_yaml(body: Any) -> str:
    """The text a program reads."""
    import yaml

    return str(yaml.safe_dump(dict(body), sort_keys=False))


def _create(change: Change, kube: Any, params: dict[str, str]) -> Mapping[str, Any]:
    checked = params | {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
    answer: Mapping[str, Any] = kube.request("POST", change.target.path(with_name=False), params=checked, body=change.body)
    return answer


def _apply(change: Change, kube: Any, params: dict[str, str]) -> Mapping[str, Any]:
    checked = params | {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "false"}
    answer: Mapping[str, Any] = kube.request("PATCH", change.target.path(), params=checked, body=change.body, content_type=APPLY_PATCH)
    return answer


def _patch(change: Change, kube: Any, params: dict[str, str]) -> Mapping[str, Any]:
    body: Any = change.body
    if change.content_type == MERGE_PATCH and change.resource_version:
        body = _with_resource_version(change.body or {}, change.resource_version)
    asked = params | {"fieldManager": FIELD_MANAGER}
    answer: Mapping[str, Any] = kube.request("PATCH", change.target.path(), params=asked, body=body, content_type=change.content_type)
    return answer


def _with_resource_version(body: Mapping[str, Any], resource_version: str) -> dict[str, Any]:
    return {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": resource_version}}


def _wait(change: Change, kube: Any, params: dict[str, str]) -> Mapping[str, Any]:
    """Until no object of the target's kind carries those labels."""
    if params:
        return {}
    deadline = time.monotonic() + GONE_SECONDS + (change.grace_seconds or 0)
    while (found := kube.request("GET", change.target.path(with_name=False), params={"labelSelector": change.selector, "limit": "1"})).get("items"):
        if time.monotonic() > deadline:
            name = (found["items"][0].get("metadata") or {}).get("name")
            raise TimedOut(f"{change.target.kind.lower()} {name} does not go", "kubectl describe says what holds it; what was to follow was not done")
        threading.Event().wait(GONE_POLL_SECONDS)
    return {}


def _delete(change: Change, kube: Any, params: dict[str, str]) -> Mapping[str, Any]:
    options: dict[str, Any] = {"propagationPolicy": "Background"}
    if change.selector:
        chosen = params | {"labelSelector": change.selector}
        kube.request("DELETE", change.target.path(with_name=False), params=chosen, body=options)
        return {}
    if change.grace_seconds is not None:
        options["gracePeriodSeconds"] = change.grace_seconds
    try:
        kube.request("DELETE", change.target.path(), params=params, body=options)
    except NotFound:
        return {}
    return {}


__all__ = ["JSON_PATCH", "ApplyFailed", "apply"]
