"""The drills: real training is struck, the screen says what ended it and what can be gone back to, one key trains on, and the losses go on."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from tests.journeys.screens import Screen, open_cockpit
from tests.journeys.worlds import World, eventually, idle_scenario, world_at

STEPS, EVERY = 150, 10
FAULTS = "/apis/sim.cockpit.dev/v1alpha1/faults"
START_SECONDS = 150.0
SHAPE = ("--strategy", "ddp", "--nodes", "2", "--nproc", "1", "--steps", str(STEPS), "--checkpoint-every", str(EVERY))


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("drills")
    with world_at(folder, "--scenario", str(idle_scenario(folder)), "--pace", "0.05") as one:
        yield one


@pytest.fixture(scope="module")
def undisturbed(world: World) -> dict[int, float]:
    """The losses of the same run when nothing happens to it, by step."""
    said = world.cockpit("--action", "launch", "--name", "steady", *SHAPE, "--wait", "-o", "json")
    assert said.code == 0, said.err
    losses = losses_of(world, "steady")
    assert sorted(losses) == list(range(1, STEPS + 1))
    return losses


class Drill:
    """One job on one screen."""

    def __init__(self, world: World, screen: Screen, job: str) -> None:
        self.world, self.screen, self.job = world, screen, job

    async def fly(self, *more: str) -> None:
        """Launch the job and wait until the screen shows it beyond a checkpoint."""
        await asyncio.to_thread(launch, self.world, self.job, *more)
        await self.screen.press("3")
        await self.screen.sees(lambda: self.step(self.job) > EVERY, START_SECONDS)

    def step(self, job: str) -> int:
        """The step in the job's row; 0 before the first."""
        found = next((match for line in self.screen.pane("jobs")[2:] if (match := re.search(rf" {job} .* (\d+)/{STEPS} ", line))), None)
        return int(found[1]) if found else 0

    async def told(self, *words: str) -> str:
        """The caution line, once it says all these words."""
        await self.screen.sees(lambda: all(word in self.screen.lines()[1] for word in words), 60)
        return self.screen.lines()[1]

    async def restore(self) -> list[str]:
        """R on the job's row, then what its dialog asks for; the lines of that dialog."""
        await self.screen.cursor("jobs", self.job)
        await self.screen.press("R")
        await self.screen.sees("trains on from step", 60)
        seen = self.screen.lines()
        await self.screen.press("y")
        if "This destroys what it names" in "\n".join(seen):
            await self.screen.sees(lambda: getattr(self.screen.app.focused, "id", "") == "yes")
            await self.screen.press("enter")
        await self.screen.sees(lambda: len(self.screen.app.screen_stack) == 1)
        again = f"{self.job}-r2"
        await self.screen.sees(lambda: any(key.name == again for key in self.screen.app.scene.snapshot.jobs), 90)
        if "Restore goes on" in self.screen.text():  # what took its time was told in a room of its own
            await self.screen.press("escape")
        return seen

    async def trains_on(self, undisturbed: dict[int, float], step: int | None = None) -> None:
        """The restored job trains, nothing is cried any more of the old one, and every loss is the undisturbed run's, bit for bit."""
        await self.screen.sees(lambda: self.step(f"{self.job}-r2") > (step or EVERY), START_SECONDS)
        await self.screen.sees(lambda: f"{self.job} " not in self.screen.lines()[1])
        again = losses_of(self.world, f"{self.job}-r2")
        assert min(again) == (step + 1 if step is not None else min(again)) > EVERY
        assert again == {step: undisturbed[step] for step in again}

    async def clear(self) -> None:
        """Leave nothing that trains."""
        for name in (self.job, f"{self.job}-r2"):
            await asyncio.to_thread(self.world.cockpit, "--action", "stop", "--job", name, "--yes", "-o", "json")


def launch(world: World, job: str, *more: str) -> None:
    said = world.cockpit("--action", "launch", "--name", job, *SHAPE, "--step-pause", "0.1", *more, "-o", "json")
    assert said.code == 0, said.err


