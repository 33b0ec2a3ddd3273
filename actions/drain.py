"""Drain: close nodes and move their pods away, as far as their disruption budgets allow."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.draining import Rules, emptying, stops, warnings
from actions.core.lookups import nodes_named
from actions.core.occupants import look_at
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Which nodes, and how far to go."""

    node: tuple[str, ...] = param("nodes to drain: a,b,c", picks="nodes")
    reason: str = param("why, kept on the node as the annotation cockpit.dev/cordon-reason", "")
    grace_period: int = param("seconds a pod has to end; -1: what it asks for itself", -1, minimum=-1)
    delete_emptydir_data: bool = param("evict pods that keep data in an emptyDir on disk, which is lost", False)
    force: bool = param("evict pods that no controller makes anew", False)
    ignore_daemonsets: bool = param("leave pods of DaemonSets where they are", True)
    patience: int = param("seconds to ask again for an eviction that a disruption budget refuses", 600, minimum=0)


def rules_of(params: Params) -> Rules:
    """The rules of a drain out of its parameters."""
    return Rules(params.grace_period, params.delete_emptydir_data, params.force, params.ignore_daemonsets, params.patience)


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The pods on these nodes, and the budgets over them."""
    yield from look_at(clients, snapshot, [node.name for node in nodes_named(snapshot, params.node)])


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """Close each node, evict each pod, wait for them to end; says which ranks of which job stop."""
    nodes = nodes_named(snapshot, params.node)
    changes = emptying(snapshot, nodes, rules_of(params), params.reason)
    if not changes:
        return Plan(already=f"{', '.join(node.name for node in nodes)} drained already")
    told = (*stops(snapshot, nodes), "the nodes stay closed for pods until they are uncordoned")
    return Plan(changes, warnings=tuple(warnings(snapshot, changes)), notes=told, confirm=nodes[0].name)


ACTION = Action(
    name="drain",
    title="Drain",
    key="r",
    params=Params,
    risk=Risk.DESTROY,
    panes=("cluster",),
    needs=("nodes", "pods", "jobs", "progress"),
    can_lack=("jobs", "progress"),
    look=look,
    plan=plan,
    fills={"node": "node"},
    form=True,
    doc="Closes nodes and evicts their pods through the eviction API: a disruption budget that refuses is asked again and told. `undo` uncordons.",
)
