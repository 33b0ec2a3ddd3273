"""What goes to the clipboard of the terminal, and what does not fit."""

from __future__ import annotations

import base64
import re
from typing import Any

import pytest
from tui_stage import make_app, opened, text_of, until

from cockpit.errors import Refused
from cockpit.tui.clipboard import CLIP_BYTES, osc52
from cockpit.tui.detail import Room
from cockpit.tui.textlines import Line


@pytest.fixture(autouse=True)
def _own_state(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.delenv("TMUX", raising=False)


def copied(sequence: str) -> str:
    found = re.fullmatch(r"\x1b\]52;c;([A-Za-z0-9+/=]+)\a", sequence)
    assert found is not None, repr(sequence)
    return base64.b64decode(found[1]).decode()


def test_inside_tmux_the_sequence_is_wrapped_and_sent_plain() -> None:
    plain = osc52("ip-10-0-4-210", {})
    assert copied(plain) == "ip-10-0-4-210"
    assert osc52("ip-10-0-4-210", {"TMUX": "/tmp/tmux-0/default,1,0"}) == "\x1bPtmux;\x1b" + plain + "\x1b\\" + plain


def test_more_than_a_terminal_takes_is_refused_whole() -> None:
    assert len(base64.b64encode(b"x" * CLIP_BYTES)) <= 100_000
    assert osc52("x" * CLIP_BYTES, {})
    with pytest.raises(Refused, match="74,995 bytes"):
        osc52("x" * (CLIP_BYTES + 1), {})


async def test_names_of_rows_and_the_text_in_front_are_copied(monkeypatch: pytest.MonkeyPatch) -> None:
    app = make_app()
    async with app.run_test(size=(120, 36), notifications=True) as pilot:
        await opened(pilot)
        written: list[str] = []
        assert app._driver is not None
        monkeypatch.setattr(app._driver, "write", lambda data: written.append(data))
        await pilot.press("3", "Y")
        await until(pilot, lambda: any("]52;" in one for one in written))
        assert copied(next(one for one in written if "]52;" in one)) == "llama-3-8b"
        written.clear()
        await pilot.press("space", "space", "Y")
        await until(pilot, lambda: "copied 2 names" in text_of(app))
        assert copied(next(one for one in written if "]52;" in one)) == "llama-3-8b\nt5-large"
        written.clear()
        app.enter(Room(title="Log", lines=[Line("step 1 \x1b[2Jloss 2.0"), Line("step 2")]))
        await pilot.press("c")
        await until(pilot, lambda: "copied 2 lines" in text_of(app))
        assert copied(next(one for one in written if "]52;" in one)) == "step 1 ␛[2Jloss 2.0\nstep 2"
        app.leave()
        written.clear()
        app.enter(Room(title="Log", lines=[Line(f"step {number} " + "x" * 100) for number in range(2000)]))
        await pilot.press("c")
        await until(pilot, lambda: "in sight; ^s saves all to a file" in text_of(app))
        seen = copied(next(one for one in written if "]52;" in one)).split("\n")
        assert seen[0].startswith("step 0 ") and 20 < len(seen) < 40
