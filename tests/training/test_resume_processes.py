"""Ranks from nothing, with checkpoints: stopped by a signal, two jobs in one folder, a disk that is full."""

import os
import resource
import signal
from importlib.util import find_spec
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.manifest import FolderPlace, entry_of, verdicts, verify

NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")


def there(place: Path) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(FolderPlace(place), "full")}


def kill(*ranks) -> None:
    for one in ranks:
        os.kill(one.process.pid, signal.SIGKILL)
    for one in ranks:
        one.process.wait()


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


@pytest.mark.parametrize("strategy", [("ddp",), ("fsdp",), pytest.param(("zero", "--stage", "1"), marks=NEEDS_DEEPSPEED)], ids=" ".join)
def test_a_disk_that_fills_up_while_it_is_saved_to_is_one_line_and_the_checkpoint_before_stays(fork_ranks, tmp_path, strategy):
    """A limit on the size of the ranks' files stands for the disk: their lines are below it, the tiny model's checkpoints are not."""
    place, (name, *own) = tmp_path / "place", strategy
    flags = ("--steps", "100000", "--step-pause", "0.05", "--device", "cpu", "--checkpoint-dir", str(place), "--checkpoint-every", "4")
    ranks = fork_ranks(*own, *flags, "--keep-last", "1", strategy=name)

    def limit(size: int) -> None:
        for one in ranks:
            resource.prlimit(one.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    ranks[0].until(lambda: ranks[0].events("checkpoint"))
    limit(500_000)
    ranks[0].until(lambda: ranks[0].events("checkpoint")[-1]["state"] == "failed")
    good = [line["step"] for line in ranks[0].events("checkpoint") if line["state"] == "whole"][-1]
    assert verify(FolderPlace(place), entry_of(good), "full").state == "whole"
    limit(resource.RLIM_INFINITY)
    ranks[0].until(lambda: ranks[0].events("checkpoint")[-1]["state"] == "whole")
    os.kill(ranks[0].process.pid, signal.SIGTERM)
    assert [one.wait() for one in ranks] == [143, 143]
    failed = [line for line in ranks[0].events("checkpoint") if line["state"] == "failed"]
    warned = [line for line in ranks[0].stderr().splitlines() if line.startswith("warning: ")]
    assert len(warned) == len(failed)
    assert f"the checkpoint of step {failed[0]['step']} failed: rank " in warned[0]
    assert f": File too large; the last good one is step {good}; training goes on" in warned[0]
    assert "warning: " not in ranks[1].stderr()
    assert "Traceback" not in ranks[0].stderr() + ranks[1].stderr()
    assert set(there(place).values()) == {"whole"}


def foreign(place: Path) -> None:
    """What another program saved, and a manifest of another version."""
    (place / entry_of(4) / "model.safetensors").write_bytes(b"weights")
    (place / entry_of(4) / "manifest.json").write_text('{"version": 7, "checksum": ""}')


def torn(place: Path) -> None:
    file = place / entry_of(4) / ".metadata"
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize(
    ("change", "flags", "why"),
    [
        (foreign, (), "none of 1 checkpoints is whole (step_00000004: manifest.json has version '7', this program reads 1)"),
        (torn, (), "none of 1 checkpoints is whole (step_00000004: .metadata has "),
        (
            lambda place: None,
            ("--model", "small"),
            "it is of another model, tiny: blocks.0.attention.keys.weight is [32, 64] there",
        ),
        (lambda place: None, ("--resume", "3"), "there is no checkpoint of step 3; there are: 4"),
        (lambda place: None, ("--seed", "1"), "its data are of seed 0, this run's of seed 1; use --seed 0"),
    ],
    ids=["foreign", "torn", "another model", "another step", "another seed"],
)
def test_what_cannot_be_gone_on_from_is_one_line_from_rank_0(fork_ranks, tmp_path, change, flags, why):
    place = tmp_path / "place"
    first = fork_ranks("--steps", "4", "--checkpoint-dir", str(place))
    assert [one.wait() for one in first] == [0, 0]
    change(place)
    before = {path.name: path.read_bytes() for path in (place / entry_of(4)).iterdir()}
    ranks = fork_ranks("--steps", "9", "--checkpoint-dir", str(place), *flags)
    assert [one.wait() for one in ranks] == [2, 2]
    (line,) = ranks[0].stderr().splitlines()
    assert line.startswith("error: --checkpoint-dir ")
    assert why in line
    assert ranks[1].stderr() == ""
    assert {path.name: path.read_bytes() for path in (place / entry_of(4)).iterdir()} == before
