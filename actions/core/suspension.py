"""Holding a job back and letting it go: the flag of the job itself, or, where Kueue queues it, whether its Workload is active."""

from __future__ import annotations

from typing import Any

from actions.core import Change, Target
from cockpit.errors import Disabled
from cockpit.model import Job, Workload
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

SERVED = {"PyTorchJob": ("kubeflow.org", "v1", "pytorchjobs"), "TrainJob": ("trainer.kubeflow.org", "v1alpha1", "trainjobs")}
KUEUE, WORKLOADS = "kueue.x-k8s.io", "workloads.kueue.x-k8s.io"


def target_of(job: Job) -> Target:
    """The job as an object of the API."""
    group, version, plural = SERVED[job.key.kind]
    return Target(job.key.kind, job.key.name, job.key.namespace, group, version, plural)


def require_unfinished(snapshot: Snapshot, job: Job) -> None:
    """Disabled for a job that is over or going: nothing of it can be changed any more."""
    phase = snapshot.phase_of(job)
    if phase.over or job.deleting:
        raise Disabled(f"{job.key.kind} {job.key.name} is {'being deleted' if job.deleting else phase.value}", "restore goes on from its checkpoint")


def workload_of(snapshot: Snapshot, job: Job) -> Workload | None:
    """The Workload that Kueue made of a queued job; None for a job that no queue holds. Disabled while Kueue has made none."""
    if not job.queue:
        return None
    found = snapshot.workload_of(job)
    if found is None:
        raise Disabled(
            f"Kueue has made no Workload of {job.key.name} yet, though it names the queue {job.queue}", "look at the queue: --action queues"
        )
    return found


def held(snapshot: Snapshot, job: Job) -> bool:
    """Whether somebody holds the job back; a job that waits for quota is held by nobody."""
    workload = workload_of(snapshot, job)
    return job.suspended if workload is None else not workload.active


def turning(snapshot: Snapshot, job: Job, hold: bool) -> Change:
    """Hold a job back or let it go; the inverse is the other."""
    workload = workload_of(snapshot, job)
    if workload is not None:
        target = workload_target(snapshot, workload)
        return _change(
            target, f"workload {workload.key.name} of {job.key.name}", hold, {"active": not hold}, {"active": hold}, workload.resource_version
        )
    nested = job.key.kind == "PyTorchJob"
    body, back = ({"runPolicy": {"suspend": one}} if nested else {"suspend": one} for one in (hold, not hold))
    return _change(target_of(job), f"{job.key.kind} {job.key.name}", hold, body, back, job.resource_version)


def workload_target(snapshot: Snapshot, workload: Workload) -> Target:
    """A Workload as an object of the API, in the version that is served."""
    served = snapshot.served.get(WORKLOADS)
    return Target("Workload", workload.key.name, workload.key.namespace, KUEUE, served.version if served else "v1beta1", "workloads")


def _change(target: Target, what: str, hold: bool, spec: dict[str, Any], back: dict[str, Any], resource_version: str) -> Change:
    verb, other = ("suspend", "resume") if hold else ("resume", "suspend")
    inverse = Change("kube", "patch", target, f"{other} {what}", patch_line(target, back), {"spec": back})
    return Change(
        via="kube",
        verb="patch",
        target=target,
        summary=f"{verb} {what}",
        line=patch_line(target, spec),
        body={"spec": spec},
        resource_version=resource_version,
        before=back,
        after=spec,
        inverse=inverse,
    )


def patch_line(target: Target, spec: dict[str, Any]) -> str:
    """The kubectl line of a merge patch of the spec."""
    import json

    body = json.dumps({"spec": spec}, separators=(",", ":"))
    space = f" -n {target.namespace}" if target.namespace else ""
    return f"kubectl patch {target.resource}/{target.name}{space} --type=merge -p '{body}'"


def pods_alive(snapshot: Snapshot, job: Job) -> list[str]:
    """The names of the job's pods that run or wait on a node."""
    return [pod.key.name for pod in snapshot.pods_of(job.key) if pod.phase in OCCUPYING_PHASES]
