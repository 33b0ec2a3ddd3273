"""A cockpit killed between two changes of a plan: the next one offers to finish it or to take it back, and both work."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from actions.core.journal import Journal
from actions.core.past import checked
from cockpit.errors import Refused
from cockpit.model import Applied
from cockpit.session import Options, open_session
from cockpit.tui.app import CockpitApp
from tests.journeys.gates import Gate, gate_before
from tests.journeys.screens import Screen
from tests.journeys.worlds import REPOSITORY, Said, World, eventually, idle_scenario, world_at


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("cut")
    with world_at(folder, "--scenario", str(idle_scenario(folder))) as one:
        yield one


@pytest.fixture
def gate(world: World, tmp_path: Path) -> Iterator[Gate]:
    with gate_before(world, tmp_path) as one:
        yield one
    for index in range(4):
        world.patch(f"/api/v1/nodes/{world.node(index)}", {"spec": {"unschedulable": None}})
    Journal().path.unlink(missing_ok=True)


def cordoned(world: World, *indices: int) -> list[bool]:
    return [bool(world.ask("GET", f"/api/v1/nodes/{world.node(index)}")["spec"].get("unschedulable")) for index in indices]


def killed_between(gate: Gate, seen_first: bool = False) -> str:
    """Kill a cockpit with -9 when the first of its two nodes is cordoned; the id of its plan in the journal."""
    world = gate.world
    first, second = world.node(0), world.node(1)
    gate.arm(lambda request: request.method == "PATCH" and request.path.endswith(second), seen_first)
    words = ("--kubeconfig", gate.kubeconfig, "--action", "cordon", "--node", f"{first},{second}", "--reason", "xid 79")
    child = subprocess.Popen(
        [sys.executable, "-m", "cockpit", *words], cwd=REPOSITORY, env=world.env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        eventually(gate.held.is_set, "the second patch is on its way")
        (entry,) = Journal().entries()
        assert entry.running and not entry.cut_short, "while it lives it is being applied"
        with pytest.raises(Refused, match="is being applied by process"):
            checked(Applied(entry.id, entry.at, entry, True), "undo")
    finally:
        os.kill(child.pid, signal.SIGKILL)
        child.wait(10)
    (entry,) = Journal().entries()
    assert entry.cut_short and entry.done == [0]
    return entry.id


def gated(gate: Gate, *words: str) -> Said:
    return gate.world.run("-m", "cockpit", "--kubeconfig", gate.kubeconfig, *words)


def states(gate: Gate) -> list[tuple[str, str]]:
    """(action, state) of every entry, as history tells them."""
    told: list[dict[str, Any]] = gated(gate, "--action", "history", "-o", "json").json["result"]
    return [(one["action"], one["state"]) for one in told]


def test_the_next_command_says_so_and_finish_makes_what_is_left(gate: Gate) -> None:
    entry = killed_between(gate)
    assert cordoned(gate.world, 0, 1) == [True, False]
    said = gated(gate, "--action", "nodes", "-o", "json")
    assert said.code == 0 and f"--action finish --id {entry}" in said.err and f"--action undo --id {entry}" in said.err
    json.loads(said.out)
    done = gated(gate, "--action", "finish", "-o", "json")
    assert done.code == 0, done.err
    assert [change["object"]["name"] for change in done.json["changes"]] == [gate.world.node(1)], "what is made already is not made again"
    assert cordoned(gate.world, 0, 1) == [True, True]
    node = gate.world.ask("GET", f"/api/v1/nodes/{gate.world.node(1)}")
    assert node["metadata"]["annotations"]["cockpit.dev/cordon-reason"] == "xid 79"
    assert states(gate) == [("cordon", "finished"), ("finish", "done")]
    assert "cut short" not in gated(gate, "--action", "nodes").err
    assert gated(gate, "--action", "undo", "-o", "json").code == 0
    assert cordoned(gate.world, 0, 1) == [False, False], "undone as a whole"


def test_undo_takes_back_what_was_made(gate: Gate) -> None:
    entry = killed_between(gate)
    back = gated(gate, "--action", "undo", "--id", entry, "-o", "json")
    assert back.code == 0 and [change["object"]["name"] for change in back.json["changes"]] == [gate.world.node(0)]
    assert cordoned(gate.world, 0, 1) == [False, False]
    assert states(gate) == [("cordon", "undone"), ("undo", "done")]


@pytest.mark.parametrize("verb", ["finish", "undo"])
def test_a_change_that_was_made_but_not_marked_is_recognised(gate: Gate, verb: str) -> None:
    entry = killed_between(gate, seen_first=True)
    assert cordoned(gate.world, 0, 1) == [True, True]
    done = gated(gate, "--action", verb, "--id", entry, "-o", "json")
    assert done.code == 0, done.err
    assert cordoned(gate.world, 0, 1) == [verb == "finish"] * 2
    assert len(done.json["changes"]) == (1 if verb == "finish" else 2)


@pytest.mark.parametrize("verb", ["finish", "undo"])
def test_a_world_that_has_moved_is_refused_with_what_changed(gate: Gate, verb: str) -> None:
    entry = killed_between(gate)
    which = 1 if verb == "finish" else 0
    body = {"metadata": {"annotations": {"cockpit.dev/cordon-reason": "somebody else"}}}
    gate.world.patch(f"/api/v1/nodes/{gate.world.node(which)}", body)
    refused = gated(gate, "--action", verb, "--id", entry, "-o", "json")
    gate.world.patch(f"/api/v1/nodes/{gate.world.node(which)}", {"metadata": {"annotations": {"cockpit.dev/cordon-reason": None}}})
    assert refused.code == 4 and refused.json["error"]["code"] == "conflict"
    assert "cordon-reason is somebody else now" in refused.json["error"]["message"] and not refused.json["changes"]


def test_it_can_be_left_as_it_stands(gate: Gate) -> None:
    entry = killed_between(gate)
    assert gated(gate, "--action", "finish", "--id", entry, "--leave", "-o", "json").code == 0
    assert "cut short" not in gated(gate, "--action", "nodes").err and cordoned(gate.world, 0, 1) == [True, False]
    assert states(gate)[0] == ("cordon", "kept")


@pytest.mark.parametrize(("key", "after"), [("f", [True, True]), ("u", [False, False])])
async def test_the_screen_offers_both_at_its_start(gate: Gate, key: str, after: list[bool]) -> None:
    killed_between(gate)
    app = CockpitApp(open_session, Options(kubeconfig=gate.kubeconfig))
    async with app.run_test(size=(160, 48), notifications=True) as pilot:
        screen = Screen(app, pilot)
        await screen.sees("A plan was cut short")
        await screen.sees(lambda: "1 of 2 changes made" in screen.text() and "f finish" in screen.text() and "u undo" in screen.text())
        await screen.press(key)
        await screen.sees("kubectl cordon" if key == "f" else "kubectl uncordon")
        await screen.press("y")
        await screen.sees(lambda: cordoned(gate.world, 0, 1) == after)
    assert not Journal().cut_short("practice", "")
