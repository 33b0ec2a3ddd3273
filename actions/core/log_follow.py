"""Following logs: one reader a pod, new pods found as they come, lines put in order of time as they arrive, an end when the job has ended."""

from __future__ import annotations

import heapq
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from itertools import count
from typing import Any

from actions.core.log_lines import PIECE_BYTES, Line, Speaker, parsed
from cockpit.errors import CockpitError, Invalid, NotAuthorised, NotFound

QUEUE_LINES = 10_000
SETTLE_SECONDS = 0.25
"""How long a line is held for an older one from another pod."""
LOOK_SECONDS = 1.0
RETRY_SECONDS = 1.0

Pair = tuple[Speaker, Line]


def log_path(who: Speaker) -> str:
    """The API path of a pod's log."""
    return f"/api/v1/namespaces/{who.namespace}/pods/{who.pod}/log"


@dataclass
class Mark:
    """How far a pod's log has been read: the time of the last line, and how many lines had that very time."""

    at: int = 0
    time: str = ""
    same: int = 0

    def passes(self, line: Line) -> None:
        """Note one more line."""
        self.same = self.same + 1 if line.at == self.at else 1
        self.at, self.time = line.at, line.time or self.time


@dataclass
class Follow:
    """What is followed: `watched` lists the pods that are there now and `over` says that no more will come."""

    kube: Any
    params: Mapping[str, str]
    watched: Callable[[], tuple[list[Speaker], bool]]
    stop: threading.Event
    marks: dict[str, Mark] = field(default_factory=dict)
    lines: queue.Queue[Pair | BaseException] = field(default_factory=lambda: queue.Queue(QUEUE_LINES))
    readers: dict[str, threading.Thread] = field(default_factory=dict)

    def pairs(self) -> Iterator[Pair]:
        """Every line from now on, by time; ends with what it follows, or when `stop` is set. Left before its end it sets `stop`, for its readers."""
        held: list[tuple[int, int, float, Pair]] = []
        order, looked, over, ended = count(), 0.0, False, False
        try:
            while not self.stop.is_set():
                if time.monotonic() - looked >= LOOK_SECONDS:
                    over, looked = self._look(), time.monotonic()
                self._take(held, order)
                ended = over and not self._reading() and self.lines.empty()
                yield from self._ripe(held, everything=ended)
                if ended:
                    return
        finally:
            if not ended:
                self.stop.set()

    def _take(self, held: list[tuple[int, int, float, Pair]], order: Iterator[int]) -> None:
        """Move what has arrived into the heap; wait a little when nothing has."""
        wait = SETTLE_SECONDS
        for _ in range(QUEUE_LINES):
            try:
                found = self.lines.get(timeout=wait) if wait else self.lines.get_nowait()
            except queue.Empty:
                return
            if isinstance(found, BaseException):
                raise found
            wait = 0.0
            heapq.heappush(held, (found[1].at, next(order), time.monotonic(), found))

    def _ripe(self, held: list[tuple[int, int, float, Pair]], everything: bool) -> Iterator[Pair]:
        now = time.monotonic()
        while held and (everything or now - held[0][2] >= SETTLE_SECONDS):
            yield heapq.heappop(held)[3]

    def _look(self) -> bool:
        """Start a reader for every pod that has none; True when no more pods will come."""
        found, over = self.watched()
        for who in found:
            if who.pod not in self.readers:
                reader = threading.Thread(target=self._read, args=(who,), name=f"log {who.pod}", daemon=True)
                self.readers[who.pod] = reader
                reader.start()
        return over

    def _reading(self) -> bool:
        return any(reader.is_alive() for reader in self.readers.values())

    def _read(self, who: Speaker) -> None:
        """One pod to its end, across restarts of its container; what goes wrong beyond that is raised where the lines are read."""
        try:
            while not self.stop.is_set() and self._read_once(who):
                self.stop.wait(RETRY_SECONDS)
        except Exception as problem:  # the edge of this thread
            self._put(problem)

    def _read_once(self, who: Speaker) -> bool:
        """One stream of a pod until it breaks off; True when another may follow it."""
        try:
            self._pump(who)
            return not self._finished(who)
        except NotAuthorised:
            raise
        except NotFound:
            return False
        except Invalid:
            return not self._finished(who)
        except CockpitError:
            return True

    def _pump(self, who: Speaker) -> None:
        mark = self.marks.setdefault(who.pod, Mark())
        since = {"sinceTime": mark.time} if mark.time else {}
        named = {"container": who.container} if who.container else {}
        params = {"follow": "true", "timestamps": "true", **self.params, **named, **since}
        if since:
            params.pop("tailLines", None)
            params.pop("sinceSeconds", None)
        old, skip = mark.at, mark.same
        before: Line | None = None
        for raw in self.kube.lines(log_path(who), params=params, stop=self.stop, piece_bytes=PIECE_BYTES):
            before = line = parsed(raw, before)
            if line.at < old:
                continue
            if line.at == old and skip:
                skip -= 1
                continue
            mark.passes(line)
            self._put((who, line))

    def _finished(self, who: Speaker) -> bool:
        pod = self.kube.request("GET", f"/api/v1/namespaces/{who.namespace}/pods/{who.pod}")
        return (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")

    def _put(self, found: Pair | BaseException) -> None:
        while not self.stop.is_set():
            try:
                self.lines.put(found, timeout=LOOK_SECONDS)
                return
            except queue.Full:
                continue
