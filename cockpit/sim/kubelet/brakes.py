"""Brakes on processes: SIGSTOP and SIGCONT in a duty cycle, so that a rank really runs at a fraction of its speed, or not at all."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Callable, Iterable

SLICES = 10
SLICE_SECONDS = 0.02
REFRESH_SLICES = 25  # processes are looked up anew every half second, so that a restarted rank is braked again

Select = Callable[[], Iterable[int]]


class Brakes:
    """All brakes at once: where several act on a process the strongest counts; idle without any."""

    def __init__(self) -> None:
        self._brakes: dict[str, tuple[Select, float]] = {}
        self._factors: dict[int, float] = {}
        self._stopped: set[int] = set()
        self._task: asyncio.Task[None] | None = None

    def put(self, name: str, select: Select, factor: float) -> None:
        """Let the processes that `select` finds run `factor` of the time (0 stops them), until `lift`."""
        self._brakes[name] = (select, factor)
        self._refresh()
        self._step(0)
        if self._task is None or self._task.done():
            self._task = asyncio.get_running_loop().create_task(self._cycle(), name="brakes")

    def lift(self, name: str) -> None:
        """End one brake; what no other brake holds runs again."""
        self._brakes.pop(name, None)
        self._refresh()

    def close(self) -> None:
        """End all."""
        for name in list(self._brakes):
            self.lift(name)
        if self._task is not None:
            self._task.cancel()

    async def _cycle(self) -> None:
        tick = 0
        while self._brakes:
            if tick % REFRESH_SLICES == 0:
                self._refresh()
            self._step(tick % SLICES)
            tick += 1
            still = all(factor == 0 for factor in self._factors.values())
            await asyncio.sleep(SLICE_SECONDS * REFRESH_SLICES if still else SLICE_SECONDS)
            tick = 0 if still else tick

    def _refresh(self) -> None:
        factors: dict[int, float] = {}
        for select, factor in self._brakes.values():
            for pid in select():
                factors[pid] = min(factor, factors.get(pid, 1.0))
        for pid in self._stopped - factors.keys():
            _send(pid, signal.SIGCONT)
        self._stopped &= factors.keys()
        self._factors = factors

    def _step(self, slice_: int) -> None:
        for pid, factor in self._factors.items():
            run = slice_ < round(factor * SLICES)
            if run and pid in self._stopped:
                _send(pid, signal.SIGCONT)
                self._stopped.discard(pid)
            elif not run and pid not in self._stopped:
                _send(pid, signal.SIGSTOP)
                self._stopped.add(pid)


def _send(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, number)
