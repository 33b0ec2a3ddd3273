"""Whether new pods may land on a node: the change that cordon and uncordon share, each the inverse of the other."""

from __future__ import annotations

from typing import Any

from actions.core import Change, Target
from cockpit.model import Node

REASON = "cockpit.dev/cordon-reason"


def closing(node: Node, reason: str) -> Change:
    """Cordon one node and write down why."""
    body: dict[str, Any] = {"spec": {"unschedulable": True}}
    if reason:
        body["metadata"] = {"annotations": {REASON: reason}}
    summary = f"cordon {node.name}" + (f": {reason}" if reason else "")
    return _change(node, "cordon", summary, body, _state(node), {"unschedulable": True, "reason": reason}, _restore(node))


def opening(node: Node) -> Change:
    """Uncordon one node and take the reason off."""
    body = {"spec": {"unschedulable": None}, "metadata": {"annotations": {REASON: None}}}
    return _change(node, "uncordon", f"uncordon {node.name}", body, _state(node), {"unschedulable": False, "reason": ""}, _restore(node))


def _state(node: Node) -> dict[str, Any]:
    return {"unschedulable": node.cordoned, "reason": node.cordon_reason}


def _restore(node: Node) -> Change:
    """What brings a node back to how it stands now; it names no resourceVersion, since the change it undoes moves that on."""
    verb = "cordon" if node.cordoned else "uncordon"
    body = {"spec": {"unschedulable": True if node.cordoned else None}, "metadata": {"annotations": {REASON: node.cordon_reason or None}}}
    return Change("kube", "patch", _target(node), f"{verb} {node.name}", f"kubectl {verb} {node.name}", body)


def _change(node: Node, verb: str, summary: str, body: dict[str, Any], before: Any, after: Any, inverse: Change) -> Change:
    return Change(
        via="kube",
        verb="patch",
        target=_target(node),
        summary=summary,
        line=f"kubectl {verb} {node.name}",
        body=body,
        resource_version=node.resource_version,
        before=before,
        after=after,
        inverse=inverse,
    )


def _target(node: Node) -> Target:
    return Target("Node", node.name, plural="nodes")
