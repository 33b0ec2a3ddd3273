"""Names, labels, messages and log lines that try to act on the terminal: they are shown, and nothing of them acts."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from typing import Any

import pytest

from bench.terminal import Terminal
from tests.journeys.screens import open_cockpit
from tests.journeys.worlds import World, eventually, world_at

CLIPBOARD = "\x1b]52;c;cm0gLXJm\x07"
BLINK = "\x1b[5mBLINK\x1b[2J"
BIDI = "\u202etxt.exe"
MARKUP = "[red]MARKUP[/red][@click=app.quit]x[/]"
EVIL = f"EVIL {CLIPBOARD}{BLINK}{BIDI}{MARKUP}\x9b31m"
SHOUTS = f"""
import sys, time
out = sys.stdout.buffer
out.write({f"first {CLIPBOARD} {BLINK}"!r}.encode() + b"\\n")
out.write({f"{MARKUP} {BIDI}"!r}.encode() + b"\\n")
out.write(b"broken \\xff\\xfe\\xc3( utf8\\n" + b"A" * 1_000_000 + b"\\nlast word\\n")
out.flush()
time.sleep(600)
"""
SEQUENCE = re.compile(rb"\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)|\x1b\[[0-9;:<=>?]*[ !$]*[@-~]|\x1b[PX^_][^\x1b]*\x1b\\|\x1b[()][A-Z0-9]|\x1b[=>78cDEHM]")


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    with world_at(tmp_path_factory.mktemp("hostile"), "--scenario", "empty") as one:
        infest(one)
        yield one


def infest(world: World) -> None:
    """Put hostile text wherever the API takes free text."""
    name = world.ask("GET", "/api/v1/nodes")["items"][0]["metadata"]["name"]
    world.patch(f"/api/v1/nodes/{name}", {"metadata": {"annotations": {"cockpit.dev/cordon-reason": EVIL}}, "spec": {"unschedulable": True}})
    condition = {"type": "AcceleratedHardwareReady", "status": "False", "reason": "Evil", "message": EVIL}
    now = world.ask("GET", f"/api/v1/nodes/{name}")["status"]["conditions"]
    world.patch(f"/api/v1/nodes/{name}/status", {"status": {"conditions": [*now, condition]}})
    world.ask("POST", "/api/v1/namespaces/default/pods", pod(), expect=201)
    event: dict[str, Any] = {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {"name": "evil", "namespace": "default"},
        "involvedObject": {"kind": "Pod", "namespace": "default", "name": "shouter"},
        "reason": "Evil",
        "message": EVIL,
        "type": "Warning",
    }
    world.ask("POST", "/api/v1/namespaces/default/events", event, expect=201)
    shouter = "/api/v1/namespaces/default/pods/shouter"
    eventually(lambda: world.ask("GET", shouter).get("status", {}).get("phase") == "Running", "the pod runs")
    eventually(lambda: "last word" in world.ask("GET", shouter + "/log"), "the pod has shouted")


def pod() -> dict[str, Any]:
    container = {"name": "main", "image": "busybox", "command": ["python", "-c", SHOUTS]}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": "shouter", "annotations": {"note": EVIL}},
        "spec": {"containers": [container], "tolerations": [{"operator": "Exists"}]},
    }


def inert_bytes(data: bytes) -> None:
    """Nothing that came from the cluster reached the terminal as a command."""
    for sequence in SEQUENCE.findall(data):
        assert not sequence.startswith(b"\x1b]52"), sequence
        assert sequence not in (b"\x1b[5m", b"\x1b[31m") and b"cm0gLXJm" not in sequence, sequence
    text = data.decode("utf-8", "replace")
    assert "\u202e" not in text and "\x9b" not in text and "\x07" not in SEQUENCE.sub(b"", data).decode("utf-8", "replace")


async def test_the_panes_rooms_and_texts_show_it_inert(world: World) -> None:
    async with open_cockpit(world, size=(200, 50)) as screen:
        await screen.sees("● live")
        await screen.press("colon")
        await screen.type("events")
        await screen.press("enter")
        await screen.sees("EVIL ␛]52;c;")
        text = screen.text()
        assert "[red]MARKUP[/red]" in text and "\x1b" not in text and "\u202e" not in text and "\x9b" not in text
        await screen.press("escape", "colon")
        await screen.type("pods")
        await screen.press("enter")
        await screen.sees("shouter")
        await screen.cursor("", "shouter")
        for key, word in (("d", "shouter"), ("y", "EVIL"), ("e", "Evil")):
            await screen.press(key)
            await screen.sees(lambda word=word: (word in screen.text() and screen.app.detail.room.view is None) or "Events" in screen.text())  # type: ignore[misc]
            assert "\x1b" not in screen.text() and "\u202e" not in screen.text()
            await screen.press("escape")
            await screen.sees("shouter")
        await screen.press("L")
        await screen.sees("last word")
        text = screen.text()
        assert "first ␛]52;c;" in text and "[red]MARKUP[/red]" in text and "broken �" in text and "AAAA" in text
        assert "\x1b" not in text and "\u202e" not in text


def test_no_byte_of_it_acts_on_a_real_terminal(world: World) -> None:
    command = [sys.executable, "-m", "cockpit", "--kubeconfig", world.kubeconfig]
    with Terminal(command, 160, 44, world.env) as terminal:
        terminal.wait(lambda seen: b"live" in seen and b"c7g.2xlarge" in seen, 30)
        for keys, word in (
            (":events\r", "Events"),
            (":efa\r", "no EFA exporter"),
            (":pods\r", "Running"),
            ("/shouter\r", "1 of"),
            ("L", "last word"),
        ):
            start = terminal.mark()
            terminal.send(keys)
            terminal.wait(lambda seen, word=word: word.encode() in seen, 20, start)  # type: ignore[misc]
        inert_bytes(terminal.output())
        terminal.send("\x1b\x1bqq")


def test_the_lines_of_a_script_are_inert_too(world: World) -> None:
    log = world.cockpit("--action", "logs", "--pod", "shouter")
    assert log.code == 0 and "last word" in log.out and "\x1b" not in log.out and "\u202e" not in log.out
    assert max(len(line) for line in log.out.splitlines()) < 70_000, "a million letters on one line"
    nodes = world.cockpit("--action", "nodes", "-o", "wide")
    assert nodes.code == 0 and "\x1b" not in nodes.out and "\u202e" not in nodes.out and "\x9b" not in nodes.out
    answer = world.cockpit("--action", "nodes", "-o", "json")
    assert answer.code == 0 and "\x1b" not in answer.out and "\x9b" not in answer.out
