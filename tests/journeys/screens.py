"""The cockpit on a screen, used like a person uses it: keys go in, text is looked at, and waiting is always for something to be seen."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any, TypeVar

from textual.pilot import Pilot

from cockpit.session import Options, open_session
from cockpit.tui.app import CockpitApp
from tests.journeys.worlds import World

PATIENCE_SECONDS = 15.0
T = TypeVar("T")


class Screen:
    """What is on the terminal, and the keyboard before it."""

    def __init__(self, app: CockpitApp, pilot: Pilot[Any]) -> None:
        self.app, self.pilot = app, pilot

    def lines(self) -> list[str]:
        """The screen as lines of text."""
        return [strip.text for strip in self.app.screen._compositor.render_strips()]

    def text(self) -> str:
        return "\n".join(self.lines())

    def pane(self, name: str) -> list[str]:
        """The lines of one pane, its title first."""
        region = self.app.panes[name].region
        lines = self.lines()[region.y : region.bottom]
        return [line[region.x : region.right] for line in lines]

    def row(self, pane: str, word: str) -> str:
        """The line of a pane that holds this word; empty when there is none."""
        return next((line for line in self.pane(pane)[1:] if word in line), "")

    async def press(self, *keys: str) -> None:
        await self.pilot.press(*keys)

    async def type(self, text: str) -> None:
        """Type a text, letter by letter."""
        names = {" ": "space", "-": "minus", "/": "slash", ".": "full_stop", "=": "equals_sign", ",": "comma", ":": "colon"}
        await self.pilot.press(*(names.get(letter, letter) for letter in text))

    async def sees(self, what: str | Callable[[], T], seconds: float = PATIENCE_SECONDS) -> T | bool:
        """Wait until a text stands on the screen, or until a look at it is true."""
        look: Callable[[], Any] = (lambda: what in self.text()) if isinstance(what, str) else what
        deadline = time.monotonic() + seconds
        while not (found := look()):
            shown = "" if time.monotonic() < deadline else self.text()
            assert not shown, f"not seen within {seconds:g} s: {what}\n{shown}"
            await asyncio.sleep(0.03)
        result: T | bool = found
        return result

    async def cursor(self, pane: str, key: str) -> None:
        """Move the cursor of the pane to the row whose key holds this word, with the keys a person would use."""
        table = self.app.panes[pane] if pane else self.app.detail.table
        await self.press("g")
        for _ in range(len(table.order.keys)):
            if key in str(table.cursor):
                return
            await self.press("j")
        assert key in str(table.cursor), f"no row {key} in {pane}: {table.order.keys}"


@asynccontextmanager
async def open_cockpit(world: World | None, size: tuple[int, int] = (160, 48), **options: Any) -> AsyncIterator[Screen]:
    """The cockpit, opened on a world."""
    given = {"kubeconfig": world.kubeconfig} if world else {}
    app = CockpitApp(open_session, Options(**(given | options)))
    async with app.run_test(size=size, notifications=True) as pilot:
        yield Screen(app, pilot)
