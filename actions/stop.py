"""Stop a training job: the job, its pods and the training programs that were delivered to it."""

from __future__ import annotations

import dataclasses
from dataclasses import dataclass

from actions.core import Action, Change, Outcome, Plan, Risk, Target, param
from actions.core.following import SOURCES, until_gone
from actions.core.lookups import job_hint, jobs_named, one_job
from cockpit.errors import Forbidden
from cockpit.model import Job
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

SERVED = {"PyTorchJob": ("kubeflow.org", "v1", "pytorchjobs"), "TrainJob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs")}


@dataclass(frozen=True)
class Params:
    """Which job."""

    job: str = param("job to stop", picks="jobs")
    kind: str = param("its kind, where two kinds have the name", "", choices=tuple(SERVED))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Delete the job and what launch made beside it; a job that is not there is stopped already."""
    if not jobs_named(snapshot, params.job, params.namespace, params.kind):
        _look(snapshot, params)
        hint = job_hint(snapshot, params.job, params.namespace)
        said = (f"no job {params.job} in {params.namespace}; {hint}",) if hint.startswith("did you mean") else ()
        return Plan(already=f"{params.job} already gone", warnings=said)
    job = one_job(snapshot, params.job, params.namespace, params.kind)
    settled = dataclasses.replace(params, kind=job.key.kind)
    return Plan(deletions(job), notes=(dies(snapshot, job),), confirm=job.key.name, params=settled)


def _look(snapshot: Snapshot, params: Params) -> None:
    """Forbidden when a job that is not seen may be there all the same."""
    kinds = [params.kind] if params.kind else list(SERVED)
    seen = all(snapshot.sees("jobs", params.namespace, f"{SERVED[kind][2]}.{SERVED[kind][0]}") for kind in kinds)
    if snapshot.limits("jobs") and not seen:
        hint = f"name its namespace with -n {params.namespace}, its kind with --kind, or ask for a role that may list it"
        raise Forbidden(f"whether {params.job} is in {params.namespace} cannot be seen: {snapshot.limits('jobs')}", hint)


def deletions(job: Job) -> tuple[Change, ...]:
    """Delete the job, and the programs that launch delivered to it."""
    group, version, plural = SERVED[job.key.kind]
    target = Target(job.key.kind, job.key.name, job.key.namespace, group, version, plural)
    gone = _deletion(target, f"delete {target}")
    if not job.managed:
        return (gone,)
    files = Target("ConfigMap", f"{job.key.name}-training", job.key.namespace, plural="configmaps")
    selector = f"cockpit.dev/job={job.key.name}"
    line = f"kubectl delete configmap -l {selector} -n {job.key.namespace}"
    return (gone, Change("kube", "delete", files, f"delete {files}", line, selector=selector))


def _deletion(target: Target, summary: str) -> Change:
    return Change("kube", "delete", target, summary, f"kubectl delete {target}", wait_gone=True)


def dies(snapshot: Snapshot, job: Job) -> str:
    """What goes down with it."""
    pods = [pod for pod in snapshot.pods_of(job.key) if pod.phase in OCCUPYING_PHASES]
    if not pods:
        return f"{job.key.kind} {job.key.name} is {snapshot.phase_of(job).value}; no pod of it runs"
    ranks = f"{len(pods) * job.ranks_per_pod} ranks in " if job.ranks_per_pod else ""
    names = ", ".join(pod.key.name for pod in pods[:8]) + (f" and {len(pods) - 8} more" if len(pods) > 8 else "")
    return f"{job.key.kind} {job.key.name} is {snapshot.phase_of(job).value}; {ranks}{len(pods)} pods die: {names}"


def disabled(snapshot: Snapshot, params: Params | None) -> str | None:
    """Why there is nothing to stop; None while it is not known."""
    return "there is no training job" if params is None and snapshot.believed("jobs") and not len(snapshot.jobs) else None


def follow(snapshot: Snapshot, params: Params) -> Outcome:
    """Whether the job and its pods are gone."""
    return until_gone(snapshot, params.namespace, params.job, params.kind)


ACTION = Action(
    name="stop",
    title="Stop",
    key="ctrl+d",
    params=Params,
    risk=Risk.DESTROY,
    panes=("jobs",),
    needs=("jobs", "pods", "queues"),
    can_lack=("pods", "nodes", "nodeclaims", "queues", "events", "progress"),
    plan=plan,
    fills={"job": "job"},
    disabled=disabled,
    follow=follow,
    follow_needs=SOURCES,
    doc="Deletes a training job with its pods and the programs delivered to it; a job that is gone already is no failure.",
)
