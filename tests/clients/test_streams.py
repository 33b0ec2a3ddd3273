"""Streams: lines however they arrive, and readers that end when asked, when the server breaks off, and when it falls silent."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest

from cockpit.clients.streams import CUT, Lines
from cockpit.errors import (
    Gone,
    Unreachable,
)
from tests.servers import Request


def ended_within(seconds: float, read: Callable[[], Any]) -> Any:
    """What `read` gives; it must not take long."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(read()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still reading after {seconds} s"
    return found[0]


def test_lines_are_cut_free_of_how_they_arrive(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            for piece in (b"on", b"e\ntwo\n\xff\x00thr", b"ee\n", b"rest"):
                send(piece)

    kube, _ = connected(answer)
    assert list(kube.lines("/w", stop=threading.Event())) == [b"one", b"two", b"\xff\x00three", b"rest"]


def test_a_silent_stream_ends_the_moment_it_is_stopped(connected: Any) -> None:
    stop = threading.Event()

    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            stop.set()
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    assert ended_within(3.0, lambda: list(kube.lines("/w", stop=stop))) in ([b"one"], [])


def test_a_stream_that_never_answers_ends_when_stopped_too(connected: Any) -> None:
    stop, asked = threading.Event(), threading.Event()

    def answer(request: Request) -> None:
        asked.set()
        servers[0].closing.wait(20)

    kube, server = connected(answer, timeout_seconds=60.0)
    servers = [server]
    threading.Thread(target=lambda: (asked.wait(10), stop.set()), daemon=True).start()
    assert ended_within(5.0, lambda: list(kube.lines("/w", stop=stop))) == []


def test_one_stop_does_not_end_the_streams_of_another(connected: Any) -> None:
    go = threading.Event()

    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            go.wait(10)
            send(b"two\n")

    kube, _ = connected(answer)
    first, second = threading.Event(), threading.Event()
    kept = kube.lines("/kept", stop=second)
    ended = kube.lines("/ended", stop=first)
    assert (next(kept), next(ended)) == (b"one", b"one")
    first.set()
    assert ended_within(3.0, lambda: list(ended)) == []
    go.set()
    assert list(kept) == [b"two"]


def test_interrupt_makes_every_reader_look_again(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    lines = kube.lines("/w", stop=threading.Event())
    assert next(lines) == b"one"
    kube.interrupt()

    def rest() -> Any:
        try:
            return list(lines)
        except Unreachable as error:
            return error

    assert isinstance(ended_within(3.0, rest), (Unreachable, list))


def test_silence_is_noticed(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    lines = kube.lines("/w", stop=threading.Event(), timeout_seconds=0.2)
    assert next(lines) == b"one"
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        next(lines)


def test_a_break_in_the_middle_of_a_line_is_an_error_and_the_half_line_is_not_told(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b'{"whole":1}\n{"ha')
            request.drop()

    kube, _ = connected(answer)
    lines = kube.lines("/w", stop=threading.Event())
    assert next(lines) == b'{"whole":1}'
    with pytest.raises(Unreachable, match="broke off"):
        next(lines)


def test_a_refused_stream_is_its_error(connected: Any) -> None:
    opened: list[int] = []
    kube, _ = connected(lambda request: request.status(410, "Expired", "too old resource version"))
    with pytest.raises(Gone):
        list(kube.lines("/w", stop=threading.Event(), on_open=lambda: opened.append(1)))
    assert not opened


def test_two_readers_never_share_the_connection_of_a_refused_stream(connected: Any) -> None:
    kube, server = connected(
        lambda request: request.status(503, "ServiceUnavailable", "later") if request.path == "/w" else request.json({"at": request.path})
    )
    for _ in range(3):
        with pytest.raises(Unreachable):
            list(kube.lines("/w", stop=threading.Event()))
    with ThreadPoolExecutor(8) as pool:
        paths = [f"/{number}" for number in range(64)]
        assert [one["at"] for one in pool.map(lambda path: kube.request("GET", path), paths)] == paths
    assert len(server.requests) == 3 + 64


def test_no_line_is_held_beyond_a_mebibyte(connected: Any) -> None:
    size = (3 << 20) + 5

    def answer(request: Request) -> None:
        with request.stream() as send:
            for _ in range(size >> 16):
                send(b"x" * (1 << 16))
            send(b"x" * (size & 0xFFFF) + b"\nend\n")

    kube, _ = connected(answer)
    lines = list(kube.lines("/log", stop=threading.Event()))
    assert [len(line) for line in lines] == [(1 << 20) + len(CUT)] * 3 + [5, 3]
    assert all(line.endswith(CUT) for line in lines[:3])


def test_the_splitter_holds_no_more_than_a_piece() -> None:
    lines = Lines(piece_bytes=10)
    assert list(lines.feed(b"a" * 25)) == [b"a" * 10 + CUT] * 2
    assert len(lines.end()) == 5


def test_a_body_is_cut_to_its_limit(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"y" * 5_000_000))
    assert len(kube.read("/big", limit_bytes=1000)) == 1000
