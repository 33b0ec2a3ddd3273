"""The checkpoints of every job and place: which are whole, and why another is not."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import age_seconds, rfc3339
from actions.core.looking import DEPTHS, Look, look_at, looks_of
from actions.core.lookups import job_hint, jobs_named
from actions.core.places import place_of
from cockpit.errors import BadInput
from cockpit.model import Checkpoint, Job, JobKey, StoreKey
from cockpit.snapshot import Snapshot, store_of
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Whose checkpoints, or those of which place, and how deep to look."""

    job: str = param("only this job's", "", picks="jobs")
    checkpoints: str = param("only this place: pvc:CLAIM/PATH or s3://BUCKET/PREFIX, also of a job that is gone", "")
    verify: str = param("compare sizes, a sample of the bytes, or all of them, with what was written", "sizes", choices=DEPTHS)
    namespace: str = param("only this namespace; all of them when empty", "", picks="namespaces")


def looks(snapshot: Snapshot, params: Params) -> list[Look]:
    """The places asked for."""
    if not params.checkpoints:
        return looks_of(_jobs(snapshot, params), store_of)
    place = place_of(params.checkpoints)
    key = place.key(params.namespace or "default")
    users = [job for job in snapshot.jobs.values() if job.store and store_of(job) == key]
    return [Look(key, max(users, key=lambda job: job.created or 0.0).key if users else None)]


def _jobs(snapshot: Snapshot, params: Params) -> list[Job]:
    found = jobs_named(snapshot, params.job, params.namespace) if params.job else list(snapshot.jobs.values())
    if params.job and not found:
        hint = job_hint(snapshot, params.job, params.namespace) + "; --checkpoints names the place of a job that is gone"
        raise BadInput(f"no job {params.job!r}", hint)
    return [job for job in found if params.namespace in ("", job.key.namespace)]


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """Read every place asked for."""
    yield from look_at(clients, snapshot, looks(snapshot, params), params.verify, stop)


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a checkpoint, the newest place and step first; a `note` says which place could not be read."""
    users: dict[StoreKey, JobKey | None] = {one.key: one.job for one in looks(snapshot, params)}
    if not params.checkpoints:
        users |= {key: job.key for job in _jobs(snapshot, params) if (key := store_of(job)) not in users}
    for key, job in users.items():
        seen = snapshot.stores.get(key)
        if seen is not None and seen.why:
            yield {"note": f"{key.where}: {seen.why}"}
        for one in snapshot.checkpoints_in(key):
            yield _record(one, job)


def _record(one: Checkpoint, job: JobKey | None) -> dict[str, Any]:
    who = one.job or job
    return {
        "namespace": one.key.store.namespace or (who.namespace if who else None),
        "job": who.name if who else None,
        "kind": who.kind if who else None,
        "checkpoints": one.store if not one.store.startswith("log:") else None,
        "name": one.key.entry,
        "step": one.step,
        "state": one.state,
        "why": one.why or None,
        "saved": rfc3339(one.at),
        "age_seconds": age_seconds(one.at),
        "size_bytes": one.size_bytes,
        "world_size": one.world_size,
        "strategy": one.strategy or None,
        "zero": one.stage or None,
        "loss": one.loss,
        "model": one.model or None,
        "global_batch": one.global_batch,
        "seed": one.seed,
        "verified": one.verified or None,
    }


ACTION = Action(
    name="checkpoints",
    title="Checkpoints",
    key="v",
    params=Params,
    panes=("jobs",),
    needs=("jobs", "pods", "progress", "volumeclaims"),
    can_lack=("jobs", "pods", "progress", "volumeclaims"),
    look=look,
    records=records,
    columns=(
        Column("job", "JOB"),
        Column("checkpoints", "CHECKPOINTS"),
        Column("step", "STEP", right=True),
        Column("age_seconds", "AGE", right=True),
        Column("size_bytes", "SIZE", right=True),
        Column("world_size", "WORLD", right=True),
        Column("strategy", "STRATEGY"),
        Column("loss", "LOSS", right=True),
        Column("state", "STATE"),
        Column("verified", "VERIFIED"),
        Column("why", "WHY"),
        Column("name", "ENTRY", wide=True),
        Column("model", "MODEL", wide=True),
        Column("global_batch", "BATCH", right=True, wide=True),
        Column("zero", "ZERO", right=True, wide=True),
        Column("namespace", "NAMESPACE", wide=True),
    ),
    fills={"job": "job"},
    doc="Lists the checkpoints of jobs and places, and says which are whole; a pod that lives for seconds reads a volume, mounted read-only.",
)
