"""Through a real pseudo-terminal: the first bytes, silence at rest, the terminal given back, and frames that wait for it."""

from __future__ import annotations

import io
import os
import pty
import select
import signal
import subprocess
import sys
import time

import pytest

from bench.terminal import ROOT, SYNC_QUERY, Terminal, python
from cockpit.tui import skeleton
from cockpit.tui.frames import ANSWER_SECONDS, Frames


def test_the_skeleton_imports_no_toolkit() -> None:
    code = "import sys, cockpit.tui.skeleton; print(any(name.split('.')[0] in ('textual', 'rich') for name in sys.modules))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True).stdout.strip() == "False"


@pytest.mark.parametrize(("width", "height"), [(80, 24), (120, 36), (200, 60), (30, 8)])
def test_the_skeleton_fits_its_terminal(width: int, height: int) -> None:
    boxes = skeleton.boxes(width, height)
    assert all(x >= 0 and y >= 2 and x + wide <= width and y + high <= height - 1 for x, y, wide, high, _ in boxes)
    assert {"1 Cluster"} <= {title for *_, title in boxes}
    if width >= 160:
        assert "Heat map" in {title for *_, title in boxes}
    assert skeleton.frame(width, height).count("╭") == len(boxes)


def test_the_skeleton_is_only_for_terminals() -> None:
    assert skeleton.paint(io.StringIO()) is False


def test_a_screen_opens_rests_and_gives_the_terminal_back() -> None:
    with Terminal(python("bench.crowd", "--nodes", "40", "--pods", "300"), 120, 36) as terminal:
        terminal.wait(lambda seen: b"5 EFA" in seen, 30)
        first = terminal.output()
        assert first.startswith(b"\x1b[?1049h"), "the skeleton is the first thing painted"
        terminal.wait(lambda seen: b"40 nodes" in seen and b"live" in seen, 30)
        assert terminal.output().count(b"\x1b[?1049h") == 1, "the toolkit takes over without entering the alternate screen again"
        quiet_from = time.monotonic()
        while terminal.bytes_during(0.5) and time.monotonic() - quiet_from < 15:
            pass
        assert terminal.bytes_during(3.0) == 0, "at rest the terminal receives nothing"
        start = terminal.mark()
        terminal.send("j")
        terminal.wait(lambda seen: "▸".encode() in seen, 10, start)
        terminal.send("qq")
        terminal.wait(lambda seen: b"\x1b[?1049l" in seen, 10, start)
        assert terminal.process.wait(10) == 0


def test_a_terminal_that_vanishes_takes_the_screen_along() -> None:
    """No SIGHUP comes here, since the program has no controlling terminal; the closed one must be noticed."""
    master, slave = pty.openpty()
    program = subprocess.Popen(
        python("bench.crowd", "--nodes", "4", "--pods", "4"),
        stdin=slave,
        stdout=slave,
        stderr=slave,
        start_new_session=True,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # nohup has it ignored
    )
    os.close(slave)
    seen, deadline = b"", time.monotonic() + 30
    while b"4 nodes" not in seen and time.monotonic() < deadline:
        if select.select([master], [], [], 1.0)[0]:
            seen += os.read(master, 65536)
    os.close(master)
    assert b"4 nodes" in seen
    assert program.wait(10) != 0


def test_frames_wait_for_a_terminal_that_answers() -> None:
    written: list[str] = []
    now = [0.0]
    frames = Frames(written.append, lambda: now[0])
    assert frames.due()
    frames.answered()
    frames.sent()
    assert [one.encode() for one in written] == [SYNC_QUERY]
    now[0] = 1.0
    assert not frames.due(), "the last frame is still on its way"
    frames.answered()
    assert frames.due() and frames.interval_seconds == 0.25, "a slow line gets four frames a second"
    frames.sent()
    now[0] = 1.0 + ANSWER_SECONDS
    assert frames.due(), "a terminal that stops answering is not waited for"
    frames.sent()
    assert len(written) == 2, "nor asked again"


def test_terminals_that_never_answer_are_never_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    written: list[str] = []
    frames = Frames(written.append, lambda: 0.0)
    frames.sent()
    monkeypatch.setenv("TERM_PROGRAM", "Apple_Terminal")
    frames.answered()
    frames.sent()
    assert not written
