"""Hardware taken out and brought back by key and by command line: both ask the API server for the same, and kubectl agrees."""

from __future__ import annotations

import asyncio
import contextlib
import io
import json
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

from actions.core import performing
from cockpit import cli
from tests.journeys.recording import Recorder, recording
from tests.journeys.screens import Screen, open_cockpit
from tests.journeys.worlds import World, eventually, idle_scenario, world_at

BUDGETS = "/apis/policy/v1/namespaces/default/poddisruptionbudgets"
SLOW = 90.0


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("hardware")
    with world_at(folder, "--scenario", str(idle_scenario(folder))) as one:
        yield one


@pytest.fixture
def recorder() -> Iterator[Recorder]:
    with recording() as one:
        yield one


def kubectl(world: World, *words: str) -> str:
    """What an unmodified kubectl says."""
    return subprocess.run(["kubectl", "--kubeconfig", world.kubeconfig, *words], check=True, capture_output=True, text=True, timeout=60).stdout


def command(world: World, *words: str) -> dict[str, Any]:
    """A command line in this process, where what it asks is recorded; its answer, which must be good."""
    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = cli.main(["--kubeconfig", world.kubeconfig, *words, "-o", "json"])
    assert code == 0, (out.getvalue(), err.getvalue())
    answer: dict[str, Any] = json.loads(out.getvalue())
    return answer


def closed(world: World, *names: str) -> list[bool]:
    return [kubectl(world, "get", "node", name, "-o", "jsonpath={.spec.unschedulable}") == "true" for name in names]


def offered(world: World, name: str) -> str:
    return kubectl(world, "get", "node", name, "-o", r"jsonpath={.status.allocatable.nvidia\.com/gpu}")


def configs(world: World) -> dict[str, str]:
    """The device plugin's configurations."""
    told = kubectl(world, "get", "configmap", "nvidia-device-plugin-configs", "-n", "kube-system", "-o", "json")
    found: dict[str, str] = json.loads(told)["data"]
    return found


async def live(screen: Screen) -> None:
    await screen.sees("● live", SLOW)
    await screen.sees(lambda: "p5.48xlarge" in "".join(screen.pane("cluster")), SLOW)
    await screen.sees(lambda: screen.row("gpus", "10-0-24-118"), SLOW)


async def undo(screen: Screen, told: str) -> None:
    """Take back the last plan by key."""
    await screen.press("U")
    await screen.sees(told, SLOW)
    await screen.press("y")


async def test_marked_nodes_are_cordoned_and_opened_again(world: World, recorder: Recorder) -> None:
    names = sorted([world.node(2), world.node(3)])
    async with open_cockpit(world) as screen:
        await live(screen)
        for name in names:
            await screen.cursor("cluster", name)
            await screen.press("space")
        await screen.press("c")
        await screen.sees("(2 changes)", SLOW)
        await screen.press("y")
        await screen.sees(lambda: closed(world, *names) == [True, True], SLOW)
        await screen.sees("Cordon: done", SLOW)
        by_key = recorder.take()
        await undo(screen, f"kubectl uncordon {names[0]}")
        await screen.sees(lambda: closed(world, *names) == [False, False], SLOW)
        await screen.sees("Undo: done", SLOW)
        undone_by_key = recorder.take()
    command(world, "--action", "cordon", "--node", ",".join(names))
    assert recorder.take() == by_key and len(by_key) == 2 and closed(world, *names) == [True, True]
    command(world, "--action", "undo")
    assert recorder.take() == undone_by_key and len(undone_by_key) == 2 and closed(world, *names) == [False, False]


@pytest.fixture(scope="module")
def web(world: World) -> str:
    """The node of one pod of a Deployment, with a budget that lets it go nowhere."""
    node = world.node(3)
    container = {"name": "web", "image": "busybox", "command": ["sleep", "3000"]}
    spec = {
        "nodeSelector": {"kubernetes.io/hostname": node},
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists"}],
        "terminationGracePeriodSeconds": 1,
        "containers": [container],
    }
    template = {"metadata": {"labels": {"app": "web"}}, "spec": spec}
    body = {"metadata": {"name": "web"}, "spec": {"replicas": 1, "selector": {"matchLabels": {"app": "web"}}, "template": template}}
    world.ask("POST", "/apis/apps/v1/namespaces/default/deployments", {"apiVersion": "apps/v1", "kind": "Deployment", **body})
    budget = {"metadata": {"name": "web"}, "spec": {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}}}
    world.ask("POST", BUDGETS, {"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", **budget})
    eventually(lambda: running(world, node), "the pod runs", SLOW)
    eventually(lambda: world.ask("GET", f"{BUDGETS}/web").get("status", {}).get("disruptionsAllowed") == 0, "the budget is full", SLOW)
    return node


def running(world: World, node: str) -> list[str]:
    """The pods of the Deployment that run on a node and are not ending."""
    pods = world.ask("GET", f"/api/v1/namespaces/default/pods?labelSelector=app%3Dweb&fieldSelector=spec.nodeName%3D{node}")["items"]
    return [one["metadata"]["name"] for one in pods if one["status"].get("phase") == "Running" and not one["metadata"].get("deletionTimestamp")]


def least(world: World, count: int) -> None:
    """How many pods the budget wants to see."""
    world.patch(f"{BUDGETS}/web", {"spec": {"minAvailable": count}})
    eventually(lambda: (world.ask("GET", f"{BUDGETS}/web")["status"]["disruptionsAllowed"] > 0) is (count == 0), "the budget is counted", SLOW)


