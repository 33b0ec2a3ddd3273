"""The pods on a node as a drain has to know them, read just now: who made them, what they keep there, and which disruption budgets hold them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from actions.core import Clients
from cockpit.errors import Forbidden, NotServed
from cockpit.model import NodeName, Occupant, PodKey
from cockpit.snapshot import Snapshot
from cockpit.store import Delete, Fact, Synced, Upsert

SOURCE = "occupants"
PAGE = "500"
MIRROR = "kubernetes.io/config.mirror"


def look_at(clients: Clients, snapshot: Snapshot, nodes: Iterable[str]) -> Iterator[Fact]:
    """Facts of the pods on these nodes; Forbidden when pods of all namespaces may not be listed: one that is not seen would be left behind."""
    budgets = _budgets(clients)
    for node in nodes:
        rows = tuple(to_occupant(one, budgets) for one in _listed(clients, node))
        found = {row.key for row in rows}
        yield Delete(SOURCE, "occupants", tuple(key for key in snapshot.occupants_by_node.get(node, ()) if key not in found))
        yield Upsert(SOURCE, "occupants", rows)
    yield Synced(SOURCE)


def _listed(clients: Clients, node: str) -> Iterator[Mapping[str, Any]]:
    asked = {"fieldSelector": f"spec.nodeName={node}", "limit": PAGE}
    while True:
        page = clients.kube.request("GET", "/api/v1/pods", params=asked)
        yield from (one for one in page.get("items") or () if isinstance(one, dict))
        token = (page.get("metadata") or {}).get("continue")
        if not token:
            return
        asked = asked | {"continue": str(token)}


def _budgets(clients: Clients) -> list[Mapping[str, Any]] | None:
    """Every PodDisruptionBudget; None when they may not be listed."""
    try:
        found = clients.kube.request("GET", "/apis/policy/v1/poddisruptionbudgets")
    except (Forbidden, NotServed):
        return None
    return [one for one in found.get("items") or () if isinstance(one, dict)]


def to_occupant(pod: Mapping[str, Any], budgets: Iterable[Mapping[str, Any]] | None) -> Occupant:
    """A v1 Pod and the budgets there are -> Occupant. A volume in memory is no data: it goes with the process that wrote it."""
    meta, spec, status = pod.get("metadata") or {}, pod.get("spec") or {}, pod.get("status") or {}
    owners = meta.get("ownerReferences") or []
    owner = next((one for one in owners if one.get("controller")), owners[0] if owners else {})
    held = None if budgets is None else [one for one in budgets if _holds(one, meta)]
    allowed = [int((one.get("status") or {}).get("disruptionsAllowed") or 0) for one in held or ()]
    return Occupant(
        key=PodKey(str(meta.get("namespace") or ""), str(meta.get("name") or "")),
        uid=str(meta.get("uid") or ""),
        node=NodeName(str(spec.get("nodeName") or "")),
        phase=str(status.get("phase") or ""),
        owner_kind=str(owner.get("kind") or ""),
        owner_name=str(owner.get("name") or ""),
        static=MIRROR in (meta.get("annotations") or {}),
        deleting=bool(meta.get("deletionTimestamp")),
        empty_dirs=tuple(str(one.get("name")) for one in spec.get("volumes") or () if _on_disk(one.get("emptyDir"))),
        grace_seconds=spec.get("terminationGracePeriodSeconds"),
        budgets=None if held is None else tuple(str((one.get("metadata") or {}).get("name")) for one in held),
        disruptions_allowed=min(allowed, default=None),
    )


def _on_disk(empty_dir: Any) -> bool:
    return isinstance(empty_dir, Mapping) and empty_dir.get("medium") != "Memory"


def _holds(budget: Mapping[str, Any], meta: Mapping[str, Any]) -> bool:
    selector = (budget.get("spec") or {}).get("selector")
    same = (budget.get("metadata") or {}).get("namespace") == meta.get("namespace")
    return same and isinstance(selector, Mapping) and selects(selector, meta.get("labels") or {})


def selects(selector: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    """Whether a LabelSelector selects these labels; an empty one selects all."""
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    return all(_meets(one, labels) for one in selector.get("matchExpressions") or ())


def _meets(expression: Mapping[str, Any], labels: Mapping[str, Any]) -> bool:
    key, operator, values = str(expression.get("key")), expression.get("operator"), expression.get("values") or ()
    if operator == "In":
        return labels.get(key) in values
    if operator == "NotIn":
        return labels.get(key) not in values
    return (key in labels) is (operator == "Exists")
