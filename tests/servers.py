"""A small HTTP server that answers as a test scripts it, and kubeconfigs that lead to it."""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit


class Request:
    """One request as the server got it, and the ways to answer it."""

    def __init__(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        self.method, self.path = handler.command, parts.path
        self.query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        self.headers = handler.headers
        self.body = handler.rfile.read(int(handler.headers.get("Content-Length") or 0))
        self._handler = handler

    def json(self, body: Any, code: int = 200, **headers: str) -> None:
        """Answer with JSON."""
        self.bytes(json.dumps(body).encode(), code, "application/json", **headers)

    def status(self, code: int, reason: str, message: str, **details: Any) -> None:
        """Answer with a Status, as API servers do."""
        body = {"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": reason, "message": message, "code": code, "details": details}
        self.json(body, code)

    def bytes(self, body: bytes, code: int = 200, content_type: str = "text/plain", **headers: str) -> None:
        """Answer with these bytes."""
        self._handler.send_response(code)
        for name, value in {"Content-Type": content_type, "Content-Length": str(len(body)), **headers}.items():
            self._handler.send_header(name.replace("_", "-"), value)
        self._handler.end_headers()
        self._handler.wfile.write(body)

    @contextmanager
    def stream(self) -> Iterator[Callable[[bytes], None]]:
        """Answer in chunks; leaving the block ends the body properly."""
        self._handler.send_response(200)
        self._handler.send_header("Transfer-Encoding", "chunked")
        self._handler.end_headers()
        self._handler.wfile.flush()

        def send(chunk: bytes) -> None:
            self._handler.wfile.write(b"%x\r\n%s\r\n" % (len(chunk), chunk))
            self._handler.wfile.flush()

        yield send
        self._handler.wfile.write(b"0\r\n\r\n")

    def tunnel(self, port: int) -> None:
        """Answer a CONNECT: from now on the bytes of both sides go to the other, whatever name was asked for."""
        self._handler.close_connection = True
        self._handler.send_response(200)
        self._handler.end_headers()
        self._handler.wfile.flush()
        with socket.create_connection(("127.0.0.1", port)) as other:
            back = threading.Thread(target=_pump, args=(other, self._handler.connection), daemon=True)
            back.start()
            _pump(self._handler.connection, other)
            back.join(5)

    def drop(self) -> None:
        """Close the connection where it stands."""
        self._handler.close_connection = True
        self._handler.wfile.flush()
        self._handler.connection.shutdown(2)


def _pump(source: socket.socket, target: socket.socket) -> None:
    with contextlib.suppress(OSError):
        while data := source.recv(1 << 16):
            target.sendall(data)
    with contextlib.suppress(OSError):
        target.shutdown(socket.SHUT_WR)


class Server:
    """Answers every request by `answer`; `requests` holds them in order."""

    def __init__(self, answer: Callable[[Request], None], tls: Any = None) -> None:
        outer = self
        self.requests: list[Request] = []
        self.closing = threading.Event()

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def _any(self) -> None:
                request = Request(self)
                outer.requests.append(request)
                try:
                    answer(request)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = do_CONNECT = _any

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            block_on_close = False

            def handle_error(self, request: Any, client_address: Any) -> None:
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self.port = self._server.server_port
        self.url = f"http{'s' if tls is not None else ''}://127.0.0.1:{self.port}"
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True).start()

    def close(self) -> None:
        """Stop listening; handlers that wait on `closing` go on."""
        self.closing.set()
        self._server.shutdown()
        self._server.server_close()


@contextmanager
def serving(answer: Callable[[Request], None], tls: Any = None) -> Iterator[Server]:
    """A Server for the length of a block."""
    server = Server(answer, tls)
    try:
        yield server
    finally:
        server.close()


def kubeconfig(folder: Path, server: str, user: dict[str, Any] | None = None, cluster: dict[str, Any] | None = None, **context: str) -> str:
    """Write a kubeconfig with one context; returns its path."""
    path = folder / "kubeconfig"
    body = {
        "current-context": "test",
        "contexts": [{"name": "test", "context": {"cluster": "test-cluster", "user": "tester", **context}}],
        "clusters": [{"name": "test-cluster", "cluster": {"server": server, **(cluster or {})}}],
        "users": [{"name": "tester", "user": user if user is not None else {"token": "sesame"}}],
    }
    path.write_text(json.dumps(body))
    return str(path)


def until(holds: Callable[[], Any], seconds: float = 15.0) -> Any:
    """The first true value of `holds`, asked again and again; fails after a deadline."""
    deadline = time.monotonic() + seconds
    pause = threading.Event()
    while time.monotonic() < deadline:
        found = holds()
        if found:
            return found
        pause.wait(0.02)
    raise AssertionError(f"not within {seconds:g} s")
