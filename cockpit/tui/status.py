"""The three quiet lines around the panes: where we are and how fresh it is, what is most wrong, and which keys apply."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from rich.cells import cell_len
from textual.widgets import Static

from cockpit.model import Health, State
from cockpit.tui.cells import Part, Tone, age
from cockpit.tui.lines import content, padded
from cockpit.tui.views import Scene

SEPARATOR: Part = (" · ", Tone.MUTED)
GAP = "   "
WEIGHTY = frozenset({"api", "nodes", "pods", "jobs"})
"""Named first when several are not well."""
QUIET_SOURCES = frozenset({"served", "prices", "queues", "progress", "lastwords", "events", "volumeclaims", "priorities"})
LEAST_CELLS = 24
"""What must be left of a sentence's beginning for it to be worth cutting."""


@dataclass(frozen=True)
class Place:
    """Where the cockpit is: names as the kubeconfig gives them."""

    cluster: str = ""
    region: str = ""
    namespace: str | None = None
    readonly: bool = False
    simulated: bool = False
    connected: bool = False
    tabs: tuple[str, ...] = ()
    active: str = ""
    short: bool = False


class PartsLine(Static):
    """One line that is repainted only when its pieces differ."""

    def __init__(self, **more: Any) -> None:
        super().__init__("", **more)
        self.parts: list[Part] = []

    def put(self, parts: list[Part]) -> None:
        """Show these pieces."""
        if parts != self.parts:
            self.parts = parts
            self.update(content(parts), layout=False)


class ContextLine(PartsLine):
    """cluster · region · ns · read-only or read-write · SIMULATED GPUs, and freshness."""


class CautionLine(PartsLine):
    """What is most wrong now, in one line."""


class KeyLine(PartsLine):
    """The keys that apply to the focused row."""


def context_parts(place: Place, scene: Scene) -> list[Part]:
    """The context line."""
    if place.tabs:
        return [*_marks(place, True), *_tabs(place), (" ", Tone.PLAIN), *_freshness(place, scene, 1)]
    parts: list[Part] = [("cockpit  ", Tone.INFO), (place.cluster or "no cluster", Tone.STRONG)]
    if place.region:
        parts += [SEPARATOR, (place.region, Tone.PLAIN)]
    parts += [SEPARATOR, (f"ns {place.namespace or 'all'}", Tone.PLAIN), *_marks(place, False)]
    return [*parts, ("    ", Tone.PLAIN), *_freshness(place, scene, 3), *_forbidden(scene)]


def _tabs(place: Place) -> list[Part]:
    parts: list[Part] = []
    for index, name in enumerate(place.tabs, 1):
        chosen = name == place.active
        parts += [
            (f"{'▸' if chosen else ' '}{index} ", Tone.INFO),
            (name if chosen or not place.short else "", Tone.STRONG if chosen else Tone.MUTED),
            (" ", Tone.PLAIN),
        ]
    return parts


def _marks(place: Place, short: bool) -> list[Part]:
    words: list[Part] = [("read-only", Tone.INFO)] if place.readonly else [] if short else [("read-write", Tone.MUTED)]
    if place.simulated:
        words.append(("SIMULATED GPUs", Tone.WARN))
    return [part for word in words for part in ((word, SEPARATOR) if short else (SEPARATOR, word))]


def _forbidden(scene: Scene) -> list[Part]:
    """Sources that may not be read: nobody at these keys can mend that, so it is said once and quietly."""
    names = sorted(name for name, health in scene.snapshot.health.items() if health.forbidden)
    if not names:
        return []
    return [(f"  ○ forbidden: {', '.join(names[:3])}{f' +{len(names) - 3}' if len(names) > 3 else ''}", Tone.MUTED)]


def _freshness(place: Place, scene: Scene, most: int) -> list[Part]:
    if not place.connected:
        return [("◌ connecting", Tone.INFO)]
    told = sorted(scene.snapshot.health.items(), key=lambda one: (one[0] not in WEIGHTY, one[0]))
    found = [part for name, health in told if (part := _health_words(name, health, scene.now))]
    if not found:
        return [("● live", Tone.GOOD)]
    stale = [health.since for health in scene.snapshot.health.values() if health.state is State.STALE and health.since]
    if len(found) > most and stale:
        return [(f"▲ {len(found)} sources not live, oldest {age(scene.now - min(stale))}", Tone.WARN)]
    hidden: list[Part] = [(f" +{len(found) - most}", Tone.MUTED)] if len(found) > most else []
    return [piece for part in found[:most] for piece in (SEPARATOR, part)][1:] + hidden


