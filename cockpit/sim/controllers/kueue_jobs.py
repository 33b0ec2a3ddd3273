"""The kinds of jobs that Kueue queues: how each is suspended, what pod sets it has, and how a flavor's labels get into it. Pure."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.sim.controllers.objects import Object, controller_of, is_true, labels_of, name_of
from cockpit.sim.controllers.trainjob_rendering import jobset_of

QUEUE = "kueue.x-k8s.io/queue-name"
JOB_UID = "kueue.x-k8s.io/job-uid"
MANAGER = "kueue.x-k8s.io/manager"


@dataclass(frozen=True)
class Integration:
    """One kind: where its suspend flag is, and the conditions that end it."""

    resource: str
    kind: str
    group: str
    suspend_path: tuple[str, ...]
    succeeded: str
    failed: str


INTEGRATIONS = (
    Integration("jobs.batch", "Job", "batch", ("suspend",), "Complete", "Failed"),
    Integration("pytorchjobs.kubeflow.org", "PyTorchJob", "kubeflow.org", ("runPolicy", "suspend"), "Succeeded", "Failed"),
    Integration("jobsets.jobset.x-k8s.io", "JobSet", "jobset.x-k8s.io", ("suspend",), "Completed", "Failed"),
    Integration("trainjobs.trainer.kubeflow.org", "TrainJob", "trainer.kubeflow.org", ("suspend",), "Complete", "Failed"),
)
BY_RESOURCE = {one.resource: one for one in INTEGRATIONS}


def is_queued(job: Mapping[str, Any]) -> bool:
    """Whether Kueue manages this job: it names a queue and no other job owns it."""
    return bool(labels_of(job).get(QUEUE)) and controller_of(job) is None


def is_suspended(job: Object, integration: Integration) -> bool:
    """Whether the job's suspend flag is set."""
    held: Any = job["spec"]
    for part in integration.suspend_path:
        held = (held or {}).get(part)
    return bool(held)


def suspension(integration: Integration, suspend: bool) -> Object:
    """The merge patch that sets the suspend flag."""
    patch: Any = suspend
    for part in reversed(integration.suspend_path):
        patch = {part: patch}
    return {"spec": patch}


def suspend_new(integration: Integration, job: Object) -> Object | None:
    """A new job that names a queue, suspended; None when there is nothing to change."""
    if not is_queued(job) or is_suspended(job, integration):
        return None
    spec = dict(job["spec"])
    if integration.suspend_path[0] == "suspend":
        spec["suspend"] = True
    else:
        spec["runPolicy"] = {**(spec.get("runPolicy") or {}), "suspend": True}
    return {**job, "spec": spec}


def outcome(job: Object, integration: Integration) -> tuple[str, str] | None:
    """(reason, message) of Finished when the job is over."""
    if is_true(job, integration.succeeded):
        return "Succeeded", "Job finished successfully"
    if is_true(job, integration.failed):
        return "Failed", "Job failed"
    return None


def workload_name(job: Object, integration: Integration) -> str:
    """<kind>-<name>-<hash>: the hash keeps jobs of the same name in different kinds apart."""
    identity = "\n".join((integration.kind, integration.group, name_of(job), job["metadata"]["uid"]))
    digest = hashlib.sha1(identity.encode(), usedforsecurity=False).hexdigest()[:5]
    return f"{integration.kind.lower()}-{name_of(job)}"[: 253 - 6] + f"-{digest}"


def podsets_of(job: Object, integration: Integration, runtime: Object | None) -> list[Object]:
    """The pod sets of a job; a TrainJob's are those of the JobSet that its runtime makes of it."""
    spec = job["spec"]
    if integration.kind == "Job":
        return [{"name": "main", "count": int(spec.get("parallelism") or 1), "template": spec["template"]}]
    if integration.kind == "PyTorchJob":
        replicas = spec["pytorchReplicaSpecs"]
        ordered = [(role, replicas[role]) for role in ("Master", "Worker") if role in replicas]
        return [{"name": role.lower(), "count": int(one.get("replicas", 1)), "template": one["template"]} for role, one in ordered]
    jobset = job if integration.kind == "JobSet" else jobset_of(job, runtime) if runtime else None
    return [] if jobset is None else [_podset_of(one) for one in jobset["spec"].get("replicatedJobs") or []]


def _podset_of(replicated: Object) -> Object:
    job_spec = replicated["template"]["spec"]
    count = int(replicated.get("replicas", 1)) * int(job_spec.get("parallelism") or 1)
    return {"name": replicated["name"], "count": count, "template": job_spec["template"]}


def placement(job: Object, integration: Integration, selectors: Mapping[str, Mapping[str, str]], trainer: str) -> Object:
    """The patch of spec that puts each pod set's node labels into the job, {} when there are none; `trainer` is the version served."""
    wanted = {name: dict(labels) for name, labels in selectors.items() if labels}
    if not wanted:
        return {}
    spec = job["spec"]
    if integration.kind == "Job":
        return {"template": {"spec": {"nodeSelector": wanted["main"]}}}
    if integration.kind == "PyTorchJob":
        roles = {name.capitalize(): labels for name, labels in wanted.items()}
        return {"pytorchReplicaSpecs": {role: {"template": {"spec": {"nodeSelector": labels}}} for role, labels in roles.items()}}
    if integration.kind == "JobSet":
        return {"replicatedJobs": [_with_selector(one, wanted.get(one["name"])) for one in spec["replicatedJobs"]]}
    return _trainjob_placement(spec, wanted, trainer)


def _with_selector(replicated: Object, labels: Mapping[str, str] | None) -> Object:
    if not labels:
        return replicated
    job_spec = replicated["template"]["spec"]
    pod = job_spec["template"]
    selector = {**(pod["spec"].get("nodeSelector") or {}), **labels}
    template = {**pod, "spec": {**pod["spec"], "nodeSelector": selector}}
    return {**replicated, "template": {**replicated["template"], "spec": {**job_spec, "template": template}}}


def _trainjob_placement(spec: Object, wanted: Mapping[str, Mapping[str, str]], trainer: str) -> Object:
    """podTemplateOverrides for trainer 2.1, runtimePatches of Kueue's manager for later ones."""
    if trainer == "2.1":
        mine = [{"targetJobs": [{"name": name}], "spec": {"nodeSelector": dict(labels)}} for name, labels in wanted.items()]
        return {"podTemplateOverrides": [*(spec.get("podTemplateOverrides") or []), *mine]}
    jobs: Sequence[Object] = [
        {"name": name, "template": {"spec": {"template": {"spec": {"nodeSelector": dict(labels)}}}}} for name, labels in wanted.items()
    ]
    patch = {"manager": MANAGER, "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": list(jobs)}}}}
    return {"runtimePatches": [*(one for one in spec.get("runtimePatches") or [] if one["manager"] != MANAGER), patch]}
