"""Facts in, immutable pictures out; the only lock of the cockpit is here.

A source sends `Upsert`, `Delete`, `Synced` and `Failed`. A reader takes `snapshot()`, or `drain()` to learn also which keys changed
since it last asked.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from cockpit.errors import CockpitError, NotServed
from cockpit.model import Health, State
from cockpit.rows import Table
from cockpit.snapshot import Snapshot

KEYS: Mapping[str, Callable[[Any], Any]] = {
    "nodes": lambda row: row.name,
    "pods": lambda row: row.key,
    "jobs": lambda row: row.key,
    "progress": lambda row: row.job,
    "nodepools": lambda row: row.name,
    "nodeclaims": lambda row: row.name,
    "queues": lambda row: row.key,
    "workloads": lambda row: row.key,
    "gpus": lambda row: row.key,
    "efa": lambda row: row.key,
    "events": lambda row: row.key,
    "prices": lambda row: (row.instance_type, row.zone, row.capacity_type),
    "served": lambda row: row.resource,
    "runtimes": lambda row: row.key,
    "lastwords": lambda row: row.pod,
    "checkpoints": lambda row: row.key,
    "stores": lambda row: row.key,
    "volumeclaims": lambda row: row.key,
    "launches": lambda row: row.key,
    "occupants": lambda row: row.key,
    "deviceplugins": lambda row: row.key,
    "applied": lambda row: row.id,
    "observed": lambda row: row.path,
}

INDEXES: Mapping[str, tuple[tuple[str, Callable[[Any], Any]], ...]] = {
    "nodes": (("nodes_by_pool", lambda row: row.pool or None),),
    "pods": (("pods_by_node", lambda row: row.node), ("pods_by_job", lambda row: row.job)),
    "nodeclaims": (("claims_by_pool", lambda row: row.pool or None), ("claims_by_node", lambda row: row.node)),
    "gpus": (("gpus_by_node", lambda row: row.key.node), ("gpus_by_pod", lambda row: row.pod)),
    "efa": (("efa_by_node", lambda row: row.key.node),),
    "lastwords": (("lastwords_by_job", lambda row: row.job),),
    "occupants": (("occupants_by_node", lambda row: row.node),),
    "checkpoints": (("checkpoints_by_store", lambda row: row.key.store),),
    "workloads": (("workloads_by_job", lambda row: row.job_uid or None),),
    "events": (
        ("events_by_object", lambda row: (row.involved_kind, row.involved_namespace, row.involved_name)),
        ("shortages_by_pool", lambda row: row.involved_name.rsplit("-", 1)[0] if row.reason == "InsufficientCapacityError" else None),
    ),
}


class Upsert(Struct, frozen=True):
    """Rows of one kind, new or changed; an empty `rows` only says that the source is alive."""

    source: str
    kind: str
    rows: tuple[Any, ...] = ()


class Delete(Struct, frozen=True):
    """Keys of one kind that are gone."""

    source: str
    kind: str
    keys: tuple[Any, ...]


class Synced(Struct, frozen=True):
    """A list is complete: rows of `kind` for which `within` holds (None: all) and whose key is not among `keys` are gone (None keeps all).

    `scope`, `unread` and `part` say what is not seen, as in Health.
    """

    source: str
    kind: str = ""
    keys: frozenset[Any] | None = None
    within: Callable[[Any], bool] | None = None
    scope: str = ""
    unread: tuple[str, ...] = ()
    part: str = ""


class Failed(Struct, frozen=True):
    """The source could not read; what it read before stays, with its age."""

    source: str
    error: CockpitError


Fact = Upsert | Delete | Synced | Failed
Changes = Mapping[str, frozenset[Any]]


class Store:
    """Holds the newest rows; any thread may `apply`, any thread may read."""

    def __init__(self, on_change: Callable[[], None] | None = None, clock: Callable[[], float] = time.time) -> None:
        self._lock = threading.Lock()
        self._clock = clock
        self._on_change = on_change
        self._told = False
        self._version = 0
        self._tables: dict[str, Table[Any, Any]] = {kind: Table() for kind in KEYS}
        self._indexes: dict[str, Table[Any, tuple[Any, ...]]] = {name: Table() for rules in INDEXES.values() for name, _ in rules}
        self._health: dict[str, Health] = {}
        self._dirty: dict[str, set[Any]] = {}

    def expect(self, *sources: str) -> None:
        """Say that these sources are being started, so that their panes show it."""
        with self._lock:
            for source in sources:
                self._health.setdefault(source, Health(State.STARTING))

    def apply(self, *facts: Fact) -> None:
        """Take facts in; `on_change` is called once per read, from the calling thread, outside the lock."""
        with self._lock:
            for fact in facts:
                self._take(fact)
            self._version += 1
            tell = self._on_change if not self._told else None
            self._told = True
        if tell is not None:
            tell()

    def snapshot(self) -> Snapshot:
        """The picture of now."""
        with self._lock:
            return self._picture()

    def drain(self) -> tuple[Snapshot, Changes]:
        """The picture of now and, by kind, index name or "health", the keys that changed since the last drain. One reader."""
        with self._lock:
            changes = {kind: frozenset(keys) for kind, keys in self._dirty.items()}
            self._dirty = {}
            return self._picture(), changes

    def _picture(self) -> Snapshot:
        self._told = False
        tables: dict[str, Any] = {name: table.version() for name, table in (self._tables | self._indexes).items()}
        return Snapshot(version=self._version, health=dict(self._health), **tables)

    def _take(self, fact: Fact) -> None:
        if isinstance(fact, Upsert):
            self._upsert(fact.kind, fact.rows)
            self._heard(fact.source)
        elif isinstance(fact, Delete):
            self._delete(fact.kind, fact.keys)
            self._heard(fact.source)
        elif isinstance(fact, Synced):
            if fact.keys is not None:
                within = fact.within or (lambda key: True)
                self._delete(fact.kind, [key for key in self._tables[fact.kind].known() if key not in fact.keys and within(key)])
            self._set_health(fact.source, Health(State.LIVE, self._clock(), None, fact.scope, fact.unread, fact.part))
        else:
            self._fail(fact.source, fact.error)

    def _upsert(self, kind: str, rows: Iterable[Any]) -> None:
        table, key_of, rules = self._tables[kind], KEYS[kind], INDEXES.get(kind, ())
        dirty = self._dirty.setdefault(kind, set())
        moved = []
        for row in rows:
            key = key_of(row)
            moved.append((key, table.put(key, row), row))
            dirty.add(key)
        for name, index_of in rules:
            self._reindex(name, [(key, None if old is None else index_of(old), index_of(row)) for key, old, row in moved])

    def _delete(self, kind: str, keys: Iterable[Any]) -> None:
        table, rules = self._tables[kind], INDEXES.get(kind, ())
        dirty = self._dirty.setdefault(kind, set())
        gone = [(key, old) for key in keys if (old := table.drop(key)) is not None]
        dirty.update(key for key, _ in gone)
        for name, index_of in rules:
            self._reindex(name, [(key, index_of(old), None) for key, old in gone])

    def _reindex(self, name: str, moves: Iterable[tuple[Any, Any, Any]]) -> None:
        """Keys that went from one entry of an index to another (None: nowhere); an entry is written once, however many come to it."""
        lost: dict[Any, set[Any]] = {}
        gained: dict[Any, dict[Any, None]] = {}
        dirty = self._dirty.setdefault(name, set())
        for key, before, after in moves:
            dirty.update(one for one in (before, after) if one is not None)
            if before == after:
                continue
            if before is not None and gained.get(before, {}).pop(key, key) is not None:
                lost.setdefault(before, set()).add(key)
            if after is not None:
                gained.setdefault(after, {})[key] = None
        for entry in {**lost, **gained}:
            self._rewrite(self._indexes[name], entry, lost.get(entry, set()), gained.get(entry, {}))

    @staticmethod
    def _rewrite(index: Table[Any, tuple[Any, ...]], entry: Any, lost: set[Any], gained: Iterable[Any]) -> None:
        kept = index.get(entry) or ()
        keys = (*(key for key in kept if key not in lost), *gained) if lost else (*kept, *gained)
        if keys:
            index.put(entry, keys)
        else:
            index.drop(entry)

    def _heard(self, source: str) -> None:
        health = self._health.get(source, Health())
        state = State.LIVE if health.state is State.LIVE else State.STARTING
        self._set_health(source, replace(health, state=state, since=self._clock(), error=None))

    def _fail(self, source: str, error: CockpitError) -> None:
        health = self._health.get(source, Health())
        if isinstance(error, NotServed):
            state = State.ABSENT
        elif health.state in (State.LIVE, State.STALE):
            state = State.STALE
        else:
            state = State.DOWN
        self._set_health(source, replace(health, state=state, error=error))

    def _set_health(self, source: str, health: Health) -> None:
        if self._health.get(source) != health:
            self._health[source] = health
            self._dirty.setdefault("health", set()).add(source)
