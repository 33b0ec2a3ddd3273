"""Loopback ports: free ones to give out, and who listens on one."""

from __future__ import annotations

import contextlib
import os
import random
import socket
from collections.abc import Iterable
from pathlib import Path

FIRST_PORT, LAST_PORT = 20000, 31999  # below Linux's ephemeral range, so no outgoing connection takes one
LISTENING = "0A"


class LoopbackPorts:
    """Gives out port ranges on 127.0.0.1 that nobody uses, and takes them back."""

    def __init__(self) -> None:
        self._taken: set[int] = set()
        self._choice = random.Random()

    @property
    def in_use(self) -> frozenset[int]:
        """Ports given out now."""
        return frozenset(self._taken)

    def take(self, count: int = 1) -> int:
        """The first of `count` consecutive free ports; OSError when none are left."""
        for _ in range(500):
            base = self._choice.randrange(FIRST_PORT, LAST_PORT - count)
            ports = range(base, base + count)
            if not self._taken.intersection(ports) and all(_free(port) for port in ports):
                self._taken.update(ports)
                return base
        raise OSError(f"no {count} consecutive free loopback ports between {FIRST_PORT} and {LAST_PORT}")

    def give_back(self, base: int, count: int = 1) -> None:
        """Return a range that `take` gave out."""
        self._taken.difference_update(range(base, base + count))


def _free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def listens(pids: Iterable[int], port: int) -> bool:
    """Whether one of these processes holds a TCP socket that listens on `port`."""
    wanted = _listening_inodes(port)
    return bool(wanted) and any(wanted & _socket_inodes(pid) for pid in pids)


def _listening_inodes(port: int) -> set[str]:
    inodes = set()
    for table in ("/proc/net/tcp", "/proc/net/tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(table).read_text().splitlines()[1:]:
                fields = line.split()
                if fields[3] == LISTENING and int(fields[1].rpartition(":")[2], 16) == port:
                    inodes.add(fields[9])
    return inodes


def _socket_inodes(pid: int) -> set[str]:
    inodes = set()
    with contextlib.suppress(OSError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(OSError):
                target = os.readlink(entry.path)
                if target.startswith("socket:["):
                    inodes.add(target[8:-1])
    return inodes
