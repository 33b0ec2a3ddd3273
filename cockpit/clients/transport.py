"""HTTP to one API server over urllib3: pooling, TLS, proxies, impersonation, one more try after a 401; failures become Unreachable."""

from __future__ import annotations

import random
import socket
import ssl
import threading
import urllib.parse
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from http.client import HTTPException
from typing import Any

import urllib3
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from cockpit.clients.bodies import Body
from cockpit.clients.credentials import Certificate
from cockpit.clients.kubeconfig import Endpoint
from cockpit.clients.statuses import error_of
from cockpit.clients.streams import Lines, Streams
from cockpit.clients.tls import tls_context
from cockpit.errors import BadKubeconfig, CockpitError, Unreachable

CHUNK_BYTES = 1 << 16
BUSY_TRIES = 5
BUSY_SECONDS = 5
Params = Mapping[str, Any]
BROKEN = (urllib3.exceptions.HTTPError, HTTPException, OSError, ValueError)

_waiting = threading.local()


class _Watched:
    """A connection that shows its socket before it waits for an answer, so that a stream can be ended while the server is silent."""

    sock: Any

    def getresponse(self) -> Any:
        opened = getattr(_waiting, "opened", None)
        if opened is not None:
            opened(self.sock)
        return super().getresponse()  # type: ignore[misc]


class _Http(_Watched, HTTPConnection):
    pass


class _Https(_Watched, HTTPSConnection):
    pass


class _HttpPool(HTTPConnectionPool):
    ConnectionCls = _Http


class _HttpsPool(HTTPSConnectionPool):
    ConnectionCls = _Https


