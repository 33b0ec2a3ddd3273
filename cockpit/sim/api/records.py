"""Objects as the cluster keeps them: serialised once, decoded only when somebody looks."""

from __future__ import annotations

from bisect import bisect_left, insort
from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

import msgspec

from cockpit.sim.api.history import Change, History
from cockpit.sim.api.kinds import Kind

encode = msgspec.json.encode
decode = msgspec.json.decode
RV_HEAD = b'"metadata":{"resourceVersion":"'
DECODED_KEPT = 4096


class Record:
    """One version of one object, immutable: `body` is its JSON after kind and apiVersion, resourceVersion first."""

    __slots__ = ("__weakref__", "_fields", "body", "kind", "labels", "name", "namespace", "owners", "rv", "static", "uid")

    def __init__(
        self,
        kind: Kind,
        namespace: str | None,
        name: str,
        uid: str,
        rv: int,
        body: bytes,
        labels: Mapping[str, str],
        owners: tuple[str, ...] = (),
        static: bool = False,
        fields: Mapping[str, str] | None = None,
    ) -> None:
        self.kind = kind
        self.namespace = namespace
        self.name = name
        self.uid = uid
        self.rv = rv
        self.body = body
        self.labels = labels
        self.owners = owners
        self.static = static
        self._fields = fields

    @property
    def key(self) -> str:
        return self.kind.key(self.namespace, self.name)

    @property
    def object(self) -> dict[str, Any]:
        """The decoded object in the storage version; shared, never to be changed."""
        return _decoded(self)

    @property
    def fields(self) -> Mapping[str, str]:
        """What field selectors may ask about this object, by path."""
        if self._fields is None:
            self._fields = field_values(self.kind, self.object)
        return self._fields

    def fresh(self) -> dict[str, Any]:
        """A private copy of the object, free to be changed."""
        obj: dict[str, Any] = decode(b"{" + self.kind.head(self.kind.version) + self.body)
        return obj

    def json(self, version: str) -> bytes:
        """The object serialised in a served version."""
        return b"{" + self.kind.head(version) + self.body

    def at(self, rv: int, rest: bytes | None = None) -> Record:
        """The same object at another resourceVersion; `rest` replaces what follows the resourceVersion's value."""
        tail = self.rest if rest is None else rest
        body = b"%s%d%s" % (RV_HEAD, rv, tail)
        return Record(self.kind, self.namespace, self.name, self.uid, rv, body, self.labels, self.owners, self.static, self._fields)

    @property
    def rest(self) -> bytes:
        """The body after the resourceVersion's digits."""
        return self.body[self.body.index(b'"', len(RV_HEAD)) :]


@lru_cache(maxsize=DECODED_KEPT)
def _decoded(record: Record) -> dict[str, Any]:
    return record.fresh()


def body_of(obj: Mapping[str, Any], rv: int) -> bytes:
    """The stored bytes of an object at a resourceVersion."""
    metadata = {"resourceVersion": str(rv), **{k: v for k, v in obj["metadata"].items() if k != "resourceVersion"}}
    rest = {k: v for k, v in obj.items() if k not in ("metadata", "apiVersion", "kind")}
    return encode({"metadata": metadata, **rest})[1:]


def record_of(kind: Kind, obj: Mapping[str, Any], rv: int, static: bool = False) -> Record:
    """A record of an object as given, at a resourceVersion."""
    metadata = obj["metadata"]
    owners = tuple(owner["uid"] for owner in metadata.get("ownerReferences") or ())
    namespace = metadata.get("namespace") if kind.namespaced else None
    labels = metadata.get("labels") or {}
    return Record(kind, namespace, metadata["name"], metadata["uid"], rv, body_of(obj, rv), dict(labels), owners, static)


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value if isinstance(value, str) else str(value)


def _at_path(obj: Any, path: str) -> Any:
    for part in path.split("."):
        obj = obj.get(part) if isinstance(obj, dict) else None
    return obj


def field_values(kind: Kind, obj: dict[str, Any]) -> dict[str, str]:
    """Values of the fields a selector may name, as strings; absent is ''."""
    values = {path: _text(_at_path(obj, path)) for path in kind.selectable}
    if kind.resource == "events":
        values["source"] = _text(_at_path(obj, "source.component") or obj.get("reportingComponent"))
    if kind.resource == "jobs.batch":
        values["status.successful"] = _text(_at_path(obj, "status.succeeded") or 0)
    if kind.resource == "nodes":
        values["spec.unschedulable"] = values["spec.unschedulable"] or "false"
    if kind.resource == "pods":
        values["spec.hostNetwork"] = values["spec.hostNetwork"] or "false"
    return values


class Shelf:
    """All objects of one resource in key order, and the history of their changes."""

    def __init__(self, kind: Kind, rv: int) -> None:
        self.kind = kind
        self.keys: list[str] = []
        self.by_key: dict[str, Record] = {}
        self.history = History(rv)
        self._ordered: list[Record] | None = []

    def ordered(self) -> list[Record]:
        """Every record in key order; the list is never changed afterwards, so it is a snapshot."""
        if self._ordered is None:
            self._ordered = [self.by_key[key] for key in self.keys]
        return self._ordered

    def within(self, namespace: str | None) -> list[Record]:
        """The records of one namespace (all with None), in key order."""
        if namespace is None:
            return self.ordered()
        low = bisect_left(self.keys, f"{namespace}/")
        high = bisect_left(self.keys, f"{namespace}0")
        return [self.by_key[key] for key in self.keys[low:high]]

    def put(self, record: Record) -> None:
        key = record.key
        if key not in self.by_key:
            insort(self.keys, key)
        self.by_key[key] = record
        self._ordered = None

    def put_many(self, records: Iterable[Record]) -> None:
        for record in records:
            self.by_key[record.key] = record
        self.keys = sorted(self.by_key)
        self._ordered = None

    def drop(self, key: str) -> None:
        del self.by_key[key]
        del self.keys[bisect_left(self.keys, key)]
        self._ordered = None

    def replaced(self, record: Record) -> None:
        """A cheap put of a key that is known to exist."""
        self.by_key[record.key] = record
        self._ordered = None

    def adopt(self, kind: Kind) -> None:
        """Continue under a changed definition of the same kind."""
        self.kind = kind
        for record in self.by_key.values():
            record.kind = kind

    def change(self, type_: str, record: Record, old: Record | None) -> Change:
        change = Change(record.rv, type_, record, old)
        self.history.append(change)
        return change
