"""The table: what is repainted, where the cursor stays, and what a hand can do."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest
from textual import events
from textual._xterm_parser import XTermParser
from textual.app import App, ComposeResult
from textual.binding import Binding
from tui_stage import NOW, shown

from cockpit.errors import Unreachable
from cockpit.model import Pod, PodKey
from cockpit.store import Delete, Failed, Store, Synced, Upsert
from cockpit.tui.cluster import Pods
from cockpit.tui.table import VirtualTable
from cockpit.tui.theme import COCKPIT
from cockpit.tui.views import Scene


def pod(index: int, **more: Any) -> Pod:
    return Pod(PodKey("default", f"pod-{index}"), "1", "Running", more.pop("state", "Running"), ready=True, **more)


class Bench(App[None]):
    CSS = "VirtualTable { height: 1fr; border: round white; scrollbar-gutter: stable; }"

    def compose(self) -> ComposeResult:
        self.register_theme(COCKPIT)
        self.theme = COCKPIT.name
        self.opened: list[Any] = []
        yield VirtualTable(Pods(), "7")

    def on_virtual_table_opened(self, event: VirtualTable.Opened) -> None:
        self.opened.append(event.key)


class Hand:
    """A table over a store, and a clock that is turned by hand."""

    def __init__(self, app: Bench, pilot: Any) -> None:
        self.app, self.pilot, self.store, self.now = app, pilot, Store(clock=lambda: NOW), NOW
        self.table = app.query_one(VirtualTable)

    async def apply(self, *facts: Any, seconds: float = 1.0) -> int:
        """Apply facts and show them; returns how many lines were painted."""
        self.store.apply(*facts)
        self.now += seconds
        snapshot, changes = self.store.drain()
        await self.pilot.pause()
        before = self.table.lines_painted
        self.table.advance(Scene(snapshot, now=self.now, connected=True), changes)
        await self.pilot.pause()
        return self.table.lines_painted - before

    def rows(self) -> list[str]:
        return [line for line in shown(self.app)[1:] if "pod-" in line]


@pytest.fixture
async def hand() -> AsyncIterator[Hand]:
    app = Bench()
    async with app.run_test(size=(100, 20)) as pilot:
        made = Hand(app, pilot)
        await made.apply(Upsert("pods", "pods", tuple(pod(index) for index in range(1000))), Synced("pods"))
        made.table.focus()
        await pilot.pause()
        yield made


async def test_only_changed_lines_are_repainted(hand: Hand) -> None:
    assert await hand.apply(Upsert("pods", "pods", (pod(3, restarts=7),))) == 1
    assert await hand.apply(Upsert("pods", "pods", tuple(pod(index, restarts=7) for index in (2, 5, 900)))) == 2
    assert await hand.apply(Upsert("pods", "pods", (pod(999),))) == 0
    assert await hand.apply(Upsert("pods", "pods", (pod(3, restarts=7),))) == 0, "the same row again is nothing new"
    assert any(" 7 " in line and "pod-3 " in line for line in hand.rows())


async def test_the_work_does_not_grow_with_the_rows(hand: Hand) -> None:
    seen: list[Any] = []
    view = hand.table.view
    read = view.cells
    view.cells = lambda scene, key: (seen.append(key), read(scene, key))[1]  # type: ignore[method-assign]
    await hand.apply(Upsert("pods", "pods", tuple(pod(index, restarts=index % 3) for index in range(1000))))
    assert 0 < len(seen) <= hand.table.size.height


async def test_the_cursor_stays_on_its_row_when_others_come_and_go(hand: Hand) -> None:
    await hand.pilot.press("j", "j", "j")
    assert hand.table.cursor == PodKey("default", "pod-3")
    await hand.apply(Delete("pods", "pods", (PodKey("default", "pod-0"), PodKey("default", "pod-1"))))
    assert hand.table.cursor == PodKey("default", "pod-3")
    assert any("▸" in line and "pod-3 " in line for line in hand.rows())
    await hand.apply(Delete("pods", "pods", (PodKey("default", "pod-3"),)))
    assert hand.table.cursor == PodKey("default", "pod-4"), "the row is gone: the one in its place"


async def test_the_window_keeps_up_with_the_cursor(hand: Hand) -> None:
    await hand.pilot.press("G")
    assert hand.table.cursor == PodKey("default", "pod-999")
    assert "pod-999 " in hand.rows()[-1]
    await hand.pilot.press("ctrl+b")
    assert "pod-999 " not in hand.rows()[-1] or hand.table.cursor != PodKey("default", "pod-999")
    await hand.pilot.press("g")
    assert "pod-0 " in hand.rows()[0]


async def test_sorting_is_told_by_an_arrow_and_keeps_the_cursor(hand: Hand) -> None:
    await hand.apply(Upsert("pods", "pods", (pod(500, restarts=99),)))
    await hand.pilot.press("j")
    column = next(one for one in hand.table.view.columns if one.key == "restarts")
    hand.table.sort_by(column, down=True)
    await hand.pilot.pause()
    assert "RST↓" in shown(hand.app)[1]
    assert hand.table.cursor == PodKey("default", "pod-1")
    await hand.pilot.press("g")
    assert hand.table.cursor == PodKey("default", "pod-500")
    await hand.pilot.press("R")
    assert "RST↑" in shown(hand.app)[1]
    await hand.pilot.press("R")
    assert "RST↓" in shown(hand.app)[1]
    await hand.pilot.press("O")
    assert "RST↑" in shown(hand.app)[1]


async def test_a_filter_counts_and_an_empty_one_says_how_to_clear(hand: Hand) -> None:
    hand.table.filter("pod-99")
    await hand.pilot.pause()
    assert "/pod-99 11 of 1,000" in shown(hand.app)[0]
    assert len(hand.rows()) == 11
    hand.table.filter("zzz")
    await hand.pilot.pause()
    assert 'no pods match "zzz" — esc clears' in "\n".join(shown(hand.app))


async def test_marks_are_the_targets(hand: Hand) -> None:
    await hand.pilot.press("space", "j", "space")
    assert hand.table.targets() == [PodKey("default", "pod-0"), PodKey("default", "pod-2")]
    assert "◆ 2 marked" in shown(hand.app)[0]
    hand.table.action_unmark()
    assert hand.table.targets() == [hand.table.cursor]


def test_the_byte_that_terminals_send_for_ctrl_space_is_bound() -> None:
    (pressed,) = [event.key for event in XTermParser(False).feed("\x00") if isinstance(event, events.Key)]
    bound = [binding for binding in VirtualTable.BINDINGS if isinstance(binding, Binding) and binding.action == "mark_range"]
    assert pressed in bound[0].key.split(",")


async def test_a_range_is_marked_from_the_last_mark_and_cleared(hand: Hand) -> None:
    await hand.pilot.press("space", "j", "j", "ctrl+@")
    assert hand.table.targets() == [PodKey("default", f"pod-{number}") for number in range(4)]
    assert "◆ 4 marked" in shown(hand.app)[0]
    await hand.pilot.press("ctrl+backslash")
    assert hand.table.targets() == [hand.table.cursor]


async def test_the_mouse_moves_opens_and_sorts(hand: Hand) -> None:
    await hand.pilot.click(VirtualTable, offset=(10, 5))
    assert hand.table.cursor == PodKey("default", "pod-3")
    await hand.pilot.click(VirtualTable, offset=(10, 6), times=2)
    assert hand.app.opened == [PodKey("default", "pod-4")]
    state = next(line for line in shown(hand.app) if "STATE" in line).index("STATE")
    await hand.pilot.click(VirtualTable, offset=(state + 1, 1))
    assert hand.table.order.column.key == "state"


async def test_the_scrollable_size_follows_at_most_twice_a_second(hand: Hand) -> None:
    before = hand.table.virtual_size.height
    await hand.apply(Upsert("pods", "pods", (pod(1000),)), seconds=1.0)
    assert hand.table.virtual_size.height == before + 1
    await hand.apply(Upsert("pods", "pods", (pod(1001),)), seconds=0.1)
    assert hand.table.virtual_size.height == before + 1
    await hand.apply(seconds=0.5)
    hand.table.settle(Scene(hand.table.scene.snapshot, now=hand.now + 1, connected=True))
    assert hand.table.virtual_size.height == before + 2


async def test_hostile_and_wide_text_keeps_its_place(hand: Hand) -> None:
    await hand.apply(Upsert("pods", "pods", (pod(0, state="\x1b[2J[red]own\u202e"), pod(1, state="학습 🚀 중"), pod(2, state="x" * 10**6))))
    text = "\n".join(shown(hand.app))
    assert "␛[2J[red]own�" in text
    assert not any(letter in text for letter in "\x1b\u202e")
    from rich.cells import cell_len

    assert {cell_len(line) for line in shown(hand.app)} == {100}


async def test_what_is_old_says_so_and_what_is_lost_is_kept(hand: Hand) -> None:
    await hand.apply(Failed("pods", Unreachable("no answer from https://10.0.0.1", "is the VPN up?")))
    assert "▲ stale" in shown(hand.app)[0]
    assert hand.rows()
    await hand.apply(Synced("pods"))
    assert "stale" not in shown(hand.app)[0]


@pytest.mark.parametrize(
    ("fact", "words"),
    [
        (None, "reading pods"),
        (Failed("pods", Unreachable("no answer", "start the VPN")), "→ start the VPN"),
        (Synced("pods"), "no pods"),
    ],
)
async def test_an_empty_table_says_why(fact: Any, words: str) -> None:
    app = Bench()
    async with app.run_test(size=(100, 20)) as pilot:
        hand = Hand(app, pilot)
        hand.store.expect("pods")
        await hand.apply(*([fact] if fact else []))
        await pilot.pause()
        assert words in "\n".join(shown(app))
