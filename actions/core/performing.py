"""One change of a plan, made: what each verb asks of the API server, and how long it goes on asking."""

from __future__ import annotations

import dataclasses
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.core import APPLY_PATCH, MERGE_PATCH, Change, Clients
from actions.core.journal import Journal, state_home
from actions.core.render import fill
from actions.core.standing import leaves, lies
from cockpit.errors import ActionFailed, Conflict, Interrupted, NotFound, TimedOut
from cockpit.snapshot import Snapshot

FIELD_MANAGER = "cockpit"
GONE_SECONDS, GONE_POLL_SECONDS = 300.0, 0.5
"""How long a change waits for objects to go beyond their grace, and how often it looks."""
REFUSED_POLL_SECONDS, TOLD_SECONDS = 5.0, 15.0
"""How often an eviction that a disruption budget refuses is asked for again, and how often that is told."""


@dataclass
class Performer:
    """Makes changes; with `dry_run` the server only judges them. `tell` hears how a long step goes on, `stop` ends it.

    `leave` is asked on ctrl-c whether a program is to be left running. `known` holds what AWS answered, for the holes of later changes; `spaces` are
    namespaces that a dry run would have made: what goes into them cannot be judged by a server that does not have them.
    """

    clients: Clients
    dry_run: bool = False
    tell: Callable[[str], None] = lambda line: None
    stop: threading.Event = field(default_factory=threading.Event)
    book: Journal = field(default_factory=Journal)
    leave: Callable[[str], bool] = lambda program: True
    entry: str = ""
    steps: int = 0
    known: dict[str, Any] = field(default_factory=dict)
    spaces: set[str] = field(default_factory=set)

    def perform(self, change: Change) -> Mapping[str, Any]:
        """Make one change; what the server answers."""
        if change.via != "kube":
            if not self.dry_run:
                own = {"shell": self._run, "checkpoints": self._remove, "journal": self._keep, "aws": self._aws, "file": self._write}
                own[change.via](change)
            return {}
        if change.holes:
            values = {name: self.known.get(name) or f"known-later-{name.replace('_', '-')}" for name in change.holes}
            change = dataclasses.replace(change, body=fill(change.body, values))
        if self.dry_run and change.target.namespace in self.spaces:
            return {}
        if self.dry_run and change.target.kind == "Namespace":
            self.spaces.add(change.target.name)
        return {
            "create": self._create,
            "apply": self._apply,
            "patch": self._patch,
            "delete": self._delete,
            "wait": self._wait,
            "evict": self._evict,
        }[change.verb](change)

    @property
    def _params(self) -> dict[str, str]:
        return {"dryRun": "All"} if self.dry_run else {}

    def _run(self, change: Change) -> None:
        self.steps += 1
        log = state_home() / "steps" / f"{self.entry or 'step'}-{self.steps}-{Path(change.argv[0]).name}.log"
        stdin = as_yaml(change.body) if change.body is not None else ""
        self.clients.shell.attend(change.argv, log, stdin, self.tell, change.env, self.leave)

    def _aws(self, change: Change) -> None:
        assert change.body is not None
        arguments = fill(change.body["arguments"], self.known) if change.holes else change.body["arguments"]
        self.known |= self.clients.aws.at(change.body["region"]).change(change.body["call"], arguments, self.tell)

    def _remove(self, change: Change) -> None:
        from actions.core.looking import remove

        remove(self.clients, Snapshot(), change.target.namespace, change.body or {})

    def _write(self, change: Change) -> None:
        from actions.core.manifest_files import write

        write(change.target.name, (change.body or {})["text"])

    def _keep(self, change: Change) -> None:
        self.book.end(change.target.name, str((change.body or {}).get("state") or "kept"))

    def _create(self, change: Change) -> Mapping[str, Any]:
        checked = self._params | {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict"}
        answer: Mapping[str, Any] = self.clients.kube.request("POST", change.target.path(with_name=False), params=checked, body=change.body)
        return answer

    def _apply(self, change: Change) -> Mapping[str, Any]:
        checked = self._params | {"fieldManager": FIELD_MANAGER, "fieldValidation": "Strict", "force": "false"}
        answer: Mapping[str, Any] = self.clients.kube.request(
            "PATCH", change.target.path(), params=checked, body=change.body, content_type=APPLY_PATCH
        )
        return answer

    def _patch(self, change: Change) -> Mapping[str, Any]:
        body: Any = change.body
        if change.content_type == MERGE_PATCH and change.resource_version:
            body = _with_resource_version(change.body or {}, change.resource_version)
        asked = self._params | {"fieldManager": FIELD_MANAGER}
        answer: Mapping[str, Any] = self.clients.kube.request(
            "PATCH", change.target.path(), params=asked, body=body, content_type=change.content_type
        )
        return answer

    def _delete(self, change: Change) -> Mapping[str, Any]:
        options: dict[str, Any] = {"propagationPolicy": "Background"}
        if change.selector or change.field_selector:
            self.clients.kube.request("DELETE", change.target.path(with_name=False), params=self._params | selectors(change), body=options)
            return {}
        if change.grace_seconds is not None:
            options["gracePeriodSeconds"] = change.grace_seconds
        try:
            self.clients.kube.request("DELETE", change.target.path(), params=self._params, body=options)
        except NotFound:
            return {}
        return {}

    # -- steps that take their time ---------------------------------------------------------------------------------------------------------

    def _evict(self, change: Change) -> Mapping[str, Any]:
        """Ask for the eviction until the disruption budgets allow it; a pod that has gone, or is another of the same name, needs none."""
        until, told = time.monotonic() + (change.grace_seconds if change.grace_seconds is not None else GONE_SECONDS), float("-inf")
        while True:
            try:
                self.clients.kube.request("POST", change.target.path() + "/eviction", params=self._params, body=change.body)
            except (NotFound, Conflict):
                self.tell(f"{change.target} is gone already")
                return {}
            except ActionFailed as error:
                if error.code != "too-many-requests" or self.dry_run:
                    raise
                left = until - time.monotonic()
                if left <= 0:
                    raise TimedOut(f"{change.target} may not be evicted: {error.message}", BUDGETED) from None
                if time.monotonic() - told >= TOLD_SECONDS:
                    told = time.monotonic()
                    self.tell(f"{change.target} waits: {error.message} Trying again for {left:.0f} s")
                self._pause(min(REFUSED_POLL_SECONDS, left))
                continue
            self.tell(f"{change.target} {'may be evicted' if self.dry_run else 'is evicted'}")
            return {}

    def _wait(self, change: Change) -> Mapping[str, Any]:
        """Until no object of the target's kind carries those labels, or the object says what the body says, or is gone."""
        if self.dry_run:
            return {}
        until, told = time.monotonic() + GONE_SECONDS + (change.grace_seconds or 0), ""
        if change.body is not None and change.grace_seconds is not None:
            until = time.monotonic() + change.grace_seconds
        while waits := self._waits_for(change):
            if waits != told:
                told = waits
                self.tell(waits)
            if time.monotonic() > until:
                raise TimedOut(f"{change.summary}: {waits}", str((change.after or {}).get("hint") or STUCK))
            self._pause(GONE_POLL_SECONDS)
        return {}

    def _waits_for(self, change: Change) -> str:
        kube, target = self.clients.kube, change.target
        if change.selector or change.field_selector:
            found = kube.request("GET", target.path(with_name=False), params=selectors(change) | {"limit": "1"}).get("items") or []
            return f"{target.kind.lower()} {(found[0].get('metadata') or {}).get('name')} does not go" if found else ""
        if change.body is None:
            left = [one for one in (change.after or {}).get("gone") or [{"path": target.path()}] if self._is_there(one)]
            return f"{len(left)} left: {', '.join(one['path'].rpartition('/')[2] for one in left[:4])}" if left else ""
        now = kube.request("GET", target.path())
        found = [(path, lies(now, path), value) for path, value in leaves(change.body)]
        wrong = [(path, now) for path, now, value in found if now != value and not (value == "0" and now is None)]
        return ", ".join(f"{path[-1]} of {target} is {'not there' if now is None else now}" for path, now in wrong)

    def _is_there(self, one: Mapping[str, Any]) -> bool:
        try:
            now = self.clients.kube.request("GET", one["path"])
        except NotFound:
            return False
        return one.get("uid") in (None, (now.get("metadata") or {}).get("uid"))

    def _pause(self, seconds: float) -> None:
        if self.stop.wait(seconds):
            raise Interrupted(
                "stopped while it waited", "what was done stays done; --action finish goes on with the rest, --action undo takes it back"
            )


BUDGETED = "a PodDisruptionBudget holds it (kubectl get pdb -A); a longer --patience waits longer; what was to follow was not done"
STAYS = "what was done stays done; --action finish goes on with the rest, --action undo takes it back"
STUCK = "kubectl describe says what holds it; what was to follow was not done"


def selectors(change: Change) -> dict[str, str]:
    """Which objects of a collection a change is about."""
    found = {"labelSelector": change.selector, "fieldSelector": change.field_selector}
    return {name: value for name, value in found.items() if value}


def _with_resource_version(body: Mapping[str, Any], resource_version: str) -> dict[str, Any]:
    return {**body, "metadata": {**body.get("metadata", {}), "resourceVersion": resource_version}}


def as_yaml(body: Any) -> str:
    """The text a program reads."""
    import yaml

    return str(yaml.safe_dump(dict(body), sort_keys=False))
