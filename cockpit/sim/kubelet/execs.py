"""A second process in a running container, as `kubectl exec` starts it: with the container's environment and folder, on pipes or on a terminal."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import os
import pty
import signal
import struct
import subprocess
import termios
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.commands import Prepared, executable

READ_BYTES = 16 * 1024
STDOUT, STDERR = 1, 2


class Exec:
    """One process beside a container's own; `outputs` gives (1 stdout | 2 stderr, bytes), on a terminal stdout alone."""

    def __init__(self, prepared: Prepared, mark: str, records: Path, command: list[str], tty: bool) -> None:
        words = [prepared.mounts.rewrite(word) for word in command]
        argv = [executable(words[0], prepared.env["PATH"], prepared.cwd), *words[1:]]
        env = prepared.env | {"TERM": "xterm"} if tty else prepared.env
        self._inner: list[int] = []
        self._master: int | None = None
        if tty:
            self._master, slave = pty.openpty()
            self._inner.append(slave)
            ends: tuple[int, int, int] = (slave, slave, slave)
        else:
            ends = (subprocess.PIPE,) * 3
        self.process = processes.spawn(argv, env, prepared.cwd, mark, records, *ends)
        for descriptor in self._inner:
            os.close(descriptor)
        self.ended = asyncio.ensure_future(self.process.wait())

    async def outputs(self) -> AsyncIterator[tuple[int, bytes]]:
        """What the process says, until it has closed all it writes to."""
        popen = self.process.popen
        if self._master is not None:
            pipes: list[tuple[int, IO[bytes]]] = [(STDOUT, os.fdopen(os.dup(self._master), "rb", buffering=0))]
        else:
            assert popen.stdout is not None and popen.stderr is not None
            pipes = [(STDOUT, popen.stdout), (STDERR, popen.stderr)]
        queue: asyncio.Queue[tuple[int, bytes]] = asyncio.Queue(maxsize=64)
        pumps = [asyncio.ensure_future(_pump(channel, pipe, queue)) for channel, pipe in pipes]
        open_pipes = len(pumps)
        try:
            while open_pipes:
                channel, data = await queue.get()
                if data:
                    yield channel, data
                else:
                    open_pipes -= 1
        finally:
            for pump in pumps:
                pump.cancel()

    async def write(self, data: bytes) -> None:
        """Type into it; what has ended takes nothing more."""
        stdin = self.process.popen.stdin
        descriptor = self._master if self._master is not None else stdin.fileno() if stdin is not None and not stdin.closed else None
        if descriptor is not None:
            with contextlib.suppress(OSError):
                await asyncio.to_thread(_write_all, descriptor, data)

    def close_stdin(self) -> None:
        """Say that nothing more will be typed."""
        stdin = self.process.popen.stdin
        if stdin is not None and not stdin.closed:
            with contextlib.suppress(OSError):
                stdin.close()

    def resize(self, width: int, height: int) -> None:
        """The terminal's size in characters."""
        if self._master is not None:
            fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", height, width, 0, 0))

    async def end(self) -> int:
        """Kill what is left of it, let go of its terminal; the exit code, 128 and the signal for one that was killed."""
        self.process.signal_group(signal.SIGKILL)
        code = await self.ended
        self.close_stdin()
        if self._master is not None:
            os.close(self._master)
            self._master = None
        return code if code >= 0 else 128 - code


async def _pump(channel: int, pipe: IO[bytes], queue: asyncio.Queue[tuple[int, bytes]]) -> None:
    reader = asyncio.StreamReader(limit=READ_BYTES)
    loop = asyncio.get_running_loop()
    transport, _ = await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), pipe)
    try:
        while data := await reader.read(READ_BYTES):
            await queue.put((channel, data))
    except OSError:  # a terminal whose last process has gone
        pass
    finally:
        transport.close()
    await queue.put((channel, b""))


def _write_all(descriptor: int, data: bytes) -> None:
    while data:
        data = data[os.write(descriptor, data) :]
