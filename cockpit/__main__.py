"""`cockpit` and `python -m cockpit`: an action without a screen, or the screen."""

from __future__ import annotations

import gc
import os
import sys
from typing import NoReturn

COLLECT_AFTER = (20_000, 20, 20)
"""Objects made before cycles are looked for: nearly all that imports and lists make is kept, and looking through it finds nothing."""


def run() -> NoReturn:
    """One command line; the process ends with its exit code.

    Without a screen it leaves at once: threads that still wait for the network are not waited for, and what was read is not taken apart.
    """
    code = main()
    if headless(sys.argv[1:]):
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)
    sys.exit(code)


def main() -> int:
    """The exit code of one command line."""
    gc.set_threshold(*COLLECT_AFTER)
    return _run(sys.argv[1:])


def _run(words: list[str]) -> int:
    if headless(words):
        from cockpit.cli import main as headless_main

        return headless_main(words)
    from cockpit.screen import open_screen

    return open_screen(words)


def headless(words: list[str]) -> bool:
    """True when the words ask for data and not for the screen."""
    asks = ("--action", "--actions", "--describe", "--help", "-h", "--version")
    return any(word in asks or word.startswith("--action=") for word in words)


if __name__ == "__main__":
    run()
