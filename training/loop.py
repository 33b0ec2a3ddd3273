"""The loop that every strategy runs: find the checkpoint, build, train to the last step, save on the way.

A strategy is a function (`replicate`, `shard`, `engage`...) that builds the model for its ranks and hands the loop a `Trainee`.
"""

import math
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from time import perf_counter

import torch
from torch import Tensor, nn

from training import ranks
from training.agreement import Outcome
from training.blueprints import BadModel
from training.checkpoint import CannotResume, Checkpoints, Format, Run
from training.data import Stream, seed_of
from training.manifest import Manifest
from training.model import parameter_count
from training.optimizer import rate_at
from training.options import Options, batch_per_rank, read_options, refuse
from training.ranks import Rank, Stop
from training.report import Report, Work, peak_flops
from training.stores import open_store
from training.texts import BadData, open_data

Batch = tuple[Tensor, Tensor]  # tokens and targets, each (sequences, context), int64


@dataclass(frozen=True)
class Trainee:
    """A model made ready for its ranks: how it takes a step, and how its state is saved."""

    strategy: str
    model: nn.Module  # bare: its names are the checkpoint's
    precision: torch.dtype
    step: Callable[[list[Batch], Callable[[], bool], float], Outcome]  # on micro-batches, whether this rank is asked to stop, at a rate
    format: Format
    bytes_reduced: int  # this rank puts into all-reduces in a step


Build = Callable[[Options, Rank], Trainee]


def run(strategy: str, build: Build) -> None:
    """The whole life of one rank; never returns."""

    def main() -> int:
        options = read_options(strategy, sys.argv[1:])
        rank = ranks.join(options)
        code = train(strategy, options, rank, build)
        ranks.leave()
        return code

    ranks.run(main)


def train(strategy: str, options: Options, rank: Rank, build: Build) -> int:
    """Train to the last step, the first signal or the first loss that is not finite; the exit code that says which."""
    with checkpoints(strategy, options, rank) as saves:
        found = saves.find(options.resume) if saves else None
        options = on_the_same_batch(options, rank, found)
        stream = on_the_same_data(options, rank, found)
        try:
            trainee = build(options, rank)
        except BadModel as error:
            refuse(f"--model {options.model}: {error}")
        torch.manual_seed(seed_of(options.seed, "rank", rank.rank))  # of dropout, until a checkpoint's is loaded
        if saves:
            saves.position = stream.position
        done = saves.load(trainee.format, options.batch * rank.world_size) if saves else 0
        return steps(options, rank, trainee, stream, saves, done)


def steps(options: Options, rank: Rank, trainee: Trainee, stream: Stream, saves: Checkpoints | None, before: int) -> int:
    """The steps after those done `before`, each reported, every so many saved."""
    blueprint = options.blueprint
    flops, peak = blueprint.flops_per_token(trainee.model), peak_flops(rank, trainee.precision)
    work = Work(trainee.strategy, options.steps, options.batch * blueprint.context, trainee.bytes_reduced, flops, peak)
    report = Report(rank, work, options.log_json, options.metrics_port)
    report.last_step = before
    if saves:
        saves.tell = report.checkpoint

    with report, Stop(options.grace_seconds, rank.rank) as stop:
        report.start(**described(options, trainee), global_batch=options.batch * rank.world_size, resumed_from=before or None)
        for step in range(before + 1, options.steps + 1):
            began = perf_counter()
            stop.wait(options.step_pause_seconds)

            fetching = perf_counter()
            tokens, targets = (part.to(rank.device).split(options.micro_batch) for part in stream.batch_at(step))

            computing = perf_counter()
            lr = rate_at(step, options.steps, blueprint.lr if options.lr is None else options.lr, options.warmup)
            done = trainee.step(list(zip(tokens, targets, strict=True)), stop.requested.is_set, lr)
            if not done.finite:
                return not_finite(report, saves, step, done)

            computed = perf_counter()
            last = step == options.steps
            if saves and (done.stopping or last or step % options.checkpoint_every == 0):
                saves.save(step)
            ended = perf_counter()
            seconds = {"step_seconds": ended - began, "data_seconds": computing - fetching, "compute_seconds": computed - computing}
            report.step(step, loss=done.loss, lr=lr, grad_norm=done.grad_norm, **seconds)
            if done.stopping and not last:
                return stopped(report, saves, stop.exit_code)
        if saves:
            saves.wait()
        report.close("end")
    return 0


