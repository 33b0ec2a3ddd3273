"""How fast one TCP stream is between two machines, where iperf3 is not at hand; the standard library alone, so that any image with python3 will do.

    python3 tcp_probe.py serve PORT
    python3 tcp_probe.py measure HOST PORT SECONDS

`measure` prints one JSON object a direction, in the shape of `iperf3 -J` as far as it goes, with `"tool": "python"`.
"""

from __future__ import annotations

import json
import socket
import sys
import time
from io import BufferedReader
from typing import Any

Transfer = dict[str, Any]

BLOCK = bytes(1 << 20)
RETRANSMITS_AT = 100  # tcpi_total_retrans in struct tcp_info of Linux
PATIENCE_SECONDS = 60.0


def serve(port: int) -> None:
    """Answer one peer after another: take what it sends, send for as long as it asks, or tell of the last transfer."""
    last: Transfer = {}
    with socket.create_server(("", port)) as listener:
        while True:
            peer, _ = listener.accept()
            with peer, peer.makefile("rb") as words:
                verb, _, seconds = words.readline().decode().strip().partition(" ")
                if verb == "take":
                    last = drain(words)
                elif verb == "send":
                    last = pour(peer, float(seconds))
                else:
                    peer.sendall(json.dumps(last).encode())


def drain(words: BufferedReader) -> Transfer:
    """Read to the end: bytes and seconds."""
    began, total = time.monotonic(), 0
    while chunk := words.read1(len(BLOCK)):
        total += len(chunk)
    return {"bytes": total, "seconds": time.monotonic() - began}


def pour(peer: socket.socket, seconds: float) -> Transfer:
    """Send for so long: bytes, seconds and segments sent again."""
    began, total = time.monotonic(), 0
    while (past := time.monotonic() - began) < seconds:
        total += peer.send(BLOCK)
    return {"bytes": total, "seconds": past, "retransmits": retransmits(peer)}


def retransmits(peer: socket.socket) -> int | None:
    """Segments of a connection that were sent again; None where the system does not tell."""
    option = getattr(socket, "TCP_INFO", None)
    info = peer.getsockopt(socket.IPPROTO_TCP, option, 192) if option is not None and sys.platform == "linux" else b""
    return int.from_bytes(info[RETRANSMITS_AT : RETRANSMITS_AT + 4], sys.byteorder) if len(info) >= RETRANSMITS_AT + 4 else None


def reached(host: str, port: int) -> socket.socket:
    """A connection, once somebody listens."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return socket.create_connection((host, port), timeout=PATIENCE_SECONDS)
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.2)


def measure(host: str, port: int, seconds: float) -> None:
    """Both ways, one after the other."""
    for reverse in (0, 1):
        with reached(host, port) as peer:
            peer.sendall(b"send %g\n" % seconds if reverse else b"take\n")
            mine = drain(peer.makefile("rb")) if reverse else pour(peer, seconds)
            if not reverse:
                peer.shutdown(socket.SHUT_WR)
                peer.recv(1)
        with reached(host, port) as peer, peer.makefile("rb") as words:
            peer.sendall(b"tell\n")
            theirs = json.loads(words.read())
        sent, received = (theirs, mine) if reverse else (mine, theirs)
        print(json.dumps(told(reverse, seconds, sent, received)), flush=True)


def told(reverse: int, seconds: float, sent: Transfer, received: Transfer) -> Transfer:
    """One direction, as iperf3 words it."""
    rates = [{"bits_per_second": 8 * one["bytes"] / max(one["seconds"], 1e-9)} for one in (sent, received)]
    end = {"sum_sent": {**rates[0], "retransmits": sent.get("retransmits")}, "sum_received": rates[1]}
    return {"tool": "python", "start": {"test_start": {"reverse": reverse, "num_streams": 1, "duration": seconds}}, "end": end}


if __name__ == "__main__":
    if sys.argv[1] == "serve":
        serve(int(sys.argv[2]))
    else:
        measure(sys.argv[2], int(sys.argv[3]), float(sys.argv[4]))
