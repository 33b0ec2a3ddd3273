"""Kueue's job reconciler: a Workload for each queued job, and the job's suspend flag as the Workload's admission says."""

from __future__ import annotations

from collections.abc import Iterable
from functools import partial
from typing import Any

from cockpit.sim.controllers.kueue_jobs import (
    BY_RESOURCE,
    INTEGRATIONS,
    JOB_UID,
    QUEUE,
    Integration,
    is_queued,
    is_suspended,
    outcome,
    placement,
    podsets_of,
    suspend_new,
    suspension,
    workload_name,
)
from cockpit.sim.controllers.objects import (
    Object,
    controller_of,
    is_deleting,
    is_true,
    labels_of,
    name_of,
    namespace_of,
    owner_reference,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.controllers.trainjob_rules import find_runtime

WORKLOADS = "workloads.kueue.x-k8s.io"
FLAVORS = "resourceflavors.kueue.x-k8s.io"
PRIORITIES = "workloadpriorityclasses.kueue.x-k8s.io"
PRIORITY_LABEL = "kueue.x-k8s.io/priority-class"


class KueueJobs(Reconciler):
    """One key is "<resource>/<namespace>" and a job's name."""

    name = "kueue-job-controller"
    watches = (*BY_RESOURCE, WORKLOADS)

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        for integration in INTEGRATIONS:
            cluster.admit(integration.resource, partial(_suspend_at_creation, integration))

    def keys(self, event: Any) -> Iterable[Key]:
        """A queued job, or the owner of a Workload."""
        obj = event.object
        if event.resource in BY_RESOURCE:
            return [(f"{event.resource}/{namespace_of(obj)}", name_of(obj))] if is_queued(obj) else []
        owner = controller_of(obj)
        found = next((one for one in INTEGRATIONS if owner and one.kind == owner["kind"]), None)
        return [(f"{found.resource}/{namespace_of(obj)}", owner["name"])] if found and owner else []

    def reconcile(self, key: Key) -> float | None:
        """One queued job."""
        resource, _, namespace = key[0].partition("/")
        integration = BY_RESOURCE[resource]
        job = self.cluster.find(resource, namespace, key[1])
        if job is None or is_deleting(job) or not is_queued(job):
            return None
        workload = self.cluster.find(WORKLOADS, namespace, workload_name(job, integration))
        ended = outcome(job, integration)
        if ended is not None:
            self._finish(workload, *ended)
            return None
        if workload is None:
            workload = self._create(job, integration)
        if workload is None or is_true(workload, "Finished"):
            return None
        if is_true(workload, "Admitted") and is_suspended(job, integration):
            self._start(job, integration, workload)
        elif not is_true(workload, "Admitted") and not is_suspended(job, integration):
            self._stop(job, integration, workload)
        return None

    def _create(self, job: Object, integration: Integration) -> Object | None:
        runtime = find_runtime(self.cluster, job) if integration.kind == "TrainJob" else None
        podsets = podsets_of(job, integration, runtime)
        if not podsets:
            return None
        queue = labels_of(job)[QUEUE]
        metadata = {
            "name": workload_name(job, integration),
            "namespace": namespace_of(job),
            "labels": {JOB_UID: job["metadata"]["uid"], QUEUE: queue},
            "ownerReferences": [owner_reference(job)],
        }
        spec = {"active": True, "queueName": queue, "podSets": podsets, **self._priority(job)}
        body = {"apiVersion": "kueue.x-k8s.io/v1beta2", "kind": "Workload", "metadata": metadata, "spec": spec}
        workload = self.cluster.create(WORKLOADS, body)
        said = f"Created Workload: {namespace_of(job)}/{name_of(workload)}"
        self.cluster.event(job, "CreatedWorkload", said, component=f"{integration.group}/{integration.kind.lower()}-kueue-controller")
        return workload

    def _priority(self, job: Object) -> Object:
        name = labels_of(job).get(PRIORITY_LABEL)
        found = self.cluster.find(PRIORITIES, None, name) if name else None
        if found is None:
            return {"priority": 0}
        reference = {"group": "kueue.x-k8s.io", "kind": "WorkloadPriorityClass", "name": name}
        return {"priority": int(found["value"]), "priorityClassRef": reference}

    def _start(self, job: Object, integration: Integration, workload: Object) -> None:
        """Put the flavors' labels in, then let the job run."""
        admission = status_of(workload)["admission"]
        selectors = {one["name"]: self._labels_of(one.get("flavors") or {}) for one in admission["podSetAssignments"]}
        where = placement(job, integration, selectors, self.options.trainer)
        if where:
            self.cluster.patch(integration.resource, namespace_of(job), name_of(job), {"spec": where})
        self.cluster.patch(integration.resource, namespace_of(job), name_of(job), suspension(integration, False))
        said = f"Admitted by clusterQueue {admission['clusterQueue']}"
        self.cluster.event(job, "Started", said, component=f"{integration.group}/{integration.kind.lower()}-kueue-controller")

    def _labels_of(self, flavors: dict[str, str]) -> dict[str, str]:
        found = [self.cluster.find(FLAVORS, None, name) for name in dict.fromkeys(flavors.values())]
        return {key: value for one in found if one for key, value in (one["spec"].get("nodeLabels") or {}).items()}

    def _stop(self, job: Object, integration: Integration, workload: Object) -> None:
        evicted = next((one for one in status_of(workload).get("conditions") or [] if one["type"] == "Evicted"), None)
        reason, said = ("Stopped", evicted["message"]) if evicted else ("Suspended", "Kueue managed child job suspended")
        self.cluster.patch(integration.resource, namespace_of(job), name_of(job), suspension(integration, True))
        self.cluster.event(job, reason, said, component=f"{integration.group}/{integration.kind.lower()}-kueue-controller")

    def _finish(self, workload: Object | None, reason: str, message: str) -> None:
        if workload is None or is_true(workload, "Finished"):
            return
        conditions = with_condition(status_of(workload).get("conditions"), "Finished", "True", reason, message, self.cluster.now())
        self.set_status(WORKLOADS, workload, {"conditions": conditions})
        self.cluster.event(workload, "FinishedWorkload", f"Workload '{namespace_of(workload)}/{name_of(workload)}' is declared finished")


def _suspend_at_creation(integration: Integration, verb: str, job: Object, old: Object | None) -> Object | None:
    """The mutating webhook: a queued job begins suspended."""
    return suspend_new(integration, job) if verb == "CREATE" else None