@contextmanager
def checkpoints(strategy: str, options: Options, rank: Rank) -> Iterator[Checkpoints | None]:
    """The checkpoints of this run, or None; what cannot be continued ends every rank with 2 and one line on rank 0."""
    if options.checkpoint_dir is None:
        yield None
        return
    run = Run(strategy, options.model, options.seed, options.stage)
    try:
        store = open_store(options.checkpoint_dir)
        saves = Checkpoints(store, run, options.keep_last, options.keep_every, rank.local_rank)
    except (CannotResume, OSError, ImportError) as error:
        refuse(f"--checkpoint-dir {options.checkpoint_dir}: {error}")
    try:
        yield saves
        saves.wait()
    except CannotResume as error:
        refuse(f"--checkpoint-dir {options.checkpoint_dir}: {error}")
    finally:
        saves.close()


def on_the_same_batch(options: Options, rank: Rank, found: Manifest | None) -> Options:
    """Without --global-batch the checkpoint's goes on, whatever the number of ranks."""
    if found is None or options.global_batch is not None:
        return options
    whose = "the checkpoint's global batch of"
    batch = batch_per_rank(options.blueprint, found.data["global_batch"], options.accumulate, rank.world_size, whose)
    return replace(options, batch=batch)


def on_the_same_data(options: Options, rank: Rank, found: Manifest | None) -> Stream:
    """This rank's samples, from where the checkpoint was in them; data that are not the checkpoint's end every rank with 2."""
    try:
        samples = open_data(options.data, options.seed, options.blueprint.vocab, options.blueprint.context)
    except BadData as error:
        refuse(f"--data {options.data}: {error}")
    if found is None:
        return Stream(samples, options.batch, rank.rank, rank.world_size)
    there = {name: value for name, value in found.data.items() if name not in ("seed", "step", "global_batch", "samples")}
    if there != samples.identity and not options.new_data:
        then, now = (", ".join(f"{name} {value}" for name, value in one.items()) or "synthetic" for one in (there, samples.identity))
        refuse(f"--data {options.data}: the checkpoint of step {found.step} is of other data ({then}; now {now}); --new-data takes these")
    taken = found.data.get("samples", found.step * found.data["global_batch"])
    return Stream(samples, options.batch, rank.rank, rank.world_size, found.step, taken)


def described(options: Options, trainee: Trainee) -> dict[str, object]:
    """What the start line says of the model and its data."""
    precision = str(trainee.precision).removeprefix("torch.")
    of_model = {"model": options.model, "parameters": parameter_count(trainee.model), "precision": precision}
    return {**of_model, "context": options.blueprint.context, "data": options.data, "seed": options.seed}


def last_good(saves: Checkpoints | None) -> int | None:
    """The step of the last checkpoint committed, once the one in hand is."""
    if saves:
        saves.wait()
        return saves.last_good
    return None


def stopped(report: Report, saves: Checkpoints | None, code: int) -> int:
    """Say where the training stands after a signal, and what was saved of it."""
    report.close("stopped", exit_code=code, checkpoint=last_good(saves))
    return code


def not_finite(report: Report, saves: Checkpoints | None, step: int, done: Outcome) -> int:
    """Say on rank 0 what broke and where, and the checkpoint to go back to."""
    what = f"the loss is {done.loss}" if not math.isfinite(done.loss) else f"the gradient norm is {done.grad_norm}"
    where = f"on {done.ranks_not_finite} of {report.rank.world_size} ranks " if done.ranks_not_finite else ""
    good = last_good(saves)
    back = "" if saves is None else "; there is no good checkpoint" if good is None else f"; the last good checkpoint is of step {good}"
    if report.rank.rank == 0:
        line = f"error: {what} {where}at step {step} (last finite loss {report.loss_last}); try a lower --lr{back}"
        print(line, file=sys.stderr, flush=True)
    report.close("failed", reason=f"{what} at step {step}", exit_code=ranks.NOT_FINITE, checkpoint=good)
    return ranks.NOT_FINITE
