"""Pane 4, the GPUs: one line a node, one cell a GPU, and what idle ones cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.model import Gpu
from cockpit.store import Changes
from cockpit.tui.bars import gpu_row
from cockpit.tui.cells import BLANK, Cell, Tone, cell, count, dollars, natural, number, short_node
from cockpit.tui.cluster import NodeRoom
from cockpit.tui.views import Column, Scene, Sums, View

IDLE_PERCENT = 5.0


def mean(values: Iterable[float | None]) -> float | None:
    """The mean of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) / len(known) if known else None


def _readings(gpus: list[Gpu]) -> tuple[float | None, float | None, float | None, float | None]:
    tensor = mean(gpu.tensor_active_ratio for gpu in gpus)
    return (
        mean(gpu.utilisation_percent for gpu in gpus),
        None if tensor is None else tensor * 100,
        mean(gpu.power_watts for gpu in gpus),
        max((gpu.temperature_celsius for gpu in gpus if gpu.temperature_celsius is not None), default=None),
    )


class Gpus(View):
    """Nodes that report GPUs."""

    name, title, noun, kind = "gpus", "GPU", "GPU node", "nodes"
    sources = ("gpus", "pods", "prices")
    missing = "no DCGM exporter here, so GPU use cannot be read"
    empty = "no DCGM exporter has reported a GPU"
    sort_key = "node"

    def __init__(self) -> None:
        self.columns = (
            Column("node", "NODE", 18, flex=1, most=30, sort=lambda scene, key: natural(key)),
            Column("cells", "GPU 0-7", 15),
            Column("util", "UTIL", 5, right=True, sort=lambda scene, key: self._mean(scene, key, 0)),
            Column("tensor", "TENSOR", 6, right=True, drop=3, sort=lambda scene, key: self._mean(scene, key, 1)),
            Column("watts", "W", 4, right=True, drop=2, sort=lambda scene, key: self._mean(scene, key, 2)),
            Column("celsius", "°C", 3, right=True, drop=1, sort=lambda scene, key: self._mean(scene, key, 3)),
            Column("note", "", 9, flex=2, most=40, drop=4),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.gpus_by_node

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.gpus_by_node

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        return changes.get("gpus_by_node", ())

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        gpus = scene.snapshot.gpus_on(key)
        util, tensor, watts, celsius = _readings(gpus)
        return (
            cell(short_node(key), Tone.STRONG),
            Cell(gpu_row(gpus, " " if len(gpus) <= 8 else "")),
            number(util, "{:.0f} %"),
            number(tensor, "{:.0f} %", Tone.MUTED),
            number(watts),
            number(celsius, tone=Tone.WARN if celsius is not None and celsius >= 85 else Tone.PLAIN),
            self._note(scene, key, gpus, util),
        )

    def _note(self, scene: Scene, key: Any, gpus: list[Gpu], util: float | None) -> Cell:
        xid = next((gpu for gpu in gpus if gpu.xid), None)
        if xid is not None:
            return cell(f"✖ xid {xid.xid} on GPU {xid.index}", Tone.BAD)
        throttled = next((gpu for gpu in gpus if gpu.throttle), None)
        if throttled is not None:
            return cell(f"▼ throttle {throttled.throttle}", Tone.WARN)
        if util is not None and util < IDLE_PERCENT:
            price = self._price(scene, key)
            return cell("idle" + (f" {dollars(price)}" if price else ""), Tone.MUTED)
        return BLANK

    def text(self, scene: Scene, key: Any) -> str:
        gpus = scene.snapshot.gpus_on(key)
        return f"{key} {' '.join(f'{gpu.model} {gpu.uuid} {gpu.pod.name if gpu.pod else str()}' for gpu in gpus)} {self.cells(scene, key)[-1].text}"

    def weigh(self, scene: Scene, key: Any) -> Sums:
        gpus = scene.snapshot.gpus_on(key)
        util, tensor, watts, _ = _readings(gpus)
        idle = util is not None and util < IDLE_PERCENT
        n = len(gpus)
        return (
            n,
            (util or 0) * n,
            n * (util is not None),
            (tensor or 0) * n,
            n * (tensor is not None),
            (watts or 0) * n,
            (self._price(scene, key) or 0.0) if idle else 0.0,
        )

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        total, util, known, tensor, tensors, watts, idle = sums
        words = [f"{util / known:.0f} % of {int(total):,}" if known else count(int(total), "GPU")]
        if tensors:
            words.append(f"tensor {tensor / tensors:.0f} %")
        if idle:
            words.append(f"idle {dollars(idle)}")
        if watts:
            words.append(f"{watts / 1000:,.1f} kW")
        return " · ".join(words)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        throttled = next((gpu for gpu in scene.snapshot.gpus_on(key) if gpu.throttle), None)
        return (1, f"{short_node(key)}: GPU {throttled.index} is throttled ({throttled.throttle})") if throttled else None

    def enter(self, scene: Scene, key: Any) -> View | None:
        return NodeRoom(key)

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/api/v1/nodes/{key}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("Node", "", str(key))

    def _mean(self, scene: Scene, key: Any, which: int) -> float | None:
        return _readings(scene.snapshot.gpus_on(key))[which]

    def _price(self, scene: Scene, key: Any) -> float | None:
        node = scene.snapshot.nodes.get(key)
        price = scene.snapshot.price_of(node) if node else None
        return price.dollars_per_hour if price else None
