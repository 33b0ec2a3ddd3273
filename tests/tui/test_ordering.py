"""Which rows are shown and in what order, by touching only what changed."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.tui.cells import Cell, cell, natural
from cockpit.tui.ordering import SORT_SECONDS, Order, matcher
from cockpit.tui.views import Column, Scene, View


class Ages(View):
    """Rows of a dict: name to age, None when unknown."""

    noun, sort_key = "row", "name"
    columns = (Column("name", "NAME", 8, sort=lambda scene, key: natural(key)), Column("age", "AGE", 4, sort=lambda scene, key: AGES[key]))

    def keys(self, scene: Scene) -> Any:
        return list(AGES)

    def has(self, scene: Scene, key: Any) -> bool:
        return key in AGES

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        return (cell(key), cell(str(AGES[key])))

    def weigh(self, scene: Scene, key: Any) -> tuple[float, ...]:
        return (AGES[key] or 0,)

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        return (3, key) if (AGES[key] or 0) > 50 else None


AGES: dict[str, int | None] = {}


@pytest.fixture
def order() -> Order:
    AGES.clear()
    AGES.update({"n10": 5, "n9": 60, "n1": None})
    made = Order(Ages())
    made.rebuild(Scene(now=0))
    return made


@pytest.mark.parametrize(
    ("query", "text", "found"),
    [
        ("P5", "p5.48xlarge", True),
        ("/^p5", "ip p5", False),
        ("/p[45]/", "ip P5", True),
        ("!p5", "g6e", True),
        ("!p5", "p5", False),
        ("-f pxl", "p5.48xlarge", True),
        ("-f xp", "p5.48xlarge", False),
        ("/[", "a/[b", True),
        ("[red]", "plain", False),
    ],
)
def test_filters(query: str, text: str, found: bool) -> None:
    assert matcher(query)(text) is found


def test_names_sort_as_people_count(order: Order) -> None:
    assert order.keys == ["n1", "n9", "n10"]


def test_unknown_is_last_in_both_directions(order: Order) -> None:
    age = order.view.columns[1]
    order.sort_by(Scene(now=0), age, down=False)
    assert order.keys == ["n10", "n9", "n1"]
    order.sort_by(Scene(now=0), age, down=True)
    assert order.keys == ["n9", "n10", "n1"]


def test_totals_and_faults_follow_the_rows_touched(order: Order) -> None:
    assert (order.sums, set(order.faults)) == ((65.0,), {"n9"})
    AGES["n9"] = 1
    order.touch(Scene(now=0), {"n9"})
    assert (order.sums, order.faults) == ((6.0,), {})
    del AGES["n10"]
    order.touch(Scene(now=0), {"n10"})
    assert order.sums == (1.0,)


def test_sorting_again_is_throttled_and_skipped_when_order_cannot_differ(order: Order) -> None:
    AGES["n9"] = 2
    order.touch(Scene(now=0), {"n9"})
    assert not order.unsettled, "the sort column did not change"
    AGES["n5"] = 3
    order.touch(Scene(now=0), {"n5"})
    assert order.settle(100.0)
    AGES["n6"] = 3
    order.touch(Scene(now=0), {"n6"})
    assert not order.settle(100.0 + SORT_SECONDS / 2)
    assert order.settle(100.0 + SORT_SECONDS)
    assert order.keys == ["n1", "n5", "n6", "n9", "n10"]


def test_a_row_that_comes_back_is_shown_once(order: Order) -> None:
    kept = AGES.pop("n9")
    order.touch(Scene(now=0), {"n9"})
    AGES["n9"] = kept
    order.touch(Scene(now=0), {"n9"})
    order.settle(0.0, force=True)
    assert order.keys == ["n1", "n9", "n10"]


def test_a_filter_holds_for_rows_that_come_later(order: Order) -> None:
    order.filter(Scene(now=0), "n1")
    assert order.keys == ["n1", "n10"]
    AGES.update({"n12": 1, "n3": 1})
    order.touch(Scene(now=0), {"n12", "n3"})
    order.settle(0.0, force=True)
    assert order.keys == ["n1", "n10", "n12"]
    assert order.rows == 5


def test_faults_only(order: Order) -> None:
    order.filter(Scene(now=0, faults_only=True), "")
    assert order.keys == ["n9"]