def _health_words(name: str, health: Health, now: float) -> Part | None:
    if health.state is State.STALE:
        return f"▲ {name} stale {age(now - (health.since or now))}", Tone.WARN
    if health.forbidden:
        return None
    if health.state is State.DOWN:
        return f"✖ {name} down", Tone.MUTED if name in QUIET_SOURCES else Tone.BAD
    if health.state is State.STARTING:
        return f"◌ {name}", Tone.MUTED
    return None


def cautions(scene: Scene, faults: Iterable[tuple[int, str]]) -> list[tuple[int, str]]:
    """Everything that is wrong, the worst first: the API first, then what the panes found."""
    found: list[tuple[int, str]] = []
    api = scene.snapshot.health.get("api")
    if api is not None and api.state in (State.DOWN, State.STALE):
        since = f" for {age(scene.now - api.since)}" if api.since else ""
        message = api.error.message if api.error else "no answer"
        found.append((4, f"connection lost{since}; showing the last known state, trying again: {message}"))
    else:
        found += _unreadable(scene)
    return sorted([*found, *(fault for fault in faults if fault[0] > 1)], key=lambda fault: -fault[0])


def _unreadable(scene: Scene) -> list[tuple[int, str]]:
    """What cannot be read at all: where nothing is seen, nothing is well."""
    down = {name: one.error for name, one in scene.snapshot.health.items() if one.state is State.DOWN and name not in QUIET_SOURCES}
    said = next((error.message for error in down.values() if error), "no answer")
    return [(2, f"{', '.join(sorted(down))} cannot be read: {said}")] if down else []


def caution_parts(found: Sequence[tuple[int, str]], last_command: str, width: int = 1 << 16) -> list[Part]:
    """The caution line; when nothing is wrong it shows the last command that was run, quietly.

    Where `width` is too small the middle gives way: what can be done, after the last semicolon, stays whole.
    """
    if not found:
        return [("› " + last_command, Tone.MUTED)] if last_command else [("✓ all quiet", Tone.MUTED)]
    severity, text = found[0]
    head = ("✖ ALERT" if severity >= 3 else "▲ CAUTION") + (f" {len(found)}" if len(found) > 1 else "")
    return [(head, Tone.BAD if severity >= 3 else Tone.WARN), (f"  {both_ends(text, width - cell_len(head) - 2)}", Tone.PLAIN)]


def both_ends(text: str, width: int) -> str:
    """A sentence made to fit by cutting its first part, so that its last clause stays whole; left to the line where even that is too long."""
    first, semicolon, last = text.rpartition("; ")
    room = width - cell_len(semicolon + last)
    if cell_len(text) <= width or not semicolon or room < LEAST_CELLS:
        return text
    return padded(first, room) + semicolon + last


def key_parts(keys: Iterable[tuple[str, str, bool]], width: int) -> list[Part]:
    """The footer out of (key, word, enabled), as wide as the line; a disabled one is dim. The last, which tells of the others, is never left out."""
    *others, last = keys
    parts: list[Part] = []
    room = width - len(GAP) - len(" ".join(last[:2]))
    for index, one in enumerate(others):
        words = _key(one, GAP if parts else "")
        room -= sum(len(text) for text, _ in words)
        if room < (len(GAP) + 1 if index + 1 < len(others) else 0):
            parts.append((f"{GAP}…", Tone.TRACK))
            break
        parts += words
    return parts + _key(last, GAP if parts else "")


def _key(one: tuple[str, str, bool], gap: str) -> list[Part]:
    key, word, enabled = one
    return [(gap, Tone.PLAIN), (key, Tone.INFO if enabled else Tone.TRACK), (f" {word}", Tone.PLAIN if enabled else Tone.TRACK)]
