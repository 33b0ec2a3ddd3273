"""How a change of the past stands now: made, still open, or overtaken by others; told from the object as it is, field by field."""

from __future__ import annotations

import enum
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from actions.core import MERGE_PATCH, Change
from cockpit.model import Observed

Path = tuple[str, ...]
EPOCH = "1970-01-01T00:00:00Z"


class Stands(enum.Enum):
    """MADE: as the change left it. OPEN: as it was before. GONE: its object is not there. MOVED: others changed it. UNSEEN: it cannot be told."""

    MADE = "made"
    OPEN = "open"
    GONE = "gone"
    MOVED = "moved"
    UNSEEN = "unseen"


@dataclass(frozen=True)
class Standing:
    """How a change stands; `why` says what differs."""

    stands: Stands
    why: str = ""


def leaves(body: Mapping[str, Any], below: Path = ()) -> Iterator[tuple[Path, Any]]:
    """Every field that a merge patch sets, with its value; None takes the field away."""
    for name, value in body.items():
        if isinstance(value, Mapping) and value:
            yield from leaves(value, (*below, name))
        else:
            yield (*below, name), value


def lies(found: Any, path: Path) -> Any:
    """The value at a path of an object; None where there is none."""
    for name in path:
        found = found.get(name) if isinstance(found, Mapping) else None
    return found


def of(change: Change, seen: Observed | None, marked: bool, since: float) -> Standing:
    """How a change stands, given its object as it was read just now (None: it was not), whether it was marked as made, and when its plan began."""
    if change.settling or change.verb == "wait":
        return Standing(Stands.OPEN)
    if change.via != "kube":
        return Standing(Stands.UNSEEN, f"what {change.via} did cannot be looked at")
    if change.verb == "create" and not change.target.name:
        return Standing(Stands.MADE if marked else Stands.UNSEEN)
    if seen is None or seen.error:
        return Standing(Stands.UNSEEN, seen.error if seen is not None else "")
    if change.verb in ("delete", "evict"):
        return _removal(change, seen)
    if change.verb in ("create", "apply"):
        return _creation(change, seen, marked, since)
    return _patched(change, seen)


def _creation(change: Change, seen: Observed, marked: bool, since: float) -> Standing:
    """An object that the plan was to make: there, and made since the plan began."""
    if seen.object is None:
        return Standing(Stands.OPEN)
    made = datetime.fromisoformat(str(lies(seen.object, ("metadata", "creationTimestamp")) or EPOCH)).timestamp()
    if marked or made >= int(since):
        return Standing(Stands.MADE)
    return Standing(Stands.OPEN if change.verb == "apply" else Stands.MOVED, f"{change.target} is there, and this plan did not make it")


def _removal(change: Change, seen: Observed) -> Standing:
    if seen.object is None:
        return Standing(Stands.MADE)
    uid = lies(change.before or {}, ("uid",))
    return Standing(Stands.MADE if uid and uid != lies(seen.object, ("metadata", "uid")) else Stands.OPEN)


def _patched(change: Change, seen: Observed) -> Standing:
    if seen.object is None:
        return Standing(Stands.GONE, f"{change.target} is gone")
    if change.content_type != MERGE_PATCH:
        return Standing(Stands.UNSEEN, "what it was before is not known")
    wanted, before = dict(leaves(change.body or {})), dict(leaves(change.inverse.body or {})) if change.inverse else {}
    now = {path: lies(seen.object, path) for path in {**wanted, **before}}
    if all(_same(now[path], value) for path, value in wanted.items()):
        return Standing(Stands.MADE)
    if before and all(_same(now[path], value) for path, value in before.items()):
        return Standing(Stands.OPEN)
    return Standing(Stands.MOVED, f"{change.target}: {differences(change.body or {}, seen.object)}")


def differences(body: Mapping[str, Any], now: Mapping[str, Any]) -> str:
    """The fields of a merge patch that an object no longer has as the patch says."""
    found = [(path, lies(now, path), value) for path, value in leaves(body)]
    return "; ".join(f"{'.'.join(path)} is {_shown(seen)} now, not {_shown(value)}" for path, seen, value in found if not _same(seen, value))


def _same(found: Any, wanted: Any) -> bool:
    """Equal, where false, empty and absent are one: the API leaves such fields out."""
    return found == wanted or (not found and not wanted)


def _shown(value: Any) -> str:
    return "not set" if value in (None, "", (), [], {}) else str(value)[:200]
