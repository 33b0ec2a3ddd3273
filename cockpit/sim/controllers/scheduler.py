"""The default scheduler: binds pending pods to nodes, says why it cannot."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from typing import Any

from cockpit.sim.controllers.objects import Object, is_deleting, name_of, namespace_of, status_of, with_condition
from cockpit.sim.controllers.placement import NodeView, node_views, place
from cockpit.sim.controllers.pods import is_finished, is_static
from cockpit.sim.controllers.reconcilers import Key, Reconciler

COMPONENT = "default-scheduler"
ROUND: Key = ("", "round")
SECONDS_BETWEEN_EVENTS = 20.0
SECONDS_TO_GATHER = 0.02


class Scheduler(Reconciler):
    """One round places every pending pod, highest priority and oldest first; any change of nodes or pods asks for a round."""

    name = "scheduler"
    watches = ("pods", "nodes")

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        self._told: dict[str, tuple[str, float]] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """Every change that can make room or work asks for one round, gathered for a moment."""
        if event.resource == "nodes" or event.type == "DELETED" or self._concerns(event.object):
            self.queue.add_after(ROUND, SECONDS_TO_GATHER)
        return []

    def _concerns(self, pod: Object) -> bool:
        return not is_static(pod) and (not pod["spec"].get("nodeName") or is_finished(pod))

    def reconcile(self, key: Key) -> float | None:
        """One scheduling round."""
        pods = self.cluster.list("pods")
        pending = [pod for pod in pods if _is_pending(pod)]
        if not pending:
            self._told.clear()
            return None
        views = node_views(self.cluster.list("nodes"), pods)
        for pod in sorted(pending, key=_queue_order):
            self._schedule(pod, views)
        return None

    def _schedule(self, pod: Object, views: list[NodeView]) -> None:
        if pod["spec"].get("schedulingGates"):
            self._say(pod, "SchedulingGated", "Scheduling is blocked due to non-empty scheduling gates")
            return
        placement = place(pod, views)
        if placement.node is None:
            self._say(pod, "Unschedulable", placement.message)
            self._warn(pod, placement.message)
            return
        self._bind(pod, placement.node)
        next(view for view in views if view.name == placement.node).add(pod)

    def _bind(self, pod: Object, node: str) -> None:
        namespace, name = namespace_of(pod), name_of(pod)
        self.cluster.patch("pods", namespace, name, {"spec": {"nodeName": node}})
        bound = {"type": "PodScheduled", "status": "True", "lastProbeTime": None, "lastTransitionTime": self.cluster.now()}
        others = [one for one in status_of(pod).get("conditions") or [] if one["type"] != "PodScheduled"]
        self.cluster.patch("pods", namespace, name, {"status": {"phase": "Pending", "conditions": [*others, bound]}}, subresource="status")
        self.cluster.event(pod, "Scheduled", f"Successfully assigned {namespace}/{name} to {node}", component=COMPONENT)
        self._told.pop(pod["metadata"]["uid"], None)

    def _say(self, pod: Object, reason: str, message: str) -> None:
        conditions = with_condition(status_of(pod).get("conditions"), "PodScheduled", "False", reason, message, self.cluster.now())
        self.set_status("pods", pod, {"phase": "Pending", "conditions": conditions})

    def _warn(self, pod: Object, message: str) -> None:
        """A FailedScheduling event when the message is new or old enough to be repeated."""
        now, uid = asyncio.get_running_loop().time(), pod["metadata"]["uid"]
        said, at = self._told.get(uid, ("", 0.0))
        if said != message or now - at >= SECONDS_BETWEEN_EVENTS:
            self._told[uid] = (message, now)
            self.cluster.event(pod, "FailedScheduling", message, type="Warning", component=COMPONENT)


def _is_pending(pod: Object) -> bool:
    mine = (pod["spec"].get("schedulerName") or COMPONENT) == COMPONENT
    return mine and not pod["spec"].get("nodeName") and not is_deleting(pod) and not is_finished(pod) and not is_static(pod)


def _queue_order(pod: Object) -> tuple[int, str, str]:
    return (-int(pod["spec"].get("priority") or 0), pod["metadata"].get("creationTimestamp") or "", name_of(pod))
