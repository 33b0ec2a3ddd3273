"""The in-process watch that controllers and the kubelet use."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any

from cockpit.sim.api.records import Record


class Event:
    """One change as a controller sees it; `object` is decoded only when asked for, shared and never to be changed."""

    __slots__ = ("old_record", "record", "type")

    def __init__(self, type_: str, record: Record, old: Record | None = None) -> None:
        self.type = type_
        self.record = record
        self.old_record = old

    @property
    def resource(self) -> str:
        return self.record.kind.resource

    @property
    def namespace(self) -> str | None:
        return self.record.namespace

    @property
    def name(self) -> str:
        return self.record.name

    @property
    def object(self) -> dict[str, Any]:
        return self.record.object

    @property
    def old(self) -> dict[str, Any] | None:
        return self.old_record.object if self.old_record else None

    def __repr__(self) -> str:
        return f"Event({self.type} {self.resource} {self.record.key} rv={self.record.rv})"


class Subscription:
    """`async for event in subscription`: ADDED for all that exists, then every change in order, until close()."""

    def __init__(self, initial: deque[Event], on_close: Callable[[Subscription], None], static: bool = False) -> None:
        self._events = initial
        self.static = static
        self._on_close = on_close
        self._waiter: asyncio.Future[None] | None = None
        self._closed = False

    def push(self, event: Event) -> None:
        self._events.append(event)
        self._wake()

    def _wake(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    @property
    def idle(self) -> bool:
        """Whether its reader has taken every event and waits for the next."""
        return not self._events and (self._waiter is not None or self._closed)

    def close(self) -> None:
        self._closed = True
        self._on_close(self)
        self._wake()

    def __aiter__(self) -> Subscription:
        return self

    async def __anext__(self) -> Event:
        while not self._events:
            if self._closed:
                raise StopAsyncIteration
            self._waiter = asyncio.get_running_loop().create_future()
            try:
                await self._waiter
            finally:
                self._waiter = None
        if self._closed:
            raise StopAsyncIteration
        return self._events.popleft()
