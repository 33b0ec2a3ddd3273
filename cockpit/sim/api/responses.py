"""Answers: JSON, Status errors, and big bodies in slices, gzipped on request."""

from __future__ import annotations

import asyncio
import zlib
from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web

from cockpit.sim.api.errors import ApiError, status_of
from cockpit.sim.api.records import encode

SIMULATED = {"Cockpit-Simulated": "true"}
GZIP_FROM_BYTES = 128 * 1024
SLICE_BYTES = 1 << 20
JSON = "application/json"


def json_response(value: Any, status: int = 200, content_type: str = JSON, headers: dict[str, str] | None = None) -> web.Response:
    """A response of one encoded value."""
    return bytes_response(encode(value), status, content_type, headers)


def bytes_response(body: bytes, status: int = 200, content_type: str = JSON, headers: dict[str, str] | None = None) -> web.Response:
    return web.Response(body=body, status=status, headers={**SIMULATED, "Content-Type": content_type, **(headers or {})})


def text_response(text: str, status: int = 200) -> web.Response:
    return bytes_response(text.encode(), status, "text/plain; charset=utf-8")


def error_response(error: ApiError) -> web.Response:
    """A failure as its Status; 429 and 504 carry Retry-After."""
    headers = {"Retry-After": str((error.details or {}).get("retryAfterSeconds", 1))} if error.code in (429, 504) else {}
    if error.code == 401:
        headers["WWW-Authenticate"] = 'Bearer realm="practice"'
    return json_response(status_of(error), error.code, headers=headers)


def slices(parts: Iterable[bytes]) -> Iterator[bytes]:
    """The parts joined into pieces of about a megabyte."""
    waiting: list[bytes] = []
    size = 0
    for part in parts:
        waiting.append(part)
        size += len(part)
        if size >= SLICE_BYTES:
            yield b"".join(waiting)
            waiting, size = [], 0
    if waiting:
        yield b"".join(waiting)


async def big_response(request: web.BaseRequest, parts: list[bytes], headers: dict[str, str]) -> web.StreamResponse:
    """Send a body made of many stored pieces; gzipped when the client takes that and it is large."""
    size_bytes = sum(map(len, parts))
    zipped = size_bytes > GZIP_FROM_BYTES and "gzip" in request.headers.get("Accept-Encoding", "")
    if not zipped and size_bytes <= SLICE_BYTES:
        return bytes_response(b"".join(parts), headers=headers)
    response = web.StreamResponse(headers={**SIMULATED, "Content-Type": JSON, **headers})
    if zipped:
        response.headers["Content-Encoding"] = "gzip"
        response.enable_chunked_encoding()
    else:
        response.content_length = size_bytes
    await response.prepare(request)
    if zipped:
        await _write_gzipped(response, parts)
    else:
        for piece in slices(parts):
            await response.write(piece)
    await response.write_eof()
    return response


async def _write_gzipped(response: web.StreamResponse, parts: list[bytes]) -> None:
    """Compress piece by piece outside the event loop, which zlib does without holding the interpreter."""
    packer = zlib.compressobj(1, wbits=31)
    loop = asyncio.get_running_loop()
    for piece in slices(parts):
        packed = await loop.run_in_executor(None, packer.compress, piece)
        if packed:
            await response.write(packed)
    await response.write(packer.flush())
