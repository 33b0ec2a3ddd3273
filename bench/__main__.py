"""Every promise of speed, measured in turn on one practice cluster; exit 1 when one of them is not kept."""

from __future__ import annotations

import signal
import sys

from bench import command, latency, listing, rest, table, training
from bench.practice import practice
from bench.readings import HEADING, tell


def main() -> int:
    """One line a promise; the quietest measurements first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))  # so that the practice cluster is stopped
    print(HEADING, flush=True)
    told = tell(table.measure())
    told += tell(training.measure())
    with practice() as cluster:
        for part in (rest, listing, command, latency):
            told += tell(part.measure(cluster))
    over = [one.name for one in told if not one.kept]
    if over:
        print(f"not kept: {', '.join(over)}", file=sys.stderr)
    return 1 if over else 0


if __name__ == "__main__":
    sys.exit(main())
