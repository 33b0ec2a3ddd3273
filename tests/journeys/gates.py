"""A way to a practice cluster that can hold one request back: before the API server has seen it, or after it has answered."""

from __future__ import annotations

import http.client
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.journeys.worlds import World
from tests.servers import Request, serving

KEPT = ("Content-Type", "Cockpit-Simulated")
DROPPED = {"host", "connection", "accept-encoding", "content-length"}


class Gate:
    """`hold` names the request to stop at (None: none), `seen_first` whether the API server gets it all the same; `held` is set when one is."""

    def __init__(self, world: World) -> None:
        self.world, self.kubeconfig = world, ""
        self.hold: Callable[[Request], bool] | None = None
        self.seen_first = False
        self.held, self.closing = threading.Event(), threading.Event()

    def arm(self, hold: Callable[[Request], bool], seen_first: bool) -> None:
        """Stop at the next such request."""
        self.held.clear()
        self.hold, self.seen_first = hold, seen_first

    def answer(self, request: Request) -> None:
        """Forward, unless this is the request to hold."""
        if self.hold is not None and self.hold(request):
            self.hold = None
            if self.seen_first:
                self._forward(request, answered=False)
            self.held.set()
            self.closing.wait(60)
            request.drop()
            return
        self._forward(request)

    def _forward(self, request: Request, answered: bool = True) -> None:
        host = self.world.facts["server"].rsplit(":", 1)[1]
        context = ssl.create_default_context(cafile=str(self.world.home / "ca.crt"))
        connection = http.client.HTTPSConnection("127.0.0.1", int(host), timeout=60, context=context)
        headers = {name: value for name, value in request.headers.items() if name.lower() not in DROPPED}
        connection.request(request.method, request._handler.path, request.body or None, headers)
        response = connection.getresponse()
        kept = {name: value for name in KEPT if (value := response.headers.get(name))}
        if not answered:
            response.read()
        elif request.query.get("watch") in ("1", "true"):
            self._stream(request, response)
        else:
            kept.pop("Content-Type", None)
            request.bytes(response.read(), response.status, response.headers.get("Content-Type") or "application/json", **kept)
        connection.close()

    def _stream(self, request: Request, response: http.client.HTTPResponse) -> None:
        with request.stream() as send:
            while not self.closing.is_set() and (chunk := response.read1(1 << 16)):
                send(chunk)


@contextmanager
def gate_before(world: World, folder: Path) -> Iterator[Gate]:
    """A Gate with a kubeconfig of its own that leads through it."""
    gate = Gate(world)
    with serving(gate.answer) as server:
        path = folder / "gated.json"
        user = {"token": (world.home / "token").read_text().strip()}
        body = {
            "current-context": "practice",
            "contexts": [{"name": "practice", "context": {"cluster": "practice", "user": "practice", "namespace": "default"}}],
            "clusters": [{"name": "practice", "cluster": {"server": server.url}}],
            "users": [{"name": "practice", "user": user}],
        }
        path.write_text(json.dumps(body))
        path.chmod(0o600)
        gate.kubeconfig = str(path)
        try:
            yield gate
        finally:
            gate.closing.set()
