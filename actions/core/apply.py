"""What was confirmed is what is done: one generic function for every verb, and the server's own judgement for a dry run."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

from actions.core import APPLY_PATCH, JSON_PATCH, MERGE_PATCH, Change, Clients, Plan, Result
from actions.core.journal import Journal
from actions.core.sealing import hidden_in, mask, unsealed
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
) -> Result:
    """Apply a plan's changes in order; stops at the first that fails and says which were made. A dry run asks the server to judge each."""
    result = Result(action=action, dry_run=dry_run, warnings=list(plan.warnings))
    result.cluster = clients.kube.cluster if clients.kube else None
    result.simulated = clients.kube.simulated if clients.kube else None
    try:
        made = unsealed(plan.changes, clients, dry_run)
    except CockpitError as error:
        raise ApplyFailed(error, result) from error
    book = None if dry_run or not plan.changes else journal or Journal()
    entry_id = book.begin(action, result.cluster or "", dataclasses.asdict(params), plan.changes) if book else None
    result.journal_id = entry_id
    try:
        for index, change in enumerate(plan.changes):
            answer = _perform(made[index], clients, dry_run)
            result.changes.append(_done(change, answer))
            if book and entry_id:
                book.mark(entry_id, index)
            on_done(change)
    except CockpitError as error:
        mask(error, hidden_in(made))
        result.ok, result.error = False, error.to_dict()
        if book and entry_id:
            book.end(entry_id, "failed", error.message)
        raise ApplyFailed(error, result) from None
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


def _perform(change: Change, clients: Clients, dry_run: bool) -> Mapping[str, Any]:
    """Make one change; what the server answers."""
    if change.via == "shell":
        if not dry_run:
            clients.shell.run(change.argv)
        return {}
    if change.via == "file":
        if not dry_run:
            from actions.core.manifest_files import write

            write(change.target.name, (change.body or {})["text"])
        return {}
    if change.via == "checkpoints":
        if not dry_run:
            from actions.core.looking import remove

            remove(clients, Snapshot(), change.target.namespace, change.body or {})
        return {}
    params: dict[str, str] = {"dryRun": "All"} if dry_run else {}
    return {"create": _create, "apply": _apply, "patch": _patch, "delete": _delete, "wait": _wait}[change.verb](change, clients.kube, params)


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
