"""Ranks from nothing, with checkpoints: stopped by a signal, two jobs in one folder, a disk that is full."""

import os
import signal
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.manifest import FolderPlace, verdicts


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
