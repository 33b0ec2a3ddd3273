"""Prune: delete torn and old checkpoints of a job, never the last whole one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Change, Clients, Plan, Risk, Target, param
from actions.core.choosing import commit_order, looked_at
from actions.core.looking import DEPTHS, Look, look_at
from actions.core.lookups import one_job
from actions.core.places import Place, place_of
from actions.core.sizing import gibibytes
from cockpit.errors import BadInput, Refused
from cockpit.model import Checkpoint, JobKey
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Whose checkpoints, and which of them stay."""

    job: str = param("job whose place is pruned", "", picks="jobs")
    keep_last: int = param("how many of the last whole ones stay", 3, minimum=1)
    keep_every: int = param("whole ones of every so many steps stay too; 0: none", 0, minimum=0)
    checkpoints: str = param("a place instead of a job: pvc:CLAIM/PATH or s3://BUCKET/PREFIX", "")
    verify: str = param("how deep to look for what is torn", "sizes", choices=DEPTHS)
    kind: str = param("kind of the job, where two kinds have the name", "", choices=("PyTorchJob", "TrainJob"))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def _place(snapshot: Snapshot, params: Params) -> tuple[Place, JobKey | None]:
    if bool(params.job) == bool(params.checkpoints):
        raise BadInput("prune needs --job or --checkpoints, and not both", "--action checkpoints lists them")
    if params.checkpoints:
        return place_of(params.checkpoints), None
    job = one_job(snapshot, params.job, params.namespace, params.kind)
    if not job.store:
        raise Refused(f"where {params.job} keeps its checkpoints is not known", "--checkpoints names the place")
    return place_of(job.store), job.key


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The place that is pruned."""
    place, job = _place(snapshot, params)
    yield from look_at(clients, snapshot, [Look(place.key(params.namespace), job)], params.verify, stop)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One deletion of all that goes; refused while a job writes there."""
    place, job = _place(snapshot, params)
    key = place.key(params.namespace)
    found = looked_at(snapshot, key)
    seen = snapshot.stores[key]
    if seen.writing is not False:
        who = "a job writes" if seen.writing else "whether a job writes is not known"
        raise Refused(f"{who} to {place.where} now: it prunes by itself as it saves", "stop it first, or wait until it has ended")
    doomed = going(found, params.keep_last, params.keep_every)
    if not doomed:
        return Plan(already=f"{place.where} holds {len(found)} checkpoints, and all of them stay")
    stays = [one for one in found if one not in doomed]
    size = gibibytes(sum(one.size_bytes or 0 for one in doomed))
    body = {"checkpoints": place.where, "entries": [one.key.entry for one in doomed], "job": list(job) if job else None}
    target = Target("Checkpoints", place.where, params.namespace)
    summary = f"delete {len(doomed)} of {len(found)} checkpoints of {place.where}, {size} as far as known"
    return Plan(
        (Change("checkpoints", "remove", target, summary, body=body, before={"entries": body["entries"]}),),
        notes=(*(_line(one) for one in doomed), f"stay: {', '.join(str(one.step) for one in stays) or 'none'}"),
        confirm=params.job or place.where,
    )


def going(found: list[Checkpoint], keep_last: int, keep_every: int) -> list[Checkpoint]:
    """What is torn, and what is whole but neither among the last committed nor of a step that is kept; never the last whole one."""
    whole = sorted((one for one in found if one.state == "whole"), key=commit_order, reverse=True)
    old = [one for one in whole[max(1, keep_last) :] if not (keep_every and one.step % keep_every == 0)]
    return [one for one in found if one.state == "torn" or one in old]


def _line(one: Checkpoint) -> str:
    size = "size unknown" if one.size_bytes is None else gibibytes(one.size_bytes)
    why = f", torn: {one.why}" if one.state == "torn" else ""
    return f"goes: {one.key.entry}, {size}{why}"


ACTION = Action(
    name="prune",
    title="Prune checkpoints",
    params=Params,
    risk=Risk.DESTROY,
    panes=("jobs",),
    needs=("jobs", "pods", "volumeclaims"),
    can_lack=("pods", "volumeclaims"),
    look=look,
    plan=plan,
    fills={"job": "job"},
    doc="Deletes torn and old checkpoints under the lock of their place; the last whole one always stays.",
)
