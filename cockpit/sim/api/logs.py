"""GET of a pod's log: container choice, previous, follow, tail, since, timestamps, byte limit."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cockpit.sim.api import errors
from cockpit.sim.api.errors import bad_request
from cockpit.sim.api.objects import at, container_names, container_status
from cockpit.sim.api.requests import Call
from cockpit.sim.api.responses import SIMULATED

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

POLL_SECONDS = 0.05
BLOCK_BYTES = 64 * 1024


class LogOptions:
    """The query of a log request; ApiError 400 when it makes no sense."""

    def __init__(self, call: Call) -> None:
        self.follow = call.flag("follow")
        self.previous = call.flag("previous")
        self.timestamps = call.flag("timestamps")
        self.tail = call.number("tailLines")
        self.limit_bytes = call.number("limitBytes")
        seconds, moment = call.number("sinceSeconds"), call.query.get("sinceTime", "")
        if seconds is not None and moment:
            raise bad_request("at most one of `sinceTime` or `sinceSeconds` may be specified")
        if self.tail is not None and self.tail < 0:
            raise errors.ApiError(
                422, "Invalid", f'PodLogOptions "" is invalid: tailLines: Invalid value: {self.tail}: must be greater than or equal to 0', {}
            )
        self.since = _since(seconds, moment)


def _since(seconds: int | None, moment: str) -> bytes:
    """The oldest wanted timestamp as the log file writes it, comparable as text to whole seconds and below."""
    if seconds is not None:
        return (datetime.now(UTC) - timedelta(seconds=seconds)).isoformat().encode()[:26]
    if not moment:
        return b""
    try:
        parsed = datetime.fromisoformat(moment.replace("Z", "+00:00")).astimezone(UTC)
    except ValueError as problem:
        raise bad_request(f"unable to decode query: sinceTime: {problem}") from problem
    return parsed.replace(tzinfo=None).isoformat().encode()[:26]


def container_of(pod: dict[str, Any], asked: str) -> str:
    """The container whose log is wanted; ApiError 400 when it is none of the pod's or ambiguous."""
    name, names = pod["metadata"]["name"], container_names(pod)
    if asked:
        if asked not in names:
            raise bad_request(f"container {asked} is not valid for pod {name}")
        return asked
    own = [one["name"] for one in at(pod, "spec.containers") or ()]
    if len(own) != 1 or len(names) != 1:
        first = [one["name"] for one in at(pod, "spec.initContainers") or ()]
        inits = f" or one of the init containers: [{' '.join(first)}]" if first else ""
        raise bad_request(f"a container name must be specified for pod {name}, choose one of: [{' '.join(own)}]{inits}")
    return own[0]


def _require_started(pod: dict[str, Any], container: str, previous: bool) -> None:
    status = container_status(pod, container)
    name = pod["metadata"]["name"]
    if previous:
        if not at(status, "lastState.terminated"):
            raise bad_request(f'previous terminated container "{container}" in pod "{name}" not found')
        return
    waiting = at(status, "state.waiting")
    if status is None and not at(pod, "spec.nodeName"):
        raise bad_request(f'pod "{name}" does not have a host assigned')
    if status is None or (waiting is not None and not at(status, "lastState.terminated")):
        reason = (waiting or {}).get("reason") or "ContainerCreating"
        raise bad_request(f'container "{container}" in pod "{name}" is waiting to start: {reason}')


async def answer(cluster: Cluster, kubelet: Any, call: Call, request: web.BaseRequest) -> web.StreamResponse:
    """Stream the log of one container as text."""
    target = call.where
    options = LogOptions(call)
    pod = cluster.get("pods", target.namespace, target.name)
    container = container_of(pod, call.query.get("container", ""))
    _require_started(pod, container, options.previous)
    path = kubelet.log_path(target.namespace, target.name, container, previous=options.previous) if kubelet else None
    response = web.StreamResponse(headers={**SIMULATED, "Content-Type": "text/plain"})
    await response.prepare(request)
    await response.write(b"")
    if response._payload_writer is not None:
        response._payload_writer.send_headers()
    if path is not None:
        await _Sender(cluster, pod, container, options, path).send(response)
    await response.write_eof()
    return response


def _rendered(line: bytes, options: LogOptions) -> bytes | None:
    """One CRI line ('TIME STREAM TAG text') as it is shown; None when it is too old."""
    moment, _, rest = line.partition(b" ")
    _, _, rest = rest.partition(b" ")
    tag, _, text = rest.partition(b" ")
    if options.since and moment[:26].rstrip(b"Z") < options.since:
        return None
    ending = b"" if tag == b"P" else b"\n"
    return (moment + b" " if options.timestamps else b"") + text + ending


def last_lines(path: Path, count: int) -> int:
    """The offset in bytes where the last `count` lines of a file begin, read from its end."""
    with path.open("rb") as file:
        end = file.seek(0, 2)
        found, position = 0, end
        while position > 0:
            size = min(BLOCK_BYTES, position)
            file.seek(position - size)
            block = file.read(size)
            at_byte = size
            while (at_byte := block.rfind(b"\n", 0, at_byte)) >= 0:
                if position - size + at_byte != end - 1:
                    found += 1
                if found == count:
                    return position - size + at_byte + 1
            position -= size
    return 0


class _Sender:
    """Sends a log file, and goes on while the container writes to it."""

    def __init__(self, cluster: Cluster, pod: dict[str, Any], container: str, options: LogOptions, path: Path) -> None:
        self._cluster = cluster
        self._pod = pod
        self._container = container
        self._options = options
        self._path = path
        self._left = options.limit_bytes

    async def send(self, response: web.StreamResponse) -> None:
        if not await self._appears():
            return
        options = self._options
        offset = 0 if options.tail is None else last_lines(self._path, options.tail) if options.tail else self._path.stat().st_size
        with self._path.open("rb") as file:
            file.seek(offset)
            rest = b""
            while True:
                ended = not options.follow or self._ended()
                block = file.read(BLOCK_BYTES)
                lines, rest = _complete(rest + block)
                text = b"".join(self._cut(lines))
                if text:
                    await response.write(text)
                if self._left == 0 or (not block and ended):
                    return
                if not block:
                    await asyncio.sleep(POLL_SECONDS)

    async def _appears(self) -> bool:
        while not self._path.exists():
            if not self._options.follow or self._ended():
                return False
            await asyncio.sleep(POLL_SECONDS)
        return True

    def _cut(self, lines: list[bytes]) -> Iterator[bytes]:
        for line in lines:
            shown = _rendered(line, self._options)
            if shown is None:
                continue
            if self._left is not None:
                shown = shown[: self._left]
                self._left -= len(shown)
            yield shown

    def _ended(self) -> bool:
        """Whether the container will write no more: it ended, was replaced, or its pod is gone."""
        meta = self._pod["metadata"]
        pod = self._cluster.find("pods", meta["namespace"], meta["name"])
        if pod is None or pod["metadata"]["uid"] != meta["uid"]:
            return True
        status = container_status(pod, self._container) or {}
        before = container_status(self._pod, self._container) or {}
        return "terminated" in (status.get("state") or {}) or status.get("restartCount", 0) > before.get("restartCount", 0)


def _complete(data: bytes) -> tuple[list[bytes], bytes]:
    """The whole lines of what was read, and the unfinished rest."""
    *lines, rest = data.split(b"\n")
    return lines, rest
