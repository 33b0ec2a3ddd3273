"""Karpenter NodeClaims: a node on its way, and what it waits for."""

from __future__ import annotations

import re

import msgspec

from cockpit.model import ClaimName, Condition, NodeClaim, NodeName
from cockpit.sources.listings import Listing
from cockpit.sources.nodepools import CAPACITY_TYPE, TYPE, ZONE, RawRequirement, allowed
from cockpit.sources.nodes import GPU
from cockpit.sources.raw import Meta, Quantities, RawCondition, conditions, count, seconds
from cockpit.sources.reflect import Reflector

STEPS = ("Launched", "Registered", "Initialized")
NO_NEWS = frozenset({"", "AwaitingReconciliation", "NodeNotFound", *STEPS})
QUOTED = re.compile(r'"([^"]{1,80})"')


class RawResources(msgspec.Struct):
    requests: Quantities | None = None


class RawSpec(msgspec.Struct):
    requirements: list[RawRequirement | None] | None = None
    resources: RawResources | None = None


class RawStatus(msgspec.Struct, rename="camel"):
    node_name: str | None = None
    conditions: list[RawCondition | None] | None = None


class RawNodeClaim(msgspec.Struct):
    """A karpenter.sh/v1 NodeClaim."""

    metadata: Meta | None = None
    spec: RawSpec | None = None
    status: RawStatus | None = None


def to_nodeclaim(raw: RawNodeClaim) -> NodeClaim:
    """A NodeClaim -> NodeClaim; type, zone and capacity type from its labels, else from a requirement that leaves one choice."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawSpec(), raw.status or RawStatus()
    found = conditions(status.conditions)
    requests = (spec.resources.requests if spec.resources else None) or {}

    def chosen(key: str) -> str:
        values = allowed(spec.requirements, key)
        return meta.label(key) or (values[0] if len(values) == 1 else "")

    return NodeClaim(
        name=ClaimName(meta.name or ""),
        resource_version=meta.resource_version or "",
        pool=meta.label("karpenter.sh/nodepool"),
        node=NodeName(status.node_name) if status.node_name else None,
        instance_type=chosen(TYPE),
        zone=chosen(ZONE),
        capacity_type=chosen(CAPACITY_TYPE),
        conditions=found,
        waits_for=waits_for(found),
        gpu_requested=count(requests.get(GPU)) or 0,
        created=seconds(meta.creation_timestamp),
        deleting=meta.deletion_timestamp is not None,
    )


def waits_for(found: tuple[Condition, ...]) -> str:
    """The first of Launched, Registered, Initialized that is not True, with its reason where that says more; empty when all are."""
    by_type = {one.type: one for one in found}
    for step in STEPS:
        one = by_type.get(step)
        if one is None or one.status != "True":
            return step if one is None or one.reason in NO_NEWS else f"{step}: {_why(one)}"
    return ""


def _why(one: Condition) -> str:
    quoted = QUOTED.search(one.message)
    if quoted:
        return f"{one.reason} {quoted[1]}"
    return f"{one.reason} {one.message[:200]}".rstrip() if one.type == "Launched" else one.reason


def source() -> Reflector:
    """Every NodeClaim."""
    return Reflector(
        "nodeclaims", Listing("nodeclaims", ("/apis/karpenter.sh/v1/nodeclaims",), RawNodeClaim, to_nodeclaim, lambda namespace, name: name)
    )
