"""The EC2 instance types of the practice cluster, with their offerings.

Shapes and prices follow Karpenter's instance-type reference; prices are the us-east-1 on-demand ones in US$ an hour, taken for the
simulated region too. Spot prices and which zone offers what are invented: SIMULATED.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

REGION = "ap-northeast-2"
ZONE_IDS = {"ap-northeast-2a": "apne2-az1", "ap-northeast-2b": "apne2-az2", "ap-northeast-2c": "apne2-az3"}
ZONES = tuple(ZONE_IDS)
SPOT_SHARE = 0.42
"""SIMULATED: spot price as a share of the on-demand price."""


@dataclass(frozen=True)
class InstanceType:
    """One instance type: memory in MiB, GPU memory in MiB per GPU, network in Mbit/s, price in US$ an hour (None: not sold)."""

    name: str
    vcpus: int
    memory_mib: int
    network_mbps: int
    price_per_hour: float | None
    gpu_name: str | None = None
    gpus: int = 0
    gpu_memory_mib: int = 0
    efa_devices: int = 0
    arch: str = "amd64"
    local_nvme_gb: int = 0

    @property
    def family(self) -> str:
        """The part before the dot: p5en."""
        return self.name.split(".")[0]

    @property
    def size(self) -> str:
        """The part after the dot: 48xlarge."""
        return self.name.split(".")[1]

    @property
    def category(self) -> str:
        """The leading letters: p, g, c."""
        return self.family[0]

    @property
    def generation(self) -> str:
        """The first number in the family: 5."""
        return next(letter for letter in self.family if letter.isdigit())

    @property
    def zones(self) -> tuple[str, ...]:
        """SIMULATED: the zones that sell it; the p family is missing in one zone."""
        return ("ap-northeast-2a", "ap-northeast-2c") if self.category == "p" else ZONES


@dataclass(frozen=True)
class Offering:
    """An instance type for sale in one zone under one capacity type, price in US$ an hour."""

    instance_type: str
    zone: str
    capacity_type: str
    price_per_hour: float


GPU_TYPES = (
    # name, vCPUs, MiB, Mbit/s, $/h, GPU, count, MiB per GPU, EFA devices, arch, local NVMe in GB
    InstanceType("g4dn.xlarge", 4, 16384, 5_000, 0.526, "t4", 1, 16384, 0, local_nvme_gb=125),
    InstanceType("g4dn.12xlarge", 48, 196608, 50_000, 3.912, "t4", 4, 16384, 1, local_nvme_gb=900),
    InstanceType("g5.xlarge", 4, 16384, 2_500, 1.006, "a10g", 1, 22888, 0, local_nvme_gb=250),
    InstanceType("g5.12xlarge", 48, 196608, 40_000, 5.672, "a10g", 4, 22888, 1, local_nvme_gb=3800),
    InstanceType("g5.48xlarge", 192, 786432, 100_000, 16.288, "a10g", 8, 22888, 1, local_nvme_gb=7600),
    InstanceType("g5g.xlarge", 4, 8192, 1_250, 0.42, "t4g", 1, 16384, 0, "arm64"),
    InstanceType("g6.xlarge", 4, 16384, 2_500, 0.8048, "l4", 1, 22888, 0, local_nvme_gb=250),
    InstanceType("g6.12xlarge", 48, 196608, 40_000, 4.6016, "l4", 4, 22888, 1, local_nvme_gb=3760),
    InstanceType("g6.48xlarge", 192, 786432, 100_000, 13.3504, "l4", 8, 22888, 1, local_nvme_gb=7520),
    InstanceType("g6e.xlarge", 4, 32768, 2_500, 1.861, "l40s", 1, 45776, 0, local_nvme_gb=250),
    InstanceType("g6e.12xlarge", 48, 393216, 100_000, 10.4926, "l40s", 4, 45776, 1, local_nvme_gb=3800),
    InstanceType("g6e.48xlarge", 192, 1572864, 400_000, 30.1312, "l40s", 8, 45776, 4, local_nvme_gb=7600),
    InstanceType("g7e.48xlarge", 192, 2097152, 1_600_000, 33.144, "rtx-pro-server-6000", 8, 98304, 4, local_nvme_gb=15200),
    InstanceType("p4d.24xlarge", 96, 1179648, 400_000, 21.958, "a100", 8, 40960, 4, local_nvme_gb=8000),
    InstanceType("p4de.24xlarge", 96, 1179648, 400_000, 27.447, "a100", 8, 81920, 4, local_nvme_gb=8000),
    InstanceType("p5.4xlarge", 16, 262144, 100_000, 6.88, "h100", 1, 81920, 1, local_nvme_gb=3800),
    InstanceType("p5.48xlarge", 192, 2097152, 3_200_000, 55.04, "h100", 8, 81920, 32, local_nvme_gb=30400),
    InstanceType("p5en.48xlarge", 192, 2097152, 3_200_000, 63.296, "h200", 8, 144384, 16, local_nvme_gb=30400),
    InstanceType("p6-b200.48xlarge", 192, 2097152, 3_200_000, 113.93, "b200", 8, 183359, 8, local_nvme_gb=30400),
    InstanceType("p6-b300.48xlarge", 192, 4194304, 6_400_000, 142.42, "b300", 8, 275040, 16, local_nvme_gb=30400),
)

SIZES = {"xlarge": 4, "2xlarge": 8, "4xlarge": 16, "8xlarge": 32, "12xlarge": 48, "24xlarge": 96, "48xlarge": 192}
CPU_FAMILIES = {
    # family: MiB per vCPU, $/h per vCPU, arch, largest size in vCPUs
    "c7i": (2048, 8.568 / 192, "amd64", 192),
    "m7i": (4096, 9.677 / 192, "amd64", 192),
    "r7i": (8192, 12.701 / 192, "amd64", 192),
    "c7g": (2048, 0.29 / 8, "arm64", 48),
}


def _cpu_types() -> Iterator[InstanceType]:
    """CPU types: price grows with size; only the largest AMX size has an EFA device."""
    for family, (mib_per_vcpu, price_per_vcpu, arch, largest) in CPU_FAMILIES.items():
        for size, vcpus in SIZES.items():
            if vcpus <= largest:
                efa = 1 if vcpus == 192 else 0
                network = {192: 50_000, 96: 37_500, 48: 18_750, 32: 12_500}.get(vcpus, vcpus * 390)
                price = round(price_per_vcpu * vcpus, 4)
                yield InstanceType(f"{family}.{size}", vcpus, vcpus * mib_per_vcpu, network, price, efa_devices=efa, arch=arch)


INSTANCE_TYPES: dict[str, InstanceType] = {one.name: one for one in (*GPU_TYPES, *_cpu_types())}


@cache
def offerings() -> tuple[Offering, ...]:
    """Every offering: instance type x zone x capacity type, cheapest first."""
    every = [offering for one in INSTANCE_TYPES.values() for offering in _offerings_of(one)]
    return tuple(sorted(every, key=lambda one: (one.price_per_hour, one.instance_type, one.zone, one.capacity_type)))


def _offerings_of(instance: InstanceType) -> Iterator[Offering]:
    if instance.price_per_hour is None:
        return
    for zone in instance.zones:
        yield Offering(instance.name, zone, "on-demand", instance.price_per_hour)
        yield Offering(instance.name, zone, "spot", round(instance.price_per_hour * SPOT_SHARE, 4))


def price_per_hour(instance_type: str, capacity_type: str) -> float | None:
    """US$ an hour for one instance; None when the type is unknown or not sold."""
    instance = INSTANCE_TYPES.get(instance_type)
    if instance is None or instance.price_per_hour is None:
        return None
    return round(instance.price_per_hour * (SPOT_SHARE if capacity_type == "spot" else 1.0), 4)
