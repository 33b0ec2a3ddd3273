"""Simulated GPUs: values that follow the ranks on them with inertia, and counters that only rise."""

from __future__ import annotations

import math
import random
from dataclasses import dataclass

from cockpit.sim.exporters.gpu_types import GpuType

TENSOR_FULL = 0.44  # tensor pipe share of a rank that computes all the time, as a well tuned training reads
UTIL_SECONDS, POWER_SECONDS, HEAT_SECONDS, MEMORY_SECONDS = 1.5, 2.5, 18.0, 3.0
SETTLED_SECONDS = 600.0
MEMORY_SHARE = 0.62  # of the memory that a training rank takes
RESERVED_MIB = 626
WAITING_POWER = 0.30  # share of the power range that a spinning collective draws


@dataclass(frozen=True)
class Load:
    """What a GPU is asked to do: `compute` 0-1, `speed` of its rank against its own best, clock `throttle` 0-1."""

    held: bool = False  # a rank has put its model on it
    compute: float = 0.0
    speed: float = 1.0
    waiting: bool = False  # in a collective that does not come about
    throttle: float = 1.0


class Gpu:
    """One GPU's readings; `advance` moves them towards its load."""

    def __init__(self, kind: GpuType, seed: str, now: float) -> None:
        self.kind = kind
        self._noise = random.Random(seed)
        self._offset = self._noise.uniform(-2.0, 2.0)  # no two GPUs of a node are equally warm
        self._then = now
        self.util = 0.0  # 0-1
        self.tensor = 0.0  # 0-1
        self.power = kind.power_idle + self._noise.uniform(-2, 2)  # W
        self.temperature = kind.temperature_idle + self._offset
        self.used_mib = 0.0
        self.clock = float(kind.sm_clock_idle)
        self.energy_mj = self._noise.uniform(1e9, 9e9)
        self.nvlink = self._noise.uniform(1e6, 9e6)
        self.pcie_tx = self.pcie_rx = 0.0
        self.throttle = 1.0

    def advance(self, load: Load, now: float) -> None:
        """Move to `now` under a load."""
        seconds, self._then = max(0.0, now - self._then), now
        busy = 1.0 if load.waiting else load.compute
        tensor = 0.0 if load.waiting else TENSOR_FULL * load.compute * load.speed
        self.util = _towards(self.util, busy, seconds, UTIL_SECONDS)
        self.tensor = _towards(self.tensor, tensor, seconds, UTIL_SECONDS)
        self.throttle = load.throttle
        top = self.kind.sm_clock * load.throttle
        self.clock = top if busy > 0.02 else float(self.kind.sm_clock_idle)
        span = self.kind.power_limit * 0.96 - self.kind.power_idle
        share = WAITING_POWER * self.util + (1 - WAITING_POWER) * self.tensor / TENSOR_FULL
        self.power = _towards(self.power, self.kind.power_idle + span * share * load.throttle, seconds, POWER_SECONDS)
        self.temperature = _towards(self.temperature, self._heat(load), seconds, HEAT_SECONDS)
        wanted = MEMORY_SHARE * self.kind.memory_mib if load.held else 0.0
        self.used_mib = _towards(self.used_mib, wanted, seconds, MEMORY_SECONDS)
        self.energy_mj += self.power * seconds * 1000
        self.nvlink += self.tensor * 300_000 * seconds
        self.pcie_tx, self.pcie_rx = self.util * 1.1e9, self.util * 1.9e9

    def settle(self, load: Load, now: float) -> None:
        """Read as after a long time under a load, which was there before anybody looked."""
        self.advance(load, now + SETTLED_SECONDS)
        self._then = now

    def _heat(self, load: Load) -> float:
        kind = self.kind
        share = (self.power - kind.power_idle) / (kind.power_limit - kind.power_idle)
        normal = kind.temperature_idle + (kind.temperature_full - kind.temperature_idle) * max(0.0, share) + self._offset
        return max(normal, 87.0 + self._offset / 2) if load.throttle < 1 else normal

    def flutter(self, value: float, share: float = 0.015) -> float:
        """A reading with the noise of a sensor; an exact 0 stays 0."""
        return max(0.0, value * (1 + self._noise.uniform(-share, share)))


def _towards(value: float, goal: float, seconds: float, constant: float) -> float:
    moved = goal + (value - goal) * math.exp(-seconds / constant)
    return goal if abs(moved - goal) < 1e-3 * max(1.0, abs(goal)) else moved
