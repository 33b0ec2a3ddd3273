"""Let suspended jobs go on."""

from __future__ import annotations

from dataclasses import dataclass

from actions.core import Action, Plan, Risk, param
from actions.core.lookups import one_job
from actions.core.suspension import held, require_unfinished, turning, workload_of
from cockpit.errors import Disabled
from cockpit.model import Job
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which jobs."""

    job: tuple[str, ...] = param("jobs to resume: a,b,c", picks="jobs")
    namespace: str = param("namespace of the jobs", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch a job; what Kueue holds for want of quota cannot be let go by a flag, and that is said."""
    jobs = [one_job(snapshot, name, params.namespace) for name in dict.fromkeys(params.job)]
    for job in jobs:
        require_unfinished(snapshot, job)
    going = [job for job in jobs if not held(snapshot, job)]
    for job in going:
        _require_running(snapshot, job)
    if len(going) == len(jobs):
        return Plan(already=f"{', '.join(job.key.name for job in going)} not suspended")
    changes = tuple(turning(snapshot, job, hold=False) for job in jobs if job not in going)
    notes = tuple(
        f"{job.key.name} waits in the queue {job.queue} for quota before its pods are made" for job in jobs if job not in going and job.queue
    )
    return Plan(changes, warnings=tuple(f"{job.key.name} is not suspended" for job in going), notes=notes)


def _require_running(snapshot: Snapshot, job: Job) -> None:
    """Disabled for a job that waits for Kueue: nobody has suspended it, and nobody can let it go past its quota."""
    workload = workload_of(snapshot, job)
    if workload is not None and not workload.admitted:
        why = workload.message or workload.reason or "it has not been admitted yet"
        raise Disabled(f"{job.key.name} is not suspended by anybody: it waits in the queue {job.queue}: {why}", "raise its priority, or free quota")


ACTION = Action(
    name="resume",
    title="Resume",
    key="S",
    params=Params,
    risk=Risk.CHANGE,
    panes=("jobs",),
    needs=("jobs", "pods", "queues", "served"),
    can_lack=("pods",),
    plan=plan,
    fills={"job": "job"},
    doc="Lets suspended jobs go on; they load their last checkpoint as they would after a restart. In a Kueue queue they wait for quota first.",
)
