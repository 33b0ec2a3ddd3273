"""The parts of Kubernetes objects that every source reads, as msgspec decodes them: anything may be null."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from datetime import datetime
from functools import lru_cache

import msgspec

from cockpit.model import Condition

intern = sys.intern


class OwnerRef(msgspec.Struct, gc=False):
    kind: str | None = None
    name: str | None = None
    uid: str | None = None
    controller: bool | None = None


class Meta(msgspec.Struct, rename="camel"):
    """An object's metadata."""

    name: str | None = None
    namespace: str | None = None
    uid: str | None = None
    resource_version: str | None = None
    creation_timestamp: str | None = None
    deletion_timestamp: str | None = None
    labels: dict[str, str | None] | None = None
    annotations: dict[str, str | None] | None = None
    owner_references: list[OwnerRef | None] | None = None

    def label(self, *names: str) -> str:
        """The first of these labels that is set."""
        return _first(self.labels, names)

    def annotation(self, *names: str) -> str:
        """The first of these annotations that is set."""
        return _first(self.annotations, names)

    def owner(self) -> OwnerRef | None:
        """The controlling owner, else the first."""
        owners = [one for one in self.owner_references or () if one]
        return next((one for one in owners if one.controller), owners[0] if owners else None)


def _first(found: Mapping[str, str | None] | None, names: Iterable[str]) -> str:
    if found:
        for name in names:
            if value := found.get(name):
                return value
    return ""


class RawCondition(msgspec.Struct, rename="camel", gc=False):
    type: str | None = None
    status: str | None = None
    reason: str | None = None
    message: str | None = None
    last_transition_time: str | None = None


def conditions(found: Iterable[RawCondition | None] | None) -> tuple[Condition, ...]:
    """The conditions that have a type."""
    return tuple(condition(one) for one in found or () if one and one.type)


def condition(raw: RawCondition) -> Condition:
    """One condition, its words interned: thousands of objects say the same."""
    reason, message = intern(raw.reason or ""), intern(raw.message or "")
    return Condition(intern(raw.type or ""), intern(raw.status or "Unknown"), reason, message, seconds(raw.last_transition_time))


@lru_cache(4096)
def seconds(text: str | None) -> float | None:
    """RFC 3339 -> seconds since the epoch; None when it is none. Remembered: what starts together says the same second."""
    if not text:
        return None
    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        return None


_UNITS = {
    "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18,
    "Ki": 2.0**10, "Mi": 2.0**20, "Gi": 2.0**30, "Ti": 2.0**40, "Pi": 2.0**50, "Ei": 2.0**60,
}  # fmt: skip


@lru_cache(maxsize=8192)
def quantity(text: str | int | float | None) -> float | None:
    """A Kubernetes quantity in base units (`250m` -> 0.25, `4Gi` -> 4294967296.0); None when it is none."""
    if text is None:
        return None
    try:
        return float(text)
    except ValueError:
        pass
    words = str(text)
    for length in (2, 1):
        factor = _UNITS.get(words[-length:])
        if factor is not None:
            try:
                return float(words[:-length]) * factor
            except ValueError:
                return None
    return None


@lru_cache(4096)
def count(text: str | int | float | None) -> int | None:
    """A quantity that counts things."""
    found = quantity(text)
    return None if found is None or found != found or found in (float("inf"), float("-inf")) else int(found)


Quantities = dict[str, str | int | float | None]
