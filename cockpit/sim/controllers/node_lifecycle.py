"""Node lifecycle: kubelet heartbeats, Ready conditions, not-ready and unreachable taints, eviction, pods of vanished nodes."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

from cockpit.sim.controllers.machines import SIMULATED
from cockpit.sim.controllers.objects import (
    Object,
    condition_of,
    is_deleting,
    labels_of,
    name_of,
    namespace_of,
    seconds_since,
    status_of,
    with_condition,
)
from cockpit.sim.controllers.pods import is_finished, is_static, tolerates
from cockpit.sim.controllers.reconcilers import Key, Reconciler
from cockpit.sim.faults.queries import node_down

COMPONENT = "node-controller"
HEARTBEAT_SECONDS = 10.0
LEASES = "kube-node-lease"
NOT_READY_TAINT = "node.kubernetes.io/not-ready"
UNREACHABLE_TAINT = "node.kubernetes.io/unreachable"
HEALTHY = (
    ("MemoryPressure", "False", "KubeletHasSufficientMemory", "kubelet has sufficient memory available"),
    ("DiskPressure", "False", "KubeletHasNoDiskPressure", "kubelet has no disk pressure"),
    ("PIDPressure", "False", "KubeletHasSufficientPID", "kubelet has sufficient PID available"),
    ("Ready", "True", "KubeletReady", "kubelet is posting ready status"),
)
BOOTING = (
    "False",
    "KubeletNotReady",
    "container runtime network not ready: NetworkReady=false reason:NetworkPluginNotReady message:Network plugin returns error: "
    "cni plugin not initialized",
)
BOOT_SECONDS = 1.0
SILENT = ("NodeStatusUnknown", "Kubelet stopped posting node status.")


class NodeLifecycle(Reconciler):
    """Speaks for the kubelets (heartbeat, Ready) and for the node controller (taints, eviction)."""

    name = "node-lifecycle-controller"
    watches = ("nodes", "faults.sim.cockpit.dev")

    def __init__(self, cluster: Any, options: Any) -> None:
        super().__init__(cluster, options)
        self._booted_at: dict[str, float] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """A fault touches every node."""
        if event.resource == "nodes":
            return [("", event.object["metadata"]["name"])]
        return [("", name_of(node)) for node in self.cluster.list("nodes")]

    def reconcile(self, key: Key) -> float | None:
        """Set one node's conditions and taints, then evict what they drive off."""
        node = self.cluster.find("nodes", None, key[1])
        if node is None:
            self._forget(key[1])
            return None
        if labels_of(node).get(SIMULATED) != "true":
            return None
        down = node_down(self.cluster, key[1])
        if not down:
            self._beat(key[1])
        booting = self._boot_left(node)
        self._speak(node, down, booting is not None)
        node = self.cluster.get("nodes", None, key[1])
        self._taint(node)
        again = self._evict(self.cluster.get("nodes", None, key[1]))
        return min([HEARTBEAT_SECONDS, *(one for one in (again, booting) if one is not None)])

    def _boot_left(self, node: Object) -> float | None:
        """Seconds until a new node's network is up; None when it is."""
        if condition_of(node, "Ready") is None:
            now = asyncio.get_running_loop().time()
            self._booted_at[name_of(node)] = now + BOOT_SECONDS * self.options.pace
        left = self._booted_at.get(name_of(node), 0.0) - asyncio.get_running_loop().time()
        return left if left > 0 else None

    def _beat(self, name: str) -> None:
        """Renew the node's Lease: the cheap heartbeat."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        lease = self.cluster.find("leases.coordination.k8s.io", LEASES, name)
        if lease is None:
            spec = {"holderIdentity": name, "leaseDurationSeconds": 40, "renewTime": now}
            metadata = {"name": name, "namespace": LEASES}
            body = {"apiVersion": "coordination.k8s.io/v1", "kind": "Lease", "metadata": metadata, "spec": spec}
            self.cluster.create("leases.coordination.k8s.io", body)
        elif seconds_since(lease["spec"].get("renewTime"), now) >= HEARTBEAT_SECONDS / 2:
            self.cluster.patch("leases.coordination.k8s.io", LEASES, name, {"spec": {"renewTime": now}})

    def _speak(self, node: Object, down: bool, booting: bool) -> None:
        """The kubelet's conditions; Unknown ones when it is silent, Ready=False while it boots."""
        now = self.cluster.now()
        was = condition_of(node, "Ready")
        conditions = status_of(node).get("conditions") or []
        for kind, status, reason, message in HEALTHY:
            said = ("Unknown", *SILENT) if down else BOOTING if booting and kind == "Ready" else (status, reason, message)
            conditions = with_condition(conditions, kind, *said, now, lastHeartbeatTime=now)
        if self.set_status("nodes", node, {"conditions": conditions}):
            self._announce(node, was, down, booting)

    def _announce(self, node: Object, was: Object | None, down: bool, booting: bool) -> None:
        if booting:
            self.cluster.event(node, "Starting", "Starting kubelet.", component="kubelet")
        elif down and was and was["status"] == "True":
            self.cluster.event(node, "NodeNotReady", f"Node {name_of(node)} status is now: NodeNotReady", component=COMPONENT)
        elif not down and (was is None or was["status"] != "True"):
            self.cluster.event(node, "NodeReady", f"Node {name_of(node)} status is now: NodeReady", component="kubelet")

    def _taint(self, node: Object) -> None:
        """Unreachable or not-ready taints as Ready asks for; other taints stay."""
        held = node["spec"].get("taints") or []
        wanted = with_readiness_taints(held, condition_of(node, "Ready"), bool(node["spec"].get("unschedulable")), self.cluster.now())
        if wanted != held:
            self.cluster.patch("nodes", None, name_of(node), {"spec": {"taints": wanted or None}})

    def _evict(self, node: Object) -> float | None:
        """Delete the pods whose toleration of a NoExecute taint has run out; seconds to the next one that will."""
        taints = [one for one in node["spec"].get("taints") or [] if one.get("effect") == "NoExecute"]
        if not taints:
            return None
        soonest: float | None = None
        for pod in self.cluster.list("pods"):
            if pod["spec"].get("nodeName") != name_of(node) or is_deleting(pod) or is_finished(pod) or is_static(pod):
                continue
            left = seconds_to_eviction(pod, taints, self.cluster.now())
            if left is not None and left <= 0:
                self._drive_off(pod)
            elif left is not None:
                soonest = left if soonest is None else min(soonest, left)
        return soonest

    def _drive_off(self, pod: Object) -> None:
        message = f"Marking for deletion Pod {namespace_of(pod)}/{name_of(pod)}"
        self.cluster.event(pod, "TaintManagerEviction", message, component="taint-eviction-controller")
        now = self.cluster.now()
        conditions = with_condition(
            status_of(pod).get("conditions"),
            "DisruptionTarget",
            "True",
            "DeletionByTaintManager",
            "Taint manager: deleting due to NoExecute taint",
            now,
        )
        self.set_status("pods", pod, {"conditions": conditions})
        self.cluster.delete("pods", namespace_of(pod), name_of(pod))

    def _forget(self, name: str) -> None:
        """Remove the lease and the pods of a node that is gone."""
        self._booted_at.pop(name, None)
        self.discard("leases.coordination.k8s.io", LEASES, name)
        for pod in self.cluster.list("pods"):
            if pod["spec"].get("nodeName") == name and not is_static(pod):
                self.discard("pods", namespace_of(pod), name_of(pod), grace_seconds=0)


