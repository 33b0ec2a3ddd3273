"""Required pod affinity and anti-affinity over any topology label. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cockpit.sim.controllers.objects import Object, labels_of, matches_labels, namespace_of

if TYPE_CHECKING:
    from cockpit.sim.controllers.placement import NodeView

REQUIRED = "requiredDuringSchedulingIgnoredDuringExecution"


def affinity_failure(pod: Object, view: NodeView, views: Sequence[NodeView]) -> str | None:
    """Why pod affinity keeps the pod off this node, in the scheduler's words; None when nothing does."""
    if any(not _affinity_holds(term, pod, view, views) for term in _terms(pod, "podAffinity")):
        return "node(s) didn't match pod affinity rules"
    if any(_peers(term, pod, view, views) for term in _terms(pod, "podAntiAffinity")):
        return "node(s) didn't match pod anti-affinity rules"
    if _is_shunned(pod, view, views):
        return "node(s) didn't satisfy existing pods anti-affinity rules"
    return None


def _terms(pod: Object, kind: str) -> list[Object]:
    affinity = pod["spec"].get("affinity") or {}
    return list((affinity.get(kind) or {}).get(REQUIRED) or [])


def _same_domain(left: Mapping[str, str], right: Mapping[str, str], topology: str) -> bool:
    return topology in left and left.get(topology) == right.get(topology)


def selects(term: Mapping[str, Any], chooser: Object, other: Object) -> bool:
    """Whether an affinity term of chooser selects the other pod; without namespaces it looks at its own."""
    namespaces = term.get("namespaces") or []
    if term.get("namespaceSelector") is None and namespace_of(other) not in (namespaces or [namespace_of(chooser)]):
        return False
    return matches_labels(term.get("labelSelector"), labels_of(other))


def _peers(term: Object, pod: Object, view: NodeView, views: Sequence[NodeView]) -> bool:
    """Whether a selected pod runs in the node's domain."""
    near = (one for one in views if _same_domain(one.labels, view.labels, term["topologyKey"]))
    return any(selects(term, pod, other) for one in near for other in one.pods)


def _affinity_holds(term: Object, pod: Object, view: NodeView, views: Sequence[NodeView]) -> bool:
    """Whether a peer is near; the first pod of a group that selects itself may go anywhere with the label."""
    if _peers(term, pod, view, views):
        return True
    alone = not any(selects(term, pod, other) for one in views for other in one.pods)
    return alone and selects(term, pod, pod) and term["topologyKey"] in view.labels


def _is_shunned(pod: Object, view: NodeView, views: Sequence[NodeView]) -> bool:
    """Whether a pod already placed in the node's domain refuses this one."""
    for one in views:
        for other in one.pods:
            for term in _terms(other, "podAntiAffinity"):
                if _same_domain(one.labels, view.labels, term["topologyKey"]) and selects(term, other, pod):
                    return True
    return False