def strike(world: World, fault: str, **spec: Any) -> str:
    """Make a Fault object, as the action does, without the seconds that a command takes to start; its name."""
    body = {"apiVersion": "sim.cockpit.dev/v1alpha1", "kind": "Fault", "metadata": {"generateName": f"{fault}-"}, "spec": {"fault": fault, **spec}}
    return str(world.ask("POST", FAULTS, body, expect=201)["metadata"]["name"])


def heal(world: World, name: str) -> None:
    world.ask("DELETE", f"{FAULTS}/{name}")


def node_of(world: World, pod: str) -> str:
    return str(world.ask("GET", f"/api/v1/namespaces/default/pods/{pod}")["spec"]["nodeName"])


def short(node: str) -> str:
    return node.partition(".")[0]


def reports(world: World, job: str) -> list[dict[str, Any]]:
    """What rank 0 of a job printed."""
    text = world.ask("GET", f"/api/v1/namespaces/default/pods/{job}-master-0/log?container=pytorch&timestamps=true")
    told = [line.partition(" ")[2] for line in str(text).splitlines()]
    return [line for one in told if one.startswith("{") and (line := json.loads(one)).get("rank") == 0]


def losses_of(world: World, job: str) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in reports(world, job) if "event" not in line}


async def test_a_killed_rank_is_named_and_a_row_of_the_checkpoints_is_gone_back_to(world: World, undisturbed: dict[int, float]) -> None:
    async with open_cockpit(world, size=(160, 48)) as screen:
        drill = Drill(world, screen, "killed")
        await drill.fly()
        await screen.sees(lambda: drill.step("killed") > 2 * EVERY, 30)
        strike(world, "kill-rank", target={"job": "killed", "rank": 1})
        caution = await drill.told("killed failed: rank 1 was killed (SIGKILL) at step", "R restores")
        assert re.search(r"checkpoint \d+ was saved: R restores", caution), caution
        assert "rank 1" in screen.row("jobs", "killed")
        await screen.cursor("jobs", "killed")
        await screen.press("enter")
        await screen.sees(lambda: "○ said" in screen.text() and "→ checkpoint" in screen.text())
        await screen.press("v")
        await screen.sees(lambda: "● whole" in screen.text() and re.search(r"whole · read \ds ago", screen.text()), 30)
        await drill.told("is whole: R restores")
        await screen.press("tab", "G")
        step = int(str(screen.app.detail.below.cursor.entry).removeprefix("step_"))
        await screen.press("R")
        await screen.sees(f"trains on from step {step} ", 30)
        await screen.press("y", "3")
        await drill.trains_on(undisturbed, step)
        await drill.clear()


async def test_a_reclaimed_spot_node_costs_no_step(world: World, undisturbed: dict[int, float]) -> None:
    async with open_cockpit(world, size=(160, 48)) as screen:
        drill = Drill(world, screen, "spot")
        await drill.fly("--capacity-type", "spot")
        node = node_of(world, "spot-worker-0")
        strike(world, "spot-interruption", target={"node": node})
        await drill.told(f"spot failed: spot node {short(node)} under rank", "was taken back", "R restores")
        ended = next(line for line in reports(world, "spot") if line.get("event") == "stopped")
        assert ended["exit_code"] == 143 and ended["checkpoint"] == ended["step"], "the notice was time enough to save the last step"
        seen = await drill.restore()
        assert any(f"trains on from step {ended['step']} " in line for line in seen), "\n".join(seen)
        await drill.trains_on(undisturbed)
        await drill.clear()


