"""Follows Fault objects: starts their effects, keeps their status, and heals."""

from __future__ import annotations

import asyncio
from typing import Any

from cockpit.sim.faults.effects import ApiserverHooks, Effect, TargetError
from cockpit.sim.faults.everything import EFFECTS
from cockpit.sim.faults.queries import RESOURCE, EfaFault, GpuFault, capacity_blocked, efa_faults, gpu_faults
from cockpit.sim.kubelet import Kubelet

COMPONENT = "practice-cluster-faults"


class Faults:
    """Follows Fault objects: starts their effect, keeps their status, ends them after spec.seconds or when they are deleted."""

    def __init__(self, cluster: Any, kubelet: Kubelet, apiserver_hooks: ApiserverHooks) -> None:
        self.cluster = cluster
        self.kubelet = kubelet
        self.apiserver = apiserver_hooks
        self._effects: dict[str, Effect] = {}  # by fault uid
        self._timers: dict[str, asyncio.TimerHandle] = {}

    def gpu_faults(self, node: str) -> list[GpuFault]:
        """XIDs and throttling on a node now."""
        return gpu_faults(self.cluster, node)

    def efa_faults(self, node: str) -> list[EfaFault]:
        """Retransmissions on a node now."""
        return efa_faults(self.cluster, node)

    def insufficient(self, instance_type: str, zone: str, capacity_type: str) -> bool:
        """Whether an offering has no capacity now."""
        return capacity_blocked(self.cluster, instance_type, zone, capacity_type)

    async def run(self) -> None:
        """Follow Fault objects until cancelled; every effect is healed at the end."""
        subscription = self.cluster.subscribe(RESOURCE)
        try:
            async for event in subscription:
                self._follow(event.type, event.object)
        finally:
            subscription.close()
            for uid in list(self._effects):
                self._heal(uid)

    def _follow(self, type_: str, fault: dict[str, Any]) -> None:
        uid = fault["metadata"]["uid"]
        if type_ == "DELETED":
            self._heal(uid)
        elif uid not in self._effects and not (fault.get("status") or {}).get("phase"):
            self._start(fault)

    def _start(self, fault: dict[str, Any]) -> None:
        uid, spec = fault["metadata"]["uid"], fault["spec"]
        effect = EFFECTS[spec["fault"]](self.cluster, self.kubelet, self.apiserver, fault)
        try:
            message = effect.start()
        except TargetError as error:
            self._set(fault, "Failed", str(error))
            self.cluster.event(fault, "FaultFailed", str(error), type="Warning", component=COMPONENT)
            return
        self.cluster.event(fault, "FaultStarted", f"SIMULATED: {message}", component=COMPONENT)
        if effect.instant:
            self._set(fault, "Done", message, **effect.place)
            return
        self._effects[uid] = effect
        self._set(fault, "Active", message, **effect.place)
        if effect.seconds is not None:
            self._timers[uid] = asyncio.get_running_loop().call_later(effect.seconds, self._expired, fault)

    def _expired(self, fault: dict[str, Any]) -> None:
        uid = fault["metadata"]["uid"]
        self._timers.pop(uid, None)
        effect = self._effects.pop(uid)
        if self.cluster.find(RESOURCE, None, fault["metadata"]["name"]) is None:
            effect.end()
            return
        self._set(fault, "Done", "its time is over")  # queries of what is active must not see it any more when it heals
        message = effect.expire()
        self._set(fault, "Done", message)
        self.cluster.event(fault, "FaultEnded", f"SIMULATED: {message}", component=COMPONENT)

    def _heal(self, uid: str) -> None:
        timer = self._timers.pop(uid, None)
        if timer is not None:
            timer.cancel()
        effect = self._effects.pop(uid, None)
        if effect is not None:
            effect.end()

    def _set(self, fault: dict[str, Any], phase: str, message: str, **place: Any) -> None:
        now = self.cluster.now()
        times = {"startedAt": now} if phase == "Active" else {"endedAt": now} if phase == "Done" else {}
        condition = {
            "type": "Active",
            "status": "True" if phase == "Active" else "False",
            "reason": phase,
            "message": message,
            "lastTransitionTime": now,
        }
        status = {"phase": phase, "message": message, "conditions": [condition], **times, **place}
        self.cluster.patch(RESOURCE, None, fault["metadata"]["name"], {"status": status}, subresource="status")
