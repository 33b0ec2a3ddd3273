"""A cluster where nothing happens costs a terminal nothing."""

from __future__ import annotations

import sys
from pathlib import Path

from bench.terminal import Terminal
from tests.journeys.worlds import eventually, world_at

QUIET_SECONDS = 5.0


def test_a_screen_at_rest_sends_no_byte(tmp_path: Path) -> None:
    with world_at(tmp_path, "--scenario", "empty") as world:
        command = [sys.executable, "-m", "cockpit", "--kubeconfig", world.kubeconfig]
        with Terminal(command, 120, 36, world.env) as terminal:
            terminal.wait(lambda seen: b"live" in seen and b"c7g.2xlarge" in seen, 30)
            eventually(lambda: terminal.bytes_during(QUIET_SECONDS) == 0, "five quiet seconds", 60)
            start = terminal.mark()
            assert terminal.bytes_during(QUIET_SECONDS) == 0, terminal.output(start)
            terminal.send("?")
            terminal.wait(lambda seen: b"asks y/n" in seen, 10, start)
