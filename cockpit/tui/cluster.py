"""Pane 1, the nodes: what they are, how many of their GPUs are taken, how they are, and what they cost."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.model import Node, Pod
from cockpit.snapshot import Snapshot
from cockpit.store import Changes
from cockpit.tui.bars import bar
from cockpit.tui.cells import (
    BLANK,
    DASH,
    UNKNOWN,
    Cell,
    Part,
    Tone,
    age,
    cell,
    count,
    dollars,
    gauge,
    gibibytes,
    natural,
    number,
    short_node,
    short_zone,
)
from cockpit.tui.views import Column, Scene, Sums, View

CAPACITY_WORDS = {"on-demand": "od", "spot": "spot", "reserved": "resv", "capacity-block": "cb"}
BAR_CELLS = 5


def health(snapshot: Snapshot, node: Node) -> tuple[str, Tone, int]:
    """A node's state as (glyph and word, tone, severity); the worst thing wins."""
    if node.ready is False:
        return "✖ not ready", Tone.BAD, 3
    xid = next((gpu.xid for gpu in snapshot.gpus_on(node.name) if gpu.xid), None)
    if xid:
        return f"✖ xid {xid}", Tone.BAD, 3
    if node.ready is None:
        return "? unknown", Tone.WARN, 2
    if node.problems:
        return f"▲ {node.problems[0].reason or node.problems[0].type}", Tone.WARN, 2
    if node.cordoned:
        return "▼ cordoned", Tone.WARN, 0
    return "● ok", Tone.GOOD, 0


class Nodes(View):
    """All nodes."""

    name, title, noun, kind = "cluster", "Cluster", "node", "nodes"
    sources = ("nodes", "pods")
    empty = "a NodePool makes them when pods wait"
    sort_key = "node"

    def __init__(self) -> None:
        self.columns = (
            Column("node", "NODE", 18, flex=1, most=34, sort=lambda scene, key: natural(key)),
            Column("type", "TYPE", 12, flex=1, most=16),
            Column("zone", "ZONE", 4, drop=3),
            Column("capacity", "CAP", 4, drop=4),
            Column("gpu", "GPU", 7, right=True, sort=self._used),
            Column("gpubar", "", BAR_CELLS, flex=1, most=16, drop=7, bar=True),
            Column("health", "HEALTH", 11, flex=1, most=24, sort=lambda scene, key: health(scene.snapshot, scene.snapshot.nodes[key])[2]),
            Column("dollars", "$/H", 6, right=True, drop=2, sort=self._price),
            Column("jobs", "JOBS", 14, flex=2, most=40, drop=8),
            Column("age", "AGE", 6, right=True, drop=9, sort=lambda scene, key: scene.snapshot.nodes[key].created),
        )

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        if "prices" in changes:
            return None
        empty: frozenset[Any] = frozenset()
        return changes.get("nodes", empty) | changes.get("pods_by_node", empty) | changes.get("gpus_by_node", empty)

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        picture, node = scene.snapshot, scene.snapshot.nodes[key]
        word, tone, _ = health(picture, node)
        jobs = ", ".join(job.name for job in picture.jobs_on(key))
        return (
            cell(short_node(node.name), Tone.STRONG),
            cell(node.instance_type or UNKNOWN),
            cell(short_zone(node.zone, node.region) or UNKNOWN, Tone.MUTED),
            cell(CAPACITY_WORDS.get(node.capacity_type, node.capacity_type) or UNKNOWN, Tone.MUTED),
            *self._gpu_cells(picture, node),
            cell(word, tone),
            number(self._price(scene, key), "{:,.2f}"),
            cell(jobs) if jobs else BLANK,
            cell(age(scene.now - node.created).split("m")[0] + ("m" if 60 <= scene.now - node.created < 3600 else ""), Tone.MUTED)
            if node.created
            else DASH,
        )

    def _gpu_cells(self, picture: Snapshot, node: Node) -> tuple[Cell, Cell]:
        if not node.gpu_allocatable:
            lost = bool(node.gpu_capacity)
            return cell(f"0 of {node.gpu_capacity}" if lost else "-", Tone.WARN if lost else Tone.MUTED), BLANK
        used = picture.gpus_used(node.name)
        shown = cell(f"{UNKNOWN if used is None else used}/{node.gpu_allocatable}")
        return shown, gauge(None if used is None else used / node.gpu_allocatable)

    def text(self, scene: Scene, key: Any) -> str:
        node = scene.snapshot.nodes[key]
        jobs = " ".join(job.name for job in scene.snapshot.jobs_on(key))
        word = health(scene.snapshot, node)[0]
        return f"{node.name} {node.instance_type} {node.zone} {node.capacity_type} {node.pool} {node.gpu_model} {word} {jobs}"

    def weigh(self, scene: Scene, key: Any) -> Sums:
        node = scene.snapshot.nodes[key]
        used, price = scene.snapshot.gpus_used(key), self._price(scene, key)
        return (used or 0, node.gpu_allocatable or 0, price or 0.0, price is None, used is None)

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        used, total, price, unpriced, unknown = sums
        words = [count(rows, "node")]
        if total:
            words.append(f"{UNKNOWN if unknown else format(int(used), ',')}/{int(total):,} GPU")
        if unpriced < rows:
            words.append(dollars(price) + (f" + {int(unpriced)} unpriced" if unpriced else ""))
        return " · ".join(words)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        node = scene.snapshot.nodes[key]
        word, _, severity = health(scene.snapshot, node)
        if not severity:
            return None
        name = short_node(node.name)
        gpu = next((one for one in scene.snapshot.gpus_on(key) if one.xid), None)
        if gpu is not None and node.ready:
            return severity, f"{name}: XID {gpu.xid} on GPU {gpu.index}"
        why = f": {node.problems[0].message or node.problems[0].reason}" if node.problems else ""
        return severity, f"{name} is {word[2:] if node.ready is not True else 'troubled'}{why}"

    def enter(self, scene: Scene, key: Any) -> View | None:
        return NodeRoom(key)

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/api/v1/nodes/{key}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("Node", "", str(key))

    def _used(self, scene: Scene, key: Any) -> int | None:
        return scene.snapshot.gpus_used(key) if scene.snapshot.nodes[key].gpu_allocatable else None

    def _price(self, scene: Scene, key: Any) -> float | None:
        price = scene.snapshot.price_of(scene.snapshot.nodes[key])
        return price.dollars_per_hour if price else None


