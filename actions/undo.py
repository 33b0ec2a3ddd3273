"""Undo: take back what a plan of the past changed, unless others have changed it since."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

from actions.core import Action, Clients, Plan, Risk, param
from actions.core.journal import Entry
from actions.core.past import chosen_of, look_at, rows_of, undoing
from cockpit.snapshot import Snapshot
from cockpit.store import Fact


@dataclass(frozen=True)
class Params:
    """Which plan."""

    id: str = param("entry of the journal (--action history); default: the last that is no undo itself", "", picks="applied")


def _fits(entry: Entry) -> bool:
    """The last plan that still stands, also where nothing undoes it: an older one in its place would be a surprise."""
    stands = entry.state in ("begun", "done", "finished") or (entry.state == "failed" and bool(entry.done))
    return stands and not entry.of


def look(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The journal, and the objects of that entry as they are now."""
    yield from look_at(clients, snapshot, lambda rows: chosen_of(rows, params.id, _fits))


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """The inverses, last change first; what has none is told."""
    row = chosen_of(rows_of(snapshot), params.id, _fits)
    return Plan(already="the journal has nothing to undo on this cluster") if row is None else undoing(snapshot, row)


ACTION = Action(
    name="undo",
    title="Undo",
    key="U",
    params=Params,
    risk=Risk.CHANGE,
    form=False,
    mends="u",
    look=look,
    plan=plan,
    doc="Takes back the last plan, or one by --id; an undo can be undone by its own --id. Refuses when the world has moved since.",
)
