"""A view: which rows of the snapshot a table shows, what stands in their cells, and which rows a change touches.

Views hold no state of the cluster and know no toolkit. Everything here is asked either for the rows on screen or for the rows that changed;
nothing is asked for the whole cluster except when a table first opens.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

from cockpit.model import Health, State
from cockpit.snapshot import Snapshot
from cockpit.store import Changes
from cockpit.tui.cells import Cell, Part, Tone, age, natural

Sums = tuple[float, ...]


@dataclass(frozen=True)
class Scene:
    """What is looked at: a snapshot, the namespace (None: all), the clock, and whether only faulty rows are shown.

    `restore_key` is the key that goes back to a checkpoint, as a person reads it; empty where there is none. `reading` says what is being read from
    outside now, `misread` why the last such reading failed; both empty at rest.
    """

    snapshot: Snapshot = field(default_factory=Snapshot)
    namespace: str | None = None
    now: float = field(default_factory=time.time)
    faults_only: bool = False
    connected: bool = False
    restore_key: str = ""
    reading: str = ""
    misread: str = ""


@dataclass(frozen=True)
class Column:
    """A column: the width its content may take before others, weight of the spare width it takes (up to `most`), when it is dropped (highest
    first; 0 never, nor closed when blank), whether it is a bar, and its sort value."""

    key: str
    title: str
    width: int
    right: bool = False
    flex: int = 0
    most: int = 200
    drop: int = 0
    bar: bool = False
    sort: Callable[[Scene, Any], Any] | None = None


class View:
    """The base of all views; `kind` is the store's name of its rows, `sources` what it needs (the first one decides whether rows may be believed)."""

    name = ""
    title = ""
    noun = "row"
    kind = ""
    sources: tuple[str, ...] = ()
    columns: tuple[Column, ...] = ()
    empty = ""
    missing = ""
    ticking = False
    sort_key = ""
    sort_down = False

    def keys(self, scene: Scene) -> Iterable[Any]:
        """Every key of the view, in any order."""
        return getattr(scene.snapshot, self.kind)

    def has(self, scene: Scene, key: Any) -> bool:
        """True when the row exists and is in scope."""
        return key in getattr(scene.snapshot, self.kind)

    def touched(self, scene: Scene, changes: Changes) -> Iterable[Any] | None:
        """Keys whose row may look different after these changes; None when any may."""
        return changes.get(self.kind, ())

    def cells(self, scene: Scene, key: Any) -> tuple[Cell, ...]:
        """The row's cells, one per column; called for rows that are on screen."""
        raise KeyError(key)

    def label(self, key: Any) -> str:
        """The row's name for people."""
        return str(getattr(key, "name", key))

    def text(self, scene: Scene, key: Any) -> str:
        """What a filter searches."""
        return " ".join(one.text for one in self.cells(scene, key))

    def sort_value(self, scene: Scene, key: Any, column: Column) -> Any:
        """A comparable value, or None when it is not known."""
        if column.sort is not None:
            return column.sort(scene, key)
        return natural(self.cells(scene, key)[self.columns.index(column)].text)

    def weigh(self, scene: Scene, key: Any) -> Sums:
        """What the row adds to the totals in the title."""
        return ()

    def fault(self, scene: Scene, key: Any) -> tuple[int, str] | None:
        """What is wrong with the row, as (severity, sentence): 4 error with a way out, 3 error, 2 warning, 1 note."""
        return None

    def headline(self, scene: Scene, rows: int, sums: Sums) -> str:
        """The totals shown in the title, with units."""
        return f"{rows:,} {self.noun}{'' if rows == 1 else 's'}"

    def alert(self, scene: Scene) -> str:
        """What is wrong with the whole view beyond its sources, in words for the title."""
        return ""

    def below(self) -> View | None:
        """A second table of the same room."""
        return None

    def enter(self, scene: Scene, key: Any) -> View | None:
        """What Enter opens."""
        return None

    def facts(self, scene: Scene) -> list[tuple[Part, ...]]:
        """Lines above the table when the view is a drill-down."""
        return []

    def fills(self, key: Any) -> Mapping[str, str]:
        """The row as values for parameters, by row kind."""
        return {self.kind: self.label(key)}

    def room(self) -> Mapping[str, str]:
        """What a drill-down is about, as values for parameters; empty for a plain list."""
        return {}

    def api_path(self, scene: Scene, key: Any) -> str:
        """The row's object in the Kubernetes API; empty when it has none."""
        return ""

    def involved(self, key: Any) -> tuple[str, str, str]:
        """(kind, namespace, name) that events are filed under."""
        return ("", "", "")