def without_repeats(calls: list[Any]) -> list[Any]:
    return [call for index, call in enumerate(calls) if not index or call != calls[index - 1]]


async def test_a_node_is_drained_as_its_budget_allows(world: World, web: str, recorder: Recorder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(performing, "REFUSED_POLL_SECONDS", 0.3)
    name = web
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.cursor("cluster", name)
        await screen.press("r")
        await screen.sees("delete emptydir", SLOW)
        await screen.press("enter")
        await screen.sees("waits for budget web, which allows no", SLOW)
        await screen.sees("evict pod/web-")
        await screen.press("y", "enter")
        await screen.sees("disruption budget. Trying again", SLOW)
        assert running(world, name)
        await asyncio.to_thread(least, world, 0)
        await screen.sees("is evicted", SLOW)
        await screen.sees("Drain: done", SLOW)
        by_key = without_repeats(recorder.take())
        assert closed(world, name) == [True] and not running(world, name)
        await screen.press("escape")
        await undo(screen, f"kubectl uncordon {name}")
        await screen.sees("not undone: evict pod/web-", SLOW)
        await screen.sees(lambda: closed(world, name) == [False] and running(world, name), SLOW)
        undone_by_key = recorder.take()
    said = command(world, "--action", "drain", "--node", name, "--yes")
    assert without_repeats(recorder.take()) == by_key and [one[0] for one in by_key] == ["PATCH", "POST"]
    assert [one["verb"] for one in said["changes"]] == ["patch", "evict", "wait"] and closed(world, name) == [True]
    command(world, "--action", "undo")
    assert recorder.take() == undone_by_key and closed(world, name) == [False]


def test_a_budget_that_never_allows_it_ends_the_drain_in_time(world: World, web: str, recorder: Recorder) -> None:
    least(world, 1)
    name = web
    eventually(lambda: running(world, name), "the pod is back", SLOW)
    words = ("--action", "drain", "--node", name, "--patience", "1", "--yes", "-o", "json")
    said = world.cockpit(*words)
    assert said.code == 124 and "may not be evicted" in said.json["error"]["message"] and running(world, name)
    assert [one["verb"] for one in said.json["changes"]] == ["patch"] and closed(world, name) == [True]
    assert world.cockpit("--action", "undo", "-o", "json").code == 0 and closed(world, name) == [False]


async def test_marked_gpus_are_quarantined_by_uuid_and_given_back(world: World, recorder: Recorder) -> None:
    names = sorted([world.node(0), world.node(1)])
    listed = command(world, "--action", "gpus")["result"]
    uuids = [next(gpu["uuid"] for gpu in listed if gpu["node"] == name and gpu["index"] == 2) for name in names]
    recorder.take()
    async with open_cockpit(world) as screen:
        await live(screen)
        await screen.press("colon")
        await screen.type("devices")
        await screen.press("enter")
        await screen.sees(uuids[0], SLOW)
        for name in names:
            await screen.cursor("", f"{name}', device='2'")
            await screen.press("space")
        await screen.press("Q")
        await screen.sees(f"take {uuids[1]} out", SLOW)
        await screen.sees(lambda: screen.text().count("GPUs allocatable now, 7 after") == 2)
        await screen.press("y")
        await screen.sees("Quarantine GPU: done", SLOW)
        assert [offered(world, name) for name in names] == ["7", "7"]
        by_key = recorder.take()
        await screen.press("escape")
        await undo(screen, "Undo (7 changes)")
        await screen.sees("Undo: done", SLOW)
        assert [offered(world, name) for name in names] == ["8", "8"]
        undone_by_key = recorder.take()
    said = command(world, "--action", "quarantine-gpu", "--gpu", ",".join(uuids))
    assert recorder.take() == by_key and [one[0] for one in by_key] == ["PATCH", "PATCH", "PATCH", "DELETE", "DELETE"]
    waits = [one for one in said["changes"] if one["verb"] == "wait"]
    assert [(one["before"]["gpu_allocatable"], one["after"]["gpu_allocatable"]) for one in waits] == [(8, 7), (8, 7)]
    assert [offered(world, name) for name in names] == ["7", "7"]
    assert sorted(name.split("-")[0] for name in configs(world)) == ["default", "quarantine", "quarantine"]
    command(world, "--action", "undo")
    assert recorder.take() == undone_by_key and [offered(world, name) for name in names] == ["8", "8"]
    assert list(json.loads(kubectl(world, "get", "configmap", "nvidia-device-plugin-configs", "-n", "kube-system", "-o", "json"))["data"]) == [
        "default"
    ]


def test_an_undo_is_undone_by_its_own_id(world: World) -> None:
    name = world.node(2)
    command(world, "--action", "taint", "--node", name, "--key", "maintenance", "--value", "yes")
    undone = command(world, "--action", "undo")["journal_id"]
    assert "maintenance" not in kubectl(world, "get", "node", name, "-o", "jsonpath={.spec.taints}")
    command(world, "--action", "undo", "--id", undone)
    assert "maintenance" in kubectl(world, "get", "node", name, "-o", "jsonpath={.spec.taints}")
    command(world, "--action", "taint", "--node", name, "--key", "maintenance", "--remove")
    history = command(world, "--action", "history")["result"]
    assert [one["state"] for one in history[-4:]] == ["done", "undone", "done", "done"]
