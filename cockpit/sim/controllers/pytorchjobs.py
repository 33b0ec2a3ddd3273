"""The training-operator's PyTorchJob controller: pods and Services of a job, its conditions, restarts and clean-up."""

from __future__ import annotations

import copy
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from cockpit.sim.controllers import pytorchjob_pods as shapes
from cockpit.sim.controllers.objects import (
    Object,
    condition_of,
    is_deleting,
    is_owned_by,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
)
from cockpit.sim.controllers.pods import exit_codes, is_finished, phase_of
from cockpit.sim.controllers.pytorchjob_rules import job_condition, may_retry, refuse, role_of, verdict_on
from cockpit.sim.controllers.reconcilers import Key, Reconciler

RESOURCE = "pytorchjobs.kubeflow.org"
COMPONENT = "pytorchjob-controller"
MANAGER = "kubeflow.org/training-operator"


class PyTorchJobs(Reconciler):
    """Runs kubeflow.org/v1 PyTorchJobs as the training-operator does."""

    name = COMPONENT
    watches = (RESOURCE, "pods")

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        cluster.admit(RESOURCE, refuse)

    def keys(self, event: Any) -> Iterable[Key]:
        """A pod touches its job."""
        if event.resource == RESOURCE:
            return super().keys(event)
        name = labels_of(event.object).get(f"{shapes.LABEL}job-name")
        return [(namespace_of(event.object), name)] if name else []

    def reconcile(self, key: Key) -> float | None:
        """One job: finished, suspended or running."""
        job = self.cluster.find(RESOURCE, *key)
        if job is None or is_deleting(job) or _policy(job).get("managedBy", MANAGER) != MANAGER:
            return None
        pods = [pod for pod in self.cluster.list("pods", key[0]) if is_owned_by(pod, job)]
        if is_over(job):
            return self._after(job, pods)
        if condition_of(job, "Created") is None:
            job = self._say(job, "Created", f"PyTorchJob {key[1]} is created.")
        if _policy(job).get("suspend"):
            self._suspend(job, pods)
            return None
        if is_true(job, "Suspended"):
            job = self._say(job, "Suspended", f"PyTorchJob {key[1]} is resumed.", "False", "PyTorchJobResumed")
        return self._advance(job, pods)

    def _advance(self, job: Object, pods: list[Object]) -> float | None:
        """Create what lacks, restart what may, write the status, decide."""
        if not status_of(job).get("startTime"):
            self.set_status(RESOURCE, job, {"startTime": self.cluster.now()})
            job = self._current(job)
        restarted = self._restart_retryable(job, pods)
        self._create_missing(job, pods)
        counts = replica_statuses(job, pods)
        self.set_status(RESOURCE, job, {"replicaStatuses": counts})
        verdict = None if restarted else verdict_on(job, pods, self.cluster.now())
        if verdict is not None:
            self._finish(self._current(job), pods, *verdict)
            return self._after(self._current(job), pods)
        leader = "Master" if shapes.replicas_of(job, "Master") else "Worker"
        if not restarted and counts.get(leader, {}).get("active"):
            self._say(self._current(job), "Running", f"PyTorchJob {name_of(job)} is running.")
        return 1.0 if _policy(job).get("activeDeadlineSeconds") else None

    def _create_missing(self, job: Object, pods: Sequence[Object]) -> None:
        have = {name_of(pod) for pod in pods}
        for role in shapes.ROLES:
            for index in range(shapes.replicas_of(job, role)):
                name = shapes.replica_name(job, role, index)
                if self.cluster.find("services", namespace_of(job), name) is None:
                    self.cluster.create("services", shapes.replica_service(job, role, index))
                    self.cluster.event(job, "SuccessfulCreateService", f"Created service: {name}", component=COMPONENT)
                if name not in have:
                    self.cluster.create("pods", shapes.replica_pod(job, role, index))
                    self.cluster.event(job, "SuccessfulCreatePod", f"Created pod: {name}", component=COMPONENT)
        self._copy_unschedulable(job, pods)

    def _copy_unschedulable(self, job: Object, pods: Sequence[Object]) -> None:
        for pod in pods:
            condition = condition_of(pod, "PodScheduled")
            if condition and condition["status"] == "False" and condition.get("reason") == "Unschedulable":
                message = f"Error pod {name_of(pod)} condition message: {condition.get('message', '')}"
                self.cluster.event(job, "Unschedulable", message, type="Warning", component=COMPONENT)

    def _restart_retryable(self, job: Object, pods: list[Object]) -> bool:
        """Delete failed pods that may be tried again, those that are going already included; whether there was any."""
        failed = [pod for pod in pods if phase_of(pod) == "Failed" and may_retry(job, pod)]
        for pod in failed:
            if not is_deleting(pod):
                self._restart(job, pod)
        if failed and all(is_deleting(pod) for pod in failed):
            self._say(self._current(job), "Restarting", _restarting(job, failed[0]), warning=True)
        return bool(failed)

    def _restart(self, job: Object, pod: Object) -> None:
        codes = exit_codes(pod, shapes.CONTAINER)
        if codes:
            message = f"Pod: {namespace_of(pod)}.{name_of(pod)} exited with code {codes[0]}"
            self.cluster.event(job, "ExitedWithCode", message, component=COMPONENT)
        message = _restarting(job, pod)
        self.cluster.event(job, "PyTorchJobRestarting", message, type="Warning", component=COMPONENT)
        self._say(self._current(job), "Restarting", message, event=False)
        self.cluster.delete("pods", namespace_of(pod), name_of(pod), grace_seconds=0)

    def _suspend(self, job: Object, pods: Sequence[Object]) -> None:
        for pod in pods:
            if not is_deleting(pod):
                self.cluster.delete("pods", namespace_of(pod), name_of(pod))
        self._delete_services(job)
        if is_true(job, "Running"):
            job = self._say(job, "Running", f"PyTorchJob {name_of(job)} is suspended.", "False", "PyTorchJobSuspended", event=False)
        self._say(job, "Suspended", f"PyTorchJob {name_of(job)} is suspended.")
        empty: Object = {role: {} for role in job["spec"]["pytorchReplicaSpecs"]}
        self.set_status(RESOURCE, self._current(job), {"startTime": None, "replicaStatuses": empty})

    def _finish(self, job: Object, pods: Sequence[Object], kind: str, message: str) -> None:
        now = self.cluster.now()
        if is_true(job, "Running"):
            job = self._say(job, "Running", f"PyTorchJob {name_of(job)} is running.", "False", "PyTorchJobRunning", event=False)
        self._say(job, kind, message, warning=kind == "Failed")
        self.set_status(RESOURCE, self._current(job), {"completionTime": now, "replicaStatuses": replica_statuses(job, pods)})

    def _after(self, job: Object, pods: Sequence[Object]) -> float | None:
        """Clean up as cleanPodPolicy says, and delete the job when its time to live is over."""
        policy = _policy(job).get("cleanPodPolicy") or "None"
        for pod in pods:
            if policy != "None" and (policy == "All" or not is_finished(pod)) and not is_deleting(pod):
                self.cluster.delete("pods", namespace_of(pod), name_of(pod))
                self.cluster.event(job, "SuccessfulDeletePod", f"Deleted pod: {name_of(pod)}", component=COMPONENT)
        if policy != "None":
            self._delete_services(job)
        ttl = _policy(job).get("ttlSecondsAfterFinished")
        if ttl is None:
            return None
        left = float(ttl) - seconds_since(status_of(job).get("completionTime"), self.cluster.now())
        if left <= 0:
            self.discard(RESOURCE, namespace_of(job), name_of(job))
        return left if left > 0 else None

    def _delete_services(self, job: Object) -> None:
        for service in self.cluster.list("services", namespace_of(job), shapes.base_labels(job)):
            self.discard("services", namespace_of(job), name_of(service))

    def _current(self, job: Object) -> Object:
        return self.cluster.get(RESOURCE, namespace_of(job), name_of(job))

    def _say(self, job: Object, kind: str, message: str, status: str = "True", reason: str = "", event: bool = True, warning: bool = False) -> Object:
        """Set a condition, with an event of the same reason when it is new; returns the job as it is then."""
        reason = reason or f"PyTorchJob{kind}"
        held = status_of(job).get("conditions") or []
        conditions = job_condition(held, kind, status, reason, message, self.cluster.now())
        if conditions == held:
            return job
        self.set_status(RESOURCE, job, {"conditions": conditions})
        if event:
            self.cluster.event(job, reason, message, type="Warning" if warning else "Normal", component=COMPONENT)
        return self._current(job)


def is_over(job: Object) -> bool:
    """Whether the job has succeeded or failed."""
    return is_true(job, "Succeeded") or is_true(job, "Failed")


def _restarting(job: Object, pod: Object) -> str:
    return f"PyTorchJob {name_of(job)} is restarting because 1 {role_of(pod)} replica(s) failed."


def _policy(job: Mapping[str, Any]) -> Object:
    return job["spec"].get("runPolicy") or {}


def replica_statuses(job: Object, pods: Sequence[Object]) -> Object:
    """active, succeeded, failed and the selector of each role."""
    counts: Object = {}
    for role in job["spec"]["pytorchReplicaSpecs"]:
        mine = [pod for pod in pods if labels_of(pod).get(f"{shapes.LABEL}replica-type") == role.lower()]
        phases = {"active": "Running", "succeeded": "Succeeded", "failed": "Failed"}
        found = {field: sum(1 for pod in mine if phase_of(pod) == phase) for field, phase in phases.items()}
        selector = ",".join(f"{key}={value}" for key, value in sorted(shapes.replica_labels(job, role).items()))
        counts[role] = copy.deepcopy({field: number for field, number in found.items() if number} | {"selector": selector})
    return counts
