"""One rank of the measurements of training/: ours and the bare loop in turn, in the same processes.

    python -m bench.strides steps|saves|report STRATEGY [FLAGS...]      RANK, WORLD_SIZE and MASTER_* as any rank has them; one JSON object

Every program here ends with what rank 0 measured.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from statistics import median

import torch

from bench import bare
from training import amx, ddp, fsdp, loop, ranks, zero
from training.agreement import Outcome
from training.checkpoint import Checkpoints, Run
from training.data import Stream, Synthetic
from training.loop import Batch, Trainee
from training.model import PRESETS
from training.options import Options, read_options
from training.ranks import Rank
from training.report import Report, Work
from training.stores import open_store

BUILD = {"ddp": ddp.replicate, "fsdp": fsdp.shard, "amx": amx.on_cpu, "zero": zero.engage}
ROUNDS, STEPS, WARM = 6, 14, 4
SAVES = 7


class Stamps:
    """When the steps of one stretch began, by the clock and by this process's CPU."""

    def __init__(self) -> None:
        self.at: list[tuple[float, float]] = []

    def __call__(self) -> None:
        self.at.append((time.perf_counter(), time.process_time()))

    def steps(self) -> list[tuple[float, float]]:
        """Wall and CPU seconds of each step, the first ones left out."""
        warm = self.at[WARM:]
        return [(late[0] - early[0], late[1] - early[1]) for early, late in pairwise(warm)]


@contextlib.contextmanager
def silent() -> Iterator[None]:
    """The lines go to a file, as a pod's go to its log."""
    with tempfile.TemporaryFile("w") as out, contextlib.redirect_stdout(out):
        yield


def ours(strategy: str, options: Options, rank: Rank, stamps: Stamps) -> None:
    """The steps as `python -m training.STRATEGY` takes them."""

    def build(options: Options, rank: Rank) -> Trainee:
        trainee = BUILD[strategy](options, rank)
        take = trainee.step

        def stamped(batches: list[Batch], asked: Callable[[], bool], rate: float) -> Outcome:
            stamps()
            return take(batches, asked, rate)

        return replace(trainee, step=stamped)

    loop.train(strategy, options, rank, build)


def theirs(strategy: str, options: Options, rank: Rank, stamps: Stamps) -> None:
    """The same number of steps of the bare loop, over batches made beforehand."""
    shape = PRESETS[options.model]
    stream = of_this_rank(options, rank)
    batches = [stream.batch_at(step) for step in range(1, options.steps + 1)]
    torch.manual_seed(options.seed)
    if strategy == "zero":
        bare.zero(shape, batches, stamps, options.stage, options.batch)
    else:
        {"ddp": bare.ddp, "amx": bare.ddp, "fsdp": bare.fsdp}[strategy](shape, batches, stamps)


def steps(strategy: str, options: Options, rank: Rank) -> dict[str, float]:
    """Median wall and CPU milliseconds of a step: ours and theirs, a stretch of each in turn."""
    taken: dict[str, list[tuple[float, float]]] = {"ours": [], "theirs": []}
    options = replace(options, steps=WARM + STEPS + 1)
    with silent(), contextlib.redirect_stderr(sys.stdout):
        for _ in range(ROUNDS):
            for name, stretch in (("ours", ours), ("theirs", theirs)):
                stamps = Stamps()
                stretch(strategy, options, rank, stamps)
                taken[name] += stamps.steps()
                gc.collect()
    clocks = [(name, clock, index) for name in taken for index, clock in enumerate(("wall", "cpu"))]
    return {f"{name}_{clock}_ms": 1000 * median(one[index] for one in taken[name]) for name, clock, index in clocks}


def saves(strategy: str, options: Options, rank: Rank) -> dict[str, float]:
    """Milliseconds that training stands still for a save that is written meanwhile, and that the same save takes when it is waited for."""
    stalls, whole, during, without = [], [], [], []
    with silent(), tempfile.TemporaryDirectory(prefix="bench-saves-") as own:
        place = [own]
        torch.distributed.broadcast_object_list(place, src=0)
        trainee = BUILD[strategy](options, rank)
        kept = Checkpoints(open_store(place[0]), Run(strategy, options.model, options.seed), local_rank=rank.local_rank)
        kept.find("none")
        kept.load(trainee.format)
        step = stepping(trainee, options, rank)
        kept.save(1)  # makes the buffers that later ones use
        kept.wait()
        for number in range(2, 2 * SAVES + 2, 2):
            without += [step() for _ in range(4)]
            stalls.append(seconds(lambda number=number: kept.save(number)))  # type: ignore[misc]
            during += [step() for _ in range(4)]
            kept.wait()
            step()
            whole.append(seconds(lambda number=number: (kept.save(number + 1), kept.wait())))  # type: ignore[misc]
        kept.close()
        torch.distributed.barrier()
    names = {"stall_ms": stalls, "whole_ms": whole, "step_during_ms": during, "step_ms": without}
    return {name: 1000 * median(values) for name, values in names.items()}


def stepping(trainee: Trainee, options: Options, rank: Rank) -> Callable[[], float]:
    """A function that takes one step and returns its seconds."""
    batch = of_this_rank(options, rank).batch_at(1)
    return lambda: seconds(lambda: trainee.step([batch], lambda: False, 1e-3))


def of_this_rank(options: Options, rank: Rank) -> Stream:
    """The synthetic samples it trains on."""
    shape = PRESETS[options.model]
    return Stream(Synthetic(options.seed, shape.vocab, shape.context), options.batch, rank.rank, rank.world_size)


def report(strategy: str, options: Options, rank: Rank) -> dict[str, float]:
    """Milliseconds of one step's line, log and metrics, next to the step they tell of."""
    step = stepping(BUILD[strategy](options, rank), options, rank)
    with silent(), tempfile.TemporaryDirectory() as folder:
        told = Report(rank, Work(strategy, 10_000, 1024, 0, 1, None), str(Path(folder, "log%r")))
        numbers = {"loss": 1.25, "lr": 1e-3, "grad_norm": 0.5, "step_seconds": 0.1, "data_seconds": 0.001, "compute_seconds": 0.09}
        taken, lines = [], []
        with told:
            for number in range(1, 40):
                taken.append(step())
                lines.append(seconds(lambda number=number: told.step(number, **numbers)))  # type: ignore[misc]
    return {"step_ms": 1000 * median(taken[WARM:]), "line_ms": 1000 * median(lines[WARM:])}


def seconds(what: Callable[[], object]) -> float:
    began = time.perf_counter()
    what()
    return time.perf_counter() - began


def main() -> int:
    """One measurement, told by rank 0."""
    what, strategy, *flags = sys.argv[1:]
    options = read_options(strategy, ["--device", "cpu", "--precision", "fp32", *flags])
    rank = ranks.join(options)
    found = {"steps": steps, "saves": saves, "report": report}[what](strategy, options, rank)
    if rank.rank == 0:
        print(json.dumps(found), flush=True)
    os._exit(0)  # the last model may outlive the process group


if __name__ == "__main__":
    ranks.run(main)
