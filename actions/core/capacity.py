"""Where GPUs for new pods can come from: what is free on the nodes that stand, and what the NodePools may still provision. Pure arithmetic.

A pod needs all its GPUs on one node, so rooms are counted in pods. None is "as many as you like, as far as anyone here knows".
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cockpit.instance_types import InstanceType
from cockpit.model import Node, NodePool, Price
from cockpit.snapshot import Snapshot

GPU = "nvidia.com/gpu"
TOLERATED = (GPU, "node.kubernetes.io/unschedulable")


@dataclass(frozen=True)
class Want:
    """What is asked for: `pods` pods of `gpus` GPUs each, on nodes with these properties; `waits` when a queue will hold it until GPUs are free."""

    pods: int
    gpus: int
    instance_type: str = ""
    nodepool: str = ""
    capacity_type: str = ""
    zone: str = ""
    waits: bool = False

    @property
    def total(self) -> int:
        """GPUs in all."""
        return self.pods * self.gpus


@dataclass(frozen=True)
class Room:
    """One place: a node (`new` False) or one instance type of a NodePool; it takes `pods` pods (None: no bound known), `gpus` GPUs a node."""

    name: str
    instance_type: str
    gpus_per_node: int
    pods: int | None
    gpus: int | None
    zone: str = ""
    capacity_type: str = ""
    new: bool = False
    why: str = ""
    simulated: bool = False


def gpu_nodes(snapshot: Snapshot) -> list[Node]:
    """Every node that has GPUs, usable or not."""
    return [node for node in snapshot.nodes.values() if node.gpu_allocatable]


def on_nodes(snapshot: Snapshot, want: Want) -> list[Room]:
    """What the standing nodes still take, the fullest node that fits first, so that whole nodes stay whole."""
    rooms = [_on_node(snapshot, node, want) for node in gpu_nodes(snapshot) if _suits(node, want)]
    return sorted(rooms, key=lambda room: (not room.pods, room.gpus or 0, room.name))


def _suits(node: Node, want: Want) -> bool:
    asked = (
        (want.instance_type, node.instance_type),
        (want.nodepool, node.pool),
        (want.capacity_type, node.capacity_type),
        (want.zone, node.zone),
    )
    return node.ready is not False and not node.cordoned and all(not wish or wish == fact for wish, fact in asked) and _open(node.taints)


def _open(taints: Iterable[str]) -> bool:
    """True when our pods may land in spite of these taints (`key=value:Effect`); a soft taint keeps nobody away."""
    hard = [taint for taint in taints if not taint.endswith(":PreferNoSchedule")]
    return all(taint.split(":", 1)[0].split("=", 1)[0] in TOLERATED for taint in hard)


def _on_node(snapshot: Snapshot, node: Node, want: Want) -> Room:
    has = node.gpu_allocatable or 0
    used = 0 if want.waits else snapshot.gpus_used(node.name) or 0
    free = max(0, has - used)
    return Room(node.name, node.instance_type, has, free // want.gpus, free, node.zone, node.capacity_type, simulated=node.simulated)


def on_pools(snapshot: Snapshot, want: Want, types: Mapping[str, InstanceType]) -> list[Room]:
    """What each NodePool may still provision for such pods, heaviest pool first: its best instance type within its limits."""
    pools = sorted(snapshot.nodepools.values(), key=lambda pool: (-pool.weight, pool.name))
    return [room for pool in pools if _may_give(pool, want) and (room := _of_pool(pool, want, types)) is not None]


def _may_give(pool: NodePool, want: Want) -> bool:
    asked = ((want.capacity_type, pool.capacity_types), (want.zone, pool.zones))
    return (not want.nodepool or pool.name == want.nodepool) and all(not wish or not has or wish in has for wish, has in asked) and _open(pool.taints)


def _of_pool(pool: NodePool, want: Want, types: Mapping[str, InstanceType]) -> Room | None:
    names = types_of(pool, types)
    if want.instance_type:
        names = [want.instance_type] if not names or want.instance_type in names else []
    elif not names:
        return Room(f"pool {pool.name}", "", 0, None, None, want.zone, want.capacity_type, new=True, why="of instance types not known here")
    if pool.ready is False:
        return Room(f"pool {pool.name}", "", 0, 0, 0, new=True, why="which is not ready")
    rooms = [_of_type(pool, want, name, types.get(name)) for name in names]
    fitting = [room for room in rooms if room.gpus is None or room.gpus_per_node >= want.gpus]
    return max(fitting or rooms, key=lambda room: math.inf if room.pods is None else room.pods, default=None)


def types_of(pool: NodePool, types: Mapping[str, InstanceType]) -> list[str]:
    """The instance types with GPUs a pool may launch: those it names, and those of the families it names."""
    named = [name for name in pool.instance_types if name not in types or types[name].gpus]
    families = [name for name, one in types.items() if one.gpus and name.split(".", 1)[0] in pool.instance_families]
    return named or (families if not pool.instance_types else [])


def _of_type(pool: NodePool, want: Want, name: str, one: InstanceType | None) -> Room:
    label = f"pool {pool.name}"
    zone = want.zone or (pool.zones[0] if len(pool.zones) == 1 else "")
    capacity = want.capacity_type or (pool.capacity_types[0] if len(pool.capacity_types) == 1 else "")
    if one is None:
        return Room(label, name, 0, None, None, zone, capacity, new=True, why=f"{name} is not in the table of instance types")
    nodes, why = _headroom(pool, one)
    pods = None if nodes is None else nodes * (one.gpus // want.gpus)
    return Room(label, name, one.gpus, pods, None if nodes is None else nodes * one.gpus, zone, capacity, new=True, why=why)


def _headroom(pool: NodePool, one: InstanceType) -> tuple[int | None, str]:
    """Nodes of a type a pool's limits still allow, and the limit that binds."""
    amounts = {GPU: float(one.gpus), "cpu": float(one.vcpu), "memory": float(one.memory_bytes), "nodes": 1.0}
    found: tuple[int | None, str] = (None, "no limit")
    for resource, limit in sorted(pool.limits.items()):
        amount = amounts.get(resource)
        if amount:
            used = pool.usage.get(resource, 0.0)
            nodes = max(0, math.floor((limit - used) / amount))
            if found[0] is None or nodes < found[0]:
                found = nodes, f"{resource} {_short(resource, used)} of {_short(resource, limit)} used"
    return found


