"""The terminal itself: the toolkit's driver, told that the skeleton has entered the alternate screen, and whether anybody is still there."""

from __future__ import annotations

import os
import select
import signal
import sys

from textual.driver import Driver

from cockpit.tui import skeleton


def gone() -> bool:
    """True when the terminal behind standard input was closed without a word, as when a connection is cut and no shell passes SIGHUP on."""
    if not hasattr(select, "poll"):
        return False
    poll = select.poll()
    poll.register(0, 0)
    return any(event & (select.POLLHUP | select.POLLERR) for _, event in poll.poll(0))


def hang_up() -> None:
    """End as the terminal's own signal would have it: there is nobody to draw for, and no line to say so on."""
    os.kill(os.getpid(), signal.SIGHUP)


def driver() -> type[Driver] | None:
    """The driver class for this terminal; None for the toolkit's own."""
    if sys.platform == "win32" or not skeleton.painted:
        return None
    from textual.drivers.linux_driver import LinuxDriver

    class TakingOver(LinuxDriver):
        """Swallows the one sequence that would clear the painted skeleton."""

        def write(self, data: str) -> None:
            if skeleton.painted and data == skeleton.ENTER:
                skeleton.painted = False
                return
            super().write(data)

    return TakingOver
