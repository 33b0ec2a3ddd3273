"""The choices that all controllers share."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Options:
    """How the controllers behave: the TrainJob version they serve, the factor on simulated delays, the seed of random names."""

    trainer: str = "2.3"
    pace: float = 1.0
    seed: int = 0
    static: bool = False
    """True for a scenario whose objects only change by themselves (`big`): no controller runs."""
