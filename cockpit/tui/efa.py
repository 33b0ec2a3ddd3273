"""Pane 5, the EFA network: what each node sends and receives, its share of line rate, and what went wrong on the way."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.model import EfaDevice
from cockpit.store import Changes
from cockpit.tui.cells import BLANK, DASH, Cell, Tone, cell, gauge, gigabits, natural, short_node
from cockpit.tui.gpus import mean
from cockpit.tui.views import Column, Scene, Sums, View

BAR_CELLS = 12
RETRANSMIT_WARNING = 0.001


def total(values: Iterable[float | int | None]) -> float | None:
    """The sum of what is known; None when nothing is."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def share(bits: float | None, line: float | None) -> float | None:
    """`bits` of `line`, 0..1."""
    return None if bits is None or not line else bits / line


def rate_cells(devices: list[EfaDevice]) -> tuple[Cell, ...]:
    """tx, rx, share of line, retransmits and errors over some devices."""
    line = total(one.line_bits_per_second for one in devices)
    tx, rx = total(one.tx_bits_per_second for one in devices), total(one.rx_bits_per_second for one in devices)
    used = share(max((value for value in (tx, rx) if value is not None), default=None), line)
    retransmit = mean(one.retransmit_ratio for one in devices)
    return (
        gauge(share(tx, line)),
        cell(gigabits(tx)),
        gauge(share(rx, line)),
        cell(gigabits(rx)),
        DASH if used is None else cell(f"{used * 100:.0f} %"),
        _retransmit(retransmit),
        _errors(devices),
    )


def _retransmit(ratio: float | None) -> Cell:
    if ratio is None:
        return DASH
    bad = ratio > RETRANSMIT_WARNING
    return cell(f"{'▲ ' if bad else ''}{ratio * 100:.2f} %", Tone.WARN if bad else Tone.MUTED)


def _errors(devices: list[EfaDevice]) -> Cell:
    counts = (
        ("unresponsive peers", total(one.unresponsive_events for one in devices)),
        ("impaired", total(one.impaired_events for one in devices)),
        ("drops", total(one.rx_drops for one in devices)),
    )
    words = [f"{int(amount):,} {name}" for name, amount in counts if amount]
    if words:
        return cell("▲ " + " · ".join(words), Tone.WARN)
    return BLANK if any(amount is not None for _, amount in counts) else DASH


def rate_columns(value: Any) -> tuple[Column, ...]:
    """The columns of `rate_cells`; `value(scene, key)` gives the devices a row is about."""

    def tx(scene: Scene, key: Any) -> float | None:
        return total(one.tx_bits_per_second for one in value(scene, key))

    def rx(scene: Scene, key: Any) -> float | None:
        return total(one.rx_bits_per_second for one in value(scene, key))

    def retransmit(scene: Scene, key: Any) -> float | None:
        return mean(one.retransmit_ratio for one in value(scene, key))

    return (
        Column("txbar", "TX", BAR_CELLS, flex=2, most=60, drop=3, bar=True, sort=tx),
        Column("tx", "Gbps", 6, right=True, sort=tx),
        Column("rxbar", "RX", BAR_CELLS, flex=2, most=60, drop=4, bar=True, sort=rx),
        Column("rx", "Gbps", 6, right=True, sort=rx),
        Column("line", "LINE", 5, right=True, drop=2),
        Column("retransmit", "RETRANS", 8, right=True, sort=retransmit),
        Column("errors", "ERRORS", 24, flex=2, most=60, drop=1),
    )


class Efa(View):
    """Nodes with EFA devices, all devices of a node together."""

    name, title, noun, kind = "efa", "EFA", "EFA node", "nodes"
    sources = ("efa",)
    missing = "no EFA exporter here, so network use cannot be read"
    empty = "no EFA exporter has reported a device"
    sort_key = "node"

    def __init__(self) -> None:
        self.columns = (
            Column("node", "NODE", 14, flex=1, most=30, sort=lambda scene, key: natural(key)),
            Column("devices", "DEVICES", 7, right=True, drop=5, sort=lambda scene, key: len(scene.snapshot.efa_on(key))),
            *rate_columns(lambda scene, key: scene.snapshot.efa_on(key)),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.efa_by_node

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.efa_by_node

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        return changes.get("efa_by_node", ())

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        devices = scene.snapshot.efa_on(key)
        return (cell(short_node(key), Tone.STRONG), cell(f"{len(devices):,}", Tone.MUTED), *rate_cells(devices))

    def weigh(self, scene: Scene, key: Any) -> Sums:
        devices = scene.snapshot.efa_on(key)
        tx, rx = total(one.tx_bits_per_second for one in devices), total(one.rx_bits_per_second for one in devices)
        return (tx or 0.0, rx or 0.0, tx is None and rx is None, total(one.line_bits_per_second for one in devices) or 0.0)

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        tx, rx, unknown, line = sums
        if unknown >= rows:
            return "rates come with the second reading"
        words = [f"tx {gigabits(tx)}", f"rx {gigabits(rx)} Gbps"]
        if line:
            words.append(f"{max(tx, rx) / line * 100:.0f} % of line rate")
        return " · ".join(words)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        devices = scene.snapshot.efa_on(key)
        ratio = mean(one.retransmit_ratio for one in devices)
        if ratio is not None and ratio > RETRANSMIT_WARNING:
            return 2, f"{short_node(key)}: EFA retransmits {ratio * 100:.2f} %"
        return None

    def enter(self, scene: Scene, key: Any) -> View | None:
        return EfaRoom(key)

    def api_path(self, scene: Scene, key: Any) -> str:
        return f"/api/v1/nodes/{key}"

    def involved(self, key: Any) -> tuple[str, str, str]:
        return ("Node", "", str(key))


class EfaRoom(View):
    """The EFA devices of one node, each by itself."""

    name, noun, kind = "efadevices", "EFA device", "efa"
    sources = ("efa",)
    sort_key = "device"

    def __init__(self, node: str) -> None:
        self.node, self.title = node, f"EFA {short_node(node)}"
        self.columns = (
            Column("device", "DEVICE", 14, flex=1, most=24, sort=lambda scene, key: natural(key.device)),
            *rate_columns(lambda scene, key: [scene.snapshot.efa[key]]),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.efa_by_node.get(self.node, ())

    def has(self, scene: Scene, key: Any) -> bool:
        return key in scene.snapshot.efa and key.node == self.node

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        device = scene.snapshot.efa[key]
        return (cell(key.device, Tone.STRONG), *rate_cells([device]))

    def label(self, key: Any) -> str:
        return str(key.device)

    def room(self) -> dict[str, str]:
        return {"nodes": self.node}
