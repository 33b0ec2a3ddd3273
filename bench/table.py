"""Update 500 cells and repaint: our table with 50,000 rows against the toolkit's DataTable with 5,000; CPU time, so load matters little."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator
from statistics import median

from textual.app import App, ComposeResult
from textual.widgets import DataTable

from bench.crowd import filled, pod
from bench.readings import Reading, tell
from cockpit.store import Store, Upsert
from cockpit.tui.cluster import Pods
from cockpit.tui.table import VirtualTable
from cockpit.tui.theme import COCKPIT
from cockpit.tui.views import Scene

CELLS, ROUNDS = 500, 12
TIMES_LESS = 10
OURS, THEIRS = 50_000, 5_000
SIZE = (200, 50)


class Ours(App[None]):
    """One VirtualTable of pods."""

    CSS = "VirtualTable { height: 1fr; }"

    def compose(self) -> ComposeResult:
        self.register_theme(COCKPIT)
        self.theme = COCKPIT.name
        yield VirtualTable(Pods())


class Theirs(App[None]):
    """One DataTable of as many columns."""

    def compose(self) -> ComposeResult:
        yield DataTable()


async def ours() -> float:
    """CPU seconds of one round, median."""
    store, app, dice = Store(), Ours(), random.Random(2)
    nodes = filled(store, 500, OURS)
    async with app.run_test(size=SIZE) as pilot:
        table = app.query_one(VirtualTable)
        snapshot, _ = store.drain()
        table.reload(Scene(snapshot, connected=True))
        await pilot.pause()
        spent = []
        for turn in range(ROUNDS):
            store.apply(Upsert("pods", "pods", tuple(pod(dice.randrange(OURS), nodes, turn + 1) for _ in range(CELLS))))
            snapshot, changes = store.drain()
            before = time.process_time()
            table.advance(Scene(snapshot, connected=True), changes)
            await pilot.pause()
            spent.append(time.process_time() - before)
        return median(spent)


async def theirs() -> float:
    """The same with a DataTable a tenth as long."""
    app, dice = Theirs(), random.Random(2)
    async with app.run_test(size=SIZE) as pilot:
        table = app.query_one(DataTable)
        columns = [table.add_column(column.title or "-", width=column.width) for column in Pods().columns]
        rows = table.add_rows([f"cell {index} {at}" for at in range(len(columns))] for index in range(THEIRS))
        await pilot.pause()
        spent = []
        for turn in range(ROUNDS):
            before = time.process_time()
            for _ in range(CELLS):
                table.update_cell(dice.choice(rows), columns[4], str(turn))
            await pilot.pause()
            spent.append(time.process_time() - before)
        return median(spent)


def measure() -> Iterator[Reading]:
    """How many times less CPU ours takes."""
    mine, other = asyncio.run(ours()), asyncio.run(theirs())
    note = f"ours {mine * 1000:.1f} ms CPU, DataTable {other * 1000:.1f} ms"
    yield Reading("table-cpu-vs-datatable", other / mine, "x", TIMES_LESS, at_least=True, note=note)


def main() -> None:
    """Measure."""
    tell(measure())


if __name__ == "__main__":
    main()
