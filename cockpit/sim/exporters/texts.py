"""The exporters as the kubelet knows them: they sample the ranks each second and answer with text."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable, Mapping
from typing import Any

from cockpit.sim import instance_types
from cockpit.sim.exporters import dcgm, efa, karpenter
from cockpit.sim.exporters.efa import EfaDevice
from cockpit.sim.exporters.gpu_types import gpu_type
from cockpit.sim.exporters.gpus import Gpu, Load
from cockpit.sim.exporters.scenery import Scenery
from cockpit.sim.exporters.scraping import RankReport, RankReports
from cockpit.sim.faults.queries import GpuFault, capacity_blocked, efa_faults, gpu_faults
from cockpit.sim.kubelet import Kubelet
from cockpit.sim.kubelet.devices import EFA, GPU, Holder, gpu_uuid
from cockpit.sim.kubelet.quantities import quantity

SAMPLE_SECONDS = 1.0


class Exporters:
    """GPUs and EFA devices of all nodes; `offerings` are the instance types for sale, the practice cluster's own when not told."""

    def __init__(self, cluster: Any, offerings: Iterable[karpenter.Offering] | None = None) -> None:
        self.cluster = cluster
        self.offerings = tuple(instance_types.offerings() if offerings is None else offerings)
        self.reports = RankReports()
        self.kubelet: Kubelet | None = None
        self._scenery = Scenery(cluster)
        self._gpus: dict[str, list[Gpu]] = {}
        self._devices: dict[str, list[EfaDevice]] = {}

    def attach(self, kubelet: Kubelet) -> None:
        """Get to know the kubelet, whose pods hold the devices."""
        self.kubelet = kubelet

    # -- sampling --------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Sample each second until cancelled."""
        try:
            while True:
                await asyncio.sleep(SAMPLE_SECONDS)
                await self.sample()
        finally:
            await self.reports.close()

    async def sample(self) -> None:
        """Ask every rank once, count what it sent, and move the devices of its node."""
        assert self.kubelet is not None
        ports = self.kubelet.metrics_ports()
        self.reports.forget({port.uid for port in ports})
        if not ports:
            return
        await self.reports.scrape(ports, self._ranks_of(ports))
        self._carry()
        for node in {port.node for port in ports}:
            self._advance(node)

    def _ranks_of(self, ports: Iterable[Any]) -> dict[str, int]:
        """How many ranks each pod has: what torchrun was told, else its GPUs."""
        assert self.kubelet is not None
        return {port.uid: self.kubelet.ranks_of(port.uid) for port in ports}

    def _carry(self) -> None:
        """Give the fresh bytes of ranks in multi-node jobs to the EFA devices of their pods."""
        assert self.kubelet is not None
        nodes: dict[object, set[str]] = {}
        by_pod: dict[str, list[RankReport]] = {}
        for report in self.reports.ranks.values():
            run = self.kubelet.runs.get(report.uid)
            if run is not None and run.context.job is not None:
                nodes.setdefault(run.context.job, set()).add(report.node)
                by_pod.setdefault(report.uid, []).append(report)
        for uid, reports in by_pod.items():
            payload = sum(report.bytes_fresh for report in reports) / len(reports)
            for report in reports:
                report.bytes_fresh = 0.0
            run = self.kubelet.runs[uid]
            if len(nodes[run.context.job]) > 1 and payload:
                self._send(run.context.node, uid, efa.wire_bytes(payload, reports[0].world_size))

    def _send(self, node: str, uid: str, wire: float) -> None:
        """Spread bytes over the devices a pod holds; a pod without EFA devices talks over TCP, which they do not see."""
        assert self.kubelet is not None
        devices = self._efa_of(node)
        mine = [index for index, holder in self.kubelet.efa_devices(node).items() if holder.uid == uid and index < len(devices)]
        for index in mine:
            devices[index].carry(wire / len(mine), wire / len(mine))

    # -- devices ---------------------------------------------------------------------------------------------------------

    def _node(self, name: str) -> tuple[Mapping[str, str], Mapping[str, Any]]:
        node = self.cluster.find("nodes", None, name) or {"metadata": {}}
        return node["metadata"].get("labels") or {}, (node.get("status") or {}).get("capacity") or {}

    def _gpus_of(self, node: str) -> list[Gpu]:
        labels, capacity = self._node(node)
        wanted = int(quantity(capacity.get(GPU)))
        known = self._gpus.setdefault(node, [])
        scene = self._scenery.on(node)
        while len(known) < wanted:
            gpu = Gpu(gpu_type(labels), f"{node}/{len(known)}", time.monotonic())
            if scene is not None:
                gpu.settle(scene.load(len(known), 1.0), time.monotonic())
            known.append(gpu)
        return known[:wanted]

    def _efa_of(self, node: str) -> list[EfaDevice]:
        wanted = int(quantity(self._node(node)[1].get(EFA)))
        known = self._devices.get(node, [])
        if len(known) != wanted:
            known = self._devices[node] = [EfaDevice(name, time.monotonic()) for name in efa.device_names(wanted)]
        return known

    def _held(self, node: str) -> dict[int, Holder]:
        """GPU index -> container that holds it."""
        scene = self._scenery.on(node)
        if scene is not None:
            return {index: holder for index in range(scene.gpus) if (holder := scene.holder(index))}
        return self.kubelet.gpus(node) if self.kubelet else {}

    def _advance(self, node: str) -> None:
        now = time.monotonic()
        scene, held = self._scenery.on(node), self._held(node)
        faults = gpu_faults(self.cluster, node)
        for index, gpu in enumerate(self._gpus_of(node)):
            throttle = _throttle(faults, index)
            gpu.advance(scene.load(index, throttle) if scene else self._load(held.get(index), throttle, now), now)
        losses = efa_faults(self.cluster, node)
        for index, device in enumerate(self._efa_of(node)):
            loss = max((1 - fault.factor for fault in losses if fault.device in (None, device.name)), default=0.0)
            seconds = device.advance(now, loss)
            if scene is not None and index < scene.efa_devices:
                device.carry(scene.sent_bytes_per_second * seconds, scene.sent_bytes_per_second * seconds)

    def _load(self, holder: Holder | None, throttle: float, now: float) -> Load:
        report = self.reports.on(holder.uid, holder.place) if holder else None
        if report is None:
            return Load(throttle=throttle)
        if report.stalled(now):
            answers = now - report.heard < 3 * SAMPLE_SECONDS
            return Load(held=True, waiting=answers, throttle=throttle)
        return Load(held=True, compute=report.compute_share, speed=report.speed, throttle=throttle)

    # -- texts -----------------------------------------------------------------------------------------------------------

    def dcgm_text(self, node: str) -> bytes:
        """dcgm-exporter's page for a node."""
        self._advance(node)
        held, faults = self._held(node), gpu_faults(self.cluster, node)
        gpus = [
            (dcgm.identity(node, index, gpu_uuid(node, index), gpu, _holder(held.get(index))), gpu) for index, gpu in enumerate(self._gpus_of(node))
        ]
        xids = [[f.xid for f in faults if f.xid is not None and f.gpu in (None, index)] for index in range(len(gpus))]
        return dcgm.text(gpus, xids)

    def efa_text(self, node: str) -> bytes:
        """The EFA exporter's page for a node."""
        self._advance(node)
        return efa.text(self._efa_of(node))

    def karpenter_text(self) -> bytes:
        """Karpenter's page."""

        def blocked(instance_type: str, zone: str, capacity_type: str) -> bool:
            return capacity_blocked(self.cluster, instance_type, zone, capacity_type)

        return karpenter.text(self.offerings, blocked, self.cluster.list("nodepools.karpenter.sh"))


def _throttle(faults: list[GpuFault], index: int) -> float:
    return min((fault.factor for fault in faults if fault.kind == "throttle" and fault.gpu in (None, index)), default=1.0)


def _holder(holder: Holder | None) -> dict[str, str]:
    return {"pod": holder.pod, "namespace": holder.namespace, "container": holder.container} if holder else {}
