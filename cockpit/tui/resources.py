"""The smaller views that `:` opens: queues, events, namespaces."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from cockpit.model import QueueKey
from cockpit.store import Changes
from cockpit.tui.bars import bar
from cockpit.tui.cells import BLANK, DASH, UNKNOWN, Cell, Tone, cell, natural, number
from cockpit.tui.jobs import short_age
from cockpit.tui.views import Column, Scene, View


class Queues(View):
    """Kueue queues: who waits, and how full the quota is."""

    name, title, noun, kind = "queues", "Queues", "queue", "queues"
    sources = ("queues",)
    missing = "no Kueue here: this cluster serves no queues"
    columns = (
        Column("namespace", "NAMESPACE", 12, flex=1, most=24, sort=lambda scene, key: natural(key.namespace)),
        Column("queue", "QUEUE", 14, flex=1, most=30, sort=lambda scene, key: natural(key.name)),
        Column("cluster", "CLUSTER QUEUE", 13, flex=1, most=30, drop=2),
        Column("state", "STATE", 10),
        Column("pending", "PENDING", 7, right=True, sort=lambda scene, key: scene.snapshot.queues[key].pending),
        Column("admitted", "ADMITTED", 8, right=True, sort=lambda scene, key: scene.snapshot.queues[key].admitted),
        Column("quota", "FULLEST QUOTA", 30, flex=1, most=50, drop=1),
    )

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        queue = scene.snapshot.queues[key]
        state = DASH if queue.active is None else cell("● active", Tone.GOOD) if queue.active else cell(f"✖ {queue.reason or 'inactive'}", Tone.BAD)
        return (
            cell(key.namespace or "(cluster)", Tone.MUTED),
            cell(key.name, Tone.STRONG),
            cell(queue.cluster_queue or UNKNOWN),
            state,
            number(queue.pending, tone=Tone.WARN if queue.pending else Tone.PLAIN),
            number(queue.admitted),
            self._quota(scene, key),
        )

    def _quota(self, scene: Scene, key: QueueKey) -> Cell:
        quotas = [one for one in scene.snapshot.queues[key].quotas if one.nominal]
        if not quotas:
            return BLANK
        fullest = max(quotas, key=lambda one: one.used / one.nominal)
        words = f" {fullest.used:,.0f}/{fullest.nominal:,.0f} {fullest.resource}"
        return Cell((*bar(fullest.used / fullest.nominal, 8), (words, Tone.PLAIN)))

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        queue = scene.snapshot.queues[key]
        return (2, f"queue {key.name} is inactive: {queue.reason}") if queue.active is False else None


class Events(View):
    """Events, the newest first; of everything, or of one object."""

    name, title, noun, kind = "events", "Events", "event", "events"
    sources = ("events",)
    sort_key, sort_down = "age", True

    def __init__(self, involved: tuple[str, str, str] | None = None) -> None:
        self.about = involved
        if involved:
            self.title = f"Events of {involved[0]} {involved[2]}"
        self.columns = (
            Column("age", "AGE", 4, right=True, sort=lambda scene, key: scene.snapshot.events[key].at),
            Column("type", "TYPE", 9, drop=2),
            Column("reason", "REASON", 18, flex=1, most=26),
            Column("object", "OBJECT", 20, flex=2, most=44, drop=1),
            Column("count", "×", 4, right=True, drop=3, sort=lambda scene, key: scene.snapshot.events[key].count),
            Column("message", "MESSAGE", 24, flex=6, most=400),
        )

    def keys(self, scene: Scene) -> Iterable[Any]:
        return scene.snapshot.events_by_object.get(self.about, ()) if self.about else scene.snapshot.events

    def has(self, scene: Scene, key: Any) -> bool:
        event = scene.snapshot.events.get(key)
        if event is None:
            return False
        if self.about:
            return (event.involved_kind, event.involved_namespace, event.involved_name) == self.about
        return scene.namespace in (None, event.involved_namespace) or not event.involved_namespace

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        return changes.get("events", ())

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        event = scene.snapshot.events[key]
        warning = event.type != "Normal"
        return (
            cell(short_age(scene.now - event.at), Tone.MUTED) if event.at else DASH,
            cell(f"▲ {event.type}" if warning else event.type, Tone.WARN if warning else Tone.MUTED),
            cell(event.reason, Tone.STRONG),
            cell(f"{event.involved_kind}/{event.involved_name}"),
            cell(str(event.count) if event.count > 1 else "", Tone.MUTED),
            cell(event.message, Tone.PLAIN),
        )

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        event = scene.snapshot.events[key]
        return (1, f"{event.reason}: {event.message}") if event.type != "Normal" else None


class Names(View):
    """A list of names to choose from (namespaces, contexts)."""

    kind = ""

    def __init__(self, title: str, names: Iterable[str], chosen: str) -> None:
        self.name, self.title, self.noun = title.lower(), title, title.lower().removesuffix("s")
        self.columns = (Column("name", "NAME", 30, flex=1, most=80), Column("now", "", 10))
        self._names, self._chosen = sorted(names), chosen

    def keys(self, scene: Scene) -> Iterable[Any]:
        return self._names

    def has(self, scene: Scene, key: Any) -> bool:
        return True

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        return ()

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        return (cell(str(key), Tone.STRONG), cell("● now", Tone.GOOD) if key == self._chosen else BLANK)

    def label(self, key: Any) -> str:
        return str(key)