POD_TONES = {"Running": Tone.GOOD, "Succeeded": Tone.MUTED, "Completed": Tone.MUTED, "Failed": Tone.BAD}
POD_GLYPHS = {"Running": "●", "Succeeded": "✔", "Completed": "✔", "Pending": "◌", "Failed": "✖"}


def pod_state(pod: Pod) -> Cell:
    """A pod's state with its glyph."""
    glyph = POD_GLYPHS.get(pod.state) or POD_GLYPHS.get(pod.phase, "?")
    waiting = pod.phase == "Pending" or pod.deleting
    tone = Tone.WARN if waiting else POD_TONES.get(pod.state) or POD_TONES.get(pod.phase, Tone.WARN)
    return cell(f"{glyph} {'Terminating' if pod.deleting else pod.state}", tone)


class Pods(View):
    """Pods: all of them, or those some drill-down is about."""

    name, title, noun, kind = "pods", "Pods", "pod", "pods"
    sources = ("pods",)
    sort_key = "pod"

    def __init__(self) -> None:
        self.columns = (
            Column("namespace", "NAMESPACE", 12, flex=1, most=20, drop=4),
            Column("pod", "POD", 22, flex=3, most=60, sort=lambda scene, key: natural(key.name)),
            Column("state", "STATE", 18),
            Column("gpus", "GPU", 4, right=True, drop=3, sort=lambda scene, key: scene.snapshot.pods[key].gpus),
            Column("restarts", "RST", 4, right=True, drop=2, sort=lambda scene, key: scene.snapshot.pods[key].restarts),
            Column("node", "NODE", 15, flex=1, most=30, drop=5),
            Column("message", "WHY", 12, flex=2, most=60, drop=6),
        )

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.pods and scene.namespace in (None, key.namespace)

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        pod = scene.snapshot.pods[key]
        return (
            cell(key.namespace, Tone.MUTED),
            cell(key.name, Tone.STRONG),
            pod_state(pod),
            cell(str(pod.gpus)) if pod.gpus else cell("-", Tone.MUTED),
            cell(str(pod.restarts), Tone.WARN if pod.restarts else Tone.MUTED),
            cell(short_node(pod.node)) if pod.node else DASH,
            cell(pod.message, Tone.MUTED),
        )

    def text(self, scene: Scene, key: Any) -> str:
        pod = scene.snapshot.pods[key]
        return f"{key.namespace} {key.name} {pod.state} {pod.node or ''} {pod.message}"

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        pod = scene.snapshot.pods[key]
        if pod.phase == "Failed" or pod.state in ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "OOMKilled", "Error"):
            return 2, f"pod {key.name}: {pod.state}"
        return None

    def fills(self, key: Any) -> dict[str, str]:
        return {"pods": key.name, "namespaces": key.namespace}

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/api/v1/namespaces/{key.namespace}/pods/{key.name}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("Pod", key.namespace, key.name)


