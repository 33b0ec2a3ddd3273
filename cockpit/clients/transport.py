"""Exchanges with one API server: impersonation, one more try after a 401, patience with a busy one; failures become Unreachable."""

from __future__ import annotations

import random
import ssl
import threading
import urllib.parse
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any

from cockpit.clients.connections import Answer, CannotConnect, Connections
from cockpit.clients.credentials import Certificate
from cockpit.clients.kubeconfig import Endpoint
from cockpit.clients.statuses import error_of
from cockpit.clients.streams import Lines, Streams
from cockpit.errors import CockpitError, Unreachable

BUSY_TRIES = 5
BUSY_SECONDS = 5
ERROR_BYTES = 1 << 16
Params = Mapping[str, Any]
Opened = Callable[[Any], None]
BROKEN = (HTTPException, OSError, ValueError)


class Transport:
    """Exchanges with the server of an Endpoint; any thread may use it. `simulated` is None until the first answer."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float = 10.0) -> None:
        self.endpoint = endpoint
        self.timeout_seconds = timeout_seconds
        self.simulated: bool | None = None
        self._lock = threading.Lock()
        self._connections: Connections | None = None
        self._certificate: Certificate | None = None
        self._streams = Streams()
        self._closed = threading.Event()

    def close(self) -> None:
        """End open streams, waits and idle connections."""
        self._closed.set()
        self._streams.interrupt()
        if self._connections is not None:
            self._connections.clear()

    def interrupt(self) -> None:
        """End every open stream: their readers connect anew and find out whether anybody answers."""
        self._streams.interrupt()

    def answer(
        self,
        method: str,
        path: str,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        data: bytes | None = None,
        timeout_seconds: float | None = None,
    ) -> bytes:
        """The whole body of a 2xx answer; the error of any other."""
        answer = self._send(method, path, params, headers or {}, data, timeout_seconds or self.timeout_seconds)
        return self._body(answer, method, path, timeout_seconds, answer.whole)

    def head(self, path: str, params: Params | None, headers: Mapping[str, str], timeout_seconds: float | None, limit_bytes: int) -> bytes:
        """The first `limit_bytes` of the body of a GET."""
        answer = self._send("GET", path, params, headers, None, timeout_seconds or self.timeout_seconds)
        return self._body(answer, "GET", path, timeout_seconds, lambda: answer.head(limit_bytes))

    def page(self, path: str, params: Params, headers: Mapping[str, str], head_bytes: int, on_head: Callable[[bytes], None]) -> bytes:
        """The whole body of a GET; `on_head` gets its first `head_bytes` while the rest is still coming, unless it is an error."""
        answer = self._send("GET", path, params, headers, None, self.timeout_seconds)
        return self._body(answer, "GET", path, None, lambda: answer.whole(head_bytes, on_head if answer.status < 300 else None))

    def _body(self, answer: Answer, method: str, path: str, seconds: float | None, read: Callable[[], bytes]) -> bytes:
        """What `read` brings of an answer that says yes; the error of any other."""
        try:
            body = read()
        except BROKEN as problem:
            raise self._unreachable(problem, method, path, seconds) from None
        if answer.status >= 300:
            raise error_of(answer.status, body, method, path, answer.header("Retry-After"))
        return body

    def lines(
        self,
        path: str,
        params: Params | None,
        stop: threading.Event,
        timeout_seconds: float | None,
        piece_bytes: int,
        on_open: Callable[[], None] | None,
    ) -> Iterator[bytes]:
        """The lines of a stream; see Kube.lines."""
        sockets: list[Any] = []
        answer = self._open(path, params, stop, timeout_seconds, sockets)
        if answer is None:
            return
        lines = Lines(piece_bytes)
        try:
            if answer.status >= 300:
                raise error_of(answer.status, answer.head(ERROR_BYTES), "GET", path)
            if on_open is not None:
                on_open()
            answer.set_silence(timeout_seconds)
            while not stop.is_set() and (chunk := answer.read1()):
                yield from lines.feed(chunk)
            if lines.end() and not stop.is_set():
                yield lines.end()
        except BROKEN as problem:
            if not stop.is_set():
                raise self._unreachable(problem, "GET", path, timeout_seconds) from None
        finally:
            for sock in sockets:
                self._streams.remove(sock)
            answer.close()

    def _open(self, path: str, params: Params | None, stop: threading.Event, timeout_seconds: float | None, sockets: list[Any]) -> Answer | None:
        """The answer to a stream's request, None when stopped meanwhile; what waits for it can be stopped from the moment it is sent."""

        def on_sent(sock: Any) -> None:
            sockets.append(sock)
            self._streams.add(stop, sock)

        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        wait = None if timeout_seconds is None else min(timeout_seconds, self.timeout_seconds)
        try:
            return self._send("GET", path, params, headers, None, wait, on_sent)
        except CockpitError:
            for sock in sockets:
                self._streams.remove(sock)
            if not stop.is_set():
                raise
            return None

    def _send(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str],
        data: bytes | None,
        wait: float | None,
        on_sent: Opened | None = None,
    ) -> Answer:
        """An exchange, repeated a few times when the server is too busy to look at it and says when to come again."""
        url = path + ("?" + urllib.parse.urlencode(params, doseq=True) if params else "")
        for _ in range(BUSY_TRIES - 1):
            answer = self._exchange(method, url, headers, data, wait, on_sent)
            seconds = _busy_seconds(answer)
            if seconds is None or self._closed.wait(seconds):
                return answer
            answer.close()
        return self._exchange(method, url, headers, data, wait, on_sent)

    def _exchange(self, method: str, url: str, headers: Mapping[str, str], data: bytes | None, wait: float | None, on_sent: Opened | None) -> Answer:
        """One exchange; a 401 is tried once more with fresh credentials."""
        credentials = self.endpoint.credentials
        seconds = (min(self.timeout_seconds, wait or self.timeout_seconds), wait)
        for last in (False, True):
            own = credentials.headers()
            sent = [("User-Agent", "cockpit"), *headers.items(), *own.items(), *self.endpoint.impersonate]
            try:
                answer = self._connected().ask(method, url, sent, data, seconds, on_sent)
            except BROKEN as problem:
                raise self._unreachable(problem, method, url, wait) from None
            self.simulated = answer.header("Cockpit-Simulated") == "true"
            if answer.status != 401 or last or not credentials.refresh(own):
                break
            answer.close()
        return answer

    def _connected(self) -> Connections:
        certificate = self.endpoint.credentials.certificate()
        with self._lock:
            if self._connections is None or certificate != self._certificate:
                self._connections, self._certificate = Connections(self.endpoint, certificate), certificate
            return self._connections

    def _unreachable(self, problem: BaseException, method: str, path: str, seconds: float | None) -> Unreachable:
        server, what = self.endpoint.server, f"{method} {path.split('?', 1)[0]}"
        hint = f"context {self.endpoint.context}: is the cluster up, and the network to it (VPN, proxy)?"
        if isinstance(problem, ssl.SSLError):
            return Unreachable(f"TLS with {server} failed: {_reason(problem)}", "check certificate-authority and server in the kubeconfig")
        if isinstance(problem, CannotConnect):
            return Unreachable(f"cannot connect to {server}: {_reason(problem)}", hint)
        if isinstance(problem, TimeoutError):
            return Unreachable(f"{server} was silent for {seconds or self.timeout_seconds:g} s after {what}", hint)
        return Unreachable(f"{server} broke off {what}: {_reason(problem)}", hint)


def _busy_seconds(answer: Answer) -> float | None:
    """How long to wait before asking again (429 of priority and fairness), stretched by up to half; None when it is not to be asked again soon."""
    said = answer.header("Retry-After")
    if answer.status != 429 or not said.isdigit() or int(said) > BUSY_SECONDS:
        return None
    return int(said) * random.uniform(1.0, 1.5)


def _reason(problem: BaseException) -> str:
    """The innermost cause in its own words."""
    while problem.__cause__ is not None:
        problem = problem.__cause__
    said = getattr(problem, "verify_message", "") or getattr(problem, "strerror", None) or str(problem) or type(problem).__name__
    return str(said)[:300]
