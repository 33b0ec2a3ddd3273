"""What training/ costs beside the bare loops of its libraries, what a save costs training, and how soon a resumed run trains; 2 ranks over gloo.

Model `small`, fp32 on CPUs. Ours and theirs run in turn in the same two processes; every number is a median.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from statistics import median

from bench.readings import Reading, tell
from bench.terminal import ROOT

RANKS, MODEL = 2, "small"
OF_BARE, STALL_PERCENT, REPORT_PERCENT, START_SECONDS = 1.02, 5.0, 1.0, 10.0
STRATEGIES = {"ddp": ("ddp",), "fsdp": ("fsdp",), "zero-1": ("zero", "--stage", "1"), "zero-2": ("zero", "--stage", "2")}
STRATEGIES |= {"zero-3": ("zero", "--stage", "3"), "amx": ("amx",)}
STARTS = 3
LIMIT_SECONDS = 600


def measure() -> Iterator[Reading]:
    """A ratio a strategy, percents of a save and of a step, seconds of a start. Nothing without torch, nothing of zero without DeepSpeed."""
    if find_spec("torch") is None:
        print("training skipped: torch is not installed", file=sys.stderr, flush=True)
        return
    chosen = {name: words for name, words in STRATEGIES.items() if words[0] != "zero" or find_spec("deepspeed")}
    for name, words in chosen.items():
        found = measured("steps", *words)
        ratio, cpu = (found[f"ours_{clock}_ms"] / found[f"theirs_{clock}_ms"] for clock in ("wall", "cpu"))
        note = f"ours {found['ours_wall_ms']:.1f} ms, bare {found['theirs_wall_ms']:.1f} ms, CPU {cpu:.3f}x"
        yield Reading(f"training-{name}-of-bare", ratio, "x", OF_BARE, note=note)
    for name in ("ddp", "fsdp"):
        found = measured("saves", name)
        note = f"stands still {found['stall_ms']:.1f} ms, waited for {found['whole_ms']:.1f} ms; a step {found['step_ms']:.1f} ms, "
        note += f"{found['step_during_ms']:.1f} ms while it is written"
        yield Reading(f"training-{name}-save-stall", 100 * found["stall_ms"] / found["whole_ms"], "%", STALL_PERCENT, note=note)
    found = measured("report", "ddp")
    note = f"{1000 * found['line_ms']:.0f} us of {found['step_ms']:.1f} ms"
    yield Reading("training-report", 100 * found["line_ms"] / found["step_ms"], "%", REPORT_PERCENT, note=note)
    for name, words in chosen.items():
        yield started(name, words)


def measured(what: str, strategy: str, *flags: str) -> dict[str, float]:
    """One measurement of bench/strides.py by two ranks."""
    with world(["-m", "bench.strides", what, strategy, "--model", MODEL, *flags]) as processes:
        said, _ = processes[0].communicate(timeout=LIMIT_SECONDS)
        if codes := [one.wait(30) for one in processes]:
            assert not any(codes), f"{what} of {strategy}: ranks ended with {codes}"
    found: dict[str, float] = json.loads(said)
    return found


def started(name: str, words: tuple[str, ...]) -> Reading:
    """Seconds from the start of the ranks to their first step after a checkpoint."""
    taken = []
    with tempfile.TemporaryDirectory(prefix="bench-start-") as place:
        strategy, *own = words
        command = ["-m", f"training.{strategy}", *own, "--device", "cpu", "--precision", "fp32", "--model", MODEL, "--checkpoint-dir", place]
        with world([*command, "--steps", "2"]) as processes:
            processes[0].communicate(timeout=LIMIT_SECONDS)
        for more in range(STARTS):
            began = time.perf_counter()
            with world([*command, "--steps", str(3 + more)]) as processes:
                taken.append(first_step(processes[0], after=2 + more) - began)
                processes[0].communicate(timeout=LIMIT_SECONDS)
    note = f"of {STARTS} starts: {', '.join(f'{one:.1f}' for one in taken)}"
    return Reading(f"training-{name}-resumed", median(taken), "s", START_SECONDS, note=note)


def first_step(rank: subprocess.Popen[str], after: int) -> float:
    """When the line of the step after `after` came."""
    assert rank.stdout
    for line in rank.stdout:
        said = json.loads(line)
        if "event" not in said:
            assert said["step"] == after + 1, f"the run went on with step {said['step']}"
            return time.perf_counter()
    raise RuntimeError(f"no step; exit code {rank.wait()}")


@contextmanager
def world(command: list[str]) -> Iterator[list[subprocess.Popen[str]]]:
    """The ranks, rank 0's stdout in a pipe; none is left afterwards."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    env = os.environ | {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(RANKS), "LOCAL_WORLD_SIZE": str(RANKS)}
    processes = [
        subprocess.Popen(
            [sys.executable, *command],
            env=env | {"RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=ROOT,
            stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        for rank in range(RANKS)
    ]
    try:
        yield processes
        for one in processes:
            one.wait(60)
    finally:
        for one in processes:
            one.kill()
            one.wait()


if __name__ == "__main__":
    tell(measure())
