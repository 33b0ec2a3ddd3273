"""Connections to one API server over http.client: kept while they live, TLS as its endpoint says, through a proxy where one is named.

http.client and not urllib3: importing that one takes as long as reading 1,500 nodes, and of what it adds we would use the pool alone.
"""

from __future__ import annotations

import base64
import os
import select
import socket
import ssl
import threading
from collections.abc import Callable, Iterable
from http.client import HTTPConnection, HTTPResponse
from typing import Any
from urllib.parse import SplitResult, quote, unquote, urlsplit

from cockpit.clients.bodies import Body
from cockpit.clients.credentials import Certificate
from cockpit.clients.kubeconfig import Endpoint
from cockpit.clients.tls import tls_context
from cockpit.errors import BadKubeconfig

KEPT = 64
PIECE_BYTES = 1 << 16
PATH_CHARACTERS = "/:~@!$&'()*+,;=%-._"
Headers = Iterable[tuple[str, str]]


class CannotConnect(OSError):
    """Nobody was reached; its cause says why."""


class Connection(HTTPConnection):
    """One connection: to the server, or to a proxy and through it; `raw` is the socket that a shutdown ends."""

    raw: socket.socket

    def __init__(self, server: SplitResult, tls: ssl.SSLContext | None, server_name: str, proxy: SplitResult | None, seconds: float) -> None:
        self.default_port = 443 if tls else 80
        reached = proxy or server
        super().__init__(reached.hostname or "", reached.port or (443 if reached.scheme == "https" else 80), timeout=seconds)
        self._tls, self._server_name, self._proxy = tls, server_name, proxy
        self._create_connection = self._reach
        if proxy and tls:
            self.set_tunnel(server.hostname or "", server.port or self.default_port, dict(authorization(proxy)))

    def connect(self) -> None:
        """Reach the server. CannotConnect, ssl.SSLError."""
        try:
            super().connect()
            if self._tls:
                self.sock = self._secured(self._tls)
        except ssl.SSLError:
            self.close()
            raise
        except OSError as problem:
            self.close()
            raise CannotConnect(str(problem)) from problem

    def _reach(self, address: tuple[str, int], seconds: float, source: None = None) -> socket.socket:
        """A socket that asks a silent peer after 30 s whether it lives and gives up after three times 10 s; in TLS when the proxy speaks it."""
        self.raw = socket.create_connection(address, seconds)
        self.raw.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        for name, value in (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3)):
            if hasattr(socket, name):
                self.raw.setsockopt(socket.IPPROTO_TCP, getattr(socket, name), value)
        if self._proxy and self._proxy.scheme == "https":
            self.raw = ssl.create_default_context().wrap_socket(self.raw, server_hostname=self._proxy.hostname)
        return self.raw

    def _secured(self, context: ssl.SSLContext) -> Any:
        if isinstance(self.raw, ssl.SSLSocket):
            from urllib3.util.ssltransport import SSLTransport  # TLS in TLS, which the standard library does not do

            return SSLTransport(self.raw, context, server_hostname=self._server_name)
        self.raw = context.wrap_socket(self.raw, server_hostname=self._server_name)
        return self.raw

    def ask(self, method: str, target: str, headers: Headers, data: bytes | None) -> None:
        """Send a request."""
        self.putrequest(method, target, skip_accept_encoding=True)
        for name, value in headers:
            self.putheader(name, value)
        if data is not None:
            self.putheader("Content-Length", str(len(data)))
        self.endheaders(data)

    def alive(self) -> bool:
        """False when the other side has ended a kept connection."""
        try:
            look = select.poll()
            look.register(self.raw, select.POLLIN)
            return not look.poll(0)
        except (OSError, ValueError):
            return False


class Answer:
    """An answer whose body is still to be read; its connection is kept when all of it has been."""

    def __init__(self, response: HTTPResponse, connection: Connection, keep: Callable[[Connection], None]) -> None:
        self.status = response.status
        self.raw = connection.raw
        self._response, self._connection, self._keep = response, connection, keep
        self._closed = False

    def header(self, name: str) -> str:
        """The value of a header, empty when there is none."""
        return self._response.headers.get(name) or ""

    def read1(self) -> bytes:
        """What has come, at most 64 KiB of it; empty at the end. HTTPException when the body breaks off."""
        piece = self._response.read1(PIECE_BYTES)
        if not piece and self._response.length:
            raise ConnectionResetError(f"{self._response.length} bytes of the body are missing")
        return piece

    def whole(self, head_bytes: int = 0, on_head: Callable[[bytes], None] | None = None) -> bytes:
        """The unpacked body; `on_head` gets its first `head_bytes` while the rest is still coming."""
        body = Body(self.header("Content-Encoding"), head_bytes)
        try:
            while piece := self.read1():
                if body.add(piece) and on_head:
                    on_head(body.head)
            return body.whole()
        finally:
            self.close()

    def head(self, limit_bytes: int) -> bytes:
        """The first bytes of the unpacked body; the rest is not waited for."""
        body = Body(self.header("Content-Encoding"), limit_bytes)
        try:
            while (piece := self.read1()) and not body.add(piece):
                pass
            return body.head
        finally:
            self.close()

    def set_silence(self, seconds: float | None) -> None:
        """From now on a read that waits longer is a TimeoutError."""
        self._connection.sock.settimeout(seconds)

    def close(self) -> None:
        """Keep the connection when the whole body was read, else end it; once, however often it is called."""
        if self._closed:
            return
        self._closed = True
        over = self._response.isclosed() or self._response.length == 0
        self._response.close()
        if over and not self._response.will_close and self._connection.sock:
            self._keep(self._connection)
        else:
            self._connection.close()


