"""Faults of GPUs: XID errors and throttling."""

from __future__ import annotations

import contextlib
import os
import signal

from cockpit.sim.faults.effects import Effect, TargetError
from cockpit.sim.faults.queries import gpu_faults
from cockpit.sim.kubelet import ranks
from cockpit.sim.kubelet.devices import GPU
from cockpit.sim.kubelet.quantities import quantity

FATAL_XIDS = frozenset({46, 48, 54, 62, 63, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 142, 143, 151, 155, 156, 158})
FALLEN_OFF_THE_BUS = 79
HEALTH = "AcceleratedHardwareReady"
HEALTHY = {
    "status": "True",
    "reason": "NvidiaAcceleratedHardwareIsReady",
    "message": "Monitoring for the Nvidia AcceleratedHardware system is active",
}
AGENT = "eks-node-monitoring-agent"


class GpuEffect(Effect):
    """A fault of a GPU, told by node and index, or by the job rank that drives it."""

    def gpu(self) -> tuple[str, int | None]:
        """Node and GPU index (None: all); TargetError when the node has no such GPU."""
        if self.target.get("job") and not self.target.get("node"):
            self.job_rank()
            return self.place["node"], self.place.get("gpu")
        node = self.node()
        total = int(quantity(((node.get("status") or {}).get("capacity") or {}).get(GPU)))
        index = self.target.get("gpu")
        if not total or (index is not None and index >= total):
            have = f"GPUs 0-{total - 1}" if total else "no GPUs"
            raise TargetError(f"node {self.target['node']} has {have}" + (f", not {index}" if total else ""))
        if index is not None:
            self.place["gpu"] = int(index)
        return self.target["node"], index


class Xid(GpuEffect):
    """An XID error: exporter values, node health as the EKS node monitoring agent reports it, and for XID 79 dead processes."""

    def start(self) -> str:
        code = int(self.spec.get("xid", FALLEN_OFF_THE_BUS))
        node, gpu = self.gpu()
        if gpu is None:
            gpu = self.place["gpu"] = 0
        found = self.cluster.get("nodes", None, node)
        text = f"NVRM: Xid {code} on GPU {gpu} (SIMULATED)"
        if code in FATAL_XIDS:
            self._set_health(node, {"status": "False", "reason": f"NvidiaXID{code}Error", "message": text})
            self.cluster.event(found, f"NvidiaXID{code}Error", text, type="Warning", component=AGENT)
        else:
            self.cluster.event(found, f"NvidiaXID{code}Warning", text, type="Warning", component=AGENT)
        killed = self._fall_off(node, gpu) if code == FALLEN_OFF_THE_BUS else 0
        return f"XID {code} on GPU {gpu} of node {node}" + (f"; {killed} processes on it killed" if killed else "")

    def _fall_off(self, node: str, gpu: int) -> int:
        """Kill what holds the GPU, after the last words of a real job."""
        victims = ranks.node_ranks(self.kubelet, node, gpu)
        holder = self.kubelet.gpus(node).get(gpu)
        if holder is not None and holder.uid in self.kubelet.runs:
            rank = next((f"[rank{victim.rank}]: " for victim in victims if victim.rank is not None), "")
            context = self.kubelet.runs[holder.uid].context
            self.kubelet.note(context, holder.container, f"{rank}torch.AcceleratorError: CUDA error: unknown error (SIMULATED: XID 79)")
            self.kubelet.note(context, holder.container, "NCCL WARN Cuda failure 999 'unknown error' (SIMULATED: XID 79)")
        for victim in victims:
            with contextlib.suppress(ProcessLookupError):
                os.kill(victim.pid, signal.SIGKILL)
        return len(victims)

    def end(self) -> None:
        """Health is True again, unless another fatal XID is active on the node."""
        node = self.place["node"]
        others = [fault.xid for fault in gpu_faults(self.cluster, node) if fault.xid in FATAL_XIDS]
        if int(self.spec.get("xid", FALLEN_OFF_THE_BUS)) in FATAL_XIDS and not others and self.cluster.find("nodes", None, node):
            self._set_health(node, HEALTHY)

    def _set_health(self, node: str, health: dict[str, str]) -> None:
        now = self.cluster.now()
        status = self.cluster.get("nodes", None, node).get("status") or {}
        others = [condition for condition in status.get("conditions") or [] if condition["type"] != HEALTH]
        mine = {"type": HEALTH, **health, "lastHeartbeatTime": now, "lastTransitionTime": now}
        self.cluster.patch("nodes", None, node, {"status": {"conditions": [*others, mine]}}, subresource="status")


class Throttle(GpuEffect):
    """A GPU that clocks down: the exporter shows it and its ranks run slower."""

    def start(self) -> str:
        node, gpu = self.gpu()
        self.kubelet.brakes.put(self.name, lambda: [p.pid for p in ranks.node_ranks(self.kubelet, node, gpu)], self.factor)
        which = f"GPU {gpu}" if gpu is not None else "all GPUs"
        return f"{which} of node {node} throttled to {self.factor:.0%}"

    def end(self) -> None:
        """Full speed again."""
        self.kubelet.brakes.lift(self.name)