class Transport:
    """Exchanges with the server of an Endpoint; any thread may use it. `simulated` is None until the first answer."""

    def __init__(self, endpoint: Endpoint, timeout_seconds: float = 10.0) -> None:
        self.endpoint = endpoint
        self.timeout_seconds = timeout_seconds
        self.simulated: bool | None = None
        self._lock = threading.Lock()
        self._pool: urllib3.PoolManager | None = None
        self._pool_certificate: Certificate | None = None
        self._streams = Streams()
        self._closed = threading.Event()

    def close(self) -> None:
        """End open streams, waits and idle connections."""
        self._closed.set()
        self._streams.interrupt()
        if self._pool is not None:
            self._pool.clear()

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
        response = self._send(method, path, params, headers or {}, data, timeout_seconds or self.timeout_seconds)
        if response.status >= 300:
            raise error_of(response.status, response.data, method, path, response.headers.get("Retry-After", ""))
        body: bytes = response.data
        return body

    def head(self, path: str, params: Params | None, headers: Mapping[str, str], timeout_seconds: float | None, limit_bytes: int) -> bytes:
        """The first `limit_bytes` of the body of a GET."""
        seconds = timeout_seconds or self.timeout_seconds
        response = self._send("GET", path, params, headers, None, seconds, preload=False)
        try:
            body: bytes = response.read(limit_bytes)
        except BROKEN as problem:
            raise self._unreachable(problem, "GET", path, seconds) from None
        finally:
            response.close()
        if response.status >= 300:
            raise error_of(response.status, body, "GET", path)
        return body

    def page(self, path: str, params: Params, headers: Mapping[str, str], head_bytes: int, on_head: Callable[[bytes], None]) -> bytes:
        """The whole body of a GET; `on_head` gets its first `head_bytes` while the rest is still coming, unless it is an error."""
        response = self._send("GET", path, params, headers, None, self.timeout_seconds, preload=False)
        body = Body(response.headers.get("Content-Encoding", ""), head_bytes)
        try:
            while chunk := response.read1(CHUNK_BYTES, decode_content=False):
                if body.add(chunk) and response.status < 300:
                    on_head(body.head)
            whole = body.whole()
        except BROKEN as problem:
            raise self._unreachable(problem, "GET", path, self.timeout_seconds) from None
        finally:
            response.close()
        if response.status >= 300:
            raise error_of(response.status, whole, "GET", path, response.headers.get("Retry-After", ""))
        return whole

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
        response = self._open(path, params, stop, timeout_seconds, sockets)
        if response is None:
            return
        lines = Lines(piece_bytes)
        try:
            if response.status >= 300:
                raise error_of(response.status, response.read(CHUNK_BYTES), "GET", path)
            if on_open is not None:
                on_open()
            sockets[-1].settimeout(timeout_seconds)
            while not stop.is_set() and (chunk := response.read1(CHUNK_BYTES)):
                yield from lines.feed(chunk)
            if lines.end() and not stop.is_set():
                yield lines.end()
        except BROKEN as problem:
            if not stop.is_set():
                raise self._unreachable(problem, "GET", path, timeout_seconds) from None
        finally:
            for sock in sockets:
                self._streams.remove(sock)
            response.close()

    def _open(self, path: str, params: Params | None, stop: threading.Event, timeout_seconds: float | None, sockets: list[Any]) -> Any:
        """The answer to a stream's request, None when stopped meanwhile; what waits for it can be stopped from the moment it is sent."""

        def opened(sock: Any) -> None:
            sockets.append(sock)
            self._streams.add(stop, sock)

        headers = {"Accept": "*/*", "Accept-Encoding": "identity"}
        wait = None if timeout_seconds is None else min(timeout_seconds, self.timeout_seconds)
        _waiting.opened = opened
        try:
            return self._send("GET", path, params, headers, None, wait, preload=False)
        except CockpitError:
            for sock in sockets:
                self._streams.remove(sock)
            if not stop.is_set():
                raise
            return None
        finally:
            _waiting.opened = None

    def _send(
        self, method: str, path: str, params: Params | None, headers: Mapping[str, str], data: bytes | None, wait: float | None, preload: bool = True
    ) -> urllib3.BaseHTTPResponse:
        """An exchange, repeated a few times when the server is too busy to look at it and says when to come again."""
        for _ in range(BUSY_TRIES - 1):
            response = self._exchange(method, path, params, headers, data, wait, preload)
            seconds = _busy_seconds(response)
            if seconds is None or self._closed.wait(seconds):
                return response
            response.close()
        return self._exchange(method, path, params, headers, data, wait, preload)

    def _exchange(
        self, method: str, path: str, params: Params | None, headers: Mapping[str, str], data: bytes | None, wait: float | None, preload: bool
    ) -> urllib3.BaseHTTPResponse:
        """One exchange; a 401 is tried once more with fresh credentials, a GET once more when a kept connection had died."""
        url = self.endpoint.server + path + ("?" + urllib.parse.urlencode(params, doseq=True) if params else "")
        credentials = self.endpoint.credentials
        for last in (False, True):
            own = credentials.headers()
            try:
                response = self._manager().request(
                    method,
                    url,
                    body=data,
                    headers=self._headers({**headers, **own}),
                    timeout=urllib3.Timeout(connect=min(self.timeout_seconds, wait or self.timeout_seconds), read=wait),
                    retries=False,
                    redirect=False,
                    preload_content=preload,
                )
            except BROKEN as problem:
                if isinstance(problem, urllib3.exceptions.ProtocolError) and method == "GET" and not last:
                    continue
                raise self._unreachable(problem, method, path, wait) from None
            self.simulated = response.headers.get("Cockpit-Simulated") == "true"
            if response.status != 401 or last or not credentials.refresh(own):
                break
            response.close()
        return response

    def _headers(self, headers: Mapping[str, str]) -> urllib3.HTTPHeaderDict:
        found = urllib3.HTTPHeaderDict({"User-Agent": "cockpit", **headers})
        for name, value in self.endpoint.impersonate:
            found.add(name, value)
        return found

    def _manager(self) -> urllib3.PoolManager:
        certificate = self.endpoint.credentials.certificate()
        with self._lock:
            if self._pool is None or certificate != self._pool_certificate:
                self._pool, self._pool_certificate = _pool(self.endpoint, certificate), certificate
            return self._pool

    def _unreachable(self, problem: BaseException, method: str, path: str, seconds: float | None) -> Unreachable:
        server, what = self.endpoint.server, f"{method} {path.split('?', 1)[0]}"
        hint = f"context {self.endpoint.context}: is the cluster up, and the network to it (VPN, proxy)?"
        errors = urllib3.exceptions
        if isinstance(problem, (errors.SSLError, ssl.SSLError)):
            return Unreachable(f"TLS with {server} failed: {_reason(problem)}", "check certificate-authority and server in the kubeconfig")
        if isinstance(problem, (errors.ConnectTimeoutError, errors.NewConnectionError, errors.ProxyError, errors.NameResolutionError)):
            return Unreachable(f"cannot connect to {server}: {_reason(problem)}", hint)
        if isinstance(problem, (errors.ReadTimeoutError, TimeoutError)):
            return Unreachable(f"{server} was silent for {seconds or self.timeout_seconds:g} s after {what}", hint)
        return Unreachable(f"{server} broke off {what}: {_reason(problem)}", hint)


