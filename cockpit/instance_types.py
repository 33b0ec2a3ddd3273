"""What an EC2 instance type is made of and costs: a table, for the types people train on."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

MIB = 1 << 20
TABLE = Path(__file__).with_name("instance_types.json")


@dataclass(frozen=True, slots=True)
class InstanceType:
    """One instance type; `dollars_per_hour` is us-east-1 on demand, None where it is not listed; `gpu_memory_bytes` is of one GPU."""

    name: str
    gpus: int
    gpu_model: str
    gpu_memory_bytes: int
    efa: int
    vcpu: int
    memory_bytes: int
    network_bits_per_second: float | None
    dollars_per_hour: float | None

    @property
    def efa_line_bits_per_second(self) -> float | None:
        """The line rate of one EFA device: the network shared by the devices."""
        return self.network_bits_per_second / self.efa if self.efa and self.network_bits_per_second else None


@cache
def instance_types() -> Mapping[str, InstanceType]:
    """Every known type by name."""
    table = json.loads(TABLE.read_text(encoding="utf-8"))
    found = (dict(zip(table["columns"], row, strict=True)) for row in table["types"])
    return {row["name"]: _instance_type(row) for row in found}


def instance_type(name: str) -> InstanceType | None:
    """One type by name, None when it is not in the table."""
    return instance_types().get(name)


@cache
def prices_as_of() -> str:
    """Where the table was read and when it was true."""
    source: str = json.loads(TABLE.read_text(encoding="utf-8"))["source"]
    return source


def _instance_type(row: Mapping[str, Any]) -> InstanceType:
    megabits = row["network_megabits_per_second"]
    return InstanceType(
        name=row["name"],
        gpus=row["gpus"],
        gpu_model=row["gpu_model"],
        gpu_memory_bytes=row["gpu_memory_mib"] * MIB,
        efa=row["efa"],
        vcpu=row["vcpu"],
        memory_bytes=row["memory_mib"] * MIB,
        network_bits_per_second=None if megabits is None else megabits * 1e6,
        dollars_per_hour=row["dollars_per_hour"],
    )
