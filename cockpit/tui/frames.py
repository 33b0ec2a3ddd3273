"""One tick for the whole screen, and no frame before the terminal has taken the last one.

After a frame is written the terminal is asked for the state of mode 2026; until its answer arrives no other frame is sent, so a slow line holds
one frame and not a queue of them, and a key press is painted at once.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from textual.app import App

QUERY = "\x1b[?2026$p"
ANSWER_SECONDS = 3.0
FAST_FPS = 10.0
SLOW_FPS = 4.0
SLOW_ROUND_TRIP_SECONDS = 0.15


class Frames:
    """Decides when the next frame may go; a terminal that does not answer is never waited for again."""

    def __init__(self, write: Callable[[str], None], clock: Callable[[], float] = time.monotonic) -> None:
        self._write, self._clock = write, clock
        self._asked_at: float | None = None
        self._sent_at = float("-inf")
        self._answers = False
        self.interval_seconds = 1 / FAST_FPS

    def due(self) -> bool:
        """True when a frame may be painted now."""
        now = self._clock()
        if self._asked_at is not None:
            if now - self._asked_at < ANSWER_SECONDS:
                return False
            self._asked_at, self._answers = None, False
        return now - self._sent_at >= self.interval_seconds - 0.005

    def sent(self) -> None:
        """A frame was painted: ask the terminal to say when it has taken it."""
        self._sent_at = self._clock()
        if self._answers:
            self._asked_at = self._sent_at
            self._write(QUERY)

    def answered(self) -> None:
        """The terminal answered, either our question or the one asked at start."""
        self._answers = os.environ.get("TERM_PROGRAM", "") != "Apple_Terminal"
        if self._asked_at is not None:
            slow = self._clock() - self._asked_at > SLOW_ROUND_TRIP_SECONDS
            self.interval_seconds = 1 / (SLOW_FPS if slow else FAST_FPS)
        self._asked_at = None


def writer(app: App[Any]) -> Callable[[str], None]:
    """Writes to the terminal through the driver, or nowhere when there is none."""

    def write(data: str) -> None:
        driver = app._driver
        if driver is not None and not app.is_headless:
            driver.write(data)

    return write
