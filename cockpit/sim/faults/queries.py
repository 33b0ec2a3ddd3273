"""What is wrong now: pure queries over the Fault objects in the store."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

RESOURCE = "faults.sim.cockpit.dev"


@dataclass(frozen=True)
class GpuFault:
    """Active trouble of one GPU of a node; `gpu` None means all of them."""

    kind: str  # xid or throttle
    gpu: int | None
    xid: int | None
    factor: float


@dataclass(frozen=True)
class EfaFault:
    """Active retransmissions of a node; `device` None means all devices."""

    device: str | None
    factor: float


def active(cluster: Any, kind: str) -> Iterator[dict[str, Any]]:
    """Fault objects of one kind that are not over, refused or being deleted."""
    for fault in cluster.list(RESOURCE):
        over = (fault.get("status") or {}).get("phase") in ("Done", "Failed")
        if fault["spec"]["fault"] == kind and not over and not fault["metadata"].get("deletionTimestamp"):
            yield fault


def target(fault: dict[str, Any]) -> dict[str, Any]:
    """A fault's target, with the node and GPU that were found for it."""
    status = fault.get("status") or {}
    return (fault["spec"].get("target") or {}) | {key: status[key] for key in ("node", "gpu") if key in status}


def capacity_blocked(cluster: Any, instance_type: str, zone: str, capacity_type: str) -> bool:
    """Whether an insufficient-capacity fault covers this offering; a target field that is absent covers everything."""
    offering = {"instanceType": instance_type, "zone": zone, "capacityType": capacity_type}
    targets = [target(fault) for fault in active(cluster, "insufficient-capacity")]
    return any(all(where.get(field) in (None, value) for field, value in offering.items()) for where in targets)


def node_down(cluster: Any, node: str) -> bool:
    """Whether a node-notready fault silences this node's kubelet."""
    return any(target(fault).get("node") == node for fault in active(cluster, "node-notready"))


def gpu_faults(cluster: Any, node: str) -> list[GpuFault]:
    """XIDs and throttling on a node now."""
    found = []
    for kind in ("xid", "throttle"):
        for fault in active(cluster, kind):
            where, spec = target(fault), fault["spec"]
            if where.get("node") == node:
                xid = int(spec.get("xid", 79)) if kind == "xid" else None
                found.append(GpuFault(kind, where.get("gpu"), xid, float(spec.get("factor", 0.5))))
    return found


def efa_faults(cluster: Any, node: str) -> list[EfaFault]:
    """Retransmissions on a node now."""
    faults = (fault for fault in active(cluster, "efa-retransmit") if target(fault).get("node") == node)
    return [EfaFault(target(fault).get("device"), float(fault["spec"].get("factor", 0.5))) for fault in faults]
