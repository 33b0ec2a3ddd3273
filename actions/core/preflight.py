"""The manifest of a launch held against the lint rules before anything is sent: warnings are told, errors refuse."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from actions.core import Change
from actions.core.lints import findings_of
from cockpit.errors import Refused
from cockpit.model import Finding
from cockpit.snapshot import Snapshot

TOLD = 4


def judged(changes: Iterable[Change], snapshot: Snapshot) -> tuple[str, ...]:
    """What the rules warn of; Refused with path and mended text for what they call an error. A Secret that has no data yet is not judged."""
    bodies: list[Mapping[str, Any]] = [change.body for change in changes if change.body is not None and change.via == "kube" and not change.sealed]
    found = findings_of(bodies, snapshot)
    errors = [one for one in found if one.severity == "error"]
    if errors:
        more = f" (and {len(errors) - TOLD} more)" if len(errors) > TOLD else ""
        raise Refused("; ".join(_said(one) for one in errors[:TOLD]) + more, _mended(errors) or "--action lint -f FILE shows each with its line")
    return tuple(_said(one) for one in found if one.severity == "warning")


def _said(one: Finding) -> str:
    where = f" at {one.evidence[0]}" if one.evidence and one.evidence[0] else ""
    return f"{one.object}: {one.message}{where} [{one.id}]"


def _mended(errors: list[Finding]) -> str:
    return "\n".join(f"{one.evidence[0]}: {one.remedy}" for one in errors[:TOLD] if one.remedy and one.evidence)
