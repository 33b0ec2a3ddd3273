"""What a source says to the store: rows at once, and its health as its parts together have it."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Any

from cockpit.errors import CockpitError, Forbidden, NotServed
from cockpit.store import KEYS, Delete, Failed, Store, Synced, Upsert

LIVE = "live"


class Voice:
    """Speaks for a source of several parts, the resources it reads; any thread may speak for its part."""

    def __init__(self, source: str, store: Store, *parts: str) -> None:
        self._source, self._store, self._parts = source, store, parts
        self._lock = threading.Lock()
        self._states: list[CockpitError | str | None] = [None] * len(parts)
        self._scopes = [""] * len(parts)
        self._listed: set[int] = set()

    def rows(self, part: int, kind: str, rows: Iterable[Any]) -> list[Any]:
        """New or changed rows; returns their keys."""
        found = tuple(rows)
        with self._lock:
            self._store.apply(Upsert(self._source, kind, found), *self._standing())
        return [KEYS[kind](row) for row in found]

    def gone(self, part: int, kind: str, *keys: Any) -> None:
        """Keys that are gone; None among them is nothing."""
        with self._lock:
            self._store.apply(Delete(self._source, kind, tuple(key for key in keys if key is not None)), *self._standing())

    def listed(self, part: int, kind: str, keys: set[Any], within: Callable[[Any], bool] | None = None, scope: str = "") -> None:
        """A part is listed completely, in all namespaces or in `scope`: what it answers for and is not among `keys` is gone."""
        with self._lock:
            known = getattr(self._store.snapshot(), kind)
            gone = tuple(key for key in known if key not in keys and (within is None or within(key)))
            self._states[part], self._scopes[part] = LIVE, scope
            self._listed.add(part)
            self._store.apply(Delete(self._source, kind, gone), *(self._standing() or self._health()))

    def trim(self, part: int, kind: str, keep: int, age: Callable[[Any], float]) -> None:
        """Drop the oldest rows beyond `keep`."""
        rows = getattr(self._store.snapshot(), kind)
        if len(rows) > keep:
            oldest = sorted(((age(row), key) for key, row in rows.items()), key=lambda pair: pair[0])[: len(rows) - keep]
            self.gone(part, kind, *(key for _, key in oldest))

    def recovered(self, part: int) -> None:
        """A part that was listed before is followed on: as of now it is true, however long nothing happened."""
        with self._lock:
            if part in self._listed:
                self._states[part] = LIVE
                self._store.apply(*self._health())

    def failed(self, part: int, error: CockpitError) -> None:
        """A part cannot be read."""
        with self._lock:
            self._states[part] = error
            facts = self._health()
            if facts:
                self._store.apply(*facts)

    def _health(self) -> list[Synced | Failed]:
        """Live, absent or failed; nothing while a part has not spoken."""
        broken = self._broken()
        if broken is not None:
            return [Failed(self._source, broken)]
        if None in self._states:
            return []
        if LIVE not in self._states:
            return [Failed(self._source, next(state for state in self._states if isinstance(state, CockpitError)))]
        return [self._synced()]

    def _broken(self) -> CockpitError | None:
        """The failure of the whole: any but a part that is not served, or one that may not be read while another may."""
        errors = [state for state in self._states if isinstance(state, CockpitError) and not isinstance(state, NotServed)]
        hard = [error for error in errors if not isinstance(error, Forbidden)]
        alone = not (LIVE in self._states or None in self._states)
        return next(iter(hard or (errors if alone else [])), None)

    def _synced(self) -> Synced:
        scopes = [scope for scope, state in zip(self._scopes, self._states, strict=True) if scope and state == LIVE]
        unread = [part for part, state in zip(self._parts, self._states, strict=True) if isinstance(state, Forbidden)]
        return Synced(self._source, scope=next(iter(scopes), ""), unread=tuple(unread))

    def _standing(self) -> list[Synced | Failed]:
        """The failure that rows of other parts must not hide; what was complete once is stale as of now, not down."""
        broken = self._broken()
        if broken is None:
            return []
        complete = all(part in self._listed or isinstance(state, (NotServed, Forbidden)) for part, state in enumerate(self._states))
        heard = [self._synced()] if complete else []
        return [*heard, Failed(self._source, broken)]
