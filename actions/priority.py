"""Let a job go before others, or after them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Change, Plan, Risk, param
from actions.core.lookups import closest, one_job
from actions.core.suspension import held, patch_line, pods_alive, require_unfinished, target_of, workload_of, workload_target
from cockpit.errors import BadInput, Disabled
from cockpit.model import Job, PriorityClass, Workload
from cockpit.snapshot import Snapshot

LABEL = "kueue.x-k8s.io/priority-class"


@dataclass(frozen=True)
class Params:
    """Which job, and which class."""

    job: str = param("job to put before or after others", picks="jobs")
    priority: str = param("a WorkloadPriorityClass for a job in a Kueue queue, else a PriorityClass of pods")
    kind: str = param("its kind, where two kinds have the name", "", choices=("PyTorchJob", "TrainJob"))
    namespace: str = param("namespace of the job", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """For a queued job its label and its Workload; else the pod templates of a suspended PyTorchJob. Disabled where it is too late."""
    job = one_job(snapshot, params.job, params.namespace, params.kind)
    require_unfinished(snapshot, job)
    workload = workload_of(snapshot, job)
    wanted = _class(snapshot, params.priority, queue=workload is not None)
    if wanted.name == (job.priority if workload else job.pod_priority):
        return Plan(already=f"{job.key.name} already has the priority {wanted.name}")
    return _queued(snapshot, job, workload, wanted) if workload else _unqueued(snapshot, job, wanted)


def _class(snapshot: Snapshot, name: str, queue: bool) -> PriorityClass:
    """The class of that name; BadInput with the nearest one."""
    found: PriorityClass | None = snapshot.priorities.get((queue, name))
    if found is None:
        what = "WorkloadPriorityClass" if queue else "PriorityClass"
        raise BadInput(f"no {what} {name!r}", closest(name, [key[1] for key in snapshot.priorities if key[0] is queue], f"{what}es"))
    return found


def _queued(snapshot: Snapshot, job: Job, workload: Workload, wanted: PriorityClass) -> Plan:
    """The label is what a Workload made anew takes its priority from, the Workload's own number what counts now."""
    if workload.admitted:
        hint = "suspend it, set its priority, and resume it"
        raise Disabled(f"{job.key.name} is admitted: Kueue keeps the class of what runs, and its place is past", hint)
    target, over = target_of(job), workload_target(snapshot, workload)
    labels: Mapping[str, Any] = {"metadata": {"labels": {LABEL: wanted.name}}}
    old: Mapping[str, Any] = {"metadata": {"labels": {LABEL: job.priority or None}}}
    line = f"kubectl label {target.resource}/{target.name} -n {target.namespace} {LABEL}="
    relabel = Change("kube", "patch", target, f"label {job.key.name} {LABEL}={job.priority or 'none'}", line + job.priority, old)
    number = {"priority": wanted.value}
    back = {"priority": workload.priority or 0}
    renumber = Change("kube", "patch", over, f"priority {back['priority']} to workload {workload.key.name}", patch_line(over, back), {"spec": back})
    label = Change(
        "kube", "patch", target, f"label {job.key.name} {LABEL}={wanted.name}", f"{line}{wanted.name} --overwrite", labels,
        resource_version=job.resource_version, before={LABEL: job.priority or None}, after={LABEL: wanted.name}, inverse=relabel,
    )  # fmt: skip
    priority = Change(
        "kube", "patch", over, f"priority {wanted.value} to workload {workload.key.name}", patch_line(over, number), {"spec": number},
        before=back, after=number, inverse=renumber,
    )  # fmt: skip
    return Plan((label, priority))


def _unqueued(snapshot: Snapshot, job: Job, wanted: PriorityClass) -> Plan:
    """Pods keep the priority they were made with, so only a job without pods can be given another."""
    if job.key.kind == "TrainJob":
        raise Disabled("a TrainJob takes the priority of its pods from its runtime, and patches of it cannot name one", "put it into a Kueue queue")
    if not held(snapshot, job) or pods_alive(snapshot, job):
        raise Disabled(f"the pods of {job.key.name} keep the priority they were made with", "suspend it, set its priority, and resume it")
    target = target_of(job)
    roles = [*(["Worker"] if job.workers is not None else []), *(["Master"] if (job.pods_wanted or 0) > (job.workers or 0) else [])]
    body, back = _templates(roles, wanted.name), _templates(roles, job.pod_priority or None)
    inverse = Change(
        "kube", "patch", target, f"priority class {job.pod_priority or 'none'} to {job.key.name}", patch_line(target, back), {"spec": back}
    )
    change = Change(
        "kube", "patch", target, f"priority class {wanted.name} to the pods of {job.key.name}", patch_line(target, body), {"spec": body},
        resource_version=job.resource_version, before={"priorityClassName": job.pod_priority or None}, after={"priorityClassName": wanted.name},
        inverse=inverse,
    )  # fmt: skip
    return Plan((change,))


def _templates(roles: list[str], name: str | None) -> dict[str, Any]:
    return {"pytorchReplicaSpecs": {role: {"template": {"spec": {"priorityClassName": name}}} for role in roles}}


ACTION = Action(
    name="priority",
    title="Priority",
    key="P",
    params=Params,
    risk=Risk.CHANGE,
    panes=("jobs",),
    needs=("jobs", "pods", "queues", "served", "priorities"),
    can_lack=("pods",),
    plan=plan,
    fills={"job": "job"},
    doc="Gives a waiting job another place: by a WorkloadPriorityClass in a Kueue queue, else by the PriorityClass of the pods it will have.",
)
