"""Dollars per hour: Karpenter's own metrics where it runs, and under them the built-in list of on-demand prices."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import msgspec

from cockpit.errors import CockpitError
from cockpit.instance_types import instance_types, prices_as_of
from cockpit.model import Price
from cockpit.sources.pods import RawPod
from cockpit.sources.prometheus_text import samples, simulated
from cockpit.sources.scrapes import exporters_in
from cockpit.store import Store, Synced, Upsert

SELECTOR = "app.kubernetes.io/name=karpenter"
METRICS_PORT = 8080
POLL_SECONDS = 60.0
TEXT_BYTES = 64 << 20
PRICE = "karpenter_cloudprovider_instance_type_offering_price_estimate"
AVAILABLE = "karpenter_cloudprovider_instance_type_offering_available"
WANTED = frozenset({PRICE, AVAILABLE})


class _Page(msgspec.Struct):
    items: list[RawPod | None] | None = None


def to_prices(text: bytes) -> list[Price]:
    """Karpenter's metrics -> an offering each; `available` None when Karpenter does not say."""
    found: dict[tuple[str, str, str], dict[str, float]] = {}
    for name, labels, value in samples(text, WANTED.__contains__):
        offering = (labels.get("instance_type", ""), labels.get("zone", ""), labels.get("capacity_type", ""))
        found.setdefault(offering, {})[name] = value
    invented = simulated(text)
    return [
        Price(*offering, said.get(PRICE) or None, None if AVAILABLE not in said else said[AVAILABLE] > 0, "Karpenter", invented)
        for offering, said in found.items()
    ]


def built_in() -> Iterator[Price]:
    """The prices this program brings along, for any zone."""
    for one in instance_types().values():
        if one.dollars_per_hour is not None:
            yield Price(one.name, "", "on-demand", one.dollars_per_hour, None, prices_as_of())


class Prices:
    """Never fails: without Karpenter, or without the right to ask it, the built-in list stands."""

    name = "prices"

    def list(self, kube: Any, store: Store) -> None:
        """The built-in list, then what Karpenter's pods say."""
        store.apply(Upsert(self.name, "prices", tuple(built_in())))
        for text in _texts(kube):
            store.apply(Upsert(self.name, "prices", tuple(to_prices(text))))
        store.apply(Synced(self.name))

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """Ask again every minute."""
        while not stop.is_set():
            self.list(kube, store)
            stop.wait(POLL_SECONDS)


def _texts(kube: Any) -> Iterator[bytes]:
    """The metrics of each Karpenter pod; only the leader's hold offerings."""
    try:
        page = kube.read("/api/v1/pods", params={"labelSelector": SELECTOR, "limit": "20"})
        pods = msgspec.json.decode(page, type=_Page).items or ()
    except (CockpitError, msgspec.DecodeError):
        return
    for exporter in exporters_in(pods, METRICS_PORT):
        try:
            yield kube.read(exporter.path, limit_bytes=TEXT_BYTES)
        except CockpitError:
            continue


def source() -> Prices:
    """What every offering costs an hour."""
    return Prices()
