"""Karpenter's scheduling simulation: which offerings a NodePool has for some pods, or in its own words why none. Pure."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cockpit.sim.controllers.machines import allocatable_of, capacity_of, offering_labels
from cockpit.sim.controllers.objects import Object, expression_holds, name_of, status_of
from cockpit.sim.controllers.placement import required_terms, untolerated_taint
from cockpit.sim.controllers.quantities import Amounts, amounts, lacking, total, written_amounts
from cockpit.sim.instance_types import INSTANCE_TYPES, Offering, offerings

NODEPOOL = "karpenter.sh/nodepool"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"
CAPACITY_TYPE = "karpenter.sh/capacity-type"
ZONE = "topology.kubernetes.io/zone"
HOSTNAME = "kubernetes.io/hostname"
IsBlocked = Callable[[Offering], bool]


@dataclass
class Plan:
    """A NodeClaim about to be made: its pool, the pods for it, their requirements and the offerings that would do."""

    nodepool: Object
    requirements: list[Object]
    requests: Amounts
    offerings: list[Offering]
    pods: list[Object] = field(default_factory=list)

    @property
    def instance_types(self) -> list[str]:
        """The instance types that would do, cheapest first."""
        return list(dict.fromkeys(one.instance_type for one in self.offerings))


class Unsuitable(Exception):
    """Why a NodePool has nothing for a pod, in Karpenter's words."""


def template_of(nodepool: Object) -> Object:
    """spec.template.spec of a NodePool."""
    spec: Object = nodepool["spec"]["template"]["spec"]
    return spec


def template_labels(nodepool: Object) -> dict[str, str]:
    """The labels a NodePool gives its nodes."""
    return ((nodepool["spec"]["template"].get("metadata") or {}).get("labels") or {}) | {NODEPOOL: name_of(nodepool)}


def pod_requirements(pod: Object) -> list[Object]:
    """nodeSelector and the first term of required node affinity as requirements."""
    selector = [{"key": key, "operator": "In", "values": [value]} for key, value in (pod["spec"].get("nodeSelector") or {}).items()]
    terms = required_terms(pod["spec"]) or []
    return [*selector, *(dict(one) for one in (terms[0].get("matchExpressions") or [] if terms else []))]


def pool_requirements(nodepool: Object) -> list[Object]:
    """A NodePool's own requirements, its labels among them."""
    own = [{name: one[name] for name in ("key", "operator", "values") if name in one} for one in template_of(nodepool).get("requirements") or []]
    return [*own, *({"key": key, "operator": "In", "values": [value]} for key, value in template_labels(nodepool).items())]


def plan_for(
    nodepool: Object,
    pod: Object,
    wanted: Amounts,
    overhead: Amounts,
    more: Sequence[Object],
    remaining: Amounts | None,
    is_blocked: IsBlocked,
) -> Plan:
    """A new NodeClaim of this pool for this pod; Unsuitable when it has none. `remaining` is what the pool's limits leave, None without."""
    options = within_limits(nodepool, remaining)
    problem = _taint_problem(nodepool, pod) or _requirement_problem(nodepool, [*pod_requirements(pod), *more])
    if problem:
        raise Unsuitable(_incompatible(nodepool, overhead, problem))
    requirements = [*pool_requirements(nodepool), *pod_requirements(pod), *more]
    requests = total([overhead, wanted])
    found = suitable(requirements, requests, template_labels(nodepool), is_blocked, options)
    if not found:
        reason = filter_reason(requirements, requests, template_labels(nodepool), is_blocked, options)
        detail = f"requirements={written_requirements(requirements)}, resources={written_resources(requests)}"
        raise Unsuitable(_incompatible(nodepool, overhead, f"{reason}, {detail}"))
    return Plan(nodepool, requirements, requests, found, [pod])


def _incompatible(nodepool: Object, overhead: Amounts, problem: str) -> str:
    return f'incompatible with nodepool "{name_of(nodepool)}", daemonset overhead={written_resources(overhead)}, {problem}'


def within_limits(nodepool: Object, remaining: Amounts | None) -> list[str]:
    """The instance types of a pool that its limits still allow; Unsuitable when they allow none."""
    labels = template_labels(nodepool)
    own = {one.instance_type for one in offerings() if _holds(pool_requirements(nodepool), one, labels)}
    names = [name for name in INSTANCE_TYPES if name in own]
    if remaining is None:
        return names
    if "nodes" in remaining and remaining["nodes"] <= 0:
        raise Unsuitable(f"node limits have been exhausted for nodepool (NodePool={name_of(nodepool)})")
    left = [name for name in names if not _exceeds(amounts(capacity_of(INSTANCE_TYPES[name])), remaining)]
    if names and not left:
        raise Unsuitable(f"all available instance types exceed limits for nodepool (NodePool={name_of(nodepool)})")
    return left


def _exceeds(capacity: Amounts, remaining: Amounts) -> bool:
    return any(capacity.get(resource, 0) > left for resource, left in remaining.items() if resource != "nodes")


def remaining_of(nodepool: Object, claims: Iterable[Object]) -> Amounts | None:
    """The pool's limits less the capacity of its claims; None without limits."""
    limits = nodepool["spec"].get("limits")
    if not limits:
        return None
    used = total(amounts(claim_capacity(claim)) | {"nodes": 1000} for claim in claims)
    return {resource: amount - used.get(resource, 0) for resource, amount in amounts(limits).items()}


def claim_capacity(claim: Object) -> Mapping[str, str]:
    """A claim's capacity; before it is launched, that of the cheapest type it asks for."""
    held: Mapping[str, str] | None = status_of(claim).get("capacity")
    if held:
        return held
    asked = (one for one in claim["spec"]["requirements"] if one["key"] == INSTANCE_TYPE)
    return next((capacity_of(INSTANCE_TYPES[one["values"][0]]) for one in asked), {})


