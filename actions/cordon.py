"""Close nodes for new pods, and write down why; what runs there goes on running."""

from __future__ import annotations

from dataclasses import dataclass

from actions.core import Action, Plan, Risk, param
from actions.core.lookups import nodes_named
from actions.core.scheduling import closing
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which nodes, and why."""

    node: tuple[str, ...] = param("nodes to cordon: a,b,c", picks="nodes")
    reason: str = param("why, kept on the node as the annotation cockpit.dev/cordon-reason", "")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """One patch a node; nodes that are cordoned already are left as they are."""
    nodes = nodes_named(snapshot, params.node)
    closed = [node.name for node in nodes if node.cordoned]
    if len(closed) == len(nodes):
        return Plan(already=f"{', '.join(closed)} already cordoned")
    changes = tuple(closing(node, params.reason) for node in nodes if not node.cordoned)
    warnings = tuple(f"{name} is cordoned already" for name in closed)
    running = [f"{node.name} keeps running {', '.join(key.name for key in keys)}" for node in nodes if (keys := snapshot.jobs_on(node.name))]
    return Plan(changes, warnings=warnings, notes=tuple(running))


ACTION = Action(
    name="cordon",
    title="Cordon",
    key="c",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster",),
    needs=("nodes",),
    plan=plan,
    fills={"node": "node"},
    doc="Closes nodes for new pods; what runs there goes on running. `uncordon` undoes it.",
)
