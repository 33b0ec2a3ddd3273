"""Ranks that are killed and start again: the joined losses are those of a run that nothing happened to, bit for bit in fp32."""

import os
import signal
import time
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.manifest import FolderPlace, entry_of, verdicts
from training.stores import Folder

STEPS = 30
NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")
FEW = [("ddp",), ("fsdp",)]
ALL = [
    *((*one, *shape) for one in FEW for shape in ((), ("--sharding", "grad-op"), ("--sharding", "hybrid")) if one[0] == "fsdp" or not shape),
    ("amx",),
    *(pytest.param(("zero", "--stage", stage), marks=NEEDS_DEEPSPEED) for stage in "123"),
]


def named(strategy) -> str:
    return "-".join(strategy)


def losses(ranks) -> dict[int, str]:
    """Loss of every step by rank 0, to the last bit."""
    return {line["step"]: line["loss"].hex() for line in ranks[0].steps()}


def there(place: Path) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(FolderPlace(place), "full")}


def kill(*ranks) -> None:
    for one in ranks:
        os.kill(one.process.pid, signal.SIGKILL)
    for one in ranks:
        one.process.wait()


def killed_while_it_saves(ranks, place: Path) -> None:
    """Stop rank 1 until that catches rank 0 inside a save, which cannot end without it; then kill both."""

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
    kill(*ranks)


def survives(start_ranks, tmp_path: Path, strategy, world_size: int = 2) -> None:
    """A rank killed between two saves, all killed within one, then to the end: joined, and compared with a run left alone."""
    name, *flags = strategy
    flags += ["--steps", str(STEPS), "--device", "cpu", "--precision", "fp32"]
    alone = start_ranks(*flags, strategy=name, world_size=world_size)
    assert [one.wait() for one in alone] == [0] * world_size
    undisturbed, joined, place = losses(alone), {}, tmp_path / "checkpoints"
    flags += ["--checkpoint-dir", str(place)]

    first = start_ranks(*flags, "--checkpoint-every", "4", "--step-pause", "0.05", strategy=name, world_size=world_size)
    first[0].until(lambda: len(first[0].steps()) >= 7 and 4 in there(place))
    kill(first[-1])
    assert 0 not in [one.wait() for one in first[:-1]]
    joined |= losses(first)

    second = start_ranks(*flags, "--checkpoint-every", "1", "--step-pause", "0.02", strategy=name, world_size=world_size)
    killed_while_it_saves(second, place)
    assert second[0].events("start")[0]["resumed_from"] in range(4, 10)
    assert "torn" in there(place).values()
    joined |= losses(second)

    third = start_ranks(*flags, "--checkpoint-every", "10", strategy=name, world_size=world_size)
    assert [one.wait() for one in third] == [0] * world_size
    joined |= losses(third)
    assert joined == undisturbed
    assert list(joined) == list(range(1, STEPS + 1))
    assert there(place)[STEPS] == "whole"
    assert set(there(place).values()) == {"whole"}


@pytest.mark.parametrize("strategy", FEW, ids=named)
def test_killed_between_saves_and_within_one_the_losses_are_those_of_a_run_left_alone(start_ranks, tmp_path, strategy):
    survives(start_ranks, tmp_path, strategy)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("world_size", [2, 4])
@pytest.mark.parametrize("strategy", ALL, ids=named)
def test_every_strategy_survives(start_ranks, tmp_path, strategy, world_size):
    survives(start_ranks, tmp_path, strategy, world_size)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("ranks", [(4, 2), (2, 1), (1, 2)], ids=str)
@pytest.mark.parametrize("strategy", ALL, ids=named)
def test_it_goes_on_on_another_number_of_ranks(start_ranks, tmp_path, strategy, ranks):
    name, *flags = strategy
    flags += ["--steps", "20", "--device", "cpu", "--precision", "fp32", "--checkpoint-dir", str(tmp_path), "--checkpoint-every", "10"]
    flags += ["--global-batch", "8"]
    whole = start_ranks(*flags, strategy=name, world_size=ranks[0])
    assert [one.wait() for one in whole] == [0] * ranks[0]
    Folder(str(tmp_path)).remove(entry_of(20))
    rest = start_ranks(*flags, strategy=name, world_size=ranks[1])
    assert [one.wait() for one in rest] == [0] * ranks[1]
    before, after = ({line["step"]: line["loss"] for line in one[0].steps()} for one in (whole, rest))
    assert list(after) == list(range(11, 21))
    assert list(after.values()) == pytest.approx([before[step] for step in after], rel=1e-5)
    assert not list(tmp_path.glob(".step*"))


@pytest.mark.slow
@NEEDS_DEEPSPEED
def test_zero_starts_from_the_weights_of_ddp_and_keeps_stdout_for_json(start_ranks):
    firsts = []
    for strategy, *flags in (("ddp",), ("zero", "--stage", "1"), ("zero", "--stage", "3")):
        ranks = start_ranks("--steps", "1", "--device", "cpu", *flags, strategy=strategy)
        assert [one.wait() for one in ranks] == [0, 0]
        firsts.append(ranks[0].steps()[0]["loss"])  # lines() would not parse anything else
    assert firsts == pytest.approx([firsts[0]] * 3, rel=1e-6)


def test_sigterm_saves_says_so_and_the_run_goes_on_from_there(start_ranks, tmp_path):
    flags = ("--steps", "100000", "--step-pause", "0.02", "--checkpoint-dir", str(tmp_path), "--checkpoint-every", "90000")
    ranks = start_ranks(*flags)
    ranks[0].until(lambda: len(ranks[0].steps()) >= 5)
    os.kill(ranks[1].process.pid, signal.SIGTERM)
    assert [one.wait() for one in ranks] == [143, 143]
    (stopped,), (saved,) = ranks[0].events("stopped"), ranks[0].events("checkpoint")
    assert stopped["checkpoint"] == stopped["step"] == saved["step"]
    assert there(tmp_path) == {saved["step"]: "whole"}
    ranks = start_ranks(*flags)
    ranks[0].until(lambda: ranks[0].steps())
    assert ranks[0].steps()[0]["step"] == saved["step"] + 1


def test_a_second_job_in_the_same_folder_is_refused_and_the_first_goes_on(start, start_ranks, tmp_path):
    flags = ("--steps", "100000", "--step-pause", "0.02", "--checkpoint-dir", str(tmp_path))
    ranks = start_ranks(*flags)
    ranks[0].until(lambda: len(ranks[0].steps()) >= 2)
    second = start("-m", "training.ddp", *flags)
    assert second.wait() == 2
    (line,) = second.stderr().splitlines()
    assert f"process {ranks[0].process.pid} on " in line
    seen = len(ranks[0].steps())
    ranks[0].until(lambda: len(ranks[0].steps()) > seen)


def test_a_disk_that_is_full_is_one_line_and_training_goes_on(start, tmp_path):
    """The limit on file sizes stands for the disk: the checkpoints of the tiny model are beyond it, its log is not."""
    limited = "import resource, runpy; resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, 1_000_000)); "
    code = limited + "runpy.run_module('training.ddp', run_name='__main__', alter_sys=True)"
    job = start("-c", code, "--steps", "4", "--checkpoint-dir", str(tmp_path / "place"), "--checkpoint-every", "2")
    assert job.wait() == 0
    assert [line["state"] for line in job.events("checkpoint")] == ["failed", "failed"]
    assert len(job.steps()) == 4
    assert len(job.stderr().splitlines()) == 2
    assert "the checkpoint of step 2 failed: rank 0: File too large; there is none yet; training goes on" in job.stderr()
    assert not list((tmp_path / "place").glob("*step*"))
