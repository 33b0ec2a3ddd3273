"""The toolkit's driver, told that the alternate screen is already entered when the skeleton was painted."""

from __future__ import annotations

import sys

from textual.driver import Driver

from cockpit.tui import skeleton


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
