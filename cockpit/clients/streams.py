"""Open streams: pieces of bytes to whole lines, and a way to end a read that waits for a silent server."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

PIECE_BYTES = 1 << 20
CUT = " …[cut]".encode()
LOOK_SECONDS = 1.0


class Lines:
    """Bytes in any pieces in, lines without their newline out; of a line longer than `piece_bytes` come pieces that end in CUT."""

    def __init__(self, piece_bytes: int = PIECE_BYTES) -> None:
        self._piece_bytes = piece_bytes
        self._rest = bytearray()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """The lines that `chunk` completes."""
        *whole, rest = chunk.split(b"\n")
        for line in whole:
            self._rest += line
            yield from self._pieces()
            yield bytes(self._rest)
            self._rest.clear()
        self._rest += rest
        yield from self._pieces()

    def end(self) -> bytes:
        """What is left without a newline."""
        return bytes(self._rest)

    def _pieces(self) -> Iterator[bytes]:
        while len(self._rest) > self._piece_bytes:
            yield bytes(self._rest[: self._piece_bytes]) + CUT
            del self._rest[: self._piece_bytes]


class Streams:
    """The sockets of open streams; those of one stop event are shut down the moment it is set."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._open: dict[int, tuple[threading.Event, socket.socket]] = {}
        self._watched: set[int] = set()

    def add(self, stop: threading.Event, sock: socket.socket) -> None:
        """Remember a socket whose reader must end when `stop` is set."""
        with self._lock:
            self._open[id(sock)] = (stop, sock)
            if id(stop) in self._watched:
                return
            self._watched.add(id(stop))
        threading.Thread(target=self._end_when, args=(stop,), name="streams", daemon=True).start()

    def remove(self, sock: socket.socket) -> None:
        """Forget a socket."""
        with self._lock:
            self._open.pop(id(sock), None)

    def interrupt(self) -> None:
        """Shut down every open stream, so that its reader finds out now that nobody answers."""
        with self._lock:
            for _, sock in self._open.values():
                _shut(sock)

    def _end_when(self, stop: threading.Event) -> None:
        while not stop.wait(LOOK_SECONDS):
            with self._lock:
                if not any(one is stop for one, _ in self._open.values()):
                    self._watched.discard(id(stop))
                    return
        with self._lock:
            self._watched.discard(id(stop))
            for one, sock in self._open.values():
                if one is stop:
                    _shut(sock)


def _shut(sock: socket.socket) -> None:
    """Shut the transport under a TLS socket too, without touching the TLS state its reader uses."""
    with contextlib.suppress(OSError):
        socket.socket.shutdown(sock, socket.SHUT_RDWR)
