"""A practice cluster for tests: store and API server in a thread of their own, spoken to over HTTPS like any other."""

from __future__ import annotations

import asyncio
import http.client
import json
import ssl
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

from cockpit.sim.serve import Maker, Settings, Sim, no_parts
from cockpit.sim.state import State

T = TypeVar("T")


def eventually(check: Callable[[], T], seconds: float = 10.0) -> T:
    """The first true value of `check`; fails when none comes in time."""
    deadline = time.monotonic() + seconds
    while True:
        value = check()
        if value:
            return value
        assert time.monotonic() < deadline, f"still {value!r} after {seconds} s"
        threading.Event().wait(0.02)


class Served:
    """A practice cluster that runs in a thread."""

    def __init__(self, folder: Path, make: Maker = no_parts) -> None:
        self.state = State(folder)
        self.loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, daemon=True)
        self._thread.start()
        self.sim: Sim = self.run(lambda: Sim(self.state, Settings(scenario="none"), make))
        self.wait(self.sim.start())
        self.context = ssl.create_default_context(cafile=str(folder / "ca.crt"))

    @property
    def cluster(self) -> Any:
        return self.sim.cluster

    def run(self, function: Callable[[], T]) -> T:
        """Call a function in the cluster's own thread."""
        future: Future[T] = Future()

        def call() -> None:
            try:
                future.set_result(function())
            except BaseException as error:
                future.set_exception(error)
        self.loop.call_soon_threadsafe(call)
        return future.result(30)

    def wait(self, work: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(30)

    def close(self) -> None:
        self.wait(self.sim.stop())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(10)
        self.loop.close()

    def connect(self) -> http.client.HTTPSConnection:
        return http.client.HTTPSConnection("127.0.0.1", self.sim.api.port, timeout=20, context=self.context)

    def request(self, method: str, path: str, body: Any = None, content_type: str = "application/json",
                **headers: str) -> tuple[int, dict[str, Any], http.client.HTTPResponse]:
        """Status, decoded JSON body and response of one request by the admin."""
        connection = self.connect()
        given = {"Authorization": f"Bearer {self.state.token()}", "Content-Type": content_type,
                 **{name.replace("_", "-"): value for name, value in headers.items()}}
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        connection.request(method, path, data, given)
        response = connection.getresponse()
        text = response.read()
        connection.close()
        decoded = json.loads(text) if response.headers.get("Content-Type", "").startswith("application/json") else {"text": text.decode()}
        return response.status, decoded, response

    def get(self, path: str, **headers: str) -> dict[str, Any]:
        status, body, _ = self.request("GET", path, **headers)
        assert status == 200, body
        return body

    def post(self, path: str, body: Any, expect: int = 201) -> dict[str, Any]:
        status, made, _ = self.request("POST", path, body)
        assert status == expect, made
        return made
