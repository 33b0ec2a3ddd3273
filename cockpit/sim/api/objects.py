"""Small readings of Kubernetes objects."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api.durations import since


def at(obj: Any, path: str) -> Any:
    """The value at a dotted path, None where it ends early."""
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def age(obj: dict[str, Any]) -> str:
    return since(obj["metadata"].get("creationTimestamp"))


def names(containers: list[dict[str, Any]]) -> str:
    return ",".join(str(one.get("name", "")) for one in containers)


def images(containers: list[dict[str, Any]]) -> str:
    return ",".join(str(one.get("image", "")) for one in containers)


def conditions(obj: dict[str, Any]) -> dict[str, str]:
    """The status of every condition by its type."""
    return {one["type"]: one.get("status", "") for one in at(obj, "status.conditions") or ()}


def selector_text(selector: dict[str, Any] | None) -> str:
    """A metav1.LabelSelector as kubectl prints it."""
    if not selector:
        return "<none>"
    parts = [f"{key}={value}" for key, value in sorted((selector.get("matchLabels") or {}).items())]
    for one in selector.get("matchExpressions") or ():
        values = ",".join(one.get("values") or ())
        words = {
            "In": f"{one['key']} in ({values})",
            "NotIn": f"{one['key']} notin ({values})",
            "Exists": one["key"],
            "DoesNotExist": f"!{one['key']}",
        }
        parts.append(words[one["operator"]])
    return ",".join(parts) or "<none>"


def container_names(pod: dict[str, Any]) -> list[str]:
    """The names of a pod's init, ordinary and ephemeral containers, in that order."""
    spec = pod.get("spec") or {}
    parts = ("initContainers", "containers", "ephemeralContainers")
    return [container["name"] for part in parts for container in spec.get(part) or ()]


def container_status(pod: dict[str, Any], name: str) -> dict[str, Any] | None:
    """The status of one container of a pod; None before the kubelet has reported it."""
    status = pod.get("status") or {}
    parts = ("initContainerStatuses", "containerStatuses", "ephemeralContainerStatuses")
    return next((one for part in parts for one in status.get(part) or () if one.get("name") == name), None)
