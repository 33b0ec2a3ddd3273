"""The job that a restore goes on from: its parameters from its own annotation, or, when it is gone, from the journal."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import parse
from actions.core.journal import Journal
from actions.core.lookups import job_hint
from actions.core.scripts import SCRIPT_SHA256
from cockpit.errors import BadInput, Refused
from cockpit.model import Job, JobKey, Launch
from cockpit.snapshot import Snapshot

ANNOTATION = "cockpit.dev/launch"


def launches(cluster: str, name: str, namespace: str, journal: Journal | None = None) -> Iterator[Launch]:
    """Every launch of a job of that name on that cluster that the journal tells of, oldest first."""
    for entry in (journal or Journal()).entries():
        if entry.cluster != cluster:
            continue
        for change in entry.changes:
            place = change.get("object") or {}
            kept = (((change.get("body") or {}).get("metadata") or {}).get("annotations") or {}).get(ANNOTATION)
            if kept and change.get("verb") == "create" and (place.get("namespace"), place.get("name")) == (namespace, name):
                yield Launch(JobKey(namespace, str(place.get("kind") or ""), name), str(kept), entry.at)


def parameters_of(snapshot: Snapshot, job: Job | None, name: str, namespace: str, cls: type) -> tuple[Any, str]:
    """The parameters that made it, as an instance of `cls`, and the checksum of its script; Refused or BadInput when they are not known."""
    if job is not None:
        text = job.launched
        if not text:
            hint = "launch --checkpoints with its place goes on from them with the flags you give"
            raise Refused(f"{job.key.kind} {name} was not launched by the cockpit: how it was configured is not known", hint)
    else:
        found = [one for one in snapshot.launches.values() if (one.key.namespace, one.key.name) == (namespace, name)]
        if not found:
            hint = job_hint(snapshot, name, namespace) + "; --checkpoints of launch goes on from any place"
            raise BadInput(f"no job {name!r} in {namespace}, and the journal of this machine has not launched it", hint)
        text = max(found, key=lambda one: one.at).params
    return _read(text, name, namespace, cls)


def _read(text: str, name: str, namespace: str, cls: type) -> tuple[Any, str]:
    try:
        kept = json.loads(text)
    except (ValueError, RecursionError):
        kept = None
    if not isinstance(kept, Mapping):
        raise Refused(f"the annotation {ANNOTATION} of {name} is not what the cockpit wrote", "launch --checkpoints with its place goes on from it")
    given = {str(key): value for key, value in kept.items() if key != SCRIPT_SHA256}
    return parse(cls, {**given, "name": name, "namespace": namespace}), str(kept.get(SCRIPT_SHA256) or "")
