"""Karpenter's NodePools: nodes, claims and what they wait for, limits and what they cost."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import age_seconds, condition, plain, rfc3339
from cockpit.model import NodeClaim, NodePool
from cockpit.snapshot import Snapshot

GPU = "nvidia.com/gpu"


@dataclass(frozen=True)
class Params:
    """Which pool."""

    nodepool: str = param("only this NodePool", "", picks="nodepools")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a NodePool, by name, with its claims."""
    for pool in sorted(snapshot.nodepools.values(), key=lambda pool: pool.name):
        if not params.nodepool or pool.name == params.nodepool:
            yield _record(snapshot, pool)


def _record(snapshot: Snapshot, pool: NodePool) -> dict[str, Any]:
    claims = snapshot.claims_in(pool.name)
    dollars, simulated = cost(snapshot, pool)
    return {
        "kind": "NodePool",
        "name": pool.name,
        "ready": pool.ready,
        "nodes": len(snapshot.nodes_in(pool.name)) if snapshot.believed("nodes") else None,
        "claims": [_claim(claim) for claim in claims] if snapshot.believed("nodeclaims") else None,
        "waiting": sum(bool(claim.waits_for) for claim in claims) if snapshot.believed("nodeclaims") else None,
        "waits_for": ", ".join(sorted({claim.waits_for for claim in claims if claim.waits_for})) or None,
        "gpu_used": pool.usage.get(GPU),
        "gpu_limit": pool.limits.get(GPU),
        "limits": plain(pool.limits),
        "usage": plain(pool.usage),
        "instance_types": list(pool.instance_types),
        "instance_families": list(pool.instance_families),
        "zones": list(pool.zones),
        "capacity_types": list(pool.capacity_types),
        "taints": list(pool.taints),
        "node_class": pool.node_class or None,
        "weight": pool.weight,
        "dollars_per_hour": dollars,
        "dollars_simulated": simulated,
        "conditions": [condition(one) for one in pool.conditions],
        "created": rfc3339(pool.created),
        "age_seconds": age_seconds(pool.created, time.time()),
    }


def cost(snapshot: Snapshot, pool: NodePool) -> tuple[float | None, bool | None]:
    """Dollars per hour of a pool's nodes and whether they are invented; None while any node's price is unknown."""
    prices = [snapshot.price_of(node) for node in snapshot.nodes_in(pool.name)]
    known = [price for price in prices if price is not None and price.dollars_per_hour is not None]
    if not snapshot.believed("nodes") or len(known) < len(prices):
        return None, None
    return round(sum(price.dollars_per_hour or 0.0 for price in known), 4), any(price.simulated for price in known)


def _claim(claim: NodeClaim) -> dict[str, Any]:
    return {
        "name": claim.name,
        "node": claim.node,
        "instance_type": claim.instance_type or None,
        "zone": claim.zone or None,
        "capacity_type": claim.capacity_type or None,
        "waits_for": claim.waits_for or None,
        "age_seconds": age_seconds(claim.created),
        "deleting": claim.deleting,
    }


ACTION = Action(
    name="nodepools",
    title="NodePools",
    params=Params,
    needs=("nodepools", "nodeclaims", "nodes", "prices"),
    can_lack=("nodeclaims", "nodes"),
    records=records,
    columns=(
        Column("name", "POOL"),
        Column("ready", "READY"),
        Column("nodes", "NODES", right=True),
        Column("gpu_used", "GPU USED", right=True),
        Column("gpu_limit", "GPU LIMIT", right=True),
        Column("waiting", "WAITING", right=True),
        Column("waits_for", "WAITS FOR"),
        Column("dollars_per_hour", "$/H", right=True),
        Column("age_seconds", "AGE", right=True),
        Column("instance_types", "TYPES", wide=True),
        Column("capacity_types", "CAPACITY", wide=True),
        Column("zones", "ZONES", wide=True),
        Column("node_class", "CLASS", wide=True),
    ),
    doc="NodePools with their claims, what each claim waits for, limits and dollars per hour.",
)
