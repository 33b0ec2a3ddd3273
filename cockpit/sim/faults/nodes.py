"""Faults of nodes: silence, spot interruption, EFA retransmissions."""

from __future__ import annotations

from cockpit.sim.faults.effects import Effect
from cockpit.sim.faults.queries import node_down
from cockpit.sim.kubelet import ranks

SPOT_NOTICE_SECONDS = 120.0


class NodeNotReady(Effect):
    """A node whose kubelet falls silent: its processes are frozen until it is back. The node controller reads `node_down`."""

    def start(self) -> str:
        node = self.node()["metadata"]["name"]
        self.kubelet.node_up(node).clear()
        self.kubelet.brakes.put(self.name, lambda: ranks.node_pids(self.kubelet, node), 0.0)
        return f"node {node} stopped posting its status"

    def end(self) -> None:
        """The kubelet is back, with what the API asked for meanwhile."""
        self.kubelet.brakes.lift(self.name)
        if not node_down(self.cluster, self.place["node"]):
            self.kubelet.node_up(self.place["node"]).set()


class SpotInterruption(Effect):
    """The two-minute notice: Karpenter's interruption controller acts on it, and the instance is gone when the time is over."""

    @property
    def notice_seconds(self) -> float:
        """Time from notice to the end of the instance."""
        return SPOT_NOTICE_SECONDS * self.kubelet.machine.pace

    @property
    def seconds(self) -> float | None:
        """The notice, or less: a notice taken back before its time leaves the instance alone."""
        return min(super().seconds or self.notice_seconds, self.notice_seconds)

    def start(self) -> str:
        node = self.node()
        name = node["metadata"]["name"]
        claims = [c for c in self.cluster.list("nodeclaims.karpenter.sh") if (c.get("status") or {}).get("nodeName") == name]
        said = "Spot interruption warning was triggered"
        for involved in (node, *claims):
            self.cluster.event(involved, "SpotInterrupted", said, type="Warning", component="karpenter")
        return f"node {name} will be reclaimed in {self.notice_seconds:g} s"

    def expire(self) -> str:
        """The instance is gone: whatever still runs on it dies, and the node object with its finalizers goes."""
        if self.seconds != self.notice_seconds:
            return f"taken back after {self.seconds:g} s"
        name = self.place["node"]
        for run in self.kubelet.runs_on(name):
            run.lose()
        if self.cluster.find("nodes", None, name) is not None:
            self.cluster.patch("nodes", None, name, {"metadata": {"finalizers": None}})
        if self.cluster.find("nodes", None, name) is not None:
            self.cluster.delete("nodes", None, name)
        return f"node {name} is gone"


class EfaRetransmit(Effect):
    """Retransmissions on a node's EFA devices: counters rise and the ranks on the node run slower."""

    def start(self) -> str:
        node = self.node()["metadata"]["name"]
        self.kubelet.brakes.put(self.name, lambda: [p.pid for p in ranks.node_ranks(self.kubelet, node)], self.factor)
        return f"EFA of node {node} retransmits; its ranks run at {self.factor:.0%}"

    def end(self) -> None:
        """Full speed again."""
        self.kubelet.brakes.lift(self.name)
