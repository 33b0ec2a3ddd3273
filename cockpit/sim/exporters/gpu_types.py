"""What GPUs of each type read when idle and when busy; clocks, power and memory from NVIDIA's data sheets, the rest SIMULATED."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

GPU_NAME = "karpenter.k8s.aws/instance-gpu-name"
GPU_MEMORY = "karpenter.k8s.aws/instance-gpu-memory"
INSTANCE_TYPE = "node.kubernetes.io/instance-type"


@dataclass(frozen=True)
class GpuType:
    """One GPU model: clocks in MHz, power in W, memory in MiB, temperatures in degrees Celsius at idle and at full power."""

    model: str
    sm_clock: int
    sm_clock_idle: int
    memory_clock: int
    power_idle: float
    power_limit: float
    memory_mib: int
    temperature_idle: float = 30.0
    temperature_full: float = 66.0


TYPES = {
    "t4": GpuType("Tesla T4", 1590, 300, 5001, 10, 70, 15360, 28, 70),
    "t4g": GpuType("NVIDIA T4G", 1590, 300, 5001, 10, 70, 15360, 28, 70),
    "a10g": GpuType("NVIDIA A10G", 1710, 210, 6251, 16, 300, 23028, 26, 62),
    "l4": GpuType("NVIDIA L4", 2040, 210, 6251, 13, 72, 23034, 30, 68),
    "l40s": GpuType("NVIDIA L40S", 2520, 210, 9001, 35, 350, 46068, 29, 65),
    "v100": GpuType("Tesla V100-SXM2-32GB", 1530, 135, 877, 42, 300, 32768, 35, 65),
    "a100": GpuType("NVIDIA A100-SXM4-40GB", 1410, 210, 1215, 52, 400, 40960, 32, 62),
    "h100": GpuType("NVIDIA H100 80GB HBM3", 1980, 345, 2619, 70, 700, 81559, 30, 64),
    "h200": GpuType("NVIDIA H200", 1980, 345, 3201, 76, 700, 143771, 30, 64),
    "b200": GpuType("NVIDIA B200", 1965, 120, 3996, 140, 1000, 183359, 31, 66),
    "b300": GpuType("NVIDIA B300 SXM6 AC", 2032, 120, 3996, 150, 1100, 275040, 31, 66),
    "rtx-pro-server-6000": GpuType("NVIDIA RTX PRO 6000 Blackwell Server Edition", 2430, 180, 12481, 35, 600, 97887, 30, 70),
}
A100_80GB = GpuType("NVIDIA A100-SXM4-80GB", 1410, 210, 1593, 60, 400, 81920, 32, 62)
FAMILIES = {
    "g4dn": "t4", "g5": "a10g", "g5g": "t4g", "g6": "l4", "g6e": "l40s", "g7e": "rtx-pro-server-6000", "p3dn": "v100", "p4d": "a100",
    "p4de": "a100", "p5": "h100", "p5e": "h200", "p5en": "h200", "p6-b200": "b200", "p6-b300": "b300",
}  # fmt: skip


def gpu_type(labels: Mapping[str, str]) -> GpuType:
    """The GPU type of a node, by Karpenter's label or the instance family; an H100 where neither tells."""
    family = labels.get(INSTANCE_TYPE, "").partition(".")[0]
    name = labels.get(GPU_NAME) or FAMILIES.get(family, "h100")
    if name == "a100" and (family == "p4de" or int(labels.get(GPU_MEMORY, "0")) > 50_000):
        return A100_80GB
    return TYPES.get(name, TYPES["h100"])