class NodeRoom(Pods):
    """One node: its facts, its GPUs, and the pods on it."""

    name, ticking = "node", True

    def __init__(self, node: str) -> None:
        super().__init__()
        self.node, self.title = node, f"Node {short_node(node)}"
        self.columns = tuple(column for column in self.columns if column.key != "node")

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        every = super().cells(scene, key)
        return every[:5] + every[6:]

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.pods_by_node.get(self.node, ())

    def has(self, scene: Scene, key: Any) -> bool:
        pod = scene.snapshot.pods.get(key)
        return pod is not None and pod.node == self.node

    def room(self) -> dict[str, str]:
        return {"nodes": self.node}

    def facts(self, scene: Scene) -> list[tuple[Part, ...]]:
        picture, node = scene.snapshot, scene.snapshot.nodes.get(self.node)
        if node is None:
            return [(("✖ this node is gone", Tone.BAD),)]
        word, tone, _ = health(picture, node)
        claim = picture.claim_of(self.node)
        price = picture.price_of(node)
        lines: list[tuple[Part, ...]] = [
            ((word, tone), (f"   {node.instance_type} · {node.zone} · {node.capacity_type} · pool {node.pool or UNKNOWN}", Tone.PLAIN)),
            (
                (f"claim {claim.name if claim else UNKNOWN} · ip {node.internal_ip or UNKNOWN} · ", Tone.MUTED),
                (f"{node.cpu_allocatable or 0:,.0f} vCPU · {gibibytes(node.memory_allocatable_bytes)} · ", Tone.MUTED),
                (f"{dollars(price.dollars_per_hour if price else None)} {price.source if price else ''}", Tone.MUTED),
            ),
        ]
        if node.taints:
            lines.append((("taints ", Tone.MUTED), (" ".join(node.taints), Tone.WARN)))
        lines += [((f"▲ {one.type}={one.status} {one.reason} {one.message}", Tone.WARN),) for one in node.problems]
        return lines + gpu_lines(picture, self.node)

    def api_path(self, scene: Scene, key: Any) -> str:
        return super().api_path(scene, key) if key is not None else f"/api/v1/nodes/{self.node}"


def gpu_lines(picture: Snapshot, node: str) -> list[tuple[Part, ...]]:
    """One line a GPU of a node: utilisation, tensor, memory, power, temperature, pod."""
    lines: list[tuple[Part, ...]] = []
    for gpu in picture.gpus_on(node):
        ratio = None if gpu.utilisation_percent is None else gpu.utilisation_percent / 100
        fault: Part = (f"  ✖ xid {gpu.xid}", Tone.BAD) if gpu.xid else (f"  ▼ {gpu.throttle}", Tone.WARN) if gpu.throttle else ("", Tone.PLAIN)
        words = [
            _of(gpu.utilisation_percent, "{:4.0f} %"),
            "tensor " + _of(None if gpu.tensor_active_ratio is None else gpu.tensor_active_ratio * 100, "{:3.0f} %"),
            f"{gibibytes(gpu.memory_used_bytes)} of {gibibytes(gpu.memory_total_bytes)}",
            _of(gpu.power_watts, "{:4.0f} W"),
            _of(gpu.temperature_celsius, "{:3.0f} °C"),
        ]
        pod: Part = (f"  {gpu.pod.name}" if gpu.pod else "  idle", Tone.MUTED)
        lines.append(((f"GPU {gpu.index} ", Tone.STRONG), *bar(ratio, 16), (" " + "  ".join(words), Tone.PLAIN), fault, pod))
    return lines


def _of(value: float | None, form: str) -> str:
    return UNKNOWN if value is None else form.format(value)
