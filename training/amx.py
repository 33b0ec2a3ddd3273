"""Data parallel on Intel CPUs: gloo, and bf16 on the matrix unit (AMX) of 4th generation Xeons and later; plain torch.

    torchrun --standalone --nproc-per-node 2 -m training.amx --steps 50     # runs on any CPU, and says whether AMX is on
    OMP_NUM_THREADS=32 torchrun -m training.amx --model 1b                  # one rank a pod of a TrainJob: c7i, m7i or r7i nodes

bf16 is chosen from what torch finds in the processor: a CPU without AMX or AVX512-BF16 emulates it, 15 to 50 times slower than fp32.
To see the kernels set ONEDNN_VERBOSE=1 (brg...amx), to do without them ONEDNN_MAX_CPU_ISA=AVX512_CORE_BF16.
`--help` has the flags; docs/training.md has the output and the exit codes.
"""

import os
import sys
from pathlib import Path

import torch

from training import loop
from training.ddp import replicate
from training.loop import Trainee
from training.options import Options, refuse
from training.ranks import Rank


def on_cpu(options: Options, rank: Rank) -> Trainee:
    """As ddp, in the precision this processor is good at, on all the cores that are this rank's."""
    if rank.device.type != "cpu":
        refuse("amx trains on CPUs; --device cpu, or training.ddp for the GPU")
    found = capabilities()
    fast = torch.bfloat16 if bf16_is_fast(found) else torch.float32
    precision = {"auto": fast, "bf16": torch.bfloat16, "fp32": torch.float32}[options.precision]
    if "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(threads())
    if rank.rank == 0:
        print(verdict(found, precision), file=sys.stderr, flush=True)
    return replicate(options, rank, precision, "amx")


def capabilities() -> dict[str, bool]:
    """Instruction sets by torch's names (amx_tile, amx_bf16, avx512_bf16...); from the kernel where torch is older than 2.13."""
    if hasattr(torch.cpu, "get_capabilities"):
        return {name: value for name, value in torch.cpu.get_capabilities().items() if isinstance(value, bool)}
    info = Path("/proc/cpuinfo").read_text() if Path("/proc/cpuinfo").exists() else ""
    flags = info.partition("flags")[2].partition("\n")[0].split()
    return {name: name in flags for name in ("amx_tile", "amx_bf16", "avx512_bf16", "avx512f")}


def bf16_is_fast(found: dict[str, bool]) -> bool:
    return has_amx(found) or found.get("avx512_bf16", False)


def has_amx(found: dict[str, bool]) -> bool:
    return found.get("amx_tile", False) and found.get("amx_bf16", False)


def verdict(found: dict[str, bool], precision: torch.dtype) -> str:
    """One line: AMX on; bf16 without AMX and why; or fp32 and why."""
    missing = "the processor, or the hypervisor it runs under, has no amx_tile and amx_bf16"
    if precision == torch.bfloat16:
        if has_amx(found):
            return "AMX on: bf16 on the matrix unit"
        speed = "avx512_bf16 computes it" if bf16_is_fast(found) else "it is emulated, much slower than fp32"
        return f"bf16 without AMX: {missing}; {speed}"
    return "fp32: as asked, AMX is not used" if bf16_is_fast(found) else f"fp32: {missing}, nor avx512_bf16, without which bf16 is emulated"


def threads() -> int:
    """This rank's share of the cores its cgroup and its affinity leave it."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = Path("/sys/fs/cgroup/cpu.max")
    if quota.exists():
        allowed, period = quota.read_text().split()
        cores = cores if allowed == "max" else min(cores, max(1, int(allowed) // int(period)))
    return max(1, cores // int(os.environ.get("LOCAL_WORLD_SIZE", "1")))


if __name__ == "__main__":
    loop.run("amx", on_cpu)
