"""A program in a pseudo-terminal that answers as a terminal does, so that what is painted and when can be measured."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parents[1]
SYNC_QUERY = b"\x1b[?2026$p"
SYNC_ANSWER = b"\x1b[?2026;2$y"


class Terminal:
    """Runs `argv` on a terminal of `columns` x `lines`; everything it writes is kept with the time it came."""

    def __init__(self, argv: Sequence[str], columns: int = 120, lines: int = 36, env: Mapping[str, str] | None = None, answers: bool = True) -> None:
        master, slave = pty.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        self._master, self._answers = master, answers
        self._chunks: list[tuple[float, bytes]] = []
        self._news = threading.Condition()
        settings = {**os.environ, "TERM": "xterm-256color", "COLORTERM": "truecolor", "PYTHONPATH": str(ROOT), **(env or {})}
        self.started_at = time.perf_counter()
        self.process = subprocess.Popen(argv, stdin=slave, stdout=slave, stderr=slave, env=settings, cwd=ROOT, start_new_session=True)
        os.close(slave)
        self._thread = threading.Thread(target=self._read, daemon=True)
        self._thread.start()

    def __enter__(self) -> Terminal:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self.close()

    def _read(self) -> None:
        while True:
            try:
                data = os.read(self._master, 65536)
            except OSError:
                return
            if not data:
                return
            if self._answers:
                for _ in range(data.count(SYNC_QUERY)):
                    os.write(self._master, SYNC_ANSWER)
            with self._news:
                self._chunks.append((time.perf_counter(), data))
                self._news.notify_all()

    @property
    def size(self) -> int:
        """Bytes received so far."""
        with self._news:
            return sum(len(data) for _, data in self._chunks)

    def output(self, start: int = 0) -> bytes:
        """Everything received, from chunk `start` on."""
        with self._news:
            return b"".join(data for _, data in self._chunks[start:])

    def mark(self) -> int:
        """The number of chunks received so far."""
        with self._news:
            return len(self._chunks)

    def send(self, keys: str) -> float:
        """Type; returns when."""
        os.write(self._master, keys.encode())
        return time.perf_counter()

    def wait(self, happened: Callable[[bytes], bool], seconds: float = 20.0, start: int = 0) -> float:
        """When what was received from chunk `start` on satisfies `happened`; TimeoutError when it never does."""
        deadline = time.perf_counter() + seconds
        with self._news:
            while True:
                if happened(b"".join(data for _, data in self._chunks[start:])):
                    return self._chunks[-1][0] if self._chunks else time.perf_counter()
                left = deadline - time.perf_counter()
                if left <= 0 or not self._news.wait(left):
                    tail = b"".join(data for _, data in self._chunks[start:])[-2000:]
                    raise TimeoutError(f"not seen within {seconds} s; the last bytes: {tail!r}")

    def bytes_during(self, seconds: float) -> int:
        """How many bytes arrive in the next `seconds`."""
        before = self.size
        select.select([], [], [], seconds)
        return self.size - before

    def resident_bytes(self) -> int:
        """The resident memory of the program (Linux)."""
        found = re.search(r"VmRSS:\s+(\d+) kB", Path(f"/proc/{self.process.pid}/status").read_text())
        return int(found.group(1)) * 1024 if found else 0

    def close(self) -> int:
        """End the program's group; its exit code."""
        if self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGTERM)
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(5)
        os.close(self._master)
        return self.process.returncode


def python(module: str, *arguments: str) -> list[str]:
    """The command line of a module of this project."""
    return [sys.executable, "-m", module, *arguments]
