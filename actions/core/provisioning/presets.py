"""The kinds of node pools: which instance types, at what price, and how many nodes a limit really allows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from cockpit.cloud import Offer
from cockpit.instance_types import InstanceType, instance_types

AMX_FAMILIES = ("c7i", "m7i", "r7i")
LEAST_AMX_CPUS, LEAST_EFA_GPUS = 32, 4
GPUS, CPUS = 16, 768
"""Default limits: two large nodes' GPUs, and four nodes' CPUs."""


@dataclass(frozen=True)
class Preset:
    """A kind of nodes: which types EC2 is asked for, and which resource its limit counts."""

    name: str
    patterns: tuple[str, ...]
    counts: str
    taint: str

    def takes(self, one: Offer) -> bool:
        """Whether a type belongs to it."""
        if self.name == "cpu-amx":
            return one.name.split(".")[0] in AMX_FAMILIES and one.vcpu >= LEAST_AMX_CPUS and ".metal" not in one.name
        if self.name == "gpu-efa":
            return one.gpus >= LEAST_EFA_GPUS and one.efa > 0 and ".metal" not in one.name
        return one.gpus > 0 and not one.name.startswith(("g5g.", "g6f.", "gr6f.")) and ".metal" not in one.name


GPU_TYPES = ("g4dn.*", "g5.*", "g6.*", "g6e.*", "g7e.*", "p4d.*", "p4de.*", "p5.*", "p5e.*", "p5en.*", "p6-b200.*", "p6-b300.*")
PRESETS: Mapping[str, Preset] = {
    one.name: one
    for one in (
        Preset("gpu", GPU_TYPES, "nvidia.com/gpu", "nvidia.com/gpu"),
        Preset("gpu-efa", GPU_TYPES, "nvidia.com/gpu", "nvidia.com/gpu"),
        Preset("cpu-amx", tuple(f"{family}.*" for family in AMX_FAMILIES), "cpu", "intel.com/amx"),
    )
}


@dataclass(frozen=True)
class Reach:
    """How far a limit lets one instance type go: whole nodes, and what they hold."""

    offer: Offer
    nodes: int
    gpus: int
    cpus: int


def known_offers(preset: Preset) -> tuple[Offer, ...]:
    """The types of a preset that our own table knows; its prices are us-east-1's."""
    return tuple(one for one in (to_offer(row) for row in instance_types().values()) if preset.takes(one))


def to_offer(row: InstanceType) -> Offer:
    """A row of our table -> Offer."""
    memory = row.memory_bytes
    return Offer(row.name, row.gpus, row.gpu_model, row.gpu_memory_bytes, row.efa, row.vcpu, memory, (), row.dollars_per_hour)


def reaches(preset: Preset, offers: Iterable[Offer], limit: int) -> tuple[Reach, ...]:
    """For each type how many whole nodes fit under the limit of GPUs or CPUs."""
    return tuple(_reach(one, limit // each if (each := one.gpus if preset.counts == "nvidia.com/gpu" else one.vcpu) else 0) for one in offers)


def _reach(one: Offer, nodes: int) -> Reach:
    return Reach(one, nodes, nodes * one.gpus, nodes * one.vcpu)


def room(found: Iterable[Reach]) -> tuple[int, int]:
    """CPUs and bytes of memory that let every type reach what the limit of GPUs or CPUs allows, so that no other limit binds first."""
    cpus = max((one.nodes * one.offer.vcpu for one in found), default=0)
    memory = max((one.nodes * one.offer.memory_bytes for one in found), default=0)
    return cpus, math.ceil(memory * 1.02)
