"""Every GPU, one line each: its UUID, what it does, and whether pods may be given it."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.store import Changes
from cockpit.tui.cells import BLANK, UNKNOWN, Cell, Tone, cell, natural, number, short_node
from cockpit.tui.views import Column, Scene, View


class Devices(View):
    """GPUs as DCGM reports them."""

    name, title, noun, kind = "devices", "GPUs", "GPU", "devices"
    sources = ("gpus", "nodes")
    missing = "no DCGM exporter here, so GPUs cannot be told apart"
    sort_key = "node"

    def __init__(self) -> None:
        self.columns = (
            Column("node", "NODE", 18, flex=1, most=30, sort=lambda scene, key: (natural(key.node), int(key.device))),
            Column("index", "GPU", 3, right=True),
            Column("uuid", "UUID", 40),
            Column("state", "STATE", 14, flex=1, most=24),
            Column("util", "UTIL", 5, right=True, sort=lambda scene, key: scene.snapshot.gpus[key].utilisation_percent),
            Column("pod", "POD", 14, flex=2, most=50, drop=1),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.gpus

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.gpus

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        return None if "nodes" in changes else changes.get("gpus", ())

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        gpu = scene.snapshot.gpus[key]
        return (
            cell(short_node(key.node), Tone.STRONG),
            cell(str(gpu.index)),
            cell(gpu.uuid or UNKNOWN),
            self._state(scene, key),
            number(gpu.utilisation_percent, "{:.0f} %"),
            cell(gpu.pod.name) if gpu.pod else BLANK,
        )

    def _state(self, scene: Scene, key: Any) -> Cell:
        gpu, node = scene.snapshot.gpus[key], scene.snapshot.nodes.get(key.node)
        if node is not None and gpu.uuid in node.quarantined:
            return cell("▼ quarantined", Tone.WARN)
        if gpu.xid:
            return cell(f"✖ xid {gpu.xid}", Tone.BAD)
        return cell(f"▼ {gpu.throttle}", Tone.WARN) if gpu.throttle else cell("● ok", Tone.GOOD)

    def label(self, key: Any) -> str:
        return f"{key.node}/{key.device}"

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/api/v1/nodes/{key.node}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("Node", "", str(key.node))
