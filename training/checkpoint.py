"""Checkpoints of a running job: saved while it trains on, committed whole or not at all, and found again after a crash.

In a script of your own, once torch.distributed is initialised (the model may be bare, in DDP, or FSDP2's):

    saves = Checkpoints(open_store("/mnt/fsx/run7"), Run("ddp", "my-model", seed=0))
    saves.find("auto")                                    # the last whole one, read through; or "none", or a step
    done = saves.load(Dcp(model, optimizer), global_batch=64)   # 0 when there is none
    for step in range(done + 1, steps + 1):
        ...
        if step % 100 == 0:
            saves.save(step)                              # returns once the weights may change again
    saves.wait()
    saves.close()

Every method is called by every rank. What the files look like stands in training/manifest.py.
"""

import time
import uuid
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from time import perf_counter
from typing import Any, Protocol, TypeVar

import torch
import torch.distributed as dist
from torch.distributed.checkpoint import CheckpointException

from training.lineage import READS, expendable, newest_first, refusal
from training.manifest import WHOLE, File, FolderPlace, Manifest, broken_chunk, check, chunks, crc32_of, entry_of, verdicts
from training.provenance import code_checksum, generators, restore, versions
from training.report import warn
from training.stores import Store, blame, line_of

PATIENCE = timedelta(minutes=30)  # a rank waits this long for another one's share of a checkpoint
RNG = "rng_{rank}.pt"
T = TypeVar("T")


class CannotResume(Exception):
    """Why the checkpoint asked for cannot be loaded, or none can be written; one line."""


class Format(Protocol):
    """How the state of a model and its optimizer gets into files and back."""

    def shapes(self) -> dict[str, list[int]]:
        """Of every parameter, unsharded."""

    def stage(self, folder: Path, group: dist.ProcessGroup) -> Callable[[], None]:
        """Copy what the next step changes; the call returned writes the files, on a thread."""

    def owns(self, path: str, rank: int) -> bool:
        """Whether that file was written by that rank."""

    def load(self, folder: Path, manifest: Manifest, group: dist.ProcessGroup) -> None:
        """Put the state back, in place."""


@dataclass(frozen=True)
class Run:
    """What a checkpoint must agree with to be continued."""

    strategy: str
    model: str
    seed: int
    stage: int = 0  # of ZeRO


