"""The practice cluster's state: what controllers, the kubelet and the API server read and write, in one process."""

from __future__ import annotations

import asyncio
import builtins
from collections import deque
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple

from cockpit.sim.api import crds, deletions, errors, metadata, recorder, writes
from cockpit.sim.api.builtins import builtin_kinds
from cockpit.sim.api.collector import Collector
from cockpit.sim.api.errors import ApiError
from cockpit.sim.api.history import History
from cockpit.sim.api.kinds import Kind, Kinds
from cockpit.sim.api.merges import merge_patch
from cockpit.sim.api.records import RV_HEAD, Record, Shelf, record_of
from cockpit.sim.api.subscriptions import Event, Subscription

__all__ = ["ApiError", "Cluster", "Event", "Loaded", "Subscription"]

Hook = Callable[[str, dict[str, Any], dict[str, Any] | None], dict[str, Any] | None]
VirtualHandler = Callable[[str, Mapping[str, str]], dict[str, Any]]
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


class Loaded(NamedTuple):
    """One object for Cluster.load: `json` begins `{"metadata":{`, without apiVersion, kind and resourceVersion."""

    namespace: str | None
    name: str
    uid: str
    json: bytes
    labels: Mapping[str, str] = {}
    fields: Mapping[str, str] | None = None


class Virtual(NamedTuple):
    """A subtree of the API answered by a function; `resources` are its APIResource entries for discovery."""

    prefix: str
    answer: VirtualHandler
    resources: tuple[dict[str, Any], ...]


