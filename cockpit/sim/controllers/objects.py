"""Reading Kubernetes objects: names, labels, owners and conditions, without ever changing what the store shares."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

Object = dict[str, Any]
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def name_of(obj: Mapping[str, Any]) -> str:
    """metadata.name."""
    return str(obj["metadata"]["name"])


def namespace_of(obj: Mapping[str, Any]) -> str:
    """metadata.namespace, "" for a cluster-scoped object."""
    return str(obj["metadata"].get("namespace") or "")


def labels_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """metadata.labels, empty when absent."""
    return obj["metadata"].get("labels") or {}


def annotations_of(obj: Mapping[str, Any]) -> dict[str, str]:
    """metadata.annotations, empty when absent."""
    return obj["metadata"].get("annotations") or {}


def status_of(obj: Mapping[str, Any]) -> Object:
    """The status, empty when absent."""
    return obj.get("status") or {}


def is_deleting(obj: Mapping[str, Any]) -> bool:
    """Whether deletion has begun."""
    return bool(obj["metadata"].get("deletionTimestamp"))


def owner_reference(owner: Mapping[str, Any], controller: bool = True) -> Object:
    """An ownerReference to this object."""
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": name_of(owner),
        "uid": owner["metadata"]["uid"],
        "controller": controller,
        "blockOwnerDeletion": True,
    }


def controller_of(obj: Mapping[str, Any]) -> Object | None:
    """The ownerReference that controls this object."""
    return next((one for one in obj["metadata"].get("ownerReferences") or [] if one.get("controller")), None)


def is_owned_by(obj: Mapping[str, Any], owner: Mapping[str, Any]) -> bool:
    """Whether owner controls obj."""
    reference = controller_of(obj)
    return reference is not None and reference.get("uid") == owner["metadata"].get("uid")


def condition_of(obj: Mapping[str, Any], kind: str) -> Object | None:
    """The status condition of this type."""
    return next((one for one in status_of(obj).get("conditions") or [] if one.get("type") == kind), None)


def is_true(obj: Mapping[str, Any], kind: str) -> bool:
    """Whether the condition of this type is "True"."""
    condition = condition_of(obj, kind)
    return condition is not None and condition.get("status") == "True"


def with_condition(
    conditions: Sequence[Object] | None,
    kind: str,
    status: str,
    reason: str,
    message: str,
    now: str,
    **more: object,
) -> list[Object]:
    """The conditions with one set; lastTransitionTime moves only when the status does, order is kept, new ones come last."""
    held = list(conditions or [])
    index = next((at for at, one in enumerate(held) if one.get("type") == kind), None)
    old = held[index] if index is not None else None
    moved = old is None or old.get("status") != status
    since = now if old is None or moved else old.get("lastTransitionTime", now)
    new: Object = {"type": kind, "status": status, "reason": reason, "message": message, "lastTransitionTime": since, **more}
    if old is not None and _same(old, new):
        return held
    if index is None:
        return [*held, new]
    return [*held[:index], new, *held[index + 1 :]]


def _same(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether two conditions say the same apart from when they were looked at."""
    clocks = {"lastUpdateTime", "lastHeartbeatTime", "lastProbeTime"}
    return {k: v for k, v in old.items() if k not in clocks} == {k: v for k, v in new.items() if k not in clocks}


def matches_labels(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether labels satisfy a LabelSelector; None selects nothing, an empty one everything."""
    if selector is None:
        return False
    pairs = selector.get("matchLabels") or {}
    if any(labels.get(key) != value for key, value in pairs.items()):
        return False
    return all(expression_holds(one, labels) for one in selector.get("matchExpressions") or [])


def expression_holds(expression: Mapping[str, Any], labels: Mapping[str, str]) -> bool:
    """Whether one matchExpressions entry holds."""
    key, operator, values = expression["key"], expression["operator"], expression.get("values") or []
    present = key in labels
    if operator == "Exists":
        return present
    if operator == "DoesNotExist":
        return not present
    if operator == "In":
        return present and labels[key] in values
    if operator == "NotIn":
        return not present or labels[key] not in values
    if operator in ("Gt", "Lt", "Gte", "Lte"):
        return present and _compares(operator, labels[key], str(values[0]))
    return False


def _compares(operator: str, left: str, right: str) -> bool:
    """Numeric comparison of two label values; False when either is no integer."""
    try:
        a, b = int(left), int(right)
    except ValueError:
        return False
    return {"Gt": a > b, "Lt": a < b, "Gte": a >= b, "Lte": a <= b}[operator]


def random_suffix(source: random.Random, letters: int = 5) -> str:
    """A name suffix in the alphabet that generateName uses."""
    return "".join(source.choice(SUFFIX_LETTERS) for _ in range(letters))


def parsed_time(stamp: str | None) -> datetime | None:
    """An RFC3339 stamp as an aware datetime."""
    return None if not stamp else datetime.fromisoformat(stamp.replace("Z", "+00:00"))


def seconds_since(stamp: str | None, now: str) -> float:
    """Seconds from one stamp to another; 0 when the first is unknown."""
    start, end = parsed_time(stamp), parsed_time(now)
    return 0.0 if start is None or end is None else (end - start).total_seconds()


def time_stamp(moment: datetime) -> str:
    """A datetime as Kubernetes writes times: UTC, whole seconds, Z."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
