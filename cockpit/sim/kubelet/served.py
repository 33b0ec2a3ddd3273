"""Pods of the practice cluster itself: Running and Ready at once, without a process."""

from __future__ import annotations

from typing import Any

from cockpit.sim.kubelet.images import image_id
from cockpit.sim.kubelet.statuses import ContainerState, Facts, conditions, merged

SERVED_BY = "sim.cockpit.dev/served-by"
STATIC = "sim.cockpit.dev/static"


def served_by(pod: dict[str, Any]) -> str | None:
    """What answers for the pod (dcgm-exporter, efa-node-exporter, karpenter, device-plugin, pause), None for a pod with processes."""
    return (pod["metadata"].get("annotations") or {}).get(SERVED_BY)


def is_static(pod: dict[str, Any]) -> bool:
    """Whether the pod's status came with the object and is nobody's to change."""
    return (pod["metadata"].get("annotations") or {}).get(STATIC) == "true"


def running_status(pod: dict[str, Any], address: dict[str, str], now: str) -> dict[str, Any]:
    """The status of a pod all of whose containers have run since now."""
    containers = [
        ContainerState(
            container["name"],
            container["image"],
            {"running": {"startedAt": now}},
            image_id=image_id(container["image"]),
            container_id=f"containerd://simulated-{pod['metadata']['uid']}-{container['name']}",
        )
        for container in pod["spec"]["containers"]
    ]
    facts = Facts("Always", [], containers, network=True)
    existing = (pod.get("status") or {}).get("conditions") or []
    return {
        "phase": "Running",
        "conditions": merged(existing, conditions(facts, "Running"), now),
        "hostIP": address["hostIP"],
        "hostIPs": [{"ip": address["hostIP"]}],
        "podIP": address["podIP"],
        "podIPs": [{"ip": address["podIP"]}],
        "startTime": now,
        "qosClass": "BestEffort",
        "containerStatuses": [state.to_status() for state in containers],
    }