class Cluster:
    """Objects by resource ("pods", "jobs.batch"), with the semantics of a Kubernetes API.

    Dicts that come back are shared and must never be changed. Every method is synchronous and belongs to one event loop.
    """

    def __init__(self, first_rv: int = 1) -> None:
        self.rv = first_rv
        self.kinds = Kinds(builtin_kinds())
        self._shelves: dict[str, Shelf] = {}
        self._hooks: dict[str, list[Hook]] = {}
        self._subscriptions: dict[str, list[Subscription]] = {}
        self._waiting: dict[str, tuple[str, str]] = {}
        self.virtuals: list[Virtual] = []
        self.collector = Collector(self)
        self._recorder = recorder.Recorder(self)

    # -- reading ---------------------------------------------------------------------------------------------------------

    def shelf(self, resource: str) -> Shelf:
        """The objects and the history of one resource."""
        kind = self.kinds.require(resource)
        shelf = self._shelves.get(kind.shelf)
        if shelf is None:
            shelf = self._shelves[kind.shelf] = Shelf(self.kinds.require(kind.shelf), self.rv)
        return shelf

    def record(self, resource: str, key: str) -> Record | None:
        shelf = self._shelves.get(resource)
        return shelf.by_key.get(key) if shelf else None

    def require(self, resource: str, namespace: str | None, name: str) -> Record:
        """The record of an object; ApiError 404 when there is none."""
        kind = self.kinds.require(resource)
        record = self.shelf(resource).by_key.get(kind.key(namespace, name))
        if record is None:
            raise errors.not_found(kind, name)
        return record

    def get(self, resource: str, namespace: str | None, name: str) -> dict[str, Any]:
        return self.require(resource, namespace, name).object

    def find(self, resource: str, namespace: str | None, name: str) -> dict[str, Any] | None:
        kind = self.kinds.find(resource)
        record = self.record(kind.shelf, kind.key(namespace, name)) if kind else None
        return record.object if record else None

    def list(self, resource: str, namespace: str | None = None, labels: Mapping[str, str] | None = None) -> builtins.list[dict[str, Any]]:
        """Objects in key order; `labels` must all be equal. [] for a kind the cluster does not serve."""
        if self.kinds.find(resource) is None:
            return []
        wanted = (labels or {}).items()
        return [record.object for record in self.shelf(resource).within(namespace) if wanted <= record.labels.items()]

    def records_in(self, namespace: str) -> builtins.list[Record]:
        """Everything that lives in one namespace."""
        shelves = [shelf for shelf in self._shelves.values() if shelf.kind.namespaced]
        return [record for shelf in shelves for record in shelf.within(namespace)]

    def histories(self) -> builtins.list[History]:
        """The history of changes of every resource."""
        return [shelf.history for shelf in self._shelves.values()]

    def waiting_foreground(self, uid: str) -> builtins.list[tuple[str, str]]:
        """Where the object of this uid is, if it waits for its dependents to go."""
        place = self._waiting.get(uid)
        return [place] if place else []

    # -- writing ---------------------------------------------------------------------------------------------------------

    def create(self, resource: str, obj: dict[str, Any], dry_run: bool = False) -> dict[str, Any]:
        """Store a new object (status included): generateName, uid, creationTimestamp, defaults, admission, validation.

        ApiError 404 for a missing namespace, 409 AlreadyExists, 422 Invalid, or what an admission hook raises.
        """
        return writes.create(self, resource, obj, dry_run)

    def replace(self, resource: str, obj: dict[str, Any], subresource: str | None = None, dry_run: bool = False) -> dict[str, Any]:
        """Store a new version of an object; ApiError 409 when its resourceVersion is not the current one."""
        return writes.replace(self, resource, obj, subresource, dry_run)

    def patch(self, resource: str, namespace: str | None, name: str, patch: dict[str, Any], subresource: str | None = None) -> dict[str, Any]:
        """Apply a JSON merge patch; with subresource="status" only status changes, without it never status where it is one."""
        record = self.require(resource, namespace, name)
        return writes.update(self, record, merge_patch(record.fresh(), patch), subresource)

    def delete(self, resource: str, namespace: str | None, name: str, grace_seconds: int | None = None, propagation: str = "Background") -> None:
        """Delete as a real API does: finalizers, graceful pods, dependents by Background, Foreground or Orphan."""
        deletions.delete(self, self.require(resource, namespace, name), grace_seconds, propagation)

    def event(self, involved: dict[str, Any], reason: str, message: str, type: str = "Normal", component: str = "") -> None:
        """Record a core/v1 Event about an object; the same one again raises its count."""
        self._recorder.event(involved, reason, message, type, component)

    def finalize_namespace(self, name: str) -> None:
        """Let a namespace that is empty and being deleted go."""
        record = self.require("namespaces", None, name)
        writes.update(self, record, merge_patch(record.fresh(), {"spec": {"finalizers": None}}), "finalize")

    # -- kinds, admission, virtual endpoints -------------------------------------------------------------------------------

    def admit(self, resource: str, hook: Hook) -> None:
        """Run `hook(verb, obj, old)` before a CREATE, UPDATE or DELETE: it may return a changed object or raise ApiError."""
        self._hooks.setdefault(resource, []).append(hook)

    def admitted(self, verb: str, kind: Kind, obj: dict[str, Any], old: dict[str, Any] | None) -> dict[str, Any]:
        """The object after every admission hook of its resource."""
        for hook in self._hooks.get(kind.resource, ()):
            obj = hook(verb, obj, old) or obj
        return obj

    def install_crd(self, crd: dict[str, Any]) -> None:
        """Create or replace a CustomResourceDefinition and serve its kind at once."""
        if self.find(CRDS, None, crd["metadata"]["name"]) is None:
            self.create(CRDS, crd)
        else:
            self.replace(CRDS, crd)

    def virtual(self, prefix: str, answer: VirtualHandler, resources: Iterable[dict[str, Any]] = ()) -> None:
        """Serve everything under a path prefix ("/apis/GROUP/VERSION") by `answer(rest_of_path, query) -> object`."""
        self.virtuals.append(Virtual(prefix.rstrip("/"), answer, tuple(resources)))
        self.kinds.edition += 1

    # -- watching --------------------------------------------------------------------------------------------------------

    def subscribe(self, *resources: str, static: bool = False) -> Subscription:
        """Watch resources in process; objects of load() are left out unless `static` is true."""
        shelves = [self.shelf(resource) for resource in resources if self.kinds.find(resource)]
        known = (record for shelf in shelves for record in shelf.ordered())
        initial = deque(Event("ADDED", record) for record in known if static or not record.static)
        subscription = Subscription(initial, self._unsubscribe, static)
        for resource in resources:
            self._subscriptions.setdefault(resource, []).append(subscription)
        return subscription

    def _unsubscribe(self, subscription: Subscription) -> None:
        for subscribers in self._subscriptions.values():
            if subscription in subscribers:
                subscribers.remove(subscription)

    async def settled(self) -> None:
        """Return once every subscriber has taken every event and waits for more."""
        while not all(one.idle for subscribers in self._subscriptions.values() for one in subscribers):
            await asyncio.sleep(0.001)

    @staticmethod
    def now() -> str:
        """The time as RFC3339 in UTC, in whole seconds."""
        return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")

    # -- the one way in --------------------------------------------------------------------------------------------------

    def next_rv(self) -> int:
        self.rv += 1
        return self.rv

    def commit(self, type_: str, record: Record, old: Record | None) -> None:
        """Store one change and tell everybody: history, subscribers, served kinds, garbage collection."""
        shelf = self.shelf(record.kind.resource)
        if type_ == "DELETED":
            shelf.drop(record.key)
        else:
            shelf.put(record)
            self.collector.stored(record, old)
        shelf.change(type_, record, old)
        self._publish(type_, record, old)
        if record.kind.resource == CRDS:
            self._serve_crd(type_, record)
        self._note_waiting(type_, record)
        if type_ == "DELETED":
            self.collector.removed(record)

    def _publish(self, type_: str, record: Record, old: Record | None) -> None:
        for subscription in self._subscriptions.get(record.kind.resource, ()):
            if subscription.static or not record.static:
                subscription.push(Event(type_, record, old))

    def _serve_crd(self, type_: str, record: Record) -> None:
        kind = crds.kind_of_crd(record.object)
        if type_ == "DELETED":
            self.kinds.remove(kind.resource)
            self._shelves.pop(kind.resource, None)
            return
        self.kinds.add(kind)
        shelf = self._shelves.get(kind.resource)
        if shelf:
            shelf.adopt(kind)

    def _note_waiting(self, type_: str, record: Record) -> None:
        self._waiting.pop(record.uid, None)
        if type_ != "DELETED" and metadata.waits_foreground(record):
            self._waiting[record.uid] = (record.kind.resource, record.key)

    # -- in bulk ---------------------------------------------------------------------------------------------------------

    def load(self, resource: str, objects: Iterable[Loaded]) -> int:
        """Insert many finished objects without admission, validation or events to controllers; returns how many."""
        kind = self.kinds.require(resource)
        rv = self.next_rv()
        head = b'{"metadata":{'
        records = []
        for one in objects:
            if not one.json.startswith(head):
                raise errors.bad_request(f'load: the JSON of {one.name} must begin with {{"metadata":{{')
            body = b'%s%d",%s' % (RV_HEAD, rv, one.json[len(head) :])
            records.append(Record(kind, one.namespace, one.name, one.uid, rv, body, one.labels, (), True, one.fields))
        shelf = self.shelf(resource)
        shelf.put_many(records)
        shelf.history.compact(rv)
        for record in records:
            self.collector.loaded(record)
        return len(records)

    def rewrite(self, record: Record, edit: Callable[[bytes], bytes]) -> Record:
        """A cheap MODIFIED for the generator of changes: `edit` maps the body after the resourceVersion to a new one.

        It must not touch metadata's name, labels or owners, nor fields that selectors ask about. Returns the new record.
        """
        fresh = record.at(self.next_rv(), edit(record.rest))
        shelf = self.shelf(record.kind.resource)
        shelf.replaced(fresh)
        shelf.change("MODIFIED", fresh, record)
        self._publish("MODIFIED", fresh, record)
        return fresh

    def store_new(self, kind: Kind, obj: dict[str, Any]) -> Record:
        """Commit a new object as it is."""
        record = record_of(kind, obj, self.next_rv())
        self.commit("ADDED", record, None)
        return record
