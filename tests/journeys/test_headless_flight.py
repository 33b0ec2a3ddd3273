"""The first flight from a script: launch on the practice cluster, follow it to its end, read its log, see it listed, stop it; cordon and back."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
Cockpit = Callable[..., tuple[int, str, str]]


@pytest.fixture(scope="module")
def cockpit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cockpit]:
    """`cockpit(*words)` in a home of its own, on a practice cluster of its own."""
    home = tmp_path_factory.mktemp("home")
    env = os.environ | {"HOME": str(home), "XDG_STATE_HOME": str(home / "state"), "COCKPIT_SIM_HOME": str(home / "sim")}

    def run(*words: str) -> tuple[int, str, str]:
        command = [sys.executable, "-m", "cockpit", "--sim", "--action", *words]
        done = subprocess.run(command, cwd=ROOT, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=150)
        return done.returncode, done.stdout, done.stderr

    yield run
    code, _, said = run("sim-stop")
    assert code == 0, said


def answer(ran: tuple[int, str, str]) -> dict[str, Any]:
    """The one object of a run that went well."""
    code, out, err = ran
    assert code == 0, err
    found: dict[str, Any] = json.loads(out)
    assert found["ok"]
    assert found["simulated"]
    return found


def until(cockpit: Cockpit, job: str, phase: str, seconds: float = 90.0) -> None:
    """Look again and again until a job is in that phase; a look takes long enough to be no busy loop."""
    deadline, seen = time.monotonic() + seconds, ""
    while seen != phase:
        assert time.monotonic() < deadline, f"{job} is {seen}"
        (row,) = answer(cockpit("jobs", "--job", job, "-o", "json"))["result"]
        seen = row["phase"]


def test_launch_wait_logs_jobs_stop(cockpit: Cockpit) -> None:
    words = ("launch", "--strategy", "ddp", "--nodes", "2", "--nproc", "2", "--steps", "50", "--wait", "-o", "json")
    flown = answer(cockpit(*words))["result"]
    assert (flown["phase"], flown["ranks"], flown["steps"]) == ("succeeded", 4, 50)
    assert flown["loss_last"] < flown["loss_first"]
    assert flown["seconds"] > 0
    job = flown["job"]

    ends = answer(cockpit("logs", "--job", job, "--grep", '"event": "end"', "-o", "json"))["result"]
    assert {one["rank"] for one in ends} == {0, 1, 2, 3}
    assert [one["time"] for one in ends] == sorted(one["time"] for one in ends)

    (listed,) = answer(cockpit("jobs", "--job", job, "-o", "json"))["result"]
    assert (listed["phase"], listed["step"], listed["loss"]) == ("succeeded", 50, flown["loss_last"])

    assert cockpit("stop", job)[0] == 4
    assert answer(cockpit("stop", job, "--yes", "--wait", "-o", "json"))["result"]["phase"] == "gone"
    assert answer(cockpit("stop", job, "--yes", "-o", "json"))["result"] == {"already": f"{job} already gone"}


def test_cordon_is_seen_and_undone(cockpit: Cockpit) -> None:
    name = next(row["name"] for row in answer(cockpit("nodes", "-o", "json"))["result"] if row["gpu_allocatable"])
    answer(cockpit("cordon", name, "--reason", "xid 79", "-o", "json"))
    (row,) = [row for row in answer(cockpit("nodes", "-o", "json"))["result"] if row["name"] == name]
    assert (row["cordoned"], row["cordon_reason"], row["health"]) == (True, "xid 79", "cordoned")
    answer(cockpit("uncordon", name, "-o", "json"))
    (row,) = [row for row in answer(cockpit("nodes", "-o", "json"))["result"] if row["name"] == name]
    assert (row["cordoned"], row["cordon_reason"]) == (False, None)


def test_more_gpus_than_any_pool_can_give_are_refused_with_the_arithmetic(cockpit: Cockpit) -> None:
    code, out, _ = cockpit("launch", "--nodes", "40", "--nproc", "8", "-o", "json")
    found = json.loads(out)
    assert (code, found["error"]["code"], found["changes"]) == (4, "refused", [])
    assert "40 pods x 8 GPUs = 320 GPUs" in found["error"]["message"]


def test_a_fault_kills_a_rank_and_the_job_fails(cockpit: Cockpit) -> None:
    code, out, _ = cockpit("sim-fault", "--fault", "kill-rank", "--job", "no-such-job", "-o", "json")
    assert (code, json.loads(out)["error"]["code"]) == (2, "bad-input")
    answer(cockpit("launch", "--name", "doomed", "--nodes", "2", "--steps", "100000", "--step-pause", "0.1", "-o", "json"))
    until(cockpit, "doomed", "training")
    answer(cockpit("sim-fault", "--fault", "kill-rank", "--job", "doomed", "--rank", "1", "-o", "json"))
    code, out, _ = cockpit("logs", "--job", "doomed", "--follow", "--timeout", "120", "-o", "json")
    assert code == 0
    (row,) = answer(cockpit("jobs", "--job", "doomed", "-o", "json"))["result"]
    assert row["phase"] == "failed"
    answer(cockpit("stop", "doomed", "--yes", "--wait", "-o", "json"))
