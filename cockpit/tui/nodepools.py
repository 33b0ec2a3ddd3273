"""Pane 2, the NodePools: what they have, what they may have, and what their claims wait for; Enter goes down to claims and nodes."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.model import NodeClaim, NodePool
from cockpit.rows import Rows
from cockpit.snapshot import Snapshot
from cockpit.store import Changes
from cockpit.tui.cells import BLANK, DASH, UNKNOWN, Cell, Part, Tone, age, cell, count, dollars, gauge, natural, number, short_node, short_zone
from cockpit.tui.cluster import NodeRoom
from cockpit.tui.views import Column, Scene, Sums, View

GPU = "nvidia.com/gpu"
BAR_CELLS = 8
SLOW_SECONDS = 60.0


def waiting_claim(picture: Snapshot, pool: str) -> NodeClaim | None:
    """The oldest claim of a pool that is not ready yet."""
    return next((claim for claim in picture.claims_in(pool) if claim.waits_for and not claim.deleting), None)


def waits(claim: NodeClaim, now: float) -> str:
    """What a claim waits for and since when: `Registered 6m12s`."""
    return f"{claim.waits_for} {age(now - claim.created)}" if claim.created else claim.waits_for


class NodePools(View):
    """All Karpenter NodePools; dollars are summed again only when a pool's nodes or the prices changed."""

    name, title, noun, kind, ticking = "nodepools", "Nodepools", "nodepool", "nodepools", True
    sources = ("nodepools", "nodeclaims", "nodes")
    missing = "no Karpenter here: this cluster serves no NodePools"
    empty = "a NodePool says what nodes Karpenter may make"
    sort_key = "pool"

    def __init__(self) -> None:
        self._priced: dict[str, tuple[Any, Rows[Any, Any], float | None]] = {}
        self.columns = (
            Column("pool", "POOL", 10, flex=1, most=28, sort=lambda scene, key: natural(key)),
            Column("nodes", "NODES", 5, right=True, sort=lambda scene, key: len(scene.snapshot.nodes_by_pool.get(key, ()))),
            Column("gpu", "GPU", 7, right=True, sort=lambda scene, key: scene.snapshot.nodepools[key].usage.get(GPU)),
            Column("gpubar", "OF LIMIT", BAR_CELLS, flex=1, most=24, drop=2, bar=True),
            Column("claim", "CLAIM", 14, flex=1, most=24, drop=3),
            Column("waits", "WAITS FOR", 16, flex=2, most=60),
            Column("dollars", "$/H", 9, right=True, drop=1, sort=lambda scene, key: self._dollars(scene.snapshot, key)),
        )

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        if "prices" in changes:
            return None
        empty: frozenset[Any] = frozenset()
        of_pools = ("nodepools", "nodes_by_pool", "claims_by_pool", "shortages_by_pool")
        return {key for name in of_pools for key in changes.get(name, empty)}

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        picture, pool = scene.snapshot, scene.snapshot.nodepools[key]
        claim = waiting_claim(picture, key)
        return (
            cell(pool.name, Tone.STRONG),
            cell(f"{len(picture.nodes_by_pool.get(key, ())):,}"),
            *self._gpu_cells(pool),
            cell(claim.name) if claim else BLANK,
            self._waits(pool, claim, scene),
            number(self._dollars(picture, key), "{:,.2f}"),
        )

    def _gpu_cells(self, pool: NodePool) -> tuple[Cell, Cell]:
        used, limit = pool.usage.get(GPU), pool.limits.get(GPU)
        if used is None and limit is None:
            return cell("-", Tone.MUTED), BLANK
        shown = cell(f"{int(used or 0):,}/{'∞' if limit is None else format(int(limit), ',')}")
        return shown, gauge((used or 0) / limit) if limit else cell("no limit", Tone.MUTED)

    def _waits(self, pool: NodePool, claim: NodeClaim | None, scene: Scene) -> Cell:
        if pool.ready is False:
            why = next((one.message or one.reason for one in pool.conditions if one.status == "False"), "")
            return cell(f"✖ not ready {why}", Tone.BAD)
        short = scene.snapshot.shortage_in(pool.name, scene.now)
        if short is not None:
            return cell(f"▲ no capacity {age(scene.now - short.at)}" if short.at else "▲ no capacity", Tone.WARN)
        if claim is None:
            return cell("● ready", Tone.GOOD) if pool.ready else cell("? unknown", Tone.MUTED)
        slow = claim.created is not None and scene.now - claim.created > SLOW_SECONDS
        return cell(f"{'▲' if slow else '◌'} {waits(claim, scene.now)}", Tone.WARN if slow else Tone.INFO)

    def weigh(self, scene: Scene, key: Any) -> Sums:
        waiting = sum(bool(claim.waits_for) and not claim.deleting for claim in scene.snapshot.claims_in(key))
        price = self._dollars(scene.snapshot, key)
        return (waiting, price or 0.0, price is None)

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        waiting, price, unpriced = sums
        words = [count(rows, "pool")]
        if waiting:
            words.append(count(int(waiting), "claim waits", "claims wait"))
        if unpriced < rows:
            words.append(dollars(price))
        return " · ".join(words)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        if scene.snapshot.nodepools[key].ready is False:
            return 2, f"NodePool {key} is not ready"
        short = scene.snapshot.shortage_in(key, scene.now)
        if short is not None:
            return 2, f"NodePool {key} finds no capacity: {short.message.rsplit('InsufficientInstanceCapacity: ', 1)[-1]}"
        claim = waiting_claim(scene.snapshot, key)
        if claim is None or not claim.created or scene.now - claim.created < SLOW_SECONDS:
            return None
        condition = next((one for one in claim.conditions if one.type == claim.waits_for), None)
        why = f" ({condition.message or condition.reason})" if condition and (condition.message or condition.reason) else ""
        return 2, f"{claim.name} of pool {key} waits for {waits(claim, scene.now)}{why}"

    def enter(self, scene: Scene, key: Any) -> View | None:
        return PoolRoom(key)

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/apis/karpenter.sh/v1/nodepools/{key}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("NodePool", "", str(key))

    def _dollars(self, picture: Snapshot, pool: str) -> float | None:
        members = picture.nodes_by_pool.get(pool, ())
        known = self._priced.get(pool)
        if known is None or known[0] is not members or known[1] is not picture.prices:
            known = self._priced[pool] = (members, picture.prices, _sum_dollars(picture, pool))
        return known[2]


