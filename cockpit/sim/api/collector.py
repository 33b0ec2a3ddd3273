"""Garbage collection: ownerReferences (background, foreground, orphan) and namespaces that are being deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cockpit.sim.api.records import Record

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

FOREGROUND = "foregroundDeletion"
ORPHAN = "orphan"


class Collector:
    """Follows owners by uid and removes what nobody owns any more, as the real garbage collector does."""

    def __init__(self, cluster: Cluster) -> None:
        self._cluster = cluster
        self._alive: set[str] = set()
        self._dependents: dict[str, dict[tuple[str, str], None]] = {}

    def stored(self, record: Record, old: Record | None) -> None:
        """Take note of a created or changed object and of who owns it."""
        place = (record.kind.resource, record.key)
        self._alive.add(record.uid)
        for uid in old.owners if old else ():
            self._dependents.get(uid, {}).pop(place, None)
        for uid in record.owners:
            self._dependents.setdefault(uid, {})[place] = None

    def loaded(self, record: Record) -> None:
        self._alive.add(record.uid)

    def absent_owners(self, record: Record) -> bool:
        """Whether an object names owners of which none exists."""
        return bool(record.owners) and not any(uid in self._alive for uid in record.owners)

    def dependents(self, uid: str) -> list[Record]:
        found = (self._cluster.record(resource, key) for resource, key in list(self._dependents.get(uid, ())))
        return [record for record in found if record is not None]

    def removed(self, record: Record) -> None:
        """An object is gone: collect its dependents, unblock its owners, and finish its namespace if that waits for it."""
        self._alive.discard(record.uid)
        for uid in record.owners:
            self._dependents.get(uid, {}).pop((record.kind.resource, record.key), None)
        for dependent in self.dependents(record.uid):
            self._release(dependent, record.uid)
        self._dependents.pop(record.uid, None)
        for uid in record.owners:
            self._unblock(uid)
        if record.namespace:
            self._finish_namespace(record.namespace)

    def _release(self, dependent: Record, uid: str) -> None:
        others = [owner for owner in dependent.owners if owner != uid and owner in self._alive]
        if others:
            self._drop_owner(dependent, uid)
        else:
            self._delete(dependent)

    def _delete(self, record: Record, propagation: str = "Background") -> None:
        if not record.object["metadata"].get("deletionTimestamp"):
            self._cluster.delete(record.kind.resource, record.namespace, record.name, propagation=propagation)

    def _drop_owner(self, dependent: Record, uid: str) -> None:
        owners = dependent.object["metadata"].get("ownerReferences") or []
        kept = [owner for owner in owners if owner["uid"] != uid]
        self._cluster.patch(dependent.kind.resource, dependent.namespace, dependent.name, {"metadata": {"ownerReferences": kept or None}})

    def orphan(self, record: Record) -> None:
        """Let the dependents of an object outlive it."""
        for dependent in self.dependents(record.uid):
            self._drop_owner(dependent, record.uid)

    def foreground(self, record: Record) -> None:
        """Delete the dependents of an object that waits for them, or let it go when none blocks it."""
        for dependent in self.dependents(record.uid):
            self._delete(dependent, "Foreground")
        self._unblock_record(record.kind.resource, record.key)

    def _unblock(self, uid: str) -> None:
        if uid not in self._alive:
            return
        for resource, key in self._cluster.waiting_foreground(uid):
            self._unblock_record(resource, key)

    def _unblock_record(self, resource: str, key: str) -> None:
        record = self._cluster.record(resource, key)
        if record is None or FOREGROUND not in (record.object["metadata"].get("finalizers") or ()):
            return
        if any(_blocks(dependent.object, record.uid) for dependent in self.dependents(record.uid)):
            return
        finalizers = [name for name in record.object["metadata"]["finalizers"] if name != FOREGROUND]
        self._cluster.patch(resource, record.namespace, record.name, {"metadata": {"finalizers": finalizers}})

    def empty_namespace(self, name: str) -> None:
        """Delete everything in a namespace that is going away."""
        for record in self._cluster.records_in(name):
            if self._cluster.record(record.kind.resource, record.key) is not None:
                self._delete(record)
        self._finish_namespace(name)

    def _finish_namespace(self, name: str) -> None:
        namespace = self._cluster.record("namespaces", name)
        if namespace is None or not namespace.object["metadata"].get("deletionTimestamp"):
            return
        if namespace.object["spec"].get("finalizers") and not self._cluster.records_in(name):
            self._cluster.finalize_namespace(name)


def _blocks(dependent: dict[str, Any], uid: str) -> bool:
    owners = dependent["metadata"].get("ownerReferences") or ()
    return any(owner["uid"] == uid and owner.get("blockOwnerDeletion") for owner in owners)
