"""How fast all ranks sum a tensor together, over a range of sizes, printed in the columns of nccl-tests' all_reduce_perf.

    torchrun --standalone --nproc-per-node 2 -m training.allreduce --max-bytes 1M        # two ranks on this machine, gloo on CPUs
    torchrun --nnodes 2 ... --nproc-per-node 8 -m training.allreduce --max-bytes 1G      # nccl, one GPU a rank

The head says which backend ran. It sums in place, so the out-of-place columns say N/A; busbw is algbw x 2(n-1)/n, as nccl-tests reckons it.
"""

import argparse
import os
import time
from datetime import timedelta

import torch
import torch.distributed as dist

UNITS = {"K": 1 << 10, "M": 1 << 20, "G": 1 << 30}
HEAD = """\
#       size         count      type   redop    root     time   algbw   busbw #wrong     time   algbw   busbw #wrong
#        (B)    (elements)                               (us)  (GB/s)  (GB/s)            (us)  (GB/s)  (GB/s)"""
FLOAT_BYTES = 4


def size(text: str) -> int:
    """1M -> 1048576; ValueError for what is no size."""
    factor = UNITS.get(text[-1:].upper(), 1)
    return int(text[:-1] if factor > 1 else text) * factor


def arguments() -> argparse.Namespace:
    """What the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m training.allreduce", description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--min-bytes", type=size, default=8)
    parser.add_argument("--max-bytes", type=size, default=1 << 20)
    parser.add_argument("--factor", type=int, default=2, help="each size is this many times the one before (default: 2)")
    parser.add_argument("--iterations", type=int, default=20)
    parser.add_argument("--warmup", type=int, default=5)
    parser.add_argument("--timeout", type=float, default=600.0, help="seconds a collective may take (default: 600)")
    asked = parser.parse_args()
    if asked.factor < 2 or asked.iterations < 1 or asked.min_bytes < FLOAT_BYTES or asked.max_bytes < asked.min_bytes:
        parser.error("factor from 2, iterations from 1, 4 <= min-bytes <= max-bytes")
    return asked


def settle(device: torch.device) -> None:
    """Wait for what the device still does."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def wrong(count: int, device: torch.device) -> int:
    """How many elements of one all-reduce are not the sum they must be, over all ranks."""
    tensor = torch.full((count,), float(dist.get_rank() + 1), device=device)
    dist.all_reduce(tensor)
    expected = dist.get_world_size() * (dist.get_world_size() + 1) / 2
    bad = (tensor != expected).sum().to(torch.int64).reshape(1)
    dist.all_reduce(bad)
    return int(bad.item())


def seconds_of(count: int, device: torch.device, warmup: int, iterations: int) -> float:
    """Seconds one all-reduce takes on the slowest rank."""
    tensor = torch.zeros(count, device=device)
    for _ in range(warmup):
        dist.all_reduce(tensor)
    settle(device)
    dist.barrier()
    began = time.perf_counter()
    for _ in range(iterations):
        dist.all_reduce(tensor)
    settle(device)
    took = torch.tensor([(time.perf_counter() - began) / iterations], dtype=torch.float32, device=device)
    dist.all_reduce(took, op=dist.ReduceOp.MAX)
    return float(took.item())


def main() -> None:
    """Measure every size; rank 0 prints."""
    asked = arguments()
    local = int(os.environ.get("LOCAL_RANK", "0"))
    device = torch.device("cuda", local) if torch.cuda.is_available() else torch.device("cpu")
    if device.type == "cuda":
        torch.cuda.set_device(device)
    backend = "nccl" if device.type == "cuda" else "gloo"
    dist.init_process_group(backend, timeout=timedelta(seconds=asked.timeout))
    ranks, leads = dist.get_world_size(), dist.get_rank() == 0
    if leads:
        print(f"# backend {backend}, torch {torch.__version__}, {ranks} ranks on {device.type}", HEAD, sep="\n", flush=True)
    total, found, amount = 0.0, 0, asked.min_bytes
    sizes = 0
    while amount <= asked.max_bytes:
        count = amount // FLOAT_BYTES
        bad, took = wrong(count, device), seconds_of(count, device, asked.warmup, asked.iterations)
        rate = count * FLOAT_BYTES / took / 1e9
        bus = rate * 2 * (ranks - 1) / ranks
        if leads:
            absent = f"{'N/A':>8} {'N/A':>7} {'N/A':>7} {'N/A':>6}"
            print(
                f"{amount:>12} {count:>13} {'float':>9} {'sum':>7} {-1:>7} {absent} {took * 1e6:>8.2f} {rate:>7.2f} {bus:>7.2f} {bad:>6}", flush=True
            )
        total, found, sizes, amount = total + bus, found + bad, sizes + 1, amount * asked.factor
    if leads:
        print(
            f"# Out of bounds values : {found} {'OK' if not found else 'FAILED'}", f"# Avg bus bandwidth    : {total / sizes:g}", sep="\n", flush=True
        )
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
