"""Numbers, bars and columns as they are drawn."""

from __future__ import annotations

import pytest
from rich.cells import cell_len
from rich.segment import Segment
from rich.style import Style

from cockpit.model import DeviceKey, Gpu, NodeName
from cockpit.tui import cells
from cockpit.tui.bars import bar, gpu_row, sparkline
from cockpit.tui.cells import Cell, Tone, cell, gauge
from cockpit.tui.help import shown
from cockpit.tui.lines import cell_segments, content, fit, padded, whole_pieces
from cockpit.tui.travel import PANES
from cockpit.tui.views import Column


def wide(parts: tuple[tuple[str, Tone], ...]) -> str:
    return "".join(text for text, _ in parts)


@pytest.mark.parametrize(
    ("zone", "region", "drawn"),
    [
        ("us-west-2a", "us-west-2", "2a"),
        ("us-west-2a", "", "2a"),
        ("us-gov-east-1b", "", "1b"),
        ("us-west-2-lax-1a", "us-west-2", "2-lax-1a"),
        ("rack-7", "", "rack-7"),
        ("", "", ""),
    ],
)
def test_a_zone_is_drawn_by_what_tells_it_from_others(zone: str, region: str, drawn: str) -> None:
    assert cells.short_zone(zone, region) == drawn


@pytest.mark.parametrize(
    ("ratio", "drawn"),
    [(0.0, "░░░░"), (1.0, "████"), (0.5, "██░░"), (0.001, "▏░░░"), (0.28125, "█▏░░"), (7.0, "████"), (-1.0, "░░░░"), (None, "····")],
)
def test_bars_fill_to_an_eighth_of_a_cell(ratio: float | None, drawn: str) -> None:
    assert wide(bar(ratio, 4)) == drawn


def test_sparklines_keep_the_shape_and_the_newest() -> None:
    assert sparkline([3, 2, 1], 8) == "█▄▁"
    assert sparkline([], 8) == ""
    assert sparkline([5, 5], 8) == "▁▁"
    assert len(sparkline(list(range(100)), 10)) == 10
    assert sparkline(list(range(100)), 10)[-1] == "█"


def test_a_gpu_shows_trouble_before_use_and_unknown_is_not_zero() -> None:
    def gpu(index: int, **more: object) -> Gpu:
        return Gpu(DeviceKey(NodeName("n"), str(index)), index, **more)  # type: ignore[arg-type]

    row = gpu_row(
        [gpu(0, utilisation_percent=0.0), gpu(1, utilisation_percent=100.0), gpu(2), gpu(3, xid=79, utilisation_percent=9.0), gpu(4, throttle="hw")],
        "",
    )
    assert wide(row) == "▁▇·✖▼"
    assert row[3][1] is Tone.BAD


@pytest.mark.parametrize(
    ("seconds", "shown"), [(0, "0s"), (59, "59s"), (372, "6m12s"), (3 * 3600 + 240, "3h04m"), (2 * 86400 + 3 * 3600, "2d3h"), (-5, "0s")]
)
def test_ages(seconds: float, shown: str) -> None:
    assert cells.age(seconds) == shown


def test_unknown_numbers_are_dashes() -> None:
    assert cells.dollars(None) == cells.gigabits(None) == cells.gibibytes(None) == cells.number(None).text == "–"
    assert cells.dollars(0.0) == "$0.00/h"


def test_names_sort_by_number() -> None:
    assert sorted(["ip-10-0-4-210", "ip-10-0-4-89", "a"], key=cells.natural) == ["a", "ip-10-0-4-89", "ip-10-0-4-210"]


@pytest.mark.parametrize("text", ["plain", "학습 작업", "🚀 launch", "é", "", "x" * 200])
@pytest.mark.parametrize("width", [1, 4, 9, 20])
def test_every_cell_is_exactly_its_width(text: str, width: int) -> None:
    assert cell_len(padded(text, width)) == width
    for one in (cell(text), Cell(((text, Tone.BAD), ("▃▃▃", Tone.BAR), (" more", Tone.MUTED)))):
        for right in (False, True):
            made = cell_segments(one, width, right, lambda tone: Style())
            assert Segment.get_line_length(made) == width


