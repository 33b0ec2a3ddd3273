"""How the views write what is known: plain JSON values, times as RFC 3339 in UTC, unknown as null."""

from __future__ import annotations

import time
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from cockpit.model import Condition
from cockpit.snapshot import Snapshot


def rfc3339(at: float | None) -> str | None:
    """A time in UTC to the second; None when it is not known."""
    return None if at is None else datetime.fromtimestamp(at, UTC).isoformat(timespec="seconds").replace("+00:00", "Z")


def age_seconds(at: float | None, now: float | None = None) -> float | None:
    """Seconds since then, to a tenth; None when it is not known."""
    return None if at is None else round(max(0.0, (time.time() if now is None else now) - at), 1)


def ago(seconds: float) -> str:
    """A duration in the two units that matter."""
    whole = max(0, int(seconds))
    for unit, size, below, part in (("d", 86400, "h", 3600), ("h", 3600, "min", 60), ("min", 60, "s", 1)):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {below}" if rest else "")
    return f"{whole} s"


def condition(one: Condition) -> dict[str, Any]:
    """A condition with its own words."""
    return {"type": one.type, "status": one.status, "reason": one.reason, "message": one.message, "since": rfc3339(one.since)}


def believed(snapshot: Snapshot, source: str, value: Any) -> Any:
    """The value, or None while that source cannot be believed."""
    return value if snapshot.believed(source) else None


def plain(amounts: Mapping[str, float]) -> dict[str, float]:
    """Resource amounts, whole numbers as such."""
    return {name: int(amount) if float(amount).is_integer() else amount for name, amount in sorted(amounts.items())}
