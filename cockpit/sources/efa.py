"""EFA devices as the node exporter counts them; rates come from two readings, the line rate from the instance type."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import Any

from cockpit.instance_types import instance_type
from cockpit.model import DeviceKey, EfaDevice, NodeName
from cockpit.sources.prometheus_text import samples, simulated
from cockpit.sources.scrapes import Kind, Scrapes

EXPORTER = Kind(
    "efa",
    "EFA exporter",
    (
        "app in (efa-node-exporter,efa-exporter)",
        "app.kubernetes.io/name in (efa-node-exporter,efa-exporter)",
        "name in (efa-node-exporter,efa-exporter)",
    ),
    9810,
    "install the EFA node exporter DaemonSet (public.ecr.aws/hpc-cloud/efa-node-exporter) on port 9810",
)
PREFIX = "node_amazonefa_"
WANTED = frozenset(
    PREFIX + name
    for name in ("tx_bytes", "rx_bytes", "tx_pkts", "retrans_pkts", "rx_drops", "unresponsive_remote_events", "impaired_remote_conn_events", "info")
)
LEAST_SECONDS = 0.2

Counters = Mapping[str, int]


def to_counters(text: bytes) -> dict[str, dict[str, int]]:
    """One exporter's text -> counters by device, the ports of a device added up."""
    found: dict[str, dict[str, int]] = {}
    for name, labels, value in samples(text, WANTED.__contains__):
        device = labels.get("device")
        if device:
            counters = found.setdefault(device, {})
            short = name.removeprefix(PREFIX)
            counters[short] = counters.get(short, 0) + int(value)
    return found


def to_device(key: DeviceKey, now: Counters, before: tuple[float, Counters] | None, at: float, line: float | None, invented: bool) -> EfaDevice:
    """Counters now and before -> EfaDevice; a counter that went back was reset and gives no rate."""
    passed = at - before[0] if before is not None else 0.0
    old: Counters = before[1] if before is not None and passed >= LEAST_SECONDS else {}
    sent, again = _grown(now, old, "tx_pkts"), _grown(now, old, "retrans_pkts")
    return EfaDevice(
        key=key,
        tx_bytes=now.get("tx_bytes"),
        rx_bytes=now.get("rx_bytes"),
        tx_bits_per_second=_rate(now, old, "tx_bytes", passed),
        rx_bits_per_second=_rate(now, old, "rx_bytes", passed),
        retransmit_ratio=None if sent is None or again is None else (again / sent if sent else 0.0),
        rx_drops=now.get("rx_drops"),
        unresponsive_events=now.get("unresponsive_remote_events"),
        impaired_events=now.get("impaired_remote_conn_events"),
        line_bits_per_second=line,
        at=at,
        simulated=invented,
    )


def _grown(now: Counters, old: Counters, name: str) -> int | None:
    if name not in now or name not in old or now[name] < old[name]:
        return None
    return now[name] - old[name]


def _rate(now: Counters, old: Counters, name: str, passed: float) -> float | None:
    grown = _grown(now, old, name)
    return None if grown is None else grown * 8 / passed


class Readings:
    """Remembers each device's last counters."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._last: dict[DeviceKey, tuple[float, Counters]] = {}

    def rows(self, text: bytes, node: str, at: float, nodes: Mapping[Any, Any]) -> list[EfaDevice]:
        """The devices of a node as of this text."""
        known = nodes.get(node)
        kind = instance_type(known.instance_type) if known is not None else None
        line, invented = kind.efa_line_bits_per_second if kind else None, simulated(text)
        rows = []
        for device, counters in sorted(to_counters(text).items()):
            key = DeviceKey(NodeName(node), device)
            with self._lock:
                before, self._last[key] = self._last.get(key), (at, counters)
            rows.append(to_device(key, counters, before, at, line, invented))
        return rows


def source() -> Scrapes:
    """Every EFA device of every node that runs an EFA exporter."""
    return Scrapes(EXPORTER, Readings().rows, readings=2)
