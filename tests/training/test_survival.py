"""Ranks that are killed and start again: the joined losses are those of a run that nothing happened to, bit for bit in fp32.

Every rank is a process that ends as `kill -9` ends it. Most are forked from one that has done the imports (nursery.py).
"""

import os
import signal
import time
from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.manifest import FolderPlace, entry_of, verdicts
from training.stores import Folder

STEPS = 30
OTHER_SHAPE = 1e-5  # relative: another number of ranks, or another strategy, adds in another order
BF16 = 1e-2  # relative, on the same shape
NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")
ZERO = [pytest.param(("zero", "--stage", stage), marks=NEEDS_DEEPSPEED, id=f"zero-{stage}") for stage in "123"]
FULL = [pytest.param((name,), id=name) for name in ("ddp", "fsdp", "amx")]
SHARDED = [pytest.param(("fsdp", "--sharding", name), id=f"fsdp-{name}") for name in ("grad-op", "hybrid")]


def losses(ranks) -> dict[int, float]:
    """Loss of every step by rank 0."""
    return {line["step"]: line["loss"] for line in ranks[0].steps()}


def there(place: Path) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(FolderPlace(place), "full")}


def kill(*ranks) -> None:
    for one in ranks:
        os.kill(one.process.pid, signal.SIGKILL)
    for one in ranks:
        assert one.wait() == -signal.SIGKILL


def caught_within_a_save(ranks, place: Path) -> None:
    """Stop rank 1 until that catches rank 0 inside a save, which cannot end without it."""

    def caught() -> bool:
        os.kill(ranks[1].process.pid, signal.SIGSTOP)
        seen = time.monotonic()
        aside = set(place.glob(".step_*"))
        ranks[0].until(lambda: time.monotonic() - seen > 0.5)
        if aside and aside == set(place.glob(".step_*")):
            return True
        os.kill(ranks[1].process.pid, signal.SIGCONT)
        return False

    ranks[0].until(lambda: len(ranks[0].steps()) >= 2 and list(place.glob(".step_*")) and caught())


class Run:
    """One training in several lives, next to the same one that was left alone."""

    def __init__(self, start: Callable, place: Path, strategy: tuple[str, ...], world_size: int, *flags: str) -> None:
        name, *own = strategy
        self.start, self.place, self.strategy, self.world_size = start, place, name, world_size
        self.flags = (*own, "--steps", str(STEPS), "--device", "cpu", *flags)
        self.lives: list[dict[int, float]] = []

    def left_alone(self) -> dict[int, float]:
        ranks = self.start(*self.flags, strategy=self.strategy, world_size=self.world_size)
        assert [one.wait() for one in ranks] == [0] * self.world_size, ranks[0].stderr()
        return losses(ranks)

    def live(self, *flags: str):
        flags = (*self.flags, "--checkpoint-dir", str(self.place), *flags)
        return self.start(*flags, strategy=self.strategy, world_size=self.world_size)

    def killed_at(self, step: int, victims: slice) -> None:
        """These ranks after that step, once there is a checkpoint to go back to that is not of the life before."""
        ranks = self.live("--checkpoint-every", "3", "--step-pause", "0.05")
        ranks[0].until(lambda: ranks[0].steps() and ranks[0].steps()[-1]["step"] >= step and max(there(self.place), default=0) > step - 6)
        kill(*ranks[victims])
        self._over(ranks)

    def killed_within_a_save(self, victims: slice) -> None:
        ranks = self.live("--checkpoint-every", "1", "--step-pause", "0.02")
        caught_within_a_save(ranks, self.place)
        kill(*ranks[victims])
        self._over(ranks)
        assert "torn" in there(self.place).values()

    def _over(self, ranks) -> None:
        """No rank outlives its peers, and those that were not killed say what happened in one line."""
        assert 0 not in [one.wait() for one in ranks]
        assert not [one.stderr() for one in ranks if "Traceback" in one.stderr()]
        self.lives.append(losses(ranks))

    def to_the_end(self) -> None:
        ranks = self.live("--checkpoint-every", "10")
        assert [one.wait() for one in ranks] == [0] * self.world_size, ranks[0].stderr()
        assert ranks[0].events("start")[0]["resumed_from"] >= 3
        self.lives.append(losses(ranks))
        assert there(self.place)[STEPS] == "whole"
        assert set(there(self.place).values()) == {"whole"}

    def joined(self) -> dict[int, float]:
        """The losses of all lives, each of which goes on where the one before had a checkpoint."""
        told: dict[int, float] = {}
        for life in self.lives:
            if life:
                assert min(life) <= max(told, default=0) + 1
            told |= life
        return told


def survives(start, tmp_path: Path, strategy: tuple[str, ...], world_size: int) -> None:
    """One rank killed at three steps, one within a save, then all at once: no step's loss differs in its last bit, in no life."""
    run = Run(start, tmp_path / "checkpoints", strategy, world_size, "--precision", "fp32")
    undisturbed = run.left_alone()
    for step, victims in ((5, slice(-1, None)), (10, slice(0, 1)), (15, slice(1, 2))):
        run.killed_at(step, victims)
    run.killed_within_a_save(slice(1, 2))
    run.killed_at(24, slice(None))
    run.to_the_end()
    for life in run.lives:
        assert life == {step: undisturbed[step] for step in life}
    assert run.joined() == undisturbed
    assert list(undisturbed) == list(range(1, STEPS + 1))