def with_readiness_taints(taints: Sequence[Object], ready: Object | None, cordoned: bool, now: str) -> list[Object]:
    """The taints a node should have: unreachable when Ready is Unknown, not-ready when False, unschedulable when cordoned."""
    status = ready["status"] if ready else "False"
    key = {"Unknown": UNREACHABLE_TAINT, "False": NOT_READY_TAINT}.get(status)
    wanted = [(key, effect) for effect in ("NoSchedule", "NoExecute")] if key else []
    if cordoned:
        wanted.append(("node.kubernetes.io/unschedulable", "NoSchedule"))
    mine = (UNREACHABLE_TAINT, NOT_READY_TAINT, "node.kubernetes.io/unschedulable")
    kept = [one for one in taints if one["key"] not in mine or (one["key"], one["effect"]) in wanted]
    have = {(one["key"], one["effect"]) for one in kept}
    return [*kept, *({"key": key, "effect": effect, "timeAdded": now} for key, effect in wanted if key and (key, effect) not in have)]


def seconds_to_eviction(pod: Object, taints: Sequence[Object], now: str) -> float | None:
    """Seconds until NoExecute taints drive the pod off, <= 0 for now, None for never; unnamed tolerations get the default 300 s."""
    times = [_tolerated_seconds(pod, taint, now) for taint in taints]
    finite = [one for one in times if one is not None]
    return min(finite) if finite else None


def _tolerated_seconds(pod: Object, taint: Object, now: str) -> float | None:
    tolerations = [one for one in pod["spec"].get("tolerations") or [] if tolerates([one], taint)]
    since = seconds_since(taint.get("timeAdded"), now)
    if not tolerations:
        default = 300.0 if taint["key"] in (UNREACHABLE_TAINT, NOT_READY_TAINT) else 0.0
        return default - since
    limits = [one["tolerationSeconds"] for one in tolerations if one.get("tolerationSeconds") is not None]
    return min(limits) - since if limits else None