def test_cells_are_inert() -> None:
    made = cell_segments(cell("\x1b]0;x\x07[red]\u202e"), 20, False, lambda tone: Style())
    assert made[0].text.startswith("␛]0;x␇[red]�")
    assert content([("[b]\x1b[2J", Tone.PLAIN)]).plain == "[b]␛[2J"


def test_columns_give_way_in_order_and_take_the_spare_room() -> None:
    columns = (Column("a", "A", 10, flex=1), Column("b", "B", 10, drop=2), Column("c", "C", 10, drop=1))
    assert [(one.key, width) for _, one, width in fit(columns, 60).columns] == [("a", 34), ("b", 10), ("c", 10)]
    assert fit(columns, 60).gap == 2
    assert [one.key for _, one, _ in fit(columns, 24).columns] == ["a", "c"]
    assert [one.key for _, one, _ in fit(columns, 3).columns] == ["a"]


def test_columns_are_as_wide_as_what_stands_in_them() -> None:
    columns = (
        Column("name", "NAME", 20, flex=1, most=40),
        Column("word", "WORD", 10, drop=3),
        Column("note", "NOTE", 9, flex=1, drop=2),
        Column("bar", "BAR", 5, flex=1, most=30, drop=1, bar=True),
    )

    def widths(width: int, *needs: int) -> dict[str, int]:
        return {one.key: size for _, one, size in fit(columns, width, needs).columns}

    assert widths(40, 14, 2, 0, 5) == {"name": 14, "word": 4, "bar": 16}, "a blank column closes, the bar takes what is left"
    assert widths(34, 22, 2, 0, 5)["name"] == 20 + 1, "a long name goes before space and before a wider bar"
    assert list(widths(20, 14, 2, 6, 5)) == ["name"], "the least important give way first"
    assert {one.key: size for _, one, size in fit(columns, 40, (2, 2, 0, 0), columns[0]).columns}["name"] >= len("NAME↑")


def test_a_bar_is_as_wide_as_its_column() -> None:
    drawn = cell_segments(gauge(0.5), 10, False, lambda tone: Style())
    assert "".join(segment.text for segment in drawn) == "█████░░░░░"
    assert "".join(segment.text for segment in cell_segments(gauge(None), 4, False, lambda tone: Style())) == "····"


@pytest.mark.parametrize(("room", "said"), [(40, "12 % of 32 · idle $46.23/h · 3.4 kW"), (30, "12 % of 32 · idle $46.23/h"), (3, "")])
def test_titles_drop_whole_pieces(room: int, said: str) -> None:
    assert whole_pieces("12 % of 32 · idle $46.23/h · 3.4 kW", room) == said


@pytest.mark.parametrize(
    ("key", "pressed"),
    [
        ("left_square_bracket", "["),
        ("ctrl+backslash", "^\\"),
        ("ctrl+@", "^Space"),
        ("shift+left", "shift+←"),
        ("question_mark", "?"),
        ("ctrl-d", "^d"),
        ("slash", "/"),
        ("G", "G"),
        ("escape", "esc"),
        ("pagedown", "PgDn"),
    ],
)
def test_keys_are_told_as_people_press_them(key: str, pressed: str) -> None:
    assert shown(key) == pressed


@pytest.mark.parametrize("view", [kind() for kind in PANES], ids=lambda view: view.name)
@pytest.mark.parametrize("width", [54, 60, 76, 118, 190])
def test_no_pane_is_wider_than_its_window(view: object, width: int) -> None:
    fitted = fit(view.columns, width)  # type: ignore[attr-defined]
    used = 2 + sum(size for _, _, size in fitted.columns) + fitted.gap * (len(fitted.columns) - 1)
    assert used <= width
