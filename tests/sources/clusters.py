"""A scripted API of one collection: lists it in pages, streams what the test says, and breaks when told to."""

from __future__ import annotations

import json
import queue
import threading
from typing import Any

from tests.servers import Request

END, DROP, SILENCE = object(), object(), object()


class Collection:
    """Objects by name at `path`; `say` sends a watch event, or END, DROP, raw bytes, to the open watch or the next one."""

    def __init__(self, path: str, *names: str, page: int = 500) -> None:
        self.path, self.page = path, page
        self.objects = {name: thing(name) for name in names}
        self.version = 10
        self.lists: list[dict[str, str]] = []
        self.watches: list[dict[str, str]] = []
        self.list_errors: list[tuple[int, str, str]] = []
        self.watch_errors: list[tuple[int, str, str]] = []
        self.closing = threading.Event()
        self._said: queue.Queue[Any] = queue.Queue()

    def say(self, *said: Any) -> None:
        """Send to the watch, in order."""
        for one in said:
            self._said.put(one)

    def event(self, type_: str, name: str, version: int, **more: Any) -> bytes:
        """One line of a watch."""
        return json.dumps({"type": type_, "object": thing(name, version, **more)}).encode() + b"\n"

    def answer(self, request: Request) -> None:
        """Serve the collection; anything else is not served."""
        if request.path != self.path:
            request.bytes(b"404 page not found\n", 404)
        elif request.query.get("watch"):
            self._watch(request)
        else:
            self._list(request)

    def _list(self, request: Request) -> None:
        self.lists.append(request.query)
        if self.list_errors:
            request.status(*self.list_errors.pop(0))
            return
        names = sorted(self.objects)
        start = int(request.query.get("continue") or 0)
        end = start + min(self.page, int(request.query.get("limit") or len(names) or 1))
        metadata = {"resourceVersion": str(self.version), "continue": str(end) if end < len(names) else ""}
        request.json({"kind": "List", "metadata": metadata, "items": [self.objects[name] for name in names[start:end]]})

    def _watch(self, request: Request) -> None:
        self.watches.append(request.query)
        if self.watch_errors:
            request.status(*self.watch_errors.pop(0))
            return
        with request.stream() as send:
            while not self.closing.is_set():
                try:
                    said = self._said.get(timeout=0.05)
                except queue.Empty:
                    continue
                if said is END:
                    return
                if said is DROP:
                    request.drop()
                    return
                send(said)


def thing(name: str, version: int = 1, **more: Any) -> dict[str, Any]:
    """A node object."""
    return {"metadata": {"name": name, "resourceVersion": str(version)}, "spec": {}, "status": {}, **more}
