"""ctrl+p: every action of the registry and every view, found by a few letters."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import TYPE_CHECKING, cast

from textual.command import DiscoveryHit, Hit, Hits, Provider

from cockpit.tui.help import shown
from cockpit.tui.travel import VIEW_WORDS

if TYPE_CHECKING:
    from cockpit.tui.app import CockpitApp


class Actions(Provider):
    """Actions with their keys, then views."""

    def _entries(self) -> Iterator[tuple[str, str, Callable[[], None]]]:
        app = cast("CockpitApp", self.app)
        for action in app.verbs.actions:
            if app.verbs.allowed(action):
                key = f"  ({shown(action.key)})" if action.key else ""
                yield f"{action.title}{key}", action.doc or action.name, partial(app.go, action.name)
        for word in ("nodeclaims", "pods", "events"):
            if word in VIEW_WORDS:
                yield f"View {word}", f":{word}", partial(app.go, word)

    async def discover(self) -> Hits:
        """Everything, before a letter is typed."""
        for title, doc, run in self._entries():
            yield DiscoveryHit(title, run, help=doc)

    async def search(self, query: str) -> Hits:
        """What matches."""
        matcher = self.matcher(query)
        for title, doc, run in self._entries():
            score = max(matcher.match(title), matcher.match(doc) * 0.5)
            if score > 0:
                yield Hit(score, matcher.highlight(title), run, help=doc)
