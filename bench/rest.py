"""A screen at rest over 5,000 nodes and 50,000 pods: bytes sent to the terminal, and resident memory."""

from __future__ import annotations

from bench.terminal import Terminal, python, told

SECONDS = 8.0
LIMIT_MIB = 110.0


def measure() -> tuple[int, float]:
    """Bytes while at rest, and MiB resident."""
    with Terminal(python("bench.crowd"), 120, 36) as terminal:
        terminal.wait(lambda seen: b"5,000 nodes" in seen and b"live" in seen, 60)
        terminal.bytes_during(4.0)
        return terminal.bytes_during(SECONDS), terminal.resident_bytes() / 2**20


def main() -> None:
    """Print both against their limits."""
    sent, resident = measure()
    print(told("tui-rest-bytes", sent, 0, "B"))
    print(told("tui-resident", resident, LIMIT_MIB, "MiB"))


if __name__ == "__main__":
    main()
