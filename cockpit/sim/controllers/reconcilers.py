"""The loop that every controller shares: events become keys, a key is reconciled by a plain function, errors back off."""

from __future__ import annotations

import asyncio
import heapq
import itertools
import logging
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any, ClassVar, Protocol

from cockpit.sim.store import ApiError

if TYPE_CHECKING:
    from cockpit.sim.controllers.options import Options
    from cockpit.sim.store import Cluster

Key = tuple[str, str]
"""(namespace, name); the namespace is "" for what has none."""

logger = logging.getLogger(__name__)
FIRST_RETRY_SECONDS = 0.1
LAST_RETRY_SECONDS = 10.0


class Controller(Protocol):
    """What serve.py runs: a name, and a coroutine that never returns of itself."""

    @property
    def name(self) -> str:
        """What logs call it."""

    async def run(self) -> None:
        """Reconcile until cancelled."""


class KeyQueue:
    """Keys waiting to be reconciled, each at most once, some only after a delay."""

    def __init__(self) -> None:
        self._ready: dict[Key, None] = {}
        self._later: list[tuple[float, int, Key]] = []
        self._due: dict[Key, float] = {}
        self._order = itertools.count()
        self._changed = asyncio.Event()

    def add(self, key: Key) -> None:
        """Reconcile this key as soon as possible."""
        self._ready[key] = None
        self._changed.set()

    def add_after(self, key: Key, seconds: float) -> None:
        """Reconcile this key after a delay, unless it comes up sooner."""
        due = asyncio.get_running_loop().time() + seconds
        if self._due.get(key, float("inf")) <= due:
            return
        self._due[key] = due
        heapq.heappush(self._later, (due, next(self._order), key))
        self._changed.set()

    async def get(self) -> Key:
        """The next key; waits until there is one."""
        while True:
            self._promote()
            if self._ready:
                key = next(iter(self._ready))
                del self._ready[key]
                return key
            await self._wait()

    def _promote(self) -> None:
        now = asyncio.get_running_loop().time()
        while self._later and self._later[0][0] <= now:
            due, _, key = heapq.heappop(self._later)
            if self._due.get(key) == due:
                del self._due[key]
                self._ready[key] = None

    async def _wait(self) -> None:
        """Until a key comes or the next delay is over; not wait_for, which may lose a cancellation that meets the event."""
        self._changed.clear()
        alarm = asyncio.get_running_loop().call_at(self._later[0][0], self._changed.set) if self._later else None
        try:
            await self._changed.wait()
        finally:
            if alarm is not None:
                alarm.cancel()


class Reconciler:
    """A controller over a key queue; `reconcile` is synchronous, so it sees and leaves the store in one consistent step."""

    name: ClassVar[str]
    watches: ClassVar[tuple[str, ...]]

    def __init__(self, cluster: Cluster, options: Options) -> None:
        self.cluster = cluster
        self.options = options
        self.queue = KeyQueue()
        self._failures: dict[Key, int] = {}

    def keys(self, event: Any) -> Iterable[Key]:
        """The keys an event touches: by default the object's own."""
        metadata = event.object["metadata"]
        return [(metadata.get("namespace") or "", metadata["name"])]

    def reconcile(self, key: Key) -> float | None:
        """Bring one object nearer to its wish; returns after how many seconds to look again, or None."""
        raise TypeError(f"{type(self).__name__} has no reconcile for {key}")

    async def run(self) -> None:
        """Feed and work the queue until cancelled."""
        self.queue = KeyQueue()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._feed())
            tasks.create_task(self._work())

    async def _feed(self) -> None:
        subscription = self.cluster.subscribe(*self.watches)
        try:
            async for event in subscription:
                for key in self.keys(event):
                    self.queue.add(key)
        finally:
            subscription.close()

    async def _work(self) -> None:
        while True:
            key = await self.queue.get()
            try:
                again = self.reconcile(key)
                self._failures.pop(key, None)
            except ApiError as error:
                logger.debug("%s: %s %s: %s", self.name, *key, error)
                again = self._backoff(key)
            except (ArithmeticError, LookupError, TypeError, ValueError):
                logger.exception("%s cannot make sense of %s/%s", self.name, *key)
                again = self._backoff(key)
            if again is not None:
                self.queue.add_after(key, again)
            await asyncio.sleep(0)

    def _backoff(self, key: Key) -> float:
        count = self._failures.get(key, 0)
        self._failures[key] = count + 1
        return min(FIRST_RETRY_SECONDS * 2**count, LAST_RETRY_SECONDS)

    def discard(self, resource: str, namespace: str | None, name: str, grace_seconds: int | None = None) -> None:
        """Delete an object that may be gone already."""
        if self.cluster.find(resource, namespace or None, name) is not None:
            self.cluster.delete(resource, namespace or None, name, grace_seconds=grace_seconds)

    def set_status(self, resource: str, obj: dict[str, Any], wanted: dict[str, Any]) -> bool:
        """Patch the status fields that differ; returns whether any did. None removes a field."""
        held = obj.get("status") or {}
        changed = {field: value for field, value in wanted.items() if held.get(field) != value}
        if not changed:
            return False
        metadata = obj["metadata"]
        self.cluster.patch(resource, metadata.get("namespace") or None, metadata["name"], {"status": changed}, subresource="status")
        return True
