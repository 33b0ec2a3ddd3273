"""The journal told to a person: what a plan of the past was, how it ended, and whether anything undoes it."""

from __future__ import annotations

import shlex
import time
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Clients
from actions.core.facts import ago, rfc3339
from actions.core.journal import Entry, change_of
from cockpit.model import Applied


def applied(entries: Iterator[Entry], clients: Clients) -> Iterator[Applied]:
    """Entries as rows; `here` is None where there is no cluster to compare with."""
    for entry in entries:
        here = entry.is_of(clients.kube.cluster, clients.kube.server) if clients.kube is not None else None
        yield Applied(entry.id, entry.at, entry, here)


def changes_of(entry: Entry) -> list[Change]:
    """The changes of an entry, as they were planned; one that cannot be read any more is left out."""
    found = []
    for kept in entry.changes:
        try:
            found.append(change_of(kept))
        except (KeyError, TypeError, AttributeError):
            continue
    return found


def no_undo(entry: Entry) -> str:
    """Why nothing of an entry can be undone, from the journal alone; empty when something can."""
    if entry.running:
        return f"it is being applied by process {entry.process.get('pid')} on {entry.host}"
    if entry.state == "undone":
        return "it is undone already"
    changes = changes_of(entry)
    if not any(change.inverse for change in changes):
        final = [change for change in changes if change.verb in ("delete", "evict")]
        named = next((change.summary for change in (*final, *changes)), "it changed nothing")
        return f"nothing undoes: {named}"
    if entry.state == "failed" and not entry.done:
        return "none of its changes was made"
    return ""


def told(entry: Entry, now: float | None = None) -> str:
    """Which plan it was, in one line."""
    who = f" by {entry.by}" if entry.by else ""
    made = f", {len(entry.done)} of {len(entry.changes)} changes made" if entry.state in ("begun", "failed") else ""
    return f"{entry.action}, {ago((time.time() if now is None else now) - entry.at)} ago{who}: {entry.standing}{made}"


def command_of(entry: Entry) -> str:
    """The command line that would run its action again."""
    words = ["cockpit", "--action", entry.action]
    for name, value in entry.params.items():
        words += _words(name, value)
    return " ".join(shlex.quote(word) for word in words)


def _words(name: str, value: Any) -> list[str]:
    flag = "--" + name.replace("_", "-")
    if value in (None, "", [], ()):
        return []
    if isinstance(value, bool):
        return [flag] if value else ["--no-" + flag[2:]]
    return [flag, ",".join(str(one) for one in value) if isinstance(value, (list, tuple)) else str(value)]


def record(row: Applied) -> Mapping[str, Any]:
    """An entry as `history` prints it; nothing of a Secret is in it, since nothing of one is in the journal."""
    entry: Entry = row.entry
    why = "it was applied to another cluster" if row.here is False else no_undo(entry)
    return {
        "id": row.id,
        "at": rfc3339(row.at),
        "action": entry.action,
        "state": entry.standing,
        "by": entry.by or None,
        "host": entry.host or None,
        "cluster": entry.cluster,
        "here": row.here,
        "made": len(entry.done),
        "planned": len(entry.changes),
        "undoable": not why,
        "why_not": why,
        "of": entry.of or None,
        "what": "; ".join(change.summary for change in changes_of(entry)[:3]) + (" ..." if len(entry.changes) > 3 else ""),
        "error": entry.error or None,
        "changes": [_made(entry, index) for index in range(len(entry.changes))],
    }


def _made(entry: Entry, index: int) -> Mapping[str, Any]:
    kept = entry.changes[index]
    return {"summary": kept.get("summary"), "command": kept.get("command"), "made": index in entry.done}
