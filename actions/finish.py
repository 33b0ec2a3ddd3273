"""Finish: go on with a plan that was cut short or failed half-way; what of it is made already is not made again."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.journal import Entry
from actions.core.past import chosen_of, finishing, keeping, look_at, rows_of
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Which plan."""

    id: str = param("entry of the journal (--action history); default: the last that was cut short", "", picks="applied")
    leave: bool = param("change nothing: write down that it stays as it stands, and ask no more", False)


def _fits(entry: Entry) -> bool:
    return entry.cut_short


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The journal, and the objects of that entry as they are now."""
    yield from look_at(clients, snapshot, lambda rows: chosen_of(rows, params.id, _fits))


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What is left of it, from what exists."""
    row = chosen_of(rows_of(snapshot), params.id, _fits)
    if row is None:
        return Plan(already="nothing on this cluster was cut short")
    return keeping(row) if params.leave else finishing(snapshot, row)


ACTION = Action(
    name="finish",
    title="Finish",
    params=Params,
    risk=Risk.CHANGE,
    form=False,
    mends="f",
    look=look,
    plan=plan,
    doc="Goes on with a plan that was cut short or failed, from what exists; --leave writes it off. Refuses when the world has moved since.",
)
