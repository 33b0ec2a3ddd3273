"""The practice cluster stops answering, and dies, under an open cockpit: old data with its age, then recovery by itself."""

from __future__ import annotations

import re
import signal
from pathlib import Path

from tests.journeys.screens import open_cockpit
from tests.journeys.worlds import world_at

STALE = re.compile(r"(?:stale|oldest) (\d+)s")


async def test_a_silent_api_leaves_the_data_with_its_age_and_is_back_by_itself(tmp_path: Path) -> None:
    with world_at(tmp_path) as world:
        async with open_cockpit(world) as screen:
            await screen.sees("● live")
            await screen.sees(lambda: screen.row("jobs", "llama-pre") and screen.row("gpus", "10-0-24-118"))
            world.signal(signal.SIGSTOP)
            try:
                first = await screen.sees(lambda: STALE.search(screen.lines()[0]), 15)
                assert isinstance(first, re.Match)
                await screen.sees("connection lost")
                await screen.sees(lambda: (again := STALE.search(screen.lines()[0])) and int(again[1]) > int(first[1]), 15)
                assert screen.row("cluster", "p5.48xlarge") and screen.row("jobs", "llama-pre"), "the last known state is gone"
                await screen.press("2", "z")
                await screen.sees(lambda: "gpu-efa" in screen.text() and "llama-pre" not in screen.text())
                await screen.press("z")
            finally:
                world.signal(signal.SIGCONT)
            await screen.sees("● live")
            await screen.sees(lambda: "connection lost" not in screen.text())
            assert screen.app.is_running


async def test_a_killed_and_restarted_api_is_read_anew_and_nothing_of_the_old_world_stays(tmp_path: Path) -> None:
    with world_at(tmp_path, "--scenario", "empty") as world:
        world.ask("POST", "/api/v1/namespaces/default/pods", LONELY, expect=201)
        async with open_cockpit(world) as screen:
            await screen.sees("● live")
            await screen.press("colon")
            await screen.type("pods")
            await screen.press("enter")
            await screen.sees("of-the-old-world")
            world.signal(signal.SIGKILL)
            await screen.sees(lambda: STALE.search(screen.lines()[0]) or "down" in screen.lines()[0], 15)
            assert "of-the-old-world" in screen.text()
            world.start("--scenario", "empty")
            await screen.sees("● live")
            await screen.sees(lambda: "of-the-old-world" not in screen.text())
            await screen.press("escape")
            await screen.sees(lambda: screen.row("cluster", "c7g.2xlarge"))
            world.ask("POST", "/api/v1/namespaces/default/pods", {**LONELY, "metadata": {"name": "of-the-new-world"}}, expect=201)
            await screen.press("colon")
            await screen.type("pods")
            await screen.press("enter")
            await screen.sees("of-the-new-world", 5)
            assert screen.app.is_running


LONELY = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "of-the-old-world"},
    "spec": {"containers": [{"name": "sleep", "image": "busybox", "command": ["sleep", "600"]}]},
}
