"""Text of Karpenter's metrics endpoint: which offerings are available and what they cost, and how full each NodePool is."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Protocol

from cockpit.sim.kubelet.quantities import quantity

SIMULATED = "# SIMULATED: availability follows insufficient-capacity faults; spot prices are invented\n"


class Offering(Protocol):
    """An instance type for sale in one zone under one capacity type, price in US$ an hour."""

    @property
    def instance_type(self) -> str: ...
    @property
    def zone(self) -> str: ...
    @property
    def capacity_type(self) -> str: ...
    @property
    def price_per_hour(self) -> float: ...


def text(offerings: Iterable[Offering], blocked: Callable[[str, str, str], bool], nodepools: Iterable[dict[str, Any]]) -> bytes:
    """The page; `blocked(instance_type, zone, capacity_type)` tells offerings without capacity."""
    prefix = "karpenter_cloudprovider_instance_type_offering"
    available, price = f"{prefix}_available", f"{prefix}_price_estimate"
    first = [f"# HELP {available} Instance type offering availability\n# TYPE {available} gauge\n"]
    second = [f"# HELP {price} Instance type offering estimated hourly price\n# TYPE {price} gauge\n"]
    for one in offerings:
        labels = f'capacity_type="{one.capacity_type}",instance_type="{one.instance_type}",zone="{one.zone}"'
        first.append(f"{available}{{{labels}}} {0 if blocked(one.instance_type, one.zone, one.capacity_type) else 1}\n")
        second.append(f"{price}{{{labels}}} {one.price_per_hour:g}\n")
    return "".join([SIMULATED, *first, *second, *_nodepools(list(nodepools))]).encode()


def _nodepools(nodepools: list[dict[str, Any]]) -> list[str]:
    lines = []
    for name, words, where, field in (
        ("karpenter_nodepools_usage", "The amount of resources that have been provisioned for a nodepool.", "status", "resources"),
        ("karpenter_nodepools_limit", "Limits on the quantity of resources that a nodepool may provision.", "spec", "limits"),
    ):
        lines.append(f"# HELP {name} {words} Labeled by nodepool name and resource type.\n# TYPE {name} gauge\n")
        for pool in nodepools:
            for resource, amount in sorted(((pool.get(where) or {}).get(field) or {}).items()):
                labels = f'nodepool="{pool["metadata"]["name"]}",resource_type="{resource}"'
                lines.append(f"{name}{{{labels}}} {float(quantity(amount)):g}\n")
    return lines
