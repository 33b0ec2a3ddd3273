"""A body in pieces: its head as soon as it is there, the whole at the end, and no gzip that is cut short taken for whole."""

from __future__ import annotations

import gzip

import pytest

from cockpit.clients.bodies import Body

TEXT = b'{"metadata":{"continue":"abc"},"items":[' + b'{"name":"ip-10-0-0-1"},' * 5000 + b"]}"


def pieces(body: bytes, size: int) -> list[bytes]:
    return [body[start : start + size] for start in range(0, len(body), size)]


@pytest.mark.parametrize("size", [1, 10, 1000, 1 << 20])
@pytest.mark.parametrize("encoding", ["", "gzip"])
def test_the_head_comes_once_and_the_whole_is_the_whole(encoding: str, size: int) -> None:
    body = Body(encoding, 64)
    packed = gzip.compress(TEXT) if encoding else TEXT
    told = [body.head for piece in pieces(packed, size) if body.add(piece)]
    assert told == [TEXT[:64]]
    assert body.whole() == TEXT


def test_a_body_shorter_than_its_head_is_whole_all_the_same() -> None:
    body = Body("gzip", 1 << 14)
    assert not body.add(gzip.compress(b"{}"))
    assert body.whole() == b"{}"
    assert Body("gzip", 16).whole() == b""


@pytest.mark.parametrize("packed", [gzip.compress(TEXT)[:-30], b"not a gzip at all", gzip.compress(TEXT)[:40] + b"\xff" * 400])
def test_what_is_no_whole_gzip_is_an_error(packed: bytes) -> None:
    body = Body("gzip", 1 << 14)
    with pytest.raises(ValueError, match="cannot be unpacked"):
        body.add(packed)
        body.whole()


def test_a_trailer_that_lies_costs_no_more_than_the_body() -> None:
    packed = gzip.compress(TEXT)
    body = Body("gzip", 64)
    body.add(packed[:-4] + b"\xff\xff\xff\x7f")
    with pytest.raises(ValueError, match="cannot be unpacked"):
        body.whole()
