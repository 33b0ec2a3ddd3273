"""Nodes that a job had better sit out: cordoned, or with a hardware fault now."""

from __future__ import annotations

from cockpit.model import Node
from cockpit.snapshot import Snapshot

HARDWARE_XIDS = frozenset({46, 48, 54, 62, 64, 74, 79, 95, 109, 110, 119, 120, 136, 140, 142, 143, 151, 155, 156, 158})
"""XIDs that a restart of the program does not mend: those for which the EKS node monitoring agent reports AcceleratedHardwareReady=False."""
HARDWARE_CONDITIONS = ("AcceleratedHardware", "Gpu", "GPU", "NVLink", "Xid", "Networking", "Kernel", "Storage")
QUARANTINE = "quarantine"


def faults(snapshot: Snapshot, with_gpus: bool) -> dict[str, str]:
    """Why, by node; only nodes with GPUs where the job needs some."""
    nodes = (node for node in snapshot.nodes.values() if node.gpu_allocatable or node.gpu_capacity or not with_gpus)
    return {str(node.name): why for node in sorted(nodes, key=lambda node: node.name) if (why := _fault(snapshot, node))}


def _fault(snapshot: Snapshot, node: Node) -> str:
    if node.cordoned:
        return f"cordoned{': ' + node.cordon_reason if node.cordon_reason else ''}"
    for gpu in snapshot.gpus_on(node.name):
        if gpu.xid in HARDWARE_XIDS:
            return f"XID {gpu.xid} on GPU {gpu.index}"
    taint = next((one for one in node.taints if QUARANTINE in one.lower()), "")
    if taint:
        return f"quarantined: {taint}"
    problem = next((one for one in node.problems if one.type.startswith(HARDWARE_CONDITIONS)), None)
    return f"{problem.type}: {problem.reason or problem.message}" if problem else ""
