"""History: what was done from this machine, by whom, how it ended, and whether it can be undone."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from actions.core import Action, Clients, Column, param
from actions.core.journal import Journal
from actions.core.recounting import applied, record
from cockpit.snapshot import Snapshot


@dataclass(frozen=True)
class Params:
    """How much of it."""

    last: int = param("how many entries, the newest last; 0: all", 50, minimum=0)


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Mapping[str, Any]]:
    """One record an entry of the journal."""
    rows = list(applied(Journal().entries(), clients))
    yield from (record(row) for row in (rows[-params.last :] if params.last else rows))


ACTION = Action(
    name="history",
    title="History",
    params=Params,
    front=(),
    records=records,
    columns=(
        Column("id", "ID"),
        Column("at", "WHEN"),
        Column("action", "ACTION"),
        Column("state", "STATE"),
        Column("undoable", "UNDO"),
        Column("by", "BY"),
        Column("cluster", "CLUSTER"),
        Column("what", "WHAT"),
        Column("why_not", "WHY NOT", wide=True),
        Column("error", "ERROR", wide=True),
    ),
    doc="Lists the journal of this machine: who changed what and when, how it ended, and whether `undo` takes it back or why not.",
)
