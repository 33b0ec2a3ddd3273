"""All four strategies for real: launched, saved, restored at half the ranks; what runs is stopped first, what is torn is not taken."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.worlds import Said, World, eventually, idle_scenario, world_at

pytestmark = [pytest.mark.timeout(400)]
STEPS, SAVED = 8, 4


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("strategies")
    with world_at(folder, "--scenario", str(idle_scenario(folder)), "--pace", "0.2") as found:
        yield found


def done(said: Said) -> dict[str, Any]:
    assert said.code == 0, said.err
    found: dict[str, Any] = said.json
    return found


def action(world: World, *words: str) -> Said:
    return world.cockpit("--action", *words, "-o", "json")


def steps_of(world: World, job: str) -> dict[int, float]:
    """The loss of every step that rank 0 reported."""
    lines = done(action(world, "logs", "--job", job, "--rank", "0"))["result"]
    reports = [json.loads(one["line"]) for one in lines if one["line"].startswith('{"rank": 0')]
    return {one["step"]: one["loss"] for one in reports}


@pytest.mark.parametrize(
    ("strategy", "options"),
    [
        ("ddp", ()),
        pytest.param("fsdp", ("--sharding", "grad-op"), marks=pytest.mark.slow),
        pytest.param("amx", (), marks=pytest.mark.slow),
        pytest.param("deepspeed", ("--zero", "3", "--offload", "cpu"), marks=pytest.mark.slow),
        pytest.param("deepspeed", ("--zero", "1"), marks=pytest.mark.slow),
    ],
    ids=["ddp", "fsdp", "amx", "zero3", "zero1"],
)
def test_each_strategy_is_launched_and_restored_at_half_the_ranks(world: World, strategy: str, options: tuple[str, ...]) -> None:
    if strategy == "deepspeed":
        pytest.importorskip("deepspeed", exc_type=ImportError)
    name = "-".join((strategy, *options[1:2])).lower()
    words = ("--strategy", strategy, *options, "--nproc", "2", "--steps", str(STEPS), "--checkpoint-every", str(SAVED), "--precision", "fp32")
    flown = done(action(world, "launch", *words, "--name", name, "--wait"))["result"]
    assert (flown["phase"], flown["steps"]) == ("succeeded", STEPS)
    listed = done(action(world, "checkpoints", "--job", name, "--verify", "full"))["result"]
    told = [(one["step"], one["state"], one["world_size"], one["strategy"]) for one in listed]
    assert told == [(STEPS, "whole", 2, strategy), (SAVED, "whole", 2, strategy)]
    assert all(one["verified"] == "full" and one["loss"] for one in listed)
    before = steps_of(world, name)
    again = done(action(world, "restore", "--job", name, "--step", str(SAVED), "--nproc", "1", "--wait"))["result"]
    assert (again["phase"], again["ranks"], again["steps"], again["job"]) == ("succeeded", 1, STEPS, f"{name}-r2")
    after = steps_of(world, f"{name}-r2")
    assert list(after) == list(range(SAVED + 1, STEPS + 1))
    assert all(after[step] == pytest.approx(before[step], rel=1e-3) for step in after)
    pods = world.ask("GET", "/api/v1/pods?labelSelector=cockpit.dev/reader")["items"]
    assert pods == [], "no reader is left"


def test_a_running_job_is_stopped_first_and_trains_on_from_what_it_saved(world: World) -> None:
    words = ("--strategy", "ddp", "--nproc", "2", "--steps", "4000", "--checkpoint-every", "5", "--step-pause", "0.1", "--name", "runs")
    done(action(world, "launch", *words))

    def saved() -> list[dict[str, Any]]:
        return [one for one in done(action(world, "checkpoints", "--readonly", "--job", "runs"))["result"] if one["state"] == "said"]

    eventually(saved, "the log tells of a checkpoint", 90)
    refused = action(world, "restore", "--job", "runs", "--nproc", "1")
    assert refused.code == 4 and refused.json["error"]["message"] == "restore needs --yes"
    assert [one["verb"] for one in refused.json["changes"]] == ["delete", "delete", "wait", "apply", "create"]
    assert action(world, "prune", "--job", "runs", "--yes").code == 4, "its lock is held"
    done(action(world, "restore", "--job", "runs", "--nproc", "1", "--yes"))

    def trains() -> bool:
        (row,) = done(action(world, "jobs", "--job", "runs-r2"))["result"]
        assert row["phase"] != "failed"
        return row["phase"] == "training"

    eventually(trains, "the restored job trains", 90)
    first = min(steps_of(world, "runs-r2"))
    assert first > 5, "it went on, from what was saved at the end"
    assert done(action(world, "jobs", "--job", "runs"))["result"] == []
    done(action(world, "stop", "runs-r2", "--yes", "--wait"))


def test_a_torn_checkpoint_is_named_and_not_restored_and_prune_spares_the_last_whole_one(world: World) -> None:
    words = ("--strategy", "ddp", "--nproc", "1", "--steps", "6", "--checkpoint-every", "2", "--name", "torn", "--wait")
    done(action(world, "launch", *words))
    folder = world.home / "pods" / "claims" / "default" / "fsx-pvc" / "torn"
    victim = next(path for path in (folder / "step_00000006").iterdir() if path.suffix == ".distcp")
    os.truncate(victim, victim.stat().st_size // 2)
    rows = {one["step"]: one for one in done(action(world, "checkpoints", "--job", "torn"))["result"]}
    assert (rows[6]["state"], rows[4]["state"], rows[2]["state"]) == ("torn", "whole", "whole")
    assert victim.name in rows[6]["why"]
    refused = action(world, "restore", "--job", "torn", "--step", "6", "--steps", "8")
    assert refused.code == 4 and victim.name in refused.json["error"]["message"]
    done(action(world, "prune", "--job", "torn", "--keep-last", "1", "--yes"))
    assert sorted(path.name for path in folder.glob("step_*")) == ["step_00000004"]
    assert done(action(world, "prune", "--job", "torn", "--keep-last", "1", "--yes"))["result"]["already"]
    done(action(world, "stop", "torn", "--yes", "--wait"))
    back = done(action(world, "restore", "--job", "torn", "--wait"))["result"]
    assert (back["phase"], back["steps"]) == ("succeeded", 6), "the journal knew how the job that is gone was launched"
