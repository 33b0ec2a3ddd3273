"""EC2NodeClasses -> facts: whether Karpenter can buy nodes of a kind, and what holds it."""

from __future__ import annotations

import msgspec

from cockpit.model import NodeClass
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta, RawCondition, conditions
from cockpit.sources.reflect import Reflector


class RawStatus(msgspec.Struct):
    conditions: list[RawCondition | None] | None = None


class RawNodeClass(msgspec.Struct):
    """A karpenter.k8s.aws/v1 EC2NodeClass."""

    metadata: Meta | None = None
    status: RawStatus | None = None


def to_nodeclass(raw: RawNodeClass) -> NodeClass:
    """An EC2NodeClass -> NodeClass."""
    meta, status = raw.metadata or Meta(), raw.status or RawStatus()
    found = conditions(status.conditions)
    ready = next((one.status for one in found if one.type == "Ready"), "")
    return NodeClass(meta.name or "", meta.resource_version or "", {"True": True, "False": False}.get(ready), found)


def source() -> Reflector:
    """Every EC2NodeClass."""
    path = "/apis/karpenter.k8s.aws/v1/ec2nodeclasses"
    return Reflector("nodeclasses", Listing("nodeclasses", (path,), RawNodeClass, to_nodeclass, lambda namespace, name: name))
