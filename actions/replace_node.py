"""Replace-node: drain nodes and delete the NodeClaims that made them, so that Karpenter ends the instances."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions import drain
from actions.core import Action, Change, Clients, Plan, Risk, Target, param
from actions.core.draining import emptying, stops, warnings
from actions.core.lookups import nodes_named
from cockpit.errors import Refused
from cockpit.model import Node, NodeClaim
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

INSTANCE_SECONDS = 600


@dataclass(frozen=True)
class Params(drain.Params):
    """Which nodes, and how far the drain may go."""

    node: tuple[str, ...] = param("nodes to replace: a,b,c", picks="nodes")


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The pods on these nodes, and the budgets over them."""
    yield from drain.look(clients, snapshot, params, stop)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The drain, then each NodeClaim; Refused for nodes that Karpenter did not make."""
    nodes = nodes_named(snapshot, params.node)
    claims = [_claim(snapshot, node) for node in nodes]
    changes = [*emptying(snapshot, nodes, drain.rules_of(params), params.reason)]
    for node, claim in zip(nodes, claims, strict=True):
        if not claim.deleting:
            changes.append(_deletion(claim, node))
        changes.append(_gone(node))
    told = (*stops(snapshot, nodes), *(_after(snapshot, node, claim) for node, claim in zip(nodes, claims, strict=True)))
    # What cannot come back has no inverse: a node that is ended is not opened again.
    final = tuple(dataclasses.replace(change, inverse=None) if change.verb == "patch" else change for change in changes)
    return Plan(final, warnings=tuple(warnings(snapshot, changes)), notes=told, confirm=nodes[0].name)


def _claim(snapshot: Snapshot, node: Node) -> NodeClaim:
    claim = snapshot.claim_of(node.name)
    if claim is None:
        group = f"it is of node group {node.pool}, whose Auto Scaling group replaces instances" if node.pool else "whoever made it must replace it"
        raise Refused(f"{node.name} has no NodeClaim: Karpenter did not make it", f"{group}; drain only empties it")
    return claim


def _deletion(claim: NodeClaim, node: Node) -> Change:
    target = Target("NodeClaim", claim.name, group="karpenter.sh", plural="nodeclaims")
    summary = f"delete nodeclaim/{claim.name}: the instance of {node.name} ends"
    return Change("kube", "delete", target, summary, f"kubectl delete nodeclaim {claim.name}", before={"node": node.name}, wait_gone=True)


def _gone(node: Node) -> Change:
    target = Target("Node", node.name, plural="nodes")
    line = f"kubectl wait --for=delete node/{node.name}"
    return Change("kube", "wait", target, f"wait until {node.name} is gone", line, grace_seconds=INSTANCE_SECONDS)


def _after(snapshot: Snapshot, node: Node, claim: NodeClaim) -> str:
    price = snapshot.price_of(node)
    cost = f" at {price.dollars_per_hour:,.2f} $/h" if price and price.dollars_per_hour is not None else ""
    return f"pool {claim.pool} makes another {node.instance_type or 'node'}{cost} when pods wait for one; nothing brings this one back"


ACTION = Action(
    name="replace-node",
    title="Replace node",
    params=Params,
    risk=Risk.DESTROY,
    panes=("cluster",),
    needs=("nodes", "pods", "jobs", "nodeclaims", "progress", "prices"),
    can_lack=("jobs", "progress", "prices"),
    look=look,
    plan=plan,
    fills={"node": "node"},
    form=True,
    doc="Drains nodes, then deletes their NodeClaims, so that Karpenter ends the instances. It cannot be undone.",
)
