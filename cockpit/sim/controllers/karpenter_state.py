"""What Karpenter's controllers remember together: offerings without capacity, and which pod is meant for which claim."""

from __future__ import annotations

import asyncio
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cockpit.sim.faults.queries import capacity_blocked

if TYPE_CHECKING:
    from cockpit.sim.instance_types import Offering
    from cockpit.sim.store import Cluster

CLAIMS = "nodeclaims.karpenter.sh"
POOLS = "nodepools.karpenter.sh"
COMPONENT = "karpenter"
CACHE_SECONDS = 180.0
"""How long an offering that had no capacity is left alone."""
UNITS = {"s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "ms": 0.001}


@dataclass
class KarpenterState:
    """Shared by the provisioner, the claim lifecycle and the disruption controllers."""

    cluster: Cluster
    pace: float = 1.0
    unavailable_until: dict[tuple[str, str, str], float] = field(default_factory=dict)
    nominations: dict[str, str] = field(default_factory=dict)
    """Pod uid to NodeClaim name."""

    def has_capacity(self, offering: Offering) -> bool:
        """What EC2 answers when asked for this offering now."""
        return not capacity_blocked(self.cluster, offering.instance_type, offering.zone, offering.capacity_type)

    def mark_unavailable(self, offering: Offering) -> None:
        """Leave this offering alone for a while."""
        until = asyncio.get_running_loop().time() + CACHE_SECONDS * self.pace
        self.unavailable_until[(offering.instance_type, offering.zone, offering.capacity_type)] = until

    def is_unavailable(self, offering: Offering) -> bool:
        """Whether the cache holds this offering as without capacity."""
        until = self.unavailable_until.get((offering.instance_type, offering.zone, offering.capacity_type), 0.0)
        return until > asyncio.get_running_loop().time()


def duration_seconds(text: str | None) -> float | None:
    """A Go duration ("1m30s") in seconds; None for None, "" and "Never"; ValueError for what is no duration."""
    if not text or text == "Never":
        return None
    parts = re.findall(r"(\d+(?:\.\d+)?)(ms|[smhd])", text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f"not a duration: {text!r}")
    return sum(float(number) * UNITS[unit] for number, unit in parts)
