"""Every fault of the practice cluster is made by the action and is seen on the screen, where a person would look for it."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator

import pytest

from tests.journeys.screens import Screen, open_cockpit
from tests.journeys.worlds import World, world_at

JOB = "llama-pretrain"


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("faults")) as one:
        yield one


def short(name: str) -> str:
    return name.split(".")[0].removeprefix("ip-")


async def strike(world: World, fault: str, *words: str) -> None:
    """Make a fault by the action, while the screen goes on."""
    said = await asyncio.to_thread(world.cockpit, "--action", "sim-fault", "--fault", fault, *words, "-o", "json")
    assert said.code == 0, (said.out, said.err)


def restarted(line: str) -> bool:
    """Whether a line of the job's room counts restarts of its pod."""
    return bool(re.search(r"(Running|Error|BackOff\S*|Waiting\S*)\s+[1-9]\d*\s", line))


async def ready(screen: Screen, job: str = "training") -> None:
    await screen.sees("● live")
    await screen.sees(lambda: "p5.48xlarge" in "".join(screen.pane("cluster")))
    await screen.sees(lambda: job in screen.row("jobs", "llama-pre"), 60)
    await screen.sees(lambda: screen.row("gpus", "10-0-24-118") and screen.row("efa", "10-0-24-118"))


async def test_faults_of_gpus_and_of_the_network_are_seen_in_their_panes(world: World) -> None:
    idle, other = world.node(2), world.node(3)
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen, "")
        await strike(world, "xid", "--node", idle, "--gpu", "3", "--xid", "48")
        await screen.sees(lambda: "✖ xid 48" in screen.row("gpus", short(idle)))
        await screen.sees(lambda: "xid 48" in screen.row("cluster", short(idle)))
        await screen.sees(lambda: "ALERT" in screen.lines()[1])
        await strike(world, "throttle", "--node", other, "--gpu", "1")
        await screen.sees(lambda: "throttle" in screen.row("gpus", short(other)))
        busy = world.node(0)
        await strike(world, "efa-retransmit", "--node", busy)
        await screen.sees(lambda: "▲" in screen.row("efa", short(busy)))
        for fault in ("xid", "throttle", "efa-retransmit"):
            await strike(world, fault, "--clear")
        await screen.sees(lambda: "throttle" not in screen.row("gpus", short(other)))
        await screen.sees(lambda: "● ok" in screen.row("cluster", short(idle)))


async def test_a_node_that_falls_silent_is_not_ready_and_comes_back(world: World) -> None:
    name = world.node(3)
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen, "")
        await strike(world, "node-notready", "--node", name)
        await screen.sees(lambda: "not ready" in screen.row("cluster", short(name)).lower().replace("notready", "not ready"), 60)
        await strike(world, "node-notready", "--clear")
        await screen.sees(lambda: "● ok" in screen.row("cluster", short(name)), 60)


async def test_a_job_that_loses_a_rank_hangs_or_is_slow_is_seen(world: World) -> None:
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen)
        await strike(world, "slow-rank", "--job", JOB, "--rank", "1", "--seconds", "1")
        await strike(world, "hang-rank", "--job", JOB, "--rank", "0", "--seconds", "2")
        await screen.press("colon")
        await screen.type("events")
        await screen.press("enter")
        await screen.sees(lambda: "hangs" in screen.text() and "runs at 50" in screen.text())
        await screen.press("escape")
        await strike(world, "kill-rank", "--job", JOB, "--rank", "1")
        # The restart is over within a second, and may fall between two looks: what comes after it is the rendezvous.
        await screen.sees(lambda: any(word in screen.row("jobs", "llama-pre") for word in ("↻ restarting", "◐ rendezvous")))
        await screen.press("3", "enter")
        await screen.sees(lambda: screen.app.scene.snapshot.pods and any(restarted(line) for line in screen.lines() if JOB in line))


async def test_a_claim_without_capacity_says_what_it_waits_for(world: World) -> None:
    await strike(world, "insufficient-capacity", "--instance-type", "p5.48xlarge")
    said = await asyncio.to_thread(
        world.cockpit, "--action", "launch", "--name", "waits", "--nodes", "3", "--nproc", "8", "--steps", "1", "-o", "json"
    )
    assert said.code == 0, said.err
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen, "")
        await screen.sees(lambda: any(word in screen.row("jobs", "waits") for word in ("pending", "provisioning")))
        await screen.sees(lambda: "▲ no capacity" in screen.row("nodepools", "gpu-efa"))
        await screen.sees(lambda: "finds no capacity" in screen.text() or "CAUTION 2" in screen.text())  # another job's trouble may stand before it
        await screen.press("colon")
        await screen.type("events")
        await screen.press("enter")
        await screen.sees("InsufficientCapacityError")
        await screen.sees("insufficient capacity")
    assert (await asyncio.to_thread(world.cockpit, "--action", "stop", "--job", "waits", "--yes", "-o", "json")).code == 0
    await strike(world, "insufficient-capacity", "--clear")


async def test_an_api_that_is_down_and_watches_that_expire_are_recovered_from(world: World) -> None:
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen, "")
        await strike(world, "watch-expire")
        await strike(world, "api-down", "--seconds", "3")
        await screen.sees(lambda: any(word in screen.lines()[0] for word in ("stale", "down", "not live")))
        assert screen.row("cluster", "p5.48xlarge")
        await screen.sees("● live")
        name = world.node(0)
        world.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": True}})
        await screen.sees(lambda: "cordoned" in screen.row("cluster", short(name)), 10)
        world.patch(f"/api/v1/nodes/{name}", {"spec": {"unschedulable": None}})


async def test_a_spot_node_that_is_taken_away_leaves_the_screen(world: World) -> None:
    name = next(one for one in (world.node(2), world.node(3)))
    async with open_cockpit(world, size=(200, 50)) as screen:
        await ready(screen, "")
        await strike(world, "spot-interruption", "--node", name)
        await screen.sees(lambda: (row := screen.row("cluster", short(name))) == "" or "● ok" not in row)