class Checkpoints:
    """The checkpoints of one job, from the side of one of its ranks."""

    def __init__(self, store: Store, run: Run, keep_last: int = 3, keep_every: int = 0, local_rank: int = 0) -> None:
        """Locks the store; CannotResume on every rank when another job has it."""
        self.store, self.run, self.keep_last, self.keep_every = store, run, keep_last, keep_every
        self.rank, self.world_size, self.local_rank = dist.get_rank(), dist.get_world_size(), local_rank
        self.group: dist.ProcessGroup = dist.new_group(backend="gloo", timeout=PATIENCE)
        self.tell: Callable[..., None] = lambda **fields: None  # of each checkpoint, on rank 0
        self.position: Callable[[int], dict[str, int]] = lambda step: {}  # in the data after that step, besides the step itself
        self.last_good: int | None = None
        self.begun: int | None = None
        self.found: Manifest | None = None
        self.stall_seconds: float | None = None  # training stood still for the last save
        self._thread = ThreadPoolExecutor(1, "checkpoint")
        self._pending: Future[None] | None = None
        self.attempt, self._sequence = self._from_rank_0(self._lock)

    def _lock(self) -> tuple[str, int]:
        """A name for what this process writes, and how many commits there were before."""
        self.store.lock()
        known = newest_first(list(verdicts(self.store, "sizes")))
        return uuid.uuid4().hex[:12], known[0].manifest.sequence if known and known[0].manifest else 0

    def _from_rank_0(self, ask: Callable[[], T]) -> T:
        """What `ask` returns on rank 0; an OSError or CannotResume there is a CannotResume everywhere."""
        answer: list[Any] = [None, ""]
        if self.rank == 0:
            try:
                answer[0] = ask()
            except (OSError, CannotResume) as error:
                answer[1] = line_of(error)
        dist.broadcast_object_list(answer, src=0, group=self.group)
        if answer[1]:
            raise CannotResume(answer[1])
        return answer[0]

    def _from_all(self, mine: T) -> list[T]:
        answers: list[Any] = [None] * self.world_size
        dist.all_gather_object(answers, mine, group=self.group)
        return answers

    # reading

    def find(self, wanted: str) -> Manifest | None:
        """The checkpoint to go on from, every byte of it read: `auto` the last whole one, `none`, or a step.

        CannotResume when the one asked for is not whole or not of this run, or when there are some and none is whole.
        """
        passed_over: dict[str, str] = {}
        while wanted != "none":
            choice = self._from_rank_0(lambda: self._candidate(wanted, passed_over))
            if choice is None:
                break
            self._folder, broken = self._read_through(choice)
            if not broken:
                self.found, self.last_good = choice, choice.step
                break
            passed_over[entry_of(choice.step)] = broken
        return self.found

    def _candidate(self, wanted: str, passed_over: dict[str, str]) -> Manifest | None:
        found = list(verdicts(self.store, "sizes"))
        broken = {one.entry: one.why for one in found if one.state != WHOLE} | passed_over
        good = [one.manifest for one in newest_first(found) if one.manifest and one.entry not in broken]
        if wanted != "auto":
            entry = entry_of(int(wanted))
            if entry in broken:
                raise CannotResume(f"the checkpoint of step {wanted} is torn: {broken[entry]}")
            good = [one for one in good if one.step == int(wanted)]
            if not good:
                there = ", ".join(str(one.step) for one in found) or "none"
                raise CannotResume(f"there is no checkpoint of step {wanted}; there are: {there}")
        elif broken and not good:
            told = "; ".join(f"{entry}: {why}" for entry, why in sorted(broken.items())[-3:])
            raise CannotResume(f"none of {len(broken)} checkpoints is whole ({told}); --resume none begins anew")
        if not good:
            return None
        run = self.run
        if why := refusal(good[0], run.strategy, stage=run.stage, seed=run.seed):
            raise CannotResume(f"the checkpoint of step {good[0].step} does not fit: {why}")
        for entry, why in sorted(broken.items()):
            warn(f"checkpoint {entry} is passed over: {why}")
        return good[0]

    def _read_through(self, manifest: Manifest) -> tuple[Path, str]:
        """The local folder of a checkpoint and what is broken in it; each rank reads its share of the bytes."""
        entry, broken, folder = entry_of(manifest.step), "", Path()
        share, sharers = (self.rank, self.world_size) if self.store.shared else (self.local_rank, 1)
        try:
            if self.store.shared or self.local_rank == 0:
                folder = self.store.fetch(entry, manifest, self.attempt)
                local, flat = FolderPlace(folder.parent), Manifest(**{**vars(manifest), "folder": ""})
                mine = chunks(manifest)[share::sharers]
                broken = next(filter(None, (broken_chunk(local, folder.name, flat, *chunk) for chunk in mine)), "")
        except OSError as error:
            broken = line_of(error)
        answers = self._from_all((broken, str(folder)))
        if not self.store.shared and self.local_rank:
            folder = Path(answers[self.rank - self.local_rank][1])
        return folder, next((one for one, _ in answers if one), "")

    def load(self, format: Format, global_batch: int = 0) -> int:
        """Load what was found into `format`, whose state later saves take; the steps done, 0 where nothing was found."""
        self.format, self.global_batch, manifest = format, global_batch, self.found
        self._shapes = format.shapes()
        if manifest is None:
            return 0
        if why := refusal(manifest, self.run.strategy, self._shapes, self.run.stage, self.run.seed):
            raise CannotResume(f"the checkpoint of step {manifest.step} does not fit: {why}")
        format.load(self._folder, manifest, self.group)
        mine = self._folder / RNG.format(rank=self.rank)
        if manifest.world_size == self.world_size and mine.exists():
            restore(torch.load(mine, weights_only=True))
        dist.barrier(group=self.group)
        if not self.store.shared and self.local_rank == 0:
            self.store.tidy(manifest.step, f"{self.attempt}-read")
        self.begun = manifest.step
        return manifest.step

    # writing

    def save(self, step: int) -> None:
        """Begin the checkpoint of `step`, once the one before is done; returns when the weights may change again."""
        self.wait()
        if step == self.begun:
            return
        began, problem = perf_counter(), ""
        try:
            folder = self.store.begin(step, self.attempt)
        except OSError as error:
            problem = blame(error, self.rank)
        failed = torch.tensor(int(bool(problem)))
        dist.all_reduce(failed, group=self.group)
        if failed:  # nothing is written; the thread only brings the reason to rank 0
            self._pending = self._thread.submit(self._finish, step, began, None, {}, problem)
            return
        self.begun = step
        write = self.format.stage(folder, self.group)
        self._pending = self._thread.submit(self._finish, step, began, folder, {"write": write, "rng": generators()}, "")
        self.stall_seconds = perf_counter() - began

    def wait(self) -> None:
        """Until the checkpoint that was begun last is committed, or has failed."""
        if self._pending:
            self._pending.result()
            self._pending = None

    def _finish(self, step: int, began: float, folder: Path | None, state: dict[str, Any], problem: str) -> None:
        """Write, publish, commit: on the thread, in step with the other ranks."""
        files: dict[str, File] = {}
        if folder:
            try:
                files = self._write(step, folder, **state)
            except (Exception, CheckpointException) as error:  # the edge of a thread: whatever it is, the others wait for a word
                problem = blame(error, self.rank)
        everyone = self._from_all((files, problem))
        said = [one for rank, (_, one) in enumerate(everyone) if one.startswith(f"rank {rank}:")]  # of itself, before of another
        outcome: list[Any] = [next((one for one in (*said, *(one for _, one in everyone)) if one), "")]
        if self.rank == 0:
            outcome[0] = outcome[0] or self._commit(step, {name: file for part, _ in everyone for name, file in part.items()})
            if outcome[0]:
                self.store.abandon(step, self.attempt)
        dist.broadcast_object_list(outcome, src=0, group=self.group)
        self.store.tidy(step, self.attempt)
        self.last_good = self.last_good if outcome[0] else step
        if self.rank == 0:
            self._say(step, outcome[0], sum(file.bytes for part, _ in everyone for file in part.values()), perf_counter() - began)

    def _write(self, step: int, folder: Path, write: Callable[[], None], rng: dict[str, torch.Tensor]) -> dict[str, File]:
        write()
        name = RNG.format(rank=self.rank)
        torch.save(rng, folder / name)
        paths = [path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()]
        mine = [path for path in paths if path == name or (not path.startswith("rng_") and self.format.owns(path, self.rank))]
        files = {path: crc32_of(folder / path) for path in sorted(mine)}
        self.store.publish(step, self.attempt, list(files))
        return files

    def _commit(self, step: int, files: dict[str, File]) -> str:
        """Make it a checkpoint and let old ones go; why it failed, or nothing."""
        run = self.run
        manifest = Manifest(
            step=step, sequence=self._sequence + 1, strategy=run.strategy, format=READS[run.strategy], stage=run.stage,
            world_size=self.world_size, model=run.model, shapes=self._shapes,
            data={"seed": run.seed, "step": step, "global_batch": self.global_batch, **self.position(step)}, rng=RNG,
            folder="" if self.store.shared else self.attempt, files=files,
            code=code_checksum(), versions=versions(), time=time.time(),
        )  # fmt: skip
        try:
            self.store.commit(manifest, self.attempt)
        except OSError as error:
            return line_of(error)
        self._sequence += 1
        try:
            check(self.store, entry_of(step), "sizes")
            for entry in expendable(list(verdicts(self.store, "sizes")), self.keep_last, self.keep_every):
                self.store.remove(entry)
        except (OSError, ValueError) as error:
            warn(f"old checkpoints stay: {line_of(error)}")
        return ""

    def _say(self, step: int, problem: str, size: int, seconds: float) -> None:
        if problem:
            last = "there is none yet" if self.last_good is None else f"the last good one is step {self.last_good}"
            warn(f"the checkpoint of step {step} failed: {problem}; {last}; training goes on")
        said = {"state": "failed", "reason": problem} if problem else {"state": WHOLE, "size_bytes": size}
        self.tell(step=step, seconds=seconds, stall_seconds=self.stall_seconds, **said)

    def close(self) -> None:
        """Give the lock up; a checkpoint still in hand is left to the end of the process, so `wait` first."""
        self._thread.shutdown(wait=False)
        if self.rank == 0 and (self._pending is None or self._pending.done()):
            self.store.unlock()
