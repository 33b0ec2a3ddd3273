"""The whole cockpit at rest on 5,000 nodes and 50,000 pods, through a pseudo-terminal: bytes it sends, and its resident memory."""

from __future__ import annotations

import time
from collections.abc import Iterator

from bench.practice import Practice, practice
from bench.readings import Reading, tell
from bench.terminal import Terminal

LOADED_SECONDS = 90.0
QUIET_SECONDS = 3.0
SECONDS = 12.0
LIMIT_MB = 110.0
SIZE = (120, 36)


def opened(cluster: Practice) -> Terminal:
    """A cockpit on that cluster."""
    return Terminal(cluster.cockpit(), *SIZE, env=cluster.env)


def settle(terminal: Terminal) -> None:
    """Wait until every node is on the screen and nothing has been painted for a while; TimeoutError when the nodes never come."""
    terminal.wait(lambda seen: b"5,000 nodes" in seen and b"live" in seen, LOADED_SECONDS)
    deadline = time.monotonic() + LOADED_SECONDS
    while terminal.bytes_during(QUIET_SECONDS) and time.monotonic() < deadline:
        pass


def measure(cluster: Practice) -> Iterator[Reading]:
    """Bytes to the terminal while nothing changes, and megabytes resident after that."""
    cluster.change(0)
    with opened(cluster) as terminal:
        settle(terminal)
        sent = terminal.bytes_during(SECONDS)
        yield Reading("rest-terminal-bytes", sent, "B", 0, note=f"in {SECONDS:.0f} s")
        yield Reading("rest-resident", terminal.resident_bytes() / 1e6, "MB", LIMIT_MB)


def main() -> None:
    """Measure on a practice cluster of its own."""
    with practice() as cluster:
        tell(measure(cluster))


if __name__ == "__main__":
    main()