async def test_a_silent_node_stalls_its_job_which_trains_on_elsewhere(world: World, undisturbed: dict[int, float]) -> None:
    async with open_cockpit(world, size=(160, 48)) as screen:
        drill = Drill(world, screen, "silent")
        await drill.fly()
        node = node_of(world, "silent-worker-0")
        fault = strike(world, "node-notready", target={"node": node})
        await drill.told(f"silent stands still: node {short(node)} under rank 1 does not answer", "R restores")
        await screen.sees(lambda: "✖ stalled" in screen.row("jobs", "silent"))
        seen = await drill.restore()
        assert any("give up pod/silent-worker-0" in line for line in seen), "\n".join(seen)
        await screen.sees(lambda: drill.step("silent-r2") > EVERY, START_SECONDS)
        assert node not in {node_of(world, f"silent-r2-{role}-0") for role in ("master", "worker")}
        await drill.trains_on(undisturbed)
        heal(world, fault)
        await drill.clear()


async def test_a_gpu_off_the_bus_is_the_cause_and_is_sat_out(world: World, undisturbed: dict[int, float]) -> None:
    async with open_cockpit(world, size=(160, 48)) as screen:
        drill = Drill(world, screen, "xid")
        await drill.fly()
        node = node_of(world, "xid-worker-0")
        fault = strike(world, "xid", xid=79, target={"job": "xid", "rank": 1})
        await drill.told("xid failed: GPU", f"of {short(node)} fell off the bus (XID 79)", "R restores")
        await screen.sees(lambda: "✖ xid 79" in screen.row("cluster", short(node)))
        seen = await drill.restore()
        assert any("sits out" in line for line in seen) and any(short(node) in line for line in seen), "\n".join(seen)
        await drill.trains_on(undisturbed)
        assert node not in {node_of(world, f"xid-r2-{role}-0") for role in ("master", "worker")}
        heal(world, fault)
        await drill.clear()


async def test_training_goes_on_while_the_api_is_down(world: World, undisturbed: dict[int, float]) -> None:
    async with open_cockpit(world, size=(160, 48)) as screen:
        drill = Drill(world, screen, "unseen")
        await drill.fly()
        strike(world, "api-down", seconds=5)
        await drill.told("connection lost")
        await screen.sees(lambda: "stale" in screen.lines()[0] or "not live" in screen.lines()[0])
        before = drill.step("unseen")
        assert before, "the last known state is gone"
        await screen.sees("● live", 30)
        await screen.sees(lambda: drill.step("unseen") > before + EVERY, 30)
        assert "connection lost" not in screen.text() and not await asyncio.to_thread(restarts, world, "unseen")
        seen = losses_of(world, "unseen")
        assert sorted(seen) == list(range(1, max(seen) + 1)) and seen == {step: undisturbed[step] for step in seen}
        await drill.clear()


def restarts(world: World, job: str) -> int:
    """How often its containers were restarted."""
    pods = world.ask("GET", "/api/v1/namespaces/default/pods")["items"]
    return sum(one["restartCount"] for pod in pods if pod["metadata"]["name"].startswith(job) for one in pod["status"]["containerStatuses"])


def test_an_interrupted_job_that_may_restart_does_so_by_itself(world: World, undisturbed: dict[int, float]) -> None:
    launch(world, "again", "--max-restarts", "3")
    eventually(lambda: _last(world, "again") > EVERY, "a step beyond a checkpoint")
    strike(world, "spot-interruption", target={"node": node_of(world, "again-worker-0")})
    resumed = eventually(lambda: _resumed(world, "again"), "the ranks are back", 120)
    assert resumed > EVERY
    eventually(lambda: _last(world, "again") > resumed)
    assert all(loss == undisturbed[step] for step, loss in losses_of(world, "again").items() if step > resumed)
    assert world.cockpit("--action", "stop", "--job", "again", "--yes", "-o", "json").code == 0


def _running(world: World, job: str) -> list[dict[str, Any]]:
    """What rank 0 printed, once its pod runs; nothing while it is being made anew."""
    try:
        return reports(world, job)
    except AssertionError:
        return []


def _last(world: World, job: str) -> int:
    return max((line["step"] for line in _running(world, job) if "event" not in line), default=0)


def _resumed(world: World, job: str) -> int:
    """From which step the ranks that run now went on; 0 while they have not."""
    starts = [line for line in _running(world, job) if line.get("event") == "start"]
    return int(starts[-1]["resumed_from"] or 0) if starts else 0
