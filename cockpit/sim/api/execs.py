"""pods/exec over WebSocket, in the channel protocols v4 and v5 that kubectl and the client libraries speak."""

from __future__ import annotations

import asyncio
import contextlib
import json
from typing import TYPE_CHECKING, Any

from aiohttp import WSMsgType, web

from cockpit.sim.api.errors import ApiError, bad_request
from cockpit.sim.api.logs import container_of
from cockpit.sim.api.objects import at, container_status
from cockpit.sim.api.requests import Call
from cockpit.sim.api.responses import SIMULATED

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

PROTOCOLS = ("v5.channel.k8s.io", "v4.channel.k8s.io")
STDIN, STDOUT, ERROR, RESIZE, CLOSE = 0, 1, 3, 4, 255
MESSAGE_BYTES = 1 << 20
FLUSH_SECONDS = 1.0


async def answer(cluster: Cluster, kubelet: Any, call: Call, request: web.BaseRequest) -> web.StreamResponse:
    """Start a command in a container and carry its streams until it ends, or until the caller goes."""
    target, asked = call.where, request.query
    pod = cluster.get("pods", target.namespace, target.name)
    container = container_of(pod, asked.get("container", ""))
    command = asked.getall("command", [])
    if not command:
        raise bad_request("you must specify at least one command for the container")
    if request.headers.get("Upgrade", "").lower() != "websocket":
        raise bad_request("Upgrade request required")
    if kubelet is None or not at(container_status(pod, container), "state.running"):
        raise ApiError(500, "InternalError", f'error: unable to upgrade connection: container not found ("{container}")', {})
    socket = web.WebSocketResponse(protocols=PROTOCOLS, max_msg_size=MESSAGE_BYTES)
    socket.headers.update(SIMULATED)
    await socket.prepare(request)
    await socket.send_bytes(bytes([STDOUT]))
    try:
        running = kubelet.exec(target.namespace, target.name, container, list(command), asked.get("tty") in ("true", "1"))
    except (OSError, LookupError) as problem:
        await _tell(socket, 127, f"command not found: {problem}")
    else:
        await _carry(socket, running, asked.get("stdin") in ("true", "1"))
    await socket.close()
    return socket


async def _carry(socket: web.WebSocketResponse, running: Any, stdin: bool) -> None:
    if not stdin:
        running.close_stdin()
    typing = asyncio.ensure_future(_type(socket, running))
    saying = asyncio.ensure_future(_say(socket, running))
    try:
        await asyncio.wait({typing, running.ended}, return_when=asyncio.FIRST_COMPLETED)
        if running.ended.done():
            await asyncio.wait({saying}, timeout=FLUSH_SECONDS)  # a child in the background may hold the pipes for ever
    finally:
        for task in (typing, saying):
            task.cancel()
        await asyncio.gather(typing, saying, return_exceptions=True)
        code = await running.end()
    with contextlib.suppress(ConnectionError):
        await _tell(socket, code, f"command terminated with non-zero exit code: exit status {code}")


async def _type(socket: web.WebSocketResponse, running: Any) -> None:
    """What the caller sends, until it goes."""
    async for message in socket:
        if message.type is not WSMsgType.BINARY or not message.data:
            continue
        channel, data = message.data[0], message.data[1:]
        if channel == STDIN and data:
            await running.write(data)
        elif channel == CLOSE and data[:1] == bytes([STDIN]):
            running.close_stdin()
        elif channel == RESIZE:
            with contextlib.suppress(ValueError, KeyError, TypeError):
                size = json.loads(data)
                running.resize(int(size["Width"]), int(size["Height"]))


async def _say(socket: web.WebSocketResponse, running: Any) -> None:
    async for channel, data in running.outputs():
        await socket.send_bytes(bytes([channel]) + data)


async def _tell(socket: web.WebSocketResponse, code: int, message: str) -> None:
    """How it ended, as a Status on the error channel."""
    status: dict[str, Any] = {"metadata": {}, "status": "Success"}
    if code:
        causes = [{"reason": "ExitCode", "message": str(code)}]
        status = {"metadata": {}, "status": "Failure", "message": message, "reason": "NonZeroExitCode", "details": {"causes": causes}, "code": 500}
    await socket.send_bytes(bytes([ERROR]) + json.dumps(status).encode())
