"""Which process wrote something: enough to tell later whether that very process still lives, and not another that was given its number."""

from __future__ import annotations

import os
import socket
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

BOOT = Path("/proc/sys/kernel/random/boot_id")


@dataclass(frozen=True)
class Signature:
    """A process: `start` is its start time in clock ticks since `boot`; both are empty where there is no /proc."""

    host: str = ""
    boot: str = ""
    pid: int = 0
    start: str = ""

    @classmethod
    def mine(cls) -> Signature:
        """This process."""
        return cls(socket.gethostname(), _boot(), os.getpid(), _start(os.getpid()))

    @classmethod
    def of(cls, kept: Mapping[str, Any]) -> Signature:
        """One that was written down; nothing written is a process that is gone."""
        return cls(str(kept.get("host") or ""), str(kept.get("boot") or ""), int(kept.get("pid") or 0), str(kept.get("start") or ""))

    def to_dict(self) -> dict[str, Any]:
        """As it is written down."""
        return asdict(self)

    def lives(self) -> bool:
        """Whether it still runs; on another machine that cannot be known, and it is taken to live."""
        if self.pid <= 0:
            return False
        if self.host != socket.gethostname():
            return True
        if self.boot != _boot() or self.start != _start(self.pid):
            return False
        return bool(self.start) or _answers(self.pid)


def _boot() -> str:
    return BOOT.read_text().strip() if BOOT.exists() else ""


def _start(pid: int) -> str:
    """Field 22 of /proc/PID/stat; empty when there is no such process, or it is a zombie."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return ""
    return "" if fields[0] == "Z" else fields[19]


def _answers(pid: int) -> bool:
    """Where there is no /proc: whether a process has that number."""
    if BOOT.exists():
        return False
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