def _sum_dollars(picture: Snapshot, pool: str) -> float | None:
    prices = [picture.price_of(node) for node in picture.nodes_in(pool)]
    known = [price.dollars_per_hour for price in prices if price and price.dollars_per_hour is not None]
    return sum(known) if len(known) == len(prices) else None


class Claims(View):
    """NodeClaims: all of them."""

    name, title, noun, kind, ticking = "nodeclaims", "NodeClaims", "claim", "nodeclaims", True
    sources = ("nodeclaims",)
    missing = "no Karpenter here: this cluster serves no NodeClaims"
    empty = "Karpenter makes one for each node it is asked for"

    def __init__(self) -> None:
        self.columns = (
            Column("claim", "CLAIM", 14, flex=1, most=30, sort=lambda scene, key: natural(key)),
            Column("pool", "POOL", 10, flex=1, most=20, drop=3),
            Column("node", "NODE", 15, flex=1, most=30),
            Column("type", "TYPE", 12, flex=1, most=16, drop=2),
            Column("zone", "ZONE", 10, drop=4),
            Column("capacity", "CAPACITY", 9, drop=5),
            Column("waits", "WAITS FOR", 16, flex=2, most=50),
            Column("age", "AGE", 6, right=True, sort=lambda scene, key: scene.snapshot.nodeclaims[key].created),
        )

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        claim = scene.snapshot.nodeclaims[key]
        return (
            cell(claim.name, Tone.STRONG),
            cell(claim.pool),
            cell(short_node(claim.node)) if claim.node else DASH,
            cell(claim.instance_type or UNKNOWN),
            cell(short_zone(claim.zone, "") or UNKNOWN, Tone.MUTED),
            cell(claim.capacity_type or UNKNOWN, Tone.MUTED),
            self._state(claim, scene.now),
            cell(age(scene.now - claim.created), Tone.MUTED) if claim.created else DASH,
        )

    def _state(self, claim: NodeClaim, now: float) -> Cell:
        if claim.deleting:
            return cell("◌ deleting", Tone.WARN)
        return cell(f"◌ {waits(claim, now)}", Tone.WARN) if claim.waits_for else cell("● initialized", Tone.GOOD)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        claim = scene.snapshot.nodeclaims[key]
        slow = claim.waits_for and claim.created and scene.now - claim.created > SLOW_SECONDS
        return (2, f"{claim.name} waits for {claim.waits_for}") if slow else None

    def enter(self, scene: Scene, key: Any) -> View | None:
        claim = scene.snapshot.nodeclaims.get(key)
        return NodeRoom(claim.node) if claim and claim.node else None

    def fills(self, key: Any) -> dict[str, str]:
        return {"nodeclaims": str(key)}

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/apis/karpenter.sh/v1/nodeclaims/{key}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("NodeClaim", "", str(key))


class PoolRoom(Claims):
    """One NodePool: its limits and its claims, each with the node it became."""

    def __init__(self, pool: str) -> None:
        super().__init__()
        self.pool, self.title = pool, f"Nodepool {pool}"

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.claims_by_pool.get(self.pool, ())

    def has(self, scene: Scene, key: Any) -> bool:
        claim = scene.snapshot.nodeclaims.get(key)
        return claim is not None and claim.pool == self.pool

    def room(self) -> dict[str, str]:
        return {"nodepools": self.pool}

    def facts(self, scene: Scene) -> list[tuple[Part, ...]]:
        pool = scene.snapshot.nodepools.get(self.pool)
        if pool is None:
            return [(("✖ this NodePool is gone", Tone.BAD),)]
        limits = "  ".join(f"{name} {pool.usage.get(name, 0):,.0f}/{limit:,.0f}" for name, limit in sorted(pool.limits.items()))
        offers = ", ".join(pool.instance_types or pool.instance_families) or "any type"
        ready: Part = ("● ready", Tone.GOOD) if pool.ready else ("✖ not ready", Tone.BAD) if pool.ready is False else ("? unknown", Tone.WARN)
        return [
            (ready, (f"   {offers} · {', '.join(pool.capacity_types) or 'any capacity'} · {', '.join(pool.zones) or 'any zone'}", Tone.PLAIN)),
            (("limits ", Tone.MUTED), (limits or "none", Tone.PLAIN), (f"   class {pool.node_class or UNKNOWN}", Tone.MUTED)),
        ]