def _short(resource: str, amount: float) -> str:
    return f"{amount / 2**30:.0f}Gi" if resource == "memory" else f"{amount:g}"


def placed(want: Want, rooms: Iterable[Room]) -> list[tuple[Room, int]]:
    """Which rooms the pods would take, in the order given, and how many each; fewer than asked when they do not all fit."""
    left, found = want.pods, []
    for room in rooms:
        takes = left if room.pods is None else min(left, room.pods)
        if takes:
            found.append((room, takes))
            left -= takes
    return found


def arithmetic(want: Want, rooms: Iterable[Room]) -> str:
    """Why it does not fit, in numbers."""
    said = [f"{room.name} {'may add' if room.new else 'has'} {room.gpus} GPUs{_because(room)}" for room in rooms]
    fit = sum(room.pods or 0 for room in rooms)
    asked = f"{want.pods} pods x {want.gpus} GPUs = {want.total} GPUs asked for; {fit} such pods fit"
    return f"{asked}: {'; '.join(said) if said else 'no node with free GPUs and no NodePool gives any'}"


def _because(room: Room) -> str:
    return f" ({room.why})" if room.why else " free"


def dollars_per_hour(snapshot: Snapshot, want: Want, places: Iterable[tuple[Room, int]]) -> tuple[float | None, bool]:
    """What the pods cost, and whether that is SIMULATED: their share of standing nodes, the whole of added ones; None where a price is not known."""
    total, simulated = 0.0, False
    for room, pods in places:
        price = price_of(snapshot, room)
        if price is None or price.dollars_per_hour is None or not room.gpus_per_node:
            return None, simulated
        simulated = simulated or price.simulated or room.simulated
        nodes = math.ceil(pods / (room.gpus_per_node // want.gpus)) if room.new else pods * want.gpus / room.gpus_per_node
        total += price.dollars_per_hour * nodes
    return total, simulated


def price_of(snapshot: Snapshot, room: Room) -> Price | None:
    """The price of a room's offering: its own zone's, the list's, or the dearest of those that match."""
    capacity = room.capacity_type or "on-demand"
    for zone in (room.zone, ""):
        price: Price | None = snapshot.prices.get((room.instance_type, zone, capacity))
        if price is not None:
            return price
    offered = [p for p in snapshot.prices.values() if p.instance_type == room.instance_type and p.capacity_type == capacity]
    return max(offered, key=lambda price: price.dollars_per_hour or 0.0, default=None)
