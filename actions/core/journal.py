"""What was done, written before it is done: append-only JSON lines, fsynced, in the XDG state directory, mode 0600."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.core import Change


def state_home() -> Path:
    """`$XDG_STATE_HOME/cockpit`, by default `~/.local/state/cockpit`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "cockpit"


@dataclass
class Entry:
    """One applied plan, read back: `state` is begun (cut short), done or failed."""

    id: str
    at: float
    action: str
    cluster: str
    params: Mapping[str, Any]
    changes: list[Mapping[str, Any]]
    state: str = "begun"
    done: list[int] = field(default_factory=list)
    error: str = ""


class Journal:
    """Appends; a line is on disk before the change it announces is made."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_home() / "journal.jsonl"

    def begin(self, action: str, cluster: str, params: Mapping[str, Any], changes: Sequence[Change]) -> str:
        """Announce a plan; returns its id."""
        entry_id = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + os.urandom(3).hex()
        self._append(
            {
                "id": entry_id,
                "state": "begun",
                "at": time.time(),
                "action": action,
                "cluster": cluster,
                "params": dict(params),
                "changes": [recorded(change) for change in changes],
            }
        )
        return entry_id

    def mark(self, entry_id: str, index: int) -> None:
        """Say that one change of a plan is made."""
        self._append({"id": entry_id, "state": "change", "index": index, "at": time.time()})

    def end(self, entry_id: str, state: str, error: str = "") -> None:
        """Close a plan: `done` or `failed`."""
        self._append({"id": entry_id, "state": state, "error": error, "at": time.time()})

    def entries(self) -> Iterator[Entry]:
        """Every plan, oldest first; a torn last line is skipped."""
        found: dict[str, Entry] = {}
        for line in self._lines():
            if line["state"] == "begun":
                found[line["id"]] = Entry(line["id"], line["at"], line["action"], line["cluster"], line["params"], line["changes"])
            elif line["id"] in found:
                _amend(found[line["id"]], line)
        return iter(found.values())

    def _lines(self) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open(encoding="utf-8", errors="replace") as lines:
            for text in lines:
                try:
                    yield json.loads(text)
                except ValueError:
                    continue

    def _append(self, line: Mapping[str, Any]) -> None:
        self.path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        descriptor = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)
        try:
            os.write(descriptor, (json.dumps(line, separators=(",", ":"), default=str) + "\n").encode())
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


def recorded(change: Change) -> dict[str, Any]:
    """A change as the journal keeps it: what to do, and what undoes it; a Secret's data stays out."""
    kept = change.to_dict() | {
        "api": {"group": change.target.group, "version": change.target.version, "plural": change.target.plural},
        "body": None if change.target.kind == "Secret" else change.body,
        "content_type": change.content_type,
        "resource_version": change.resource_version,
        "selector": change.selector,
        "argv": list(change.argv),
    }
    return kept | {"inverse": recorded(change.inverse) if change.inverse else None}


def _amend(entry: Entry, line: Mapping[str, Any]) -> None:
    if line["state"] == "change":
        entry.done.append(line["index"])
    else:
        entry.state, entry.error = line["state"], line.get("error", "")
