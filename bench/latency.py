"""From a key to its painted row, through a pseudo-terminal, while 1,000 objects a second change on the practice cluster."""

from __future__ import annotations

import re
import select
from collections.abc import Callable, Iterator

from bench.practice import Practice, practice
from bench.readings import Reading, tell
from bench.rest import opened, settle
from bench.terminal import Terminal

LIMIT_MS = 50.0
KEYS = 300
RATE = 1000
FIRST_LINE, LINES = 5, 7
WARM_SECONDS = 3.0
BETWEEN_SECONDS = 0.05


def seen_on(line: int) -> Callable[[bytes], bool]:
    """A test for the cursor's glyph on a terminal line."""
    pattern = re.compile(rb"\x1b\[%d;\d+H[^\x1b]*(?:\x1b\[[0-9;]*m[^\x1b]*?)*?\xe2\x96\xb8" % line)
    return lambda seen: pattern.search(seen) is not None


def key_times(terminal: Terminal) -> list[float]:
    """Milliseconds from each of the keys to the row it moved the cursor to."""
    found: list[float] = []
    line, step = FIRST_LINE, 1
    for _ in range(KEYS):
        step = -1 if line >= FIRST_LINE + LINES else 1 if line <= FIRST_LINE else step
        line += step
        start, sent = terminal.mark(), terminal.send("j" if step > 0 else "k")
        found.append((terminal.wait(seen_on(line), 5, start) - sent) * 1000)
        select.select([], [], [], BETWEEN_SECONDS)
    return found


def measure(cluster: Practice) -> Iterator[Reading]:
    """The 99th percentile, in milliseconds."""
    cluster.change(0)
    with opened(cluster) as terminal:
        settle(terminal)
        cluster.change(RATE)
        try:
            terminal.bytes_during(WARM_SECONDS)
            times = sorted(key_times(terminal))
        finally:
            cluster.change(0)
    half, last = times[len(times) // 2], times[int(len(times) * 0.99)]
    yield Reading("key-painted-p99", last, "ms", LIMIT_MS, note=f"p50 {half:.1f} ms at {RATE:,} changes a second")


def main() -> None:
    """Measure on a practice cluster of its own."""
    with practice() as cluster:
        tell(measure(cluster))


if __name__ == "__main__":
    main()