def _taint_problem(nodepool: Object, pod: Object) -> str | None:
    taint = untolerated_taint(pod["spec"].get("tolerations") or [], template_of(nodepool).get("taints") or [])
    if taint is None:
        return None
    value = f"={taint['value']}" if taint.get("value") else ""
    return f"did not tolerate taint (taint={taint['key']}{value}:{taint['effect']})"


def _requirement_problem(nodepool: Object, wanted: Sequence[Object]) -> str | None:
    """A label nobody gives, or one whose values the pool excludes."""
    own = {one["key"]: one for one in pool_requirements(nodepool)}
    for requirement in wanted:
        key = requirement["key"]
        if key not in own and key not in WELL_KNOWN and requirement["operator"] in ("In", "Exists"):
            return f'incompatible requirements, label "{key}" does not have known values'
        if key in own and not _overlap(own[key], requirement):
            return f"incompatible requirements, key {key}, {written_requirements([requirement])} not in {written_requirements([own[key]])}"
    return None


def _overlap(left: Mapping[str, Any], right: Mapping[str, Any]) -> bool:
    """Whether some value may satisfy both; only sets of values are compared, the rest is left to the instance types."""
    for one, other in ((left, right), (right, left)):
        if one["operator"] == "In":
            return any(expression_holds({**other, "key": "x"}, {"x": value}) for value in one.get("values") or [])
    return True


def _labels(offering: Offering, more: Mapping[str, str]) -> dict[str, str]:
    return offering_labels(INSTANCE_TYPES[offering.instance_type], offering.zone, offering.capacity_type) | dict(more)


WELL_KNOWN = frozenset(label for one in offerings() for label in _labels(one, {})) | {NODEPOOL, HOSTNAME}


def _holds(requirements: Sequence[Object], offering: Offering, more: Mapping[str, str]) -> bool:
    labels = _labels(offering, more)
    return all(expression_holds(one, labels) for one in requirements if one["key"] != HOSTNAME)


def _fits(requests: Amounts, instance_type: str) -> bool:
    return not lacking(requests, amounts(allocatable_of(INSTANCE_TYPES[instance_type])))


def suitable(
    requirements: Sequence[Object], requests: Amounts, more: Mapping[str, str], is_blocked: IsBlocked, names: Sequence[str] | None = None
) -> list[Offering]:
    """The offerings on sale that meet the requirements and hold the requests, cheapest first."""
    allowed = set(INSTANCE_TYPES if names is None else names)
    fitting = {name for name in allowed if _fits(requests, name)}
    return [one for one in offerings() if one.instance_type in fitting and not is_blocked(one) and _holds(requirements, one, more)]


def filter_reason(requirements: Sequence[Object], requests: Amounts, more: Mapping[str, str], is_blocked: IsBlocked, names: Sequence[str]) -> str:
    """Which of requirements, resources and offerings left no instance type, as Karpenter's decoder says it."""
    verdicts = [_verdict(name, requirements, requests, more, is_blocked) for name in names]
    met, fits, sold = (any(one[index] for one in verdicts) for index in range(3))
    if not (met and fits and sold):
        return ALL_FAILED[(met, fits, sold)]
    pairs = (
        ((True, True, False), "no instance type which met the scheduling requirements and had enough resources, had a required offering"),
        ((False, True, True), "no instance type which had enough resources and the required offering met the scheduling requirements"),
        (
            (True, False, True),
            "no instance type which met the scheduling requirements and the required offering had the required resources",
        ),
    )
    return next((text for shape, text in pairs if shape in verdicts), "no instance type met the requirements/resources/offering tuple")


def _verdict(name: str, requirements: Sequence[Object], requests: Amounts, more: Mapping[str, str], is_blocked: IsBlocked) -> tuple[bool, bool, bool]:
    """(meets the requirements but for zone and capacity type, holds the requests, has an offering in those) for one type."""
    mine = [one for one in offerings() if one.instance_type == name]
    placed = [one for one in requirements if one["key"] in (ZONE, CAPACITY_TYPE)]
    typed = [one for one in requirements if one["key"] not in (ZONE, CAPACITY_TYPE)]
    met = any(_holds(typed, one, more) for one in mine)
    sold = any(_holds(placed, one, more) and not is_blocked(one) for one in mine)
    return met, _fits(requests, name), sold


ALL_FAILED = {
    (False, False, False): "no instance type met the scheduling requirements or had enough resources or had a required offering",
    (False, False, True): "no instance type met the scheduling requirements or had enough resources",
    (False, True, False): "no instance type met the scheduling requirements or had a required offering",
    (True, False, False): "no instance type had enough resources or had a required offering",
    (False, True, True): "no instance type met all requirements",
    (True, False, True): "no instance type has enough resources",
    (True, True, False): "no instance type has the required offering",
}


def written_requirements(requirements: Sequence[Mapping[str, Any]]) -> str:
    """Requirements as Karpenter prints them, by key: `a In [x y], b Exists`."""
    parts = []
    for one in sorted(requirements, key=lambda one: (one["key"], one["operator"], one.get("values") or [])):
        values = f" [{' '.join(sorted(one['values']))}]" if one.get("values") else ""
        parts.append(f"{one['key']} {one['operator']}{values}")
    return ", ".join(dict.fromkeys(parts))


def written_resources(held: Amounts) -> str:
    """A resource list as Karpenter prints it: compact JSON by name."""
    return json.dumps(written_amounts({key: value for key, value in held.items() if value}), sort_keys=True, separators=(",", ":"))