def _busy_seconds(response: urllib3.BaseHTTPResponse) -> float | None:
    """How long to wait before asking again (429 of priority and fairness), stretched by up to half; None when it is not to be asked again soon."""
    said = response.headers.get("Retry-After", "")
    if response.status != 429 or not said.isdigit() or int(said) > BUSY_SECONDS:
        return None
    return int(said) * random.uniform(1.0, 1.5)


def _reason(problem: BaseException) -> str:
    """The innermost cause in its own words."""
    cause: BaseException = problem
    while (inner := cause.__cause__ or cause.__context__ or _argument(cause)) is not None and inner is not cause:
        cause = inner
    said = getattr(cause, "verify_message", "") or getattr(cause, "strerror", None) or str(cause) or type(cause).__name__
    return str(said)[:300]


def _argument(problem: BaseException) -> BaseException | None:
    return next((one for one in reversed(problem.args) if isinstance(one, BaseException)), None)


def _pool(endpoint: Endpoint, certificate: Certificate | None) -> urllib3.PoolManager:
    """A pool for the endpoint's proxy, authority, server name and client certificate."""
    options: dict[str, Any] = {
        "maxsize": 64,
        "socket_options": [*HTTPConnection.default_socket_options, (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1), *_probes()],
    }
    if endpoint.server.startswith("https://"):
        options["ssl_context"] = tls_context(endpoint, certificate)
        if endpoint.tls_server_name:
            options |= {"server_hostname": endpoint.tls_server_name, "assert_hostname": endpoint.tls_server_name}
        if endpoint.insecure:
            options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
    proxy = endpoint.proxy_url or _proxy_of(endpoint.server)
    manager: urllib3.PoolManager
    if proxy.startswith("socks"):
        raise BadKubeconfig(f"proxy-url {_without_password(proxy)} is a SOCKS proxy", "use an http or https proxy")
    manager = urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)
    manager.pool_classes_by_scheme = {"http": _HttpPool, "https": _HttpsPool}
    return manager


def _probes() -> list[tuple[int, int, int]]:
    """Ask a silent peer after 30 s whether it lives, and give up after three times 10 s."""
    wanted = (("TCP_KEEPIDLE", 30), ("TCP_KEEPINTVL", 10), ("TCP_KEEPCNT", 3))
    return [(socket.IPPROTO_TCP, getattr(socket, name), value) for name, value in wanted if hasattr(socket, name)]


def _proxy_of(server: str) -> str:
    """The proxy of the environment for this server, as Go's clients choose it: never for this machine itself."""
    parts = urllib.parse.urlsplit(server)
    host = parts.hostname or ""
    if host in ("localhost", "::1") or host.startswith("127.") or urllib.request.proxy_bypass(parts.netloc):
        return ""
    return urllib.request.getproxies_environment().get(parts.scheme, "")


def _without_password(url: str) -> str:
    parts = urllib.parse.urlsplit(url)
    return url.replace(f"{parts.username}:{parts.password}@", "***@") if parts.password else url
