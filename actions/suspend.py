"""Hold jobs back: their pods go, their object and checkpoints stay."""

from __future__ import annotations

import time
from dataclasses import dataclass

from actions.core import Action, Outcome, Plan, Risk, param
from actions.core.lookups import one_job
from actions.core.suspension import held, pods_alive, require_unfinished, turning
from cockpit.model import Job
from cockpit.snapshot import Snapshot

SHOWN = 8


@dataclass(frozen=True)
class Params:
    """Which jobs."""

    job: tuple[str, ...] = param("jobs to suspend: a,b,c", picks="jobs")
    namespace: str = param("namespace of the jobs", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch a job: of its Workload where Kueue queues it, else of its own flag; jobs that are held already are left as they are."""
    jobs = [one_job(snapshot, name, params.namespace) for name in dict.fromkeys(params.job)]
    for job in jobs:
        require_unfinished(snapshot, job)
    off = [job.key.name for job in jobs if held(snapshot, job)]
    if len(off) == len(jobs):
        return Plan(already=f"{', '.join(off)} already suspended")
    going = [job for job in jobs if job.key.name not in off]
    notes = tuple(note for job in going if (note := _dies(snapshot, job)))
    warnings = tuple(f"{name} is suspended already" for name in off) + tuple(text for job in going if (text := _loses(snapshot, job)))
    return Plan(tuple(turning(snapshot, job, hold=True) for job in going), warnings=warnings, notes=notes)


def _dies(snapshot: Snapshot, job: Job) -> str:
    pods = pods_alive(snapshot, job)
    if not pods:
        return f"no pod of {job.key.name} runs"
    more = f" and {len(pods) - SHOWN} more" if len(pods) > SHOWN else ""
    return f"{len(pods)} pods of {job.key.name} go, with the GPUs they hold: {', '.join(pods[:SHOWN])}{more}"


def _loses(snapshot: Snapshot, job: Job) -> str:
    """What was trained since the last checkpoint that is known to be whole."""
    if not pods_alive(snapshot, job):
        return ""
    known = [one for one in snapshot.checkpoints_of(job) if one.state in ("whole", "said")]
    if not known:
        return f"no checkpoint of {job.key.name} is known: it begins anew when it is resumed, unless it saves at SIGTERM"
    last = max(known, key=lambda one: one.step)
    age = "" if last.at is None else f", {max(0.0, time.time() - last.at) / 60:.0f} min ago"
    return f"{job.key.name} goes on from step {last.step}{age}, unless it saves at SIGTERM"


def follow(snapshot: Snapshot, params: Params) -> Outcome:
    """Whether no pod of the jobs is left."""
    left = [name for job in params.job for name in pods_alive(snapshot, one_job(snapshot, job, params.namespace))]
    line = f"waits for {', '.join(left[:SHOWN])}" if left else "no pod is left"
    return Outcome(not left, line=line, result={"jobs": list(params.job), "left": left})


ACTION = Action(
    name="suspend",
    title="Suspend",
    key="s",
    params=Params,
    risk=Risk.CHANGE,
    panes=("jobs",),
    needs=("jobs", "pods", "queues", "progress", "served"),
    can_lack=("pods", "progress"),
    plan=plan,
    fills={"job": "job"},
    follow=follow,
    follow_needs=("jobs", "pods"),
    doc="Holds jobs back: their pods go and free their GPUs, their objects and checkpoints stay. In a Kueue queue their Workloads are set inactive.",
)