def test_killed_at_a_step_and_within_a_save_the_losses_are_those_of_a_run_left_alone(start_ranks, tmp_path):
    """Ranks from nothing, as their user starts them."""
    run = Run(start_ranks, tmp_path / "checkpoints", ("ddp",), 2, "--precision", "fp32")
    undisturbed = run.left_alone()
    run.killed_at(7, slice(-1, None))
    run.killed_within_a_save(slice(None))
    run.to_the_end()
    assert run.joined() == undisturbed


@pytest.mark.parametrize("strategy", [*FULL[1:], ZERO[1]])
def test_every_strategy_goes_on_bit_for_bit_after_the_death_of_a_rank(fork_ranks, tmp_path, strategy):
    run = Run(fork_ranks, tmp_path / "checkpoints", strategy, 2, "--precision", "fp32")
    undisturbed = run.left_alone()
    run.killed_at(7, slice(-1, None))
    run.to_the_end()
    assert run.joined() == undisturbed


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("strategy", [*FULL, *ZERO])
def test_every_strategy_survives(fork_ranks, tmp_path, strategy, world_size):
    survives(fork_ranks, tmp_path, strategy, world_size)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", SHARDED)
def test_every_way_of_sharding_survives(fork_ranks, tmp_path, strategy):
    survives(fork_ranks, tmp_path, strategy, 2)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", [*FULL, *ZERO])
def test_in_bf16_a_killed_run_goes_on_within_the_tolerance(fork_ranks, tmp_path, strategy):
    run = Run(fork_ranks, tmp_path / "checkpoints", strategy, 2, "--precision", "bf16")
    undisturbed = run.left_alone()
    run.killed_at(7, slice(-1, None))
    run.killed_at(14, slice(None))
    run.to_the_end()
    joined = run.joined()
    assert list(joined) == list(undisturbed)
    assert list(joined.values()) == pytest.approx(list(undisturbed.values()), rel=BF16)


def halves(start, place: Path, first: tuple[str, ...], then: tuple[str, ...], ranks: tuple[int, int]) -> tuple[dict[int, float], dict[int, float]]:
    """Losses of steps 11 to 20: of the run that saved step 10, and of the one that went on from there."""
    flags = ("--steps", "20", "--device", "cpu", "--precision", "fp32", "--checkpoint-dir", str(place), "--checkpoint-every", "10")
    whole = start(*first[1:], *flags, "--global-batch", "8", strategy=first[0], world_size=ranks[0])
    assert [one.wait() for one in whole] == [0] * ranks[0], whole[0].stderr()
    Folder(str(place)).remove(entry_of(20))
    rest = start(*then[1:], *flags, strategy=then[0], world_size=ranks[1])
    assert [one.wait() for one in rest] == [0] * ranks[1], rest[0].stderr()
    assert not list(place.glob(".step*"))
    return {step: loss for step, loss in losses(whole).items() if step > 10}, losses(rest)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ranks", [(4, 2), (2, 4), (2, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("strategy", [*FULL, *SHARDED, *ZERO])
def test_it_goes_on_on_another_number_of_ranks(fork_ranks, tmp_path, strategy, ranks):
    before, after = halves(fork_ranks, tmp_path / "checkpoints", strategy, strategy, ranks)
    assert list(after) == list(range(11, 21))
    assert list(after.values()) == pytest.approx(list(before.values()), rel=OTHER_SHAPE)


@pytest.mark.slow
@pytest.mark.parametrize("ranks", [(2, 2), (4, 2), (2, 4)], ids=str)
@pytest.mark.parametrize("first", ["ddp", "fsdp"])
def test_ddp_and_fsdp_go_on_from_each_other(fork_ranks, tmp_path, first, ranks):
    then = "fsdp" if first == "ddp" else "ddp"
    before, after = halves(fork_ranks, tmp_path / "checkpoints", (first,), (then,), ranks)
    assert list(after) == list(range(11, 21))
    assert list(after.values()) == pytest.approx(list(before.values()), rel=OTHER_SHAPE)


@pytest.mark.slow
@NEEDS_DEEPSPEED
def test_zero_starts_from_the_weights_of_ddp_and_keeps_stdout_for_json(fork_ranks):
    firsts = []
    for strategy, *flags in (("ddp",), ("zero", "--stage", "1"), ("zero", "--stage", "3")):
        ranks = fork_ranks("--steps", "1", "--device", "cpu", *flags, strategy=strategy)
        assert [one.wait() for one in ranks] == [0, 0]
        firsts.append(ranks[0].steps()[0]["loss"])  # steps() would not parse anything else
    assert firsts == pytest.approx([firsts[0]] * 3, rel=1e-6)
