"""The nodes: what they are, where they are, and whether they are well."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import age_seconds, condition, rfc3339
from cockpit.model import Node
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which nodes, and what to join to them; each join reads one more list."""

    nodepool: str = param("only nodes of this NodePool", "", picks="nodepools")
    used: bool = param("join the pods: GPUs used and jobs per node (reads every pod of the cluster)", False)
    prices: bool = param("join the prices: dollars per hour", False)


def more_needs(params: Params | None) -> tuple[str, ...]:
    """Pods and prices only when asked for: a list of 50,000 pods costs more than all nodes."""
    if params is None:
        return ()
    return (("pods",) if params.used else ()) + (("prices",) if params.prices else ())


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a node, by name."""
    now = time.time()
    for node in sorted(snapshot.nodes.values(), key=lambda node: node.name):
        if not params.nodepool or node.pool == params.nodepool:
            yield _record(snapshot, node, params, now)


def _record(snapshot: Snapshot, node: Node, params: Params, now: float) -> dict[str, Any]:
    price = snapshot.price_of(node) if params.prices else None
    return {
        "kind": "Node",
        "name": node.name,
        "health": health(node),
        "instance_type": node.instance_type or None,
        "nodepool": node.pool or None,
        "zone": node.zone or None,
        "capacity_type": node.capacity_type or None,
        "ready": node.ready,
        "cordoned": node.cordoned,
        "cordon_reason": node.cordon_reason or None,
        "gpu_model": node.gpu_model or None,
        "gpu_used": snapshot.gpus_used(node.name) if params.used and node.gpu_allocatable else None,
        "gpu_allocatable": node.gpu_allocatable,
        "gpu_capacity": node.gpu_capacity,
        "efa_allocatable": node.efa_allocatable,
        "cpu_allocatable": node.cpu_allocatable,
        "memory_allocatable_bytes": node.memory_allocatable_bytes,
        "jobs": [key.name for key in snapshot.jobs_on(node.name)] if params.used else None,
        "dollars_per_hour": price.dollars_per_hour if price else None,
        "problems": [condition(one) for one in node.problems],
        "taints": list(node.taints),
        "internal_ip": node.internal_ip or None,
        "resource_version": node.resource_version,
        "created": rfc3339(node.created),
        "age_seconds": age_seconds(node.created, now),
        "simulated": node.simulated,
    }


def health(node: Node) -> str:
    """The one word a person looks for first: the worst that is known, or unknown."""
    if node.ready is None:
        return "unknown"
    if not node.ready:
        return "not ready"
    faults = [one.reason or one.type for one in node.problems if one.type != "Ready"]
    if faults:
        return faults[0]
    return "cordoned" if node.cordoned else "ok"


ACTION = Action(
    name="nodes",
    title="Nodes",
    params=Params,
    needs=("nodes",),
    more_needs=more_needs,
    can_lack=("pods", "prices"),
    records=records,
    columns=(
        Column("name", "NODE"),
        Column("instance_type", "TYPE"),
        Column("nodepool", "POOL"),
        Column("zone", "ZONE"),
        Column("capacity_type", "CAPACITY"),
        Column("gpu_used", "USED", right=True),
        Column("gpu_allocatable", "GPU", right=True),
        Column("efa_allocatable", "EFA", right=True),
        Column("health", "HEALTH"),
        Column("age_seconds", "AGE", right=True),
        Column("cpu_allocatable", "CPU", right=True, wide=True),
        Column("memory_allocatable_bytes", "MEMORY", right=True, wide=True),
        Column("gpu_model", "GPU MODEL", wide=True),
        Column("dollars_per_hour", "$/H", right=True, wide=True),
        Column("jobs", "JOBS", wide=True),
        Column("cordon_reason", "CORDON REASON", wide=True),
        Column("internal_ip", "IP", wide=True),
    ),
    doc="Lists nodes alone by default, so that it stays quick with 5,000 of them; --used and --prices join the rest.",
)
