"""Open cordoned nodes for new pods again."""

from __future__ import annotations

from dataclasses import dataclass

from actions.core import Action, Plan, Risk, param
from actions.core.lookups import nodes_named
from actions.core.scheduling import opening
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which nodes."""

    node: tuple[str, ...] = param("nodes to uncordon: a,b,c", picks="nodes")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch a node; nodes that are open already are left as they are."""
    nodes = nodes_named(snapshot, params.node)
    opened = [node.name for node in nodes if not node.cordoned]
    if len(opened) == len(nodes):
        return Plan(already=f"{', '.join(opened)} already open for pods")
    changes = tuple(opening(node) for node in nodes if node.cordoned)
    reasons = tuple(f"{node.name} was cordoned: {node.cordon_reason}" for node in nodes if node.cordoned and node.cordon_reason)
    return Plan(changes, warnings=tuple(f"{name} is not cordoned" for name in opened), notes=reasons)


ACTION = Action(
    name="uncordon",
    title="Uncordon",
    key="u",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster",),
    needs=("nodes",),
    plan=plan,
    fills={"node": "node"},
    doc="Opens cordoned nodes for new pods again and takes the reason off.",
)
