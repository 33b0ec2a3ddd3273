"""How Karpenter takes a node away: taint, drain with respect for budgets, then the instance, the Node and the NodeClaim."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any

from cockpit.sim.controllers.karpenter_state import CLAIMS, COMPONENT, KarpenterState, duration_seconds
from cockpit.sim.controllers.machines import TERMINATION
from cockpit.sim.controllers.objects import (
    Object,
    annotations_of,
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
from cockpit.sim.controllers.pods import is_finished, is_of_daemonset, tolerates
from cockpit.sim.controllers.reconcilers import Key, Reconciler

DISRUPTED = {"key": "karpenter.sh/disrupted", "effect": "NoSchedule"}
DRAIN_PAUSE_SECONDS = 0.5
STUCK_SECONDS = 60.0
SHUTDOWN_SECONDS = 0.5


class NodeTermination(Reconciler):
    """Carries out the deletion of NodeClaims and of the Nodes they own."""

    name = "karpenter-node-termination"
    watches = (CLAIMS, "nodes", "pods")

    def __init__(self, cluster: Any, options: Any, state: KarpenterState) -> None:
        super().__init__(cluster, options)
        self.state = state
        self._shutdown_since: dict[str, float] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """Claims and nodes in deletion, and pods on such nodes."""
        if event.resource == CLAIMS:
            return super().keys(event) if is_deleting(event.object) else []
        if event.resource == "nodes":
            node = event.object if is_deleting(event.object) else None
        else:
            node = self.cluster.find("nodes", None, event.object["spec"].get("nodeName") or "")
        owners = (node["metadata"].get("ownerReferences") or []) if node else []
        return [("", one["name"]) for one in owners if one["kind"] == "NodeClaim"]

    def reconcile(self, key: Key) -> float | None:
        """One step down for one claim."""
        claim = self.cluster.find(CLAIMS, None, key[1])
        if claim is None:
            self._shutdown_since.pop(key[1], None)
            return None
        node = self._node_of(claim)
        if not is_deleting(claim):
            if node is not None and is_deleting(node):
                self.cluster.delete(CLAIMS, None, key[1])
            return None
        if node is None:
            self._release(claim)
            return None
        self._taint(node)
        if not self._drain(claim, node):
            return DRAIN_PAUSE_SECONDS * max(self.options.pace, 0.05)
        return self._shut_down(claim, node)

    def _node_of(self, claim: Object) -> Object | None:
        provider_id = status_of(claim).get("providerID")
        nodes = self.cluster.list("nodes") if provider_id else []
        return next((one for one in nodes if one["spec"].get("providerID") == provider_id), None)

    def _taint(self, node: Object) -> None:
        taints = node["spec"].get("taints") or []
        if not any(one["key"] == DISRUPTED["key"] for one in taints):
            self.cluster.patch("nodes", None, name_of(node), {"spec": {"taints": [*taints, DISRUPTED]}})

    def _drain(self, claim: Object, node: Object) -> bool:
        """Evict what may be evicted; whether nothing is left to wait for."""
        waiting = [pod for pod in self._pods_on(node) if not self._is_stuck(pod)]
        forced = self._is_out_of_time(claim)
        blocked = 0
        for pod in waiting:
            if forced:
                self.discard("pods", namespace_of(pod), name_of(pod), grace_seconds=0)
            elif not is_deleting(pod):
                blocked += 0 if self._evict(pod) else 1
        if waiting and not forced:
            self._condition(claim, "Drained", "Unknown", "Draining", f"{len(waiting)} pods are waiting to be evicted")
            if blocked:
                message = f"Failed to drain node, {len(waiting)} pods are waiting to be evicted"
                self.cluster.event(node, "FailedDraining", message, type="Warning", component=COMPONENT)
            return False
        return True

    def _pods_on(self, node: Object) -> list[Object]:
        """The pods that a drain waits for."""
        pods = [pod for pod in self.cluster.list("pods") if pod["spec"].get("nodeName") == name_of(node) and not is_finished(pod)]
        return [pod for pod in pods if not is_of_daemonset(pod) and not tolerates(pod["spec"].get("tolerations") or [], DISRUPTED)]

    def _is_stuck(self, pod: Object) -> bool:
        """A pod that should have been gone for a minute no longer holds a node back."""
        stamp = pod["metadata"].get("deletionTimestamp")
        return bool(stamp) and seconds_since(stamp, self.cluster.now()) > STUCK_SECONDS * self.options.pace

    def _is_out_of_time(self, claim: Object) -> bool:
        """Whether terminationGracePeriod has run out."""
        limit = duration_seconds(claim["spec"].get("terminationGracePeriod"))
        return limit is not None and seconds_since(claim["metadata"].get("deletionTimestamp"), self.cluster.now()) > limit

    def _evict(self, pod: Object) -> bool:
        """Evict one pod if its disruption budgets allow it."""
        budgets = self.cluster.list("poddisruptionbudgets.policy", namespace_of(pod))
        mine = [one for one in budgets if matches_labels(one["spec"].get("selector"), labels_of(pod))]
        if any(int(status_of(one).get("disruptionsAllowed") or 0) < 1 for one in mine):
            return False
        self.cluster.event(pod, "Evicted", "Evicted pod: Forceful Termination" if _is_protected(pod) else "Evicted pod", component=COMPONENT)
        self.cluster.delete("pods", namespace_of(pod), name_of(pod))
        return True

    def _shut_down(self, claim: Object, node: Object) -> float | None:
        """Drained; the instance stops, then the Node and the claim go."""
        now = asyncio.get_running_loop().time()
        for kind in ("Drained", "VolumesDetached", "InstanceTerminating"):
            self._condition(claim, kind, "True", kind, "")
        since = self._shutdown_since.setdefault(name_of(claim), now)
        left = since + SHUTDOWN_SECONDS * self.options.pace - now
        if left > 0:
            return left
        self.discard("nodes", None, name_of(node))
        self._drop_finalizer("nodes", name_of(node))
        self._release(claim)
        return None

    def _release(self, claim: Object) -> None:
        self._shutdown_since.pop(name_of(claim), None)
        self._drop_finalizer(CLAIMS, name_of(claim))

    def _drop_finalizer(self, resource: str, name: str) -> None:
        held = self.cluster.find(resource, None, name)
        if held is not None:
            kept: Sequence[str] = [one for one in held["metadata"].get("finalizers") or [] if one != TERMINATION]
            self.cluster.patch(resource, None, name, {"metadata": {"finalizers": list(kept) or None}})

    def _condition(self, claim: Object, kind: str, status: str, reason: str, message: str) -> None:
        claim = self.cluster.get(CLAIMS, None, name_of(claim))
        if is_true(claim, kind) and status == "True":
            return
        conditions = with_condition(status_of(claim).get("conditions"), kind, status, reason, message, self.cluster.now())
        self.set_status(CLAIMS, claim, {"conditions": conditions})


def _is_protected(pod: Object) -> bool:
    return annotations_of(pod).get("karpenter.sh/do-not-disrupt") == "true"
