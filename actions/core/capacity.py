"""Where GPUs for new pods can come from: what is free on the nodes that stand, and what the NodePools may still provision. Pure arithmetic.

A pod needs all its GPUs on one node, so rooms are counted in pods. None is "as many as you like, as far as anyone here knows".
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import islice, repeat, takewhile

from cockpit.instance_types import InstanceType
from cockpit.model import Node, NodePool, Price
from cockpit.snapshot import Snapshot

GPU = "nvidia.com/gpu"
TOLERATED = (GPU, "node.kubernetes.io/unschedulable")
NODES_NAMED = 4
REASONS_NAMED = 4
GPU_FAMILY = re.compile(r"[gp]\d")
"""How EC2 names the families with NVIDIA GPUs."""


@dataclass(frozen=True)
class Want:
    """What is asked for: `pods` pods of `gpus` GPUs each, on nodes with these properties; `waits` when a queue will hold it until GPUs are free.

    `avoid` names nodes it keeps away from.
    """

    pods: int
    gpus: int
    instance_type: str = ""
    nodepool: str = ""
    capacity_type: str = ""
    zone: str = ""
    waits: bool = False
    avoid: frozenset[str] = frozenset()

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
    return not _against(node, want)


def _against(node: Node, want: Want) -> str:
    """Why a node does not count for such pods; empty when it does."""
    asked = (
        (want.instance_type, node.instance_type),
        (want.nodepool, node.pool),
        (want.capacity_type, node.capacity_type),
        (want.zone, node.zone),
    )
    if any(wish and wish != fact for wish, fact in asked):
        return "not as asked for"
    if node.name in want.avoid:
        return "avoided for its fault"
    if node.ready is False:
        return "not ready"
    return "cordoned" if node.cordoned else next((f"tainted {taint}" for taint in _closing(node.taints)), "")


def left_out(snapshot: Snapshot, want: Want) -> str:
    """Which nodes with GPUs do not count for such pods, and why; empty when all do."""
    reasons = Counter(why for node in gpu_nodes(snapshot) if (why := _against(node, want)))
    told = ", ".join(f"{count} {why}" for why, count in reasons.most_common(REASONS_NAMED))
    return f"GPU nodes that do not count: {told}" if reasons else ""


def _open(taints: Iterable[str]) -> bool:
    """True when our pods may land in spite of these taints (`key=value:Effect`)."""
    return not list(_closing(taints))


def _closing(taints: Iterable[str]) -> Iterator[str]:
    """The taints that keep our pods away; a soft one keeps nobody away."""
    hard = (taint for taint in taints if not taint.endswith(":PreferNoSchedule"))
    return (taint for taint in hard if taint.split(":", 1)[0].split("=", 1)[0] not in TOLERATED)


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
    names = [name for name in types_of(pool, types) if not want.instance_type or name == want.instance_type]
    if not names:
        return None
    if pool.ready is False:
        return Room(f"pool {pool.name}", names[0], 0, 0, 0, new=True, why="it is not ready")
    rooms = [_of_type(pool, want, name, types.get(name)) for name in names]
    fitting = [room for room in rooms if room.gpus is None or room.gpus_per_node >= want.gpus]
    return max(fitting or rooms, key=_size)


def _size(room: Room) -> tuple[float, int, float]:
    """Most pods first, then the smallest node that holds them, then most GPUs."""
    pods, gpus = (math.inf if number is None else number for number in (room.pods, room.gpus))
    return pods, -room.gpus_per_node, gpus


def types_of(pool: NodePool, types: Mapping[str, InstanceType]) -> list[str]:
    """The instance types with NVIDIA GPUs a pool may launch; also those it names that the table does not know but whose family has GPUs."""
    named = pool.instance_types or tuple(types)
    known = [name for name in named if name in types and types[name].gpus and _allowed(pool, name)]
    strange = [name for name in pool.instance_types if name not in types and GPU_FAMILY.match(name) and _allowed(pool, name)]
    families = {name.split(".", 1)[0] for name in types}
    strange += [f"{family}.*" for family in pool.instance_families if family not in families and GPU_FAMILY.match(family)]
    return known + strange


def _allowed(pool: NodePool, name: str) -> bool:
    """True when an instance type keeps to the pool's requirements on family, category and size."""
    family, _, size = name.partition(".")
    category = "".join(takewhile(str.isalpha, family))
    asked = ((pool.instance_families, family), (pool.instance_categories, category), (pool.instance_sizes, size))
    return all(not allowed or found in allowed for allowed, found in asked)


def _of_type(pool: NodePool, want: Want, name: str, one: InstanceType | None) -> Room:
    label = f"pool {pool.name}"
    zone = want.zone or (pool.zones[0] if len(pool.zones) == 1 else "")
    capacity = want.capacity_type or (pool.capacity_types[0] if len(pool.capacity_types) == 1 else "")
    if one is None:
        return Room(label, name, 0, None, None, zone, capacity, new=True, why=f"{name} is not in the table of instance types")
    nodes, why = _headroom(pool, one)
    per_node = one.gpus // want.gpus
    pods = 0 if not per_node else None if nodes is None else nodes * per_node
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
    """Which rooms the pods would take, and how many each; fewer than asked when they do not all fit."""
    taken = Counter(islice(_turns(list(rooms), want.pods), want.pods))
    return list(taken.items())


def _turns(rooms: list[Room], most: int) -> Iterator[Room]:
    """The room of each next pod: the standing nodes in turn, as the scheduler spreads pods, then what is new one after the other."""
    standing = [room for room in rooms if not room.new and room.pods]
    for turn in range(most):
        open_ = [room for room in standing if (room.pods or 0) > turn]
        if not open_:
            break
        yield from open_
    for room in rooms:
        if room.new:
            yield from repeat(room, most if room.pods is None else room.pods)


def arithmetic(want: Want, rooms: Iterable[Room]) -> str:
    """Why it does not fit, in numbers: what the standing nodes have together, and what each pool may add under which limit."""
    rooms = list(rooms)
    fit = sum(room.pods or 0 for room in rooms)
    standing = [room for room in rooms if not room.new]
    said = [_free(standing)] if standing else ["no standing node has GPUs for them"]
    said += [f"{room.name} may add {room.gpus} GPUs ({room.why})" for room in rooms if room.new]
    return f"{want.pods} pods x {want.gpus} GPUs = {want.total} GPUs asked for, {fit} such pods fit: {', '.join(said)}"


def _free(standing: list[Room]) -> str:
    free = [room for room in standing if room.gpus]
    named = f" ({', '.join(f'{room.name} {room.gpus}' for room in free[:NODES_NAMED])}{', ...' if len(free) > NODES_NAMED else ''})" if free else ""
    return f"{len(standing)} nodes have {sum(room.gpus or 0 for room in free)} GPUs free{named}"


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