def note(view: View, scene: Scene, rows: int) -> list[Part]:
    """What to say instead of rows; empty when the rows speak for themselves."""
    if rows:
        return []
    if not scene.connected:
        return [("connecting …", Tone.MUTED)]
    source = view.sources[0] if view.sources else ""
    health = scene.snapshot.health.get(source, Health())
    if source and health.believed and health.scope and scene.namespace not in (None, health.scope):
        head = (f"○ {view.noun}s of {scene.namespace} are not read", Tone.INFO)
        return [head, (health.limits(), Tone.MUTED), (f"→ open it with -n {scene.namespace}", Tone.MUTED)]
    if not source or health.state is State.LIVE:
        return [(f"no {view.noun}s" + (f" in {scene.namespace}" if scene.namespace else ""), Tone.MUTED), (view.empty, Tone.MUTED)]
    if health.state is State.STARTING:
        return [(f"reading {view.noun}s …", Tone.MUTED)]
    return failure(view, health, scene.now)


def failure(view: View, health: Health, now: float) -> list[Part]:
    """A source's failure in words: what is missing, why, and how to mend it."""
    message = health.error.message if health.error else ""
    hint = health.error.hint if health.error else ""
    if health.state is State.ABSENT:
        head = (f"○ {view.missing or 'this cluster does not serve ' + view.noun + 's'}", Tone.INFO)
    elif health.forbidden:
        head = (f"○ you may not list {view.noun}s here", Tone.INFO)
    else:
        since = f", last seen {age(now - health.since)} ago" if health.since else ""
        head = (f"✖ cannot read {view.noun}s{since}", Tone.BAD)
    return [head, (message, Tone.PLAIN), (f"→ {hint}" if hint else "", Tone.MUTED)]


def trouble(view: View, scene: Scene) -> str:
    """A few words for the title when a source of the view is not live: `stale 12s`, `pods down`; the view's own source comes first and alone."""
    words = []
    for index, source in enumerate(view.sources):
        health = scene.snapshot.health.get(source)
        if health is None or health.state in (State.LIVE, State.STARTING):
            continue
        name = "" if index == 0 else source + " "
        if health.forbidden:
            words.append(f"{name}forbidden")
            continue
        aged = f" {age(scene.now - health.since)}" if health.state is State.STALE and health.since else ""
        words.append(f"{name}{health.state.value}{aged}")
        if index == 0:
            break
    return " · ".join(words)


def limits(view: View, scene: Scene) -> str:
    """A few words for the title when a source of the view may not see everything: `only ns team-a`, `pods only of ns team-a`, `trainjobs not
    listed`; nothing while the view's own source is not live."""
    found = [scene.snapshot.health.get(source, Health()) for source in view.sources]
    if not found or not found[0].believed:
        return ""
    others = [f"{source} only of ns {one.scope}" for source, one in zip(view.sources, found, strict=True) if one.believed and one.scope]
    words = [f"only ns {found[0].scope}"] if found[0].scope else others[:1]
    unread = [f"{resource.split('.')[0]} not listed" for one in found[:1] for resource in one.unread]
    return " · ".join([*words, *unread, *filter(None, (found[0].part,))])


def stale(view: View, scene: Scene) -> bool:
    """True when the rows shown are old."""
    health = scene.snapshot.health.get(view.sources[0]) if view.sources else None
    return health is not None and health.state not in (State.LIVE, State.STARTING)
