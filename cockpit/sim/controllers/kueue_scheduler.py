"""Kueue's scheduler: admits pending workloads while quota lasts, says why the others wait, and keeps the queues' status."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from cockpit.sim.controllers.kueue_quotas import Assignment, Usage, admission_of, assign, quotas_of, usage_of, usage_status
from cockpit.sim.controllers.kueue_workloads import FLAVORS, WORKLOADS
from cockpit.sim.controllers.objects import (
    Object,
    is_deleting,
    is_true,
    labels_of,
    matches_labels,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.reconcilers import Key, Reconciler

QUEUES = "clusterqueues.kueue.x-k8s.io"
LOCAL_QUEUES = "localqueues.kueue.x-k8s.io"
COMPONENT = "kueue-admission"
ROUND: Key = ("", "round")
GATHER_SECONDS = 0.05


class KueueScheduler(Reconciler):
    """One round looks at every pending workload of every queue."""

    name = "kueue-scheduler"
    watches = (WORKLOADS, QUEUES, LOCAL_QUEUES, FLAVORS)

    def keys(self, event: Any) -> Iterable[Key]:
        """Any change asks for one round, gathered for a moment."""
        self.queue.add_after(ROUND, GATHER_SECONDS)
        return []

    def reconcile(self, key: Key) -> float | None:
        """One round: evict, admit, explain, count."""
        queues = self.cluster.list(QUEUES)
        for workload in self.cluster.list(WORKLOADS):
            self._evict_if_stopped(workload, queues)
        for queue in queues:
            self._activate(queue)
        for queue in self.cluster.list(QUEUES):
            self._admit_from(queue)
        for workload in self.cluster.list(WORKLOADS):
            self._explain_misconfigured(workload)
        self._count()
        return None

    def _evict_if_stopped(self, workload: Object, queues: Sequence[Object]) -> None:
        if not is_true(workload, "QuotaReserved") or is_true(workload, "Finished"):
            return
        held_by = (status_of(workload).get("admission") or {}).get("clusterQueue")
        queue = next((one for one in queues if name_of(one) == held_by), None)
        if workload["spec"].get("active") is False:
            self._evict(workload, "Deactivated", "The workload is deactivated")
        elif queue is not None and queue["spec"].get("stopPolicy") == "HoldAndDrain":
            self._evict(workload, "ClusterQueueStopped", "The ClusterQueue is stopped")

    def _evict(self, workload: Object, reason: str, message: str) -> None:
        now, conditions = self.cluster.now(), status_of(workload).get("conditions")
        conditions = with_condition(conditions, "Evicted", "True", reason, message, now)
        conditions = with_condition(conditions, "QuotaReserved", "False", "Suspended", message, now)
        conditions = with_condition(conditions, "Admitted", "False", "NoReservation", "The workload has no reservation", now)
        self.set_status(WORKLOADS, workload, {"conditions": conditions, "admission": None})
        self.cluster.event(workload, f"EvictedDueTo{reason}", message, component="workload-controller")

    def _activate(self, queue: Object) -> None:
        """The Active condition of a ClusterQueue."""
        absent = [one["name"] for group in queue["spec"].get("resourceGroups") or [] for one in group["flavors"]]
        absent = [name for name in absent if self.cluster.find(FLAVORS, None, name) is None]
        if is_deleting(queue):
            said = ("False", "Terminating", "Can't admit new workloads; clusterQueue is terminating")
        elif queue["spec"].get("stopPolicy", "None") != "None":
            said = ("False", "Stopped", "Can't admit new workloads: is stopped.")
        elif absent:
            said = ("False", "FlavorNotFound", f"Can't admit new workloads: references missing ResourceFlavor(s): {','.join(absent)}.")
        else:
            said = ("True", "Ready", "Can admit new workloads")
        conditions = with_condition(status_of(queue).get("conditions"), "Active", *said, self.cluster.now())
        self.set_status(QUEUES, queue, {"conditions": conditions})

    def _admit_from(self, queue: Object) -> None:
        """Admit in order; a StrictFIFO queue stops at the first that does not fit."""
        if not is_true(queue, "Active"):
            return
        flavors = {name_of(one): one for one in self.cluster.list(FLAVORS)}
        for workload in pending_in(self.cluster, queue):
            queues = self.cluster.list(QUEUES)
            assignment = assign(workload["spec"]["podSets"], queue, flavors, quotas_of(queue, queues, self._usage(queues)))
            if assignment.fits:
                self._admit(queue, workload, assignment)
            else:
                self._refuse(workload, assignment.reason, assignment.message)
                if queue["spec"].get("queueingStrategy") == "StrictFIFO":
                    return

    def _usage(self, queues: Iterable[Object]) -> dict[str, Usage]:
        return {name_of(queue): usage_of(self._holding(name_of(queue))) for queue in queues}

    def _holding(self, queue: str) -> list[Object]:
        """The workloads that hold quota of a ClusterQueue."""
        held = [one for one in self.cluster.list(WORKLOADS) if is_true(one, "QuotaReserved") and not is_true(one, "Finished")]
        return [one for one in held if (status_of(one).get("admission") or {}).get("clusterQueue") == queue]

    def _admit(self, queue: Object, workload: Object, assignment: Assignment) -> None:
        now, conditions = self.cluster.now(), status_of(workload).get("conditions")
        said = f"Quota reserved in ClusterQueue {name_of(queue)}"
        conditions = with_condition(conditions, "QuotaReserved", "True", "QuotaReserved", said, now)
        conditions = with_condition(conditions, "Admitted", "True", "Admitted", "The workload is admitted", now)
        if any(one["type"] == "Evicted" and one["status"] == "True" for one in conditions):
            conditions = with_condition(conditions, "Evicted", "False", "QuotaReserved", "Previously: evicted", now)
        admission = admission_of(queue, workload["spec"]["podSets"], assignment)
        self.set_status(WORKLOADS, workload, {"conditions": conditions, "admission": admission})
        waited = f"{seconds_since(workload['metadata']['creationTimestamp'], now):.0f}s"
        reserved = f"Quota reserved in ClusterQueue {name_of(queue)}, wait time since queued was {waited}"
        self.cluster.event(workload, "QuotaReserved", reserved, component=COMPONENT)
        admitted = f"Admitted by ClusterQueue {name_of(queue)}, wait time since reservation was 0s"
        self.cluster.event(workload, "Admitted", admitted, component=COMPONENT)

    def _refuse(self, workload: Object, reason: str, message: str) -> None:
        was = status_of(workload).get("conditions")
        conditions = with_condition(was, "QuotaReserved", "False", reason, message, self.cluster.now())
        if self.set_status(WORKLOADS, workload, {"conditions": conditions}):
            self.cluster.event(workload, "Pending", message, type="Warning", component=COMPONENT)

    def _explain_misconfigured(self, workload: Object) -> None:
        """Workloads that no queue looks at say which link is missing."""
        if is_true(workload, "QuotaReserved") or is_true(workload, "Finished"):
            return
        problem = problem_of(self.cluster, workload)
        if problem is not None:
            self._refuse(workload, *problem)

    def _count(self) -> None:
        """The status of every ClusterQueue and LocalQueue."""
        for queue in self.cluster.list(QUEUES):
            pending, holding = pending_in(self.cluster, queue), self._holding(name_of(queue))
            self.set_status(QUEUES, queue, _queue_status(queue, pending, holding))
        for local in self.cluster.list(LOCAL_QUEUES):
            self._count_local(local, self.cluster.find(QUEUES, None, local["spec"].get("clusterQueue", "")))

    def _count_local(self, local: Object, queue: Object | None) -> None:
        """The status of one LocalQueue: its share of its ClusterQueue."""
        if queue is None:
            said = ("False", "ClusterQueueDoesNotExist", "Can't submit new workloads to clusterQueue")
        elif is_true(queue, "Active"):
            said = ("True", "Ready", "Can submit new workloads to localQueue")
        else:
            said = ("False", "ClusterQueueIsInactive", "Can't submit new workloads to clusterQueue")
        conditions = with_condition(status_of(local).get("conditions"), "Active", *said, self.cluster.now())
        holding = [one for one in self._holding(name_of(queue)) if _is_in(one, local)] if queue else []
        pending = [one for one in pending_in(self.cluster, queue) if _is_in(one, local)] if queue else []
        counts = _queue_status(queue, pending, holding) if queue else {}
        self.set_status(LOCAL_QUEUES, local, {**counts, "conditions": conditions})


def _is_in(workload: Object, local: Object) -> bool:
    return namespace_of(workload) == namespace_of(local) and workload["spec"].get("queueName") == name_of(local)


def _queue_status(queue: Object, pending: Sequence[Object], holding: Sequence[Object]) -> Object:
    admitted = [one for one in holding if is_true(one, "Admitted")]
    return {
        "flavorsReservation": usage_status(queue, usage_of(holding)),
        "flavorsUsage": usage_status(queue, usage_of(admitted)),
        "pendingWorkloads": len(pending),
        "reservingWorkloads": len(holding),
        "admittedWorkloads": len(admitted),
    }


def pending_in(cluster: Any, queue: Object) -> list[Object]:
    """The workloads that wait in a ClusterQueue: highest priority first, then oldest."""
    waiting = [one for one in cluster.list(WORKLOADS) if not is_true(one, "QuotaReserved") and not is_true(one, "Finished")]
    mine = [
        one for one in waiting if not is_deleting(one) and problem_of(cluster, one) is None and _queue_of(cluster, one) == name_of(queue)
    ]
    return sorted(mine, key=lambda one: (-int(one["spec"].get("priority") or 0), one["metadata"]["creationTimestamp"], name_of(one)))


def _queue_of(cluster: Any, workload: Object) -> str | None:
    local = cluster.find(LOCAL_QUEUES, namespace_of(workload), workload["spec"].get("queueName") or "")
    return None if local is None else str(local["spec"].get("clusterQueue") or "")


def problem_of(cluster: Any, workload: Object) -> tuple[str, str] | None:
    """(reason, message) why no ClusterQueue considers a workload; None when one does."""
    name = workload["spec"].get("queueName") or ""
    if workload["spec"].get("active") is False:
        return "Suspended", "The workload is deactivated"
    local = cluster.find(LOCAL_QUEUES, namespace_of(workload), name)
    if local is None:
        return "Misconfigured", f"LocalQueue {name} doesn't exist"
    if local["spec"].get("stopPolicy", "None") != "None":
        return "Suspended", f"LocalQueue {name} is inactive"
    queue = cluster.find(QUEUES, None, local["spec"].get("clusterQueue") or "")
    if queue is None:
        return "Misconfigured", f"ClusterQueue {local['spec'].get('clusterQueue')} doesn't exist"
    if not is_true(queue, "Active"):
        stopped = queue["spec"].get("stopPolicy", "None") != "None"
        return "Suspended" if stopped else "Misconfigured", f"ClusterQueue {name_of(queue)} is inactive"
    namespace = cluster.find("namespaces", None, namespace_of(workload))
    if not matches_labels(queue["spec"].get("namespaceSelector"), labels_of(namespace) if namespace else {}):
        return "Misconfigured", "Workload namespace doesn't match ClusterQueue selector"
    return None