class Connections:
    """The connections of one endpoint with one client certificate; any thread may use them. BadKubeconfig for a proxy we cannot use."""

    def __init__(self, endpoint: Endpoint, certificate: Certificate | None) -> None:
        self._server = urlsplit(endpoint.server)
        self._tls = tls_context(endpoint, certificate) if self._server.scheme == "https" else None
        self._server_name = endpoint.tls_server_name or self._server.hostname or ""
        self._proxy = proxy_of(endpoint)
        self._lock = threading.Lock()
        self._idle: list[Connection] = []

    def ask(
        self,
        method: str,
        path: str,
        headers: Headers,
        data: bytes | None,
        seconds: tuple[float, float | None],
        on_sent: Callable[[socket.socket], None] | None = None,
    ) -> Answer:
        """One exchange; `seconds` are those to connect and of silence. A GET is sent again when a kept connection had died, and once more anyhow.

        `on_sent` gets the socket before it is waited for. CannotConnect, ssl.SSLError, TimeoutError, OSError, HTTPException.
        """
        headers = list(headers)
        target = self._target(path, headers)
        again = method == "GET"
        while True:
            connection, kept = self._take(seconds[0])
            try:
                connection.sock.settimeout(seconds[1])
                connection.ask(method, target, headers, data)
                if on_sent:
                    on_sent(connection.raw)
                return Answer(connection.getresponse(), connection, self._keep)
            except BaseException as problem:
                connection.close()
                if not (again and isinstance(problem, ConnectionError)):
                    raise
                again = kept

    def _target(self, path: str, headers: list[tuple[str, str]]) -> str:
        """What stands in the request line; the whole URL for a proxy that is no tunnel."""
        path, _, query = path.partition("?")
        target = quote(self._server.path.rstrip("/") + path, safe=PATH_CHARACTERS) + (f"?{query}" if query else "")
        if not self._proxy or self._tls:
            return target
        headers += [("Host", self._server.netloc), *authorization(self._proxy)]
        return f"{self._server.scheme}://{self._server.netloc}{target}"

    def _take(self, seconds: float) -> tuple[Connection, bool]:
        while True:
            with self._lock:
                connection = self._idle.pop() if self._idle else None
            if connection is None:
                break
            if connection.alive():
                return connection, True
            connection.close()
        connection = Connection(self._server, self._tls, self._server_name, self._proxy, seconds)
        connection.connect()
        return connection, False

    def _keep(self, connection: Connection) -> None:
        with self._lock:
            if len(self._idle) < KEPT:
                self._idle.append(connection)
                return
        connection.close()

    def clear(self) -> None:
        """End the idle ones."""
        with self._lock:
            idle, self._idle = self._idle, []
        for connection in idle:
            connection.close()


def proxy_of(endpoint: Endpoint) -> SplitResult | None:
    """The proxy of the endpoint, else that of the environment as Go's clients choose it: never for this machine itself."""
    url = endpoint.proxy_url or _proxy_of_environment(endpoint.server)
    proxy = urlsplit(url if "://" in url else f"http://{url}") if url else None
    if proxy and proxy.scheme not in ("http", "https"):
        raise BadKubeconfig(f"proxy-url {_without_password(proxy)} is not an http or https proxy", "use an http or https proxy")
    return proxy


def _proxy_of_environment(server: str) -> str:
    if not any(name.lower().endswith("_proxy") for name in os.environ):
        return ""
    from urllib.request import getproxies_environment, proxy_bypass

    parts = urlsplit(server)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or proxy_bypass(parts.netloc):
        return ""
    return getproxies_environment().get(parts.scheme, "")


def authorization(proxy: SplitResult) -> list[tuple[str, str]]:
    """The header that carries the user and password in a proxy's URL."""
    if proxy.username is None:
        return []
    words = f"{unquote(proxy.username)}:{unquote(proxy.password or '')}"
    return [("Proxy-Authorization", "Basic " + base64.b64encode(words.encode()).decode())]


def _without_password(proxy: SplitResult) -> str:
    return f"{proxy.scheme}://{proxy.netloc.rpartition('@')[2]}"
