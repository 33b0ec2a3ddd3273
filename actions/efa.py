"""The EFA devices: counters and rates, with their share of the line rate."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.facts import rfc3339
from cockpit.model import EfaDevice
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """Which devices."""

    node: str = param("only devices of this node", "", picks="nodes")


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a device, by node and name; a rate needs two readings and is null after one."""
    for device in sorted(snapshot.efa.values(), key=lambda device: (device.key.node, device.key.device)):
        if not params.node or device.key.node == params.node:
            yield _record(device)


def _record(device: EfaDevice) -> dict[str, Any]:
    return {
        "kind": "EfaDevice",
        "name": f"{device.key.node}/{device.key.device}",
        "node": device.key.node,
        "device": device.key.device,
        "tx_bytes": device.tx_bytes,
        "rx_bytes": device.rx_bytes,
        "tx_bits_per_second": device.tx_bits_per_second,
        "rx_bits_per_second": device.rx_bits_per_second,
        "line_bits_per_second": device.line_bits_per_second,
        "tx_share_ratio": _share(device.tx_bits_per_second, device.line_bits_per_second),
        "rx_share_ratio": _share(device.rx_bits_per_second, device.line_bits_per_second),
        "retransmit_ratio": device.retransmit_ratio,
        "rx_drops": device.rx_drops,
        "unresponsive_events": device.unresponsive_events,
        "impaired_events": device.impaired_events,
        "at": rfc3339(device.at),
        "simulated": device.simulated,
    }


def _share(rate: float | None, line: float | None) -> float | None:
    return None if rate is None or not line else rate / line


ACTION = Action(
    name="efa",
    title="EFA",
    params=Params,
    needs=("nodes", "pods", "efa"),
    records=records,
    columns=(
        Column("node", "NODE"),
        Column("device", "DEVICE"),
        Column("tx_bits_per_second", "TX", right=True),
        Column("rx_bits_per_second", "RX", right=True),
        Column("tx_share_ratio", "TX SHARE", right=True),
        Column("rx_share_ratio", "RX SHARE", right=True),
        Column("retransmit_ratio", "RETRANSMIT", right=True),
        Column("rx_drops", "DROPS", right=True),
        Column("unresponsive_events", "UNRESPONSIVE", right=True),
        Column("tx_bytes", "TX TOTAL", right=True, wide=True),
        Column("rx_bytes", "RX TOTAL", right=True, wide=True),
        Column("impaired_events", "IMPAIRED", right=True, wide=True),
    ),
    doc="One record an EFA device, read from the EFA exporter of its node through the API server.",
)
