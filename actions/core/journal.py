"""What was done, written before it is done: append-only JSON lines, fsynced, in the XDG state directory, mode 0600.

A plan that was begun and never ended was cut short, unless the process that began it still lives.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from actions.core import Change, Plan, Target
from actions.core.signatures import Signature

TAIL_BYTES = 256 << 10
"""How much of a long journal is read to see whether something was cut short."""


def _person() -> str:
    """Who sits at this machine; empty where nobody has a name."""
    import getpass

    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return ""


def state_home() -> Path:
    """`$XDG_STATE_HOME/cockpit`, by default `~/.local/state/cockpit`."""
    return Path(os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state") / "cockpit"


@dataclass
class Entry:
    """One applied plan, read back: `state` is begun, done, failed, undone, finished or kept (written off as it stands).

    `of` is the entry that this one undoes or finishes, `undoes` which of the two; `by` and `host` say who applied it and where. `passing` says that
    it was to last only while somebody looked: nothing goes on with it.
    """

    id: str
    at: float
    action: str
    cluster: str
    params: Mapping[str, Any]
    changes: list[Mapping[str, Any]]
    state: str = "begun"
    done: list[int] = field(default_factory=list)
    error: str = ""
    server: str = ""
    of: str = ""
    undoes: bool = False
    passing: bool = False
    by: str = ""
    host: str = ""
    process: Mapping[str, Any] = field(default_factory=dict)

    @property
    def running(self) -> bool:
        """True while the process that applies it lives."""
        return self.state == "begun" and Signature.of(self.process).lives()

    @property
    def cut_short(self) -> bool:
        """True when whoever applied it is gone, and it has not ended."""
        return self.state == "begun" and not Signature.of(self.process).lives()

    def is_of(self, cluster: str, server: str) -> bool:
        """Whether it was applied to that cluster: by name, and by address where both are known."""
        return self.cluster == cluster and (not self.server or not server or self.server == server)

    @property
    def standing(self) -> str:
        """Its state in words."""
        return "running" if self.running else "cut short" if self.state == "begun" else self.state


class Journal:
    """Appends; a line is on disk before the change it announces is made."""

    def __init__(self, path: Path | None = None) -> None:
        self.path = path or state_home() / "journal.jsonl"

    def begin(
        self,
        action: str,
        cluster: str,
        params: Mapping[str, Any],
        plan: Plan | Sequence[Change],
        server: str = "",
        user: str = "",
        passing: bool = False,
    ) -> str:
        """Announce a plan; returns its id."""
        changes = plan.changes if isinstance(plan, Plan) else plan
        entry_id = time.strftime("%Y%m%dT%H%M%S", time.gmtime()) + "-" + os.urandom(3).hex()
        mine = Signature.mine()
        line = {
            "id": entry_id,
            "state": "begun",
            "at": time.time(),
            "action": action,
            "cluster": cluster,
            "server": server,
            "by": " as ".join(filter(None, (_person(), user))),
            "host": mine.host,
            "process": mine.to_dict(),
            "params": dict(params),
            "changes": [recorded(change) for change in changes],
        }
        if isinstance(plan, Plan) and (plan.undoes or plan.finishes):
            line |= {"of": plan.undoes or plan.finishes, "undoes": bool(plan.undoes)}
        if passing:
            line["passing"] = True
        self._append(line)
        return entry_id

    def mark(self, entry_id: str, index: int) -> None:
        """Say that one change of a plan is made."""
        self._append({"id": entry_id, "state": "change", "index": index, "at": time.time()})

    def end(self, entry_id: str, state: str, error: str = "") -> None:
        """Close a plan: `done`, `failed`, or `kept` when one that was cut short is written off."""
        self._append({"id": entry_id, "state": state, "error": error, "at": time.time()})

    def entries(self, tail_bytes: int | None = None) -> Iterator[Entry]:
        """Every plan, oldest first, or those begun in the last bytes; a torn line is skipped."""
        found: dict[str, Entry] = {}
        for line in self._lines(tail_bytes):
            if line["state"] == "begun":
                kept = {name: line[name] for name in ("server", "of", "undoes", "passing", "by", "host", "process") if name in line}
                found[line["id"]] = Entry(line["id"], line["at"], line["action"], line["cluster"], line["params"], line["changes"], **kept)
            elif line["id"] in found:
                _amend(found, found[line["id"]], line)
        return iter(found.values())

    def cut_short(self, cluster: str, server: str) -> list[Entry]:
        """The plans on that cluster that nobody applies any more and that have not ended, newest first; of a long journal the recent ones."""
        return [entry for entry in self.entries(TAIL_BYTES) if entry.is_of(cluster, server) and entry.cut_short][::-1]

    def _lines(self, tail_bytes: int | None = None) -> Iterator[dict[str, Any]]:
        if not self.path.exists():
            return
        with self.path.open("rb") as lines:
            if tail_bytes is not None:
                lines.seek(max(0, self.path.stat().st_size - tail_bytes))
            for text in lines:
                try:
                    line = json.loads(text)
                except ValueError:
                    continue
                if isinstance(line, dict) and "id" in line and "state" in line:
                    yield line

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
        "body": None if change.target.kind == "Secret" and not change.sealed else change.body,
        **{name: getattr(change, name) for name in PLAIN},
        "argv": list(change.argv),
        "env": dict(change.env),
        "holes": list(change.holes),
    }
    return kept | {"inverse": recorded(change.inverse) if change.inverse else None}


PLAIN = ("content_type", "resource_version", "selector", "field_selector", "grace_seconds", "settling", "sealed")
"""Fields of a change that are kept as they are."""


def change_of(kept: Mapping[str, Any]) -> Change:
    """A change as the journal kept it; what an older journal lacks has its default."""
    place, api = kept["object"], kept.get("api") or {}
    target = Target(
        place["kind"], place["name"], place.get("namespace") or "", api.get("group") or "", api.get("version") or "v1", api.get("plural") or ""
    )
    inverse = kept.get("inverse")
    return Change(
        kept["via"],
        kept["verb"],
        target,
        kept["summary"],
        kept.get("command") or "",
        body=kept.get("body"),
        before=kept.get("before"),
        after=kept.get("after"),
        inverse=change_of(inverse) if inverse else None,
        argv=tuple(kept.get("argv") or ()),
        env=dict(kept.get("env") or {}),
        holes=tuple(kept.get("holes") or ()),
        **{name: kept[name] for name in PLAIN if kept.get(name) is not None},
    )


def _amend(found: Mapping[str, Entry], entry: Entry, line: Mapping[str, Any]) -> None:
    if line["state"] == "change":
        entry.done.append(line["index"])
        return
    entry.state, entry.error = line["state"], line.get("error", "")
    other = found.get(entry.of)
    if entry.state == "done" and other is not None:
        other.state = "undone" if entry.undoes else other.state if other.state == "kept" else "finished"
        first = found.get(other.of)
        if other.undoes and first is not None:
            first.state = "done" if entry.undoes else "undone"
