"""The bounded history of changes that watches read: no queue per watcher, so a slow one costs nothing and gets a 410."""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cockpit.sim.api.records import Record

WINDOW_CHANGES = 20_000
WINDOW_BYTES = 128 << 20


@dataclass(slots=True, eq=False)
class Change:
    """ADDED, MODIFIED or DELETED; `old` is the record before it, None when there was none."""

    rv: int
    type: str
    record: Record
    old: Record | None


class History:
    """The last changes of one resource, oldest first; a cursor is the absolute number of the next change to read."""

    def __init__(self, rv: int) -> None:
        self._changes: deque[Change] = deque()
        self._first = 0
        self._size_bytes = 0
        self._waiters: set[asyncio.Future[None]] = set()
        self.compacted_rv = rv

    def append(self, change: Change) -> None:
        self._changes.append(change)
        self._size_bytes += len(change.record.body)
        while len(self._changes) > WINDOW_CHANGES or self._size_bytes > WINDOW_BYTES:
            self._forget()
        self.wake()

    def _forget(self) -> None:
        gone = self._changes.popleft()
        self._first += 1
        self._size_bytes -= len(gone.record.body)
        self.compacted_rv = gone.rv

    def compact(self, rv: int) -> None:
        """Forget everything up to a resourceVersion: watches and lists from before it get 410."""
        while self._changes:
            self._forget()
        self.compacted_rv = rv
        self.wake()

    @property
    def end(self) -> int:
        """The cursor after the newest change."""
        return self._first + len(self._changes)

    def after(self, rv: int) -> int | None:
        """The cursor of the first change newer than `rv`; None when the history no longer reaches back that far."""
        if rv < self.compacted_rv:
            return None
        return self._first + bisect_right(self._changes, rv, key=lambda change: change.rv)

    def read(self, cursor: int, limit: int = 500) -> list[Change] | None:
        """Up to `limit` changes from a cursor on; None when the cursor fell out of the window."""
        start = cursor - self._first
        if start < 0:
            return None
        changes = self._changes
        return [changes[index] for index in range(start, min(len(changes), start + limit))]

    async def wait(self, seconds: float) -> None:
        """Return at the next change, or after `seconds`."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiters.add(future)
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return
        finally:
            self._waiters.discard(future)

    def wake(self) -> None:
        for waiter in self._waiters:
            if not waiter.done():
                waiter.set_result(None)
        self._waiters.clear()
