"""Which keys a table shows and in what order; kept up to date by touching changed keys only."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from typing import Any

from cockpit.tui.cells import natural
from cockpit.tui.views import Column, Scene, Sums, View

SORT_SECONDS = 0.5


def matcher(query: str) -> Callable[[str], bool]:
    """A test for a filter: plain text, /regex/, !inverse, -f fuzzy; case does not matter."""
    if query.startswith("!"):
        inner = matcher(query[1:])
        return lambda text: not inner(text)
    if query.startswith("-f"):
        letters = query[2:].strip().lower()
        return lambda text: _fuzzy(letters, text.lower())
    pattern = _pattern(query)
    if pattern is not None:
        return lambda text: pattern.search(text) is not None
    plain = query.lower()
    return lambda text: plain in text.lower()


def _pattern(query: str) -> re.Pattern[str] | None:
    if len(query) < 2 or not query.startswith("/"):
        return None
    try:
        return re.compile(query[1:].removesuffix("/"), re.IGNORECASE)
    except re.error:
        return None


def _fuzzy(letters: str, text: str) -> bool:
    at = 0
    for letter in letters:
        at = text.find(letter, at) + 1
        if at == 0:
            return False
    return True


class Order:
    """Members of a view, sorted and filtered. `touch` costs what changed; `settle` sorts at most twice a second and only when order can differ."""

    def __init__(self, view: View) -> None:
        self.view = view
        self.column: Column = next((one for one in view.columns if one.key == view.sort_key), view.columns[0])
        self.down = view.sort_down
        self.query = ""
        self.keys: list[Any] = []
        self.faults: dict[Any, tuple[int, str]] = {}
        self._match: Callable[[str], bool] | None = None
        self._members: list[Any] = []
        self._values: dict[Any, Any] = {}
        self._weights: dict[Any, Sums] = {}
        self._sums: list[float] = []
        self._hidden: set[Any] = set()
        self._faults_only = False
        self._gone: set[Any] = set()
        self._dirty = False
        self._sorted_at = float("-inf")

    @property
    def rows(self) -> int:
        """Members before the filter."""
        return len(self._values)

    @property
    def sums(self) -> Sums:
        """Totals of what the members weigh."""
        return tuple(self._sums)

    @property
    def filtered(self) -> bool:
        """True when a filter may hide members."""
        return self._match is not None or self._faults_only

    def rebuild(self, scene: Scene) -> None:
        """Start over from the snapshot."""
        self._members, self._values, self._weights, self._sums, self._hidden = [], {}, {}, [], set()
        self.faults, self._gone = {}, set()
        for key in self.view.keys(scene):
            if self.view.has(scene, key):
                self._take(scene, key)
        self._members.sort(key=lambda key: natural(self.view.label(key)))
        self._sort()

    def touch(self, scene: Scene, keys: Iterable[Any]) -> None:
        """Look again at these keys."""
        for key in keys:
            if self.view.has(scene, key):
                self._take(scene, key)
            elif key in self._values:
                self._forget(key)

    def settle(self, now: float, force: bool = False) -> bool:
        """Sort if needed; True when the order on screen changed."""
        if not self._dirty or (not force and now - self._sorted_at < SORT_SECONDS):
            return False
        self._sorted_at = now
        before = self.keys
        self._sort()
        return before != self.keys

    @property
    def unsettled(self) -> bool:
        """True when a later `settle` may change the order."""
        return self._dirty

    def sort_by(self, scene: Scene, column: Column, down: bool) -> None:
        """Choose column and direction."""
        if column is not self.column:
            self.column = column
            self._values = {key: self.view.sort_value(scene, key, column) for key in self._values}
        self.down = down
        self._sort()

    def filter(self, scene: Scene, query: str) -> None:
        """Show only rows that match; an empty query shows all."""
        self.query, self._match, self._faults_only = query, matcher(query) if query else None, scene.faults_only
        self._hidden = {key for key in self._values if not self._shown(scene, key)}
        self._sort()

    def _shown(self, scene: Scene, key: Any) -> bool:
        if self._faults_only and key not in self.faults:
            return False
        return self._match is None or self._match(self.view.text(scene, key))

    def _take(self, scene: Scene, key: Any) -> None:
        value = self.view.sort_value(scene, key, self.column)
        if key not in self._values:
            if key in self._gone:
                self._gone.discard(key)
            else:
                self._members.append(key)
            self._dirty = True
        elif self._values[key] != value:
            self._dirty = True
        self._values[key] = value
        self._add(key, self.view.weigh(scene, key))
        self._judge(scene, key)
        if self.filtered:
            self._hide(key, not self._shown(scene, key))

    def _judge(self, scene: Scene, key: Any) -> None:
        fault = self.view.fault(scene, key)
        if fault != self.faults.get(key):
            self.faults.pop(key, None)
        if fault is not None:
            self.faults[key] = fault

    def newest_faults(self) -> list[tuple[int, str]]:
        """What is wrong with the rows, what came last first."""
        return list(reversed(self.faults.values()))

    def _hide(self, key: Any, hidden: bool) -> None:
        if hidden != (key in self._hidden):
            self._dirty = True
            (self._hidden.add if hidden else self._hidden.discard)(key)

    def _add(self, key: Any, weight: Sums) -> None:
        if not weight:
            return
        if not self._sums:
            self._sums = [0.0] * len(weight)
        before = self._weights.get(key, (0.0,) * len(weight))
        for index, amount in enumerate(weight):
            self._sums[index] += amount - before[index]
        self._weights[key] = weight

    def _forget(self, key: Any) -> None:
        del self._values[key]
        for index, amount in enumerate(self._weights.pop(key, ())):
            self._sums[index] -= amount
        self._hidden.discard(key)
        self.faults.pop(key, None)
        self._gone.add(key)
        self._dirty = True

    def _sort(self) -> None:
        if self._gone:
            self._members = [key for key in self._members if key not in self._gone]
            self._gone = set()
        values = self._values
        known = [key for key in self._members if values[key] is not None]
        unknown = [key for key in self._members if values[key] is None]
        known.sort(key=values.__getitem__, reverse=self.down)
        self._members = known + unknown
        self.keys = [key for key in self._members if key not in self._hidden] if self._hidden else list(self._members)
        self._dirty = False
