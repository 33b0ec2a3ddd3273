"""Karpenter NodePools: what they may buy, how much, and how much they have bought."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from cockpit.model import NodePool, PoolName
from cockpit.sources.listings import Listing
from cockpit.sources.nodes import RawTaint, taint
from cockpit.sources.raw import Meta, Quantities, RawCondition, conditions, quantity, seconds
from cockpit.sources.reflect import Reflector

TYPE, FAMILY = "node.kubernetes.io/instance-type", "karpenter.k8s.aws/instance-family"
CATEGORY, SIZE = "karpenter.k8s.aws/instance-category", "karpenter.k8s.aws/instance-size"
ZONE, CAPACITY_TYPE = "topology.kubernetes.io/zone", "karpenter.sh/capacity-type"


class RawRequirement(msgspec.Struct):
    key: str | None = None
    operator: str | None = None
    values: list[str | None] | None = None


class RawClassRef(msgspec.Struct):
    name: str | None = None


class RawTemplateSpec(msgspec.Struct, rename="camel"):
    requirements: list[RawRequirement | None] | None = None
    taints: list[RawTaint | None] | None = None
    node_class_ref: RawClassRef | None = None


class RawTemplate(msgspec.Struct):
    spec: RawTemplateSpec | None = None


class RawSpec(msgspec.Struct):
    template: RawTemplate | None = None
    limits: Quantities | None = None
    weight: int | None = None


class RawStatus(msgspec.Struct):
    resources: Quantities | None = None
    conditions: list[RawCondition | None] | None = None


class RawNodePool(msgspec.Struct):
    """A karpenter.sh/v1 NodePool."""

    metadata: Meta | None = None
    spec: RawSpec | None = None
    status: RawStatus | None = None


def to_nodepool(raw: RawNodePool) -> NodePool:
    """A NodePool -> NodePool; limits and usage in base units."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawSpec(), raw.status or RawStatus()
    template = (spec.template.spec if spec.template else None) or RawTemplateSpec()
    found = conditions(status.conditions)
    ready = next((one.status for one in found if one.type == "Ready"), None)
    return NodePool(
        name=PoolName(meta.name or ""),
        resource_version=meta.resource_version or "",
        ready={"True": True, "False": False}.get(ready or ""),
        conditions=found,
        limits=amounts(spec.limits),
        usage=amounts(status.resources),
        instance_types=allowed(template.requirements, TYPE),
        instance_families=allowed(template.requirements, FAMILY),
        instance_categories=allowed(template.requirements, CATEGORY),
        instance_sizes=allowed(template.requirements, SIZE),
        zones=allowed(template.requirements, ZONE),
        capacity_types=allowed(template.requirements, CAPACITY_TYPE),
        weight=spec.weight or 0,
        taints=tuple(taint(one) for one in template.taints or () if one and one.key),
        node_class=(template.node_class_ref.name if template.node_class_ref else None) or "",
        created=seconds(meta.creation_timestamp),
    )


def amounts(found: Quantities | None) -> Mapping[str, float]:
    """Quantities in base units; what is no quantity is left out."""
    return {name: value for name, text in (found or {}).items() if (value := quantity(text)) is not None}


def allowed(requirements: list[RawRequirement | None] | None, key: str) -> tuple[str, ...]:
    """The values that a requirement `key In [...]` allows; empty when there is none."""
    wanted = [one for one in requirements or () if one and one.key == key and one.operator == "In"]
    return tuple(value for one in wanted for value in one.values or () if value)


def source() -> Reflector:
    """Every NodePool."""
    return Reflector("nodepools", Listing("nodepools", ("/apis/karpenter.sh/v1/nodepools",), RawNodePool, to_nodepool, lambda namespace, name: name))
