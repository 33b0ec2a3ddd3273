"""From a key to its painted row, through a pseudo-terminal, while 1,000 pods a second change among 50,000."""

from __future__ import annotations

import re
import select
from collections.abc import Callable

from bench.terminal import Terminal, python, told

LIMIT_MS = 50.0
KEYS = 150
RATE = 1000
FIRST_LINE = 5


def seen_on(line: int) -> Callable[[bytes], bool]:
    """A test for the cursor's glyph on a terminal line."""
    pattern = re.compile(rb"\x1b\[%d;\d+H[^\x1b]*(?:\x1b\[[0-9;]*m[^\x1b]*?)*?\xe2\x96\xb8" % line)
    return lambda seen: pattern.search(seen) is not None


def measure() -> list[float]:
    """Milliseconds of each key."""
    found: list[float] = []
    with Terminal(python("bench.crowd", "--rate", str(RATE)), 120, 36) as terminal:
        terminal.wait(lambda seen: b"5,000 nodes" in seen and b"live" in seen, 60)
        terminal.bytes_during(2.0)
        line, step = FIRST_LINE, 1
        for _ in range(KEYS):
            step = -1 if line >= FIRST_LINE + 7 else 1 if line <= FIRST_LINE else step
            line += step
            start, sent = terminal.mark(), terminal.send("j" if step > 0 else "k")
            found.append((terminal.wait(seen_on(line), 5, start) - sent) * 1000)
            select.select([], [], [], 0.05)
    return found


def main() -> None:
    """Print p50 and p99 against the limit."""
    times = sorted(measure())
    half, last = times[len(times) // 2], times[min(len(times) - 1, int(len(times) * 0.99))]
    print(told("tui-key-p99", last, LIMIT_MS, "ms"), f"p50={half:.1f}ms")


if __name__ == "__main__":
    main()
