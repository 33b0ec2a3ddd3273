"""Container logs on disk in the CRI format, `<RFC3339Nano> stdout|stderr F|P text`, bounded in size."""

from __future__ import annotations

import os
import time
from functools import lru_cache
from pathlib import Path

PARTIAL_BYTES = 16 * 1024  # containerd cuts a longer line into P records
ROTATE_BYTES = 16 * 1024 * 1024  # then the file becomes FILE.1 and a new one starts, so a container keeps at most twice this


def rfc3339_nano(nanoseconds: int) -> str:
    """UTC time with nine decimals, as the container runtime writes it."""
    seconds, fraction = divmod(nanoseconds, 1_000_000_000)
    return f"{_whole(seconds)}.{fraction:09d}Z"


@lru_cache(maxsize=4)
def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


class CriLog:
    """One container attempt's log file; bytes in, whole CRI records out, invalid UTF-8 untouched."""

    def __init__(self, path: Path, rotate_bytes: int = ROTATE_BYTES) -> None:
        self.path = path
        self.rotate_bytes = rotate_bytes
        self._pending = {"stdout": b"", "stderr": b""}
        self._last = 0
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = os.fstat(self._file).st_size

    def feed(self, stream: str, chunk: bytes) -> None:
        """Take bytes a container wrote on `stream` and write the lines they complete."""
        data = self._pending[stream] + chunk
        records, start = [], 0
        while True:
            newline = data.find(b"\n", start, start + PARTIAL_BYTES + 1)
            if newline >= 0:
                records.append(self._record(stream, b"F", data[start:newline]))
                start = newline + 1
            elif len(data) - start > PARTIAL_BYTES:
                records.append(self._record(stream, b"P", data[start : start + PARTIAL_BYTES]))
                start += PARTIAL_BYTES
            else:
                break
        self._pending[stream] = data[start:]
        self._write(b"".join(records))

    def line(self, text: str, stream: str = "stdout") -> None:
        """Write one line of our own, after whatever the container has completed."""
        self._write(self._record(stream, b"F", text.encode()))

    def close(self) -> None:
        """Write what never got its newline, and close; idempotent."""
        if self._file < 0:
            return
        for stream, pending in list(self._pending.items()):
            if pending:
                self._write(self._record(stream, b"F", pending))
                self._pending[stream] = b""
        os.close(self._file)
        self._file = -1

    def _record(self, stream: str, tag: bytes, text: bytes) -> bytes:
        self._last = max(time.time_ns(), self._last + 1)
        return b"%s %s %s %s\n" % (rfc3339_nano(self._last).encode(), stream.encode(), tag, text)

    def _write(self, records: bytes) -> None:
        if not records or self._file < 0:
            return
        if self._size and self._size + len(records) > self.rotate_bytes:
            self._rotate()
        self._size += os.write(self._file, records)

    def _rotate(self) -> None:
        os.close(self._file)
        os.replace(self.path, self.path.with_name(self.path.name + ".1"))
        self._file = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
        self._size = 0
