"""The newcomer's flight on the screen: five live panes, a job launched by a form that really trains, a node closed and opened, and the way about."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator

import pytest

from bench.terminal import Terminal
from tests.journeys.screens import Screen, open_cockpit
from tests.journeys.worlds import World, world_at

PHASES = ("pending", "pulling", "rendezvous", "training", "succeeded", "failed")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("flight")) as one:
        yield one


async def live(screen: Screen) -> None:
    """Wait until all five panes show the cluster and nothing is stale or missing."""
    await screen.sees("● live")
    await screen.sees(lambda: "p5.48xlarge" in "".join(screen.pane("cluster")))
    await screen.sees(lambda: screen.row("nodepools", "gpu-efa"))
    await screen.sees(lambda: screen.row("jobs", "llama-pre"))
    await screen.sees(lambda: screen.row("gpus", "10-0-24-118"))
    await screen.sees(lambda: screen.row("efa", "10-0-24-118"))


def percent(line: str) -> float:
    """The first percentage of a line; nothing known is -1."""
    found = re.search(r"(\d+) %", line)
    return float(found.group(1)) if found else -1.0


async def fill(screen: Screen, **fields: str) -> None:
    """Go through a form downwards and type into the fields named."""
    left = dict(fields)
    for _ in range(40):
        focused = screen.app.focused
        name = str(focused.id or "").removeprefix("input-") if focused else ""
        if name in left:
            await screen.press("ctrl+u")
            await screen.type(left.pop(name))
        if not left:
            return
        await screen.press("down")
    raise AssertionError(f"no fields {sorted(left)} in the form:\n{screen.text()}")


async def phases_until(screen: Screen, job: str, last: str, also: Callable[[str], None] = lambda phase: None) -> list[str]:
    """The phases the jobs pane shows for a job, in order, until the last one stands there."""
    seen: list[str] = []

    def look() -> bool:
        row = screen.row("jobs", job)
        phase = next((word for word in PHASES if word in row), "")
        if phase and phase not in seen:
            seen.append(phase)
        also(phase)
        return phase == last or phase == "failed"

    await screen.sees(look, 120)
    assert seen[-1] == last, seen
    return seen


async def test_a_job_is_launched_by_the_form_and_flies_through_its_phases(world: World) -> None:
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("l")
        await screen.sees("What will be done")
        await fill(screen, nodes="2", nproc="2", steps="120", name="flight", step_pause="0.05")
        await screen.sees("PyTorchJob default/flight: 2 pods x 2 = 4 ranks")
        await screen.sees("8 EFA devices a pod")
        await screen.press("enter")
        await screen.sees("on practice · namespace default · SIMULATED")
        await screen.press("y")
        utils: set[float] = set()
        rates: set[str] = set()

        def gauges(phase: str) -> None:
            if phase == "training":
                utils.update(percent(line) for line in screen.pane("gpus")[2:] if "10-0-8" in line)
                rates.update(line for line in screen.pane("efa")[2:] if "10-0-8" in line)

        seen = await phases_until(screen, "flight", "succeeded", gauges)
        assert seen == [one for one in PHASES if one in seen] and {"rendezvous", "training"} <= set(seen), seen
        assert max(utils) > 0, f"the GPU pane stood still: {utils}"
        assert len(rates) > 2 and any(not line.rstrip(" │").endswith("0.0") for line in rates), f"the EFA pane stood still: {rates}"
        assert "120/120" in screen.row("jobs", "flight")
    job = world.ask("GET", "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/flight")
    assert any(one["type"] == "Succeeded" and one["status"] == "True" for one in job["status"]["conditions"])


async def test_a_job_is_stopped_by_key_when_that_is_said_twice(world: World) -> None:
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("3")
        await screen.cursor("jobs", "flight")
        await screen.press("ctrl+d")
        await screen.sees("This destroys what it names")
        await screen.press("y")
        assert world.ask("GET", "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/flight")
        await screen.press("enter")
        await screen.sees(lambda: not screen.row("jobs", "flight"))
    world.ask("GET", "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/flight", expect=404)


def kubectl(world: World, *words: str) -> str:
    """What an unmodified kubectl says with the practice kubeconfig."""
    return subprocess.run(["kubectl", "--kubeconfig", world.kubeconfig, *words], check=True, capture_output=True, text=True, timeout=30).stdout


async def test_a_node_is_closed_and_opened_by_key_and_the_api_agrees(world: World) -> None:
    name = world.node(2)
    short = name.split(".")[0].removeprefix("ip-")
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("1")
        await screen.cursor("cluster", name)
        await screen.press("c")
        await screen.sees(f"kubectl cordon {name}")
        await screen.press("y")
        await screen.sees(lambda: "cordoned" in screen.row("cluster", short))
        assert world.ask("GET", f"/api/v1/nodes/{name}")["spec"]["unschedulable"] is True
        if shutil.which("kubectl"):
            assert "SchedulingDisabled" in kubectl(world, "get", "node", name)
        await screen.press("u")
        await screen.sees(f"kubectl uncordon {name}")
        await screen.press("y")
        await screen.sees(lambda: "ok" in screen.row("cluster", short))
        assert not world.ask("GET", f"/api/v1/nodes/{name}")["spec"].get("unschedulable")
        if shutil.which("kubectl"):
            assert "SchedulingDisabled" not in kubectl(world, "get", "node", name)


@pytest.mark.skipif(not shutil.which("kubectl"), reason="there is no kubectl on this machine")
async def test_what_kubectl_does_shows_on_the_screen(world: World) -> None:
    name = world.node(3)
    short = name.split(".")[0].removeprefix("ip-")
    async with open_cockpit(world) as screen:
        await live(screen)
        kubectl(world, "cordon", name)
        await screen.sees(lambda: "cordoned" in screen.row("cluster", short), 5)
        kubectl(world, "uncordon", name)
        await screen.sees(lambda: "cordoned" not in screen.row("cluster", short), 5)


async def test_down_from_the_nodepool_to_the_gpus_and_pods_of_a_node_and_back(world: World) -> None:
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("2")
        await screen.cursor("nodepools", "gpu-efa")
        await screen.press("enter")
        await screen.sees("gpu-efa-7kx2m")
        await screen.cursor("", "gpu-efa-7kx2m")
        await screen.press("enter")
        await screen.sees("Node ip-10-0-24-118")
        await screen.sees(lambda: "claim gpu-efa-7kx2m" in screen.text() and "GPU 7" in screen.text() and "GiB of 80 GiB" in screen.text())
        await screen.cursor("", "llama-pretrain-")
        await screen.press("escape")
        await screen.sees("gpu-efa-zc6hn")
        await screen.press("escape")
        await screen.sees(lambda: screen.row("jobs", "llama-pre"))
        assert screen.app.active == "nodepools"


async def test_down_from_the_job_to_its_ranks_and_their_log(world: World) -> None:
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("3")
        await screen.cursor("jobs", "llama-pretrain")
        await screen.press("enter")
        await screen.sees(lambda: "llama-pretrain-master-0" in screen.text() and "llama-pretrain-worker-0" in screen.text())
        await screen.press("enter")
        await screen.sees('"loss"')
        await screen.press("escape")
        await screen.sees("llama-pretrain-worker-0")
        await screen.press("escape")
        await screen.press("L")
        await screen.sees(lambda: "0/llama-pretrain-master-0" in screen.text() and "1/llama-pretrain-worker-0" in screen.text())
        await screen.press("escape")
        await screen.sees(lambda: screen.row("efa", "10-0-24-118"))


async def test_zoom_filter_help_palette_command_line_and_out(world: World) -> None:
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("1", "z")
        await screen.sees(lambda: "5 EFA ──" not in screen.text())
        await screen.press("z")
        await screen.sees("5 EFA ──")
        await screen.press("slash")
        await screen.type("c7g")
        await screen.sees(lambda: screen.row("cluster", "c7g.2xlarge") and not screen.row("cluster", "p5.48xlarge"))
        await screen.press("enter", "escape")
        await screen.sees(lambda: screen.row("cluster", "p5.48xlarge"))
        await screen.press("question_mark")
        await screen.sees("asks y/n")
        await screen.press("escape")
        await screen.press("ctrl+p")
        await screen.sees(lambda: len(screen.app.screen_stack) == 2)
        await screen.type("cord")
        await screen.sees("Cordon")
        await screen.press("escape")
        await screen.press("colon")
        await screen.type("queues")
        await screen.press("enter")
        await screen.sees("Queues ──")
        await screen.press("escape")
        await screen.press("colon")
        await screen.type("qeues")
        await screen.press("enter")
        await screen.sees("did you mean queues")
        await screen.press("q")
        await screen.sees("q again quits")
        await screen.press("q")
        await screen.sees(lambda: screen.app.return_code == 0)


def test_a_command_typed_in_one_breath_is_no_keys_of_the_pane(world: World) -> None:
    with Terminal([sys.executable, "-m", "cockpit", "--kubeconfig", world.kubeconfig], 160, 44, world.env) as terminal:
        terminal.wait(lambda seen: b"live" in seen and b"c7g.2xlarge" in seen, 30)
        terminal.send(":nodeclaims\r")
        terminal.wait(lambda seen: b"gpu-efa-zc6hn" in seen, 15)
        assert b"cordon ip-" not in terminal.output() and b"Events of" not in terminal.output()


def test_an_answer_typed_ahead_is_no_key_of_the_pane(world: World) -> None:
    """`j`, `c` and `y` in one breath, as over a slow line: the second node is cordoned, not the first, and no YAML opens."""
    with Terminal([sys.executable, "-m", "cockpit", "--kubeconfig", world.kubeconfig], 160, 44, world.env) as terminal:
        terminal.wait(lambda seen: b"live" in seen and b"c7g.2xlarge" in seen, 30)
        at = terminal.mark()
        terminal.send("jcy")
        terminal.wait(lambda seen: "▼ cordoned".encode() in seen, 15, at)
        closed = [node["metadata"]["name"] for node in world.ask("GET", "/api/v1/nodes")["items"] if node["spec"].get("unschedulable")]
        assert closed == ["ip-10-0-24-118.ap-northeast-2.compute.internal"]
        at = terminal.mark()
        terminal.send("uy")
        terminal.wait(lambda seen: "● ok".encode() in seen and b"uncordon" in seen, 15, at)
        assert b"YAML" not in terminal.output(at)
