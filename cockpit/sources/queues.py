"""Kueue: cluster and local queues with their quota, and the workloads with why they wait and in which place."""

from __future__ import annotations

import random
import threading
from collections.abc import Iterator
from typing import Any

import msgspec
from msgspec.structs import replace

from cockpit.errors import CockpitError
from cockpit.model import PodKey, Queue, QueueKey, Quota, Workload
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta, RawCondition, conditions, quantity
from cockpit.sources.reflect import Reflector
from cockpit.store import Store, Upsert

VERSIONS = ("v1beta2", "v1beta1")
POSITION_SECONDS = (8.0, 12.0)
POSITION_LIMIT = "1000"


class RawResource(msgspec.Struct, rename="camel"):
    name: str | None = None
    nominal_quota: str | int | float | None = None
    total: str | int | float | None = None


class RawFlavor(msgspec.Struct):
    name: str | None = None
    resources: list[RawResource | None] | None = None


class RawGroup(msgspec.Struct):
    flavors: list[RawFlavor | None] | None = None


class RawSpec(msgspec.Struct, rename="camel"):
    resource_groups: list[RawGroup | None] | None = None
    cluster_queue: str | None = None


class RawStatus(msgspec.Struct, rename="camel"):
    flavors_usage: list[RawFlavor | None] | None = None
    pending_workloads: int | None = None
    admitted_workloads: int | None = None
    conditions: list[RawCondition | None] | None = None


class RawQueue(msgspec.Struct):
    """A kueue.x-k8s.io ClusterQueue or LocalQueue."""

    metadata: Meta | None = None
    spec: RawSpec | None = None
    status: RawStatus | None = None


class RawAdmission(msgspec.Struct, rename="camel"):
    cluster_queue: str | None = None


class RawWorkloadSpec(msgspec.Struct, rename="camel"):
    queue_name: str | None = None
    active: bool | None = None
    priority: int | None = None


class RawWorkloadStatus(msgspec.Struct):
    conditions: list[RawCondition | None] | None = None
    admission: RawAdmission | None = None


class RawWorkload(msgspec.Struct):
    """A kueue.x-k8s.io Workload."""

    metadata: Meta | None = None
    spec: RawWorkloadSpec | None = None
    status: RawWorkloadStatus | None = None


def to_queue(raw: RawQueue) -> Queue:
    """A ClusterQueue (no namespace) or LocalQueue -> Queue; quota in base units."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawSpec(), raw.status or RawStatus()
    active = next((one for one in conditions(status.conditions) if one.type == "Active"), None)
    used = {(flavor, one.name): quantity(one.total) or 0.0 for flavor, one in _resources(status.flavors_usage)}
    flavors = [flavor for group in spec.resource_groups or () if group for flavor in group.flavors or ()]
    return Queue(
        key=QueueKey(meta.namespace or "", meta.name or ""),
        resource_version=meta.resource_version or "",
        cluster_queue=spec.cluster_queue or ("" if meta.namespace else meta.name or ""),
        pending=status.pending_workloads,
        admitted=status.admitted_workloads,
        active=None if active is None else active.status == "True",
        reason=(active.message or active.reason) if active and active.status != "True" else "",
        quotas=tuple(
            Quota(flavor, one.name or "", nominal, used.get((flavor, one.name), 0.0))
            for flavor, one in _resources(flavors)
            if (nominal := quantity(one.nominal_quota)) is not None
        ),
    )


def _resources(flavors: list[RawFlavor | None] | None) -> Iterator[tuple[str, RawResource]]:
    for flavor in flavors or ():
        if flavor is not None:
            yield from ((flavor.name or "", one) for one in flavor.resources or () if one)


def to_workload(raw: RawWorkload) -> Workload:
    """A Workload -> Workload; `reason` and `message` are those of the condition that keeps it from running."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawWorkloadSpec(), raw.status or RawWorkloadStatus()
    found = {one.type: one for one in conditions(status.conditions)}
    true = {type_ for type_, one in found.items() if one.status == "True"}
    held = next((found[type_] for type_ in ("QuotaReserved", "Admitted") if type_ in found and type_ not in true), found.get("Evicted"))
    owner = meta.owner()
    admitted = "Admitted" in true
    return Workload(
        key=PodKey(meta.namespace or "", meta.name or ""),
        resource_version=meta.resource_version or "",
        job_uid=meta.label("kueue.x-k8s.io/job-uid") or (owner.uid if owner else None) or "",
        queue=spec.queue_name or "",
        cluster_queue=(status.admission.cluster_queue if status.admission else None) or "",
        admitted=admitted,
        finished="Finished" in true,
        reason=held.reason if held and not admitted else "",
        message=held.message if held and not admitted else "",
        active=spec.active is not False,
        priority=spec.priority,
    )


class Queues:
    """The Kueue listings, and each waiting workload's place as the visibility API tells it."""

    name = "queues"

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._rows: dict[PodKey, Workload] = {}
        self._places: dict[PodKey, int] = {}
        self._reflector = Reflector(
            self.name,
            Listing("queues", _paths("clusterqueues"), RawQueue, to_queue, QueueKey, lambda key: not key.namespace),
            Listing("queues", _paths("localqueues"), RawQueue, to_queue, QueueKey, lambda key: bool(key.namespace), namespaced=True),
            Listing("workloads", _paths("workloads"), RawWorkload, self._workload, PodKey, on_gone=self._gone, namespaced=True),
        )

    def list(self, kube: Any, store: Store) -> None:
        """Queues and workloads, then the places of those that wait."""
        self._reflector.list(kube, store)
        self._read_places(kube, store)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """The listings are watched, the places asked for about every ten seconds while something waits."""
        asking = threading.Thread(target=self._ask, args=(kube, store, stop), name="queues-places", daemon=True)
        asking.start()
        self._reflector.watch(kube, store, stop)
        asking.join()

    def _workload(self, raw: RawWorkload) -> Workload:
        row = to_workload(raw)
        with self._lock:
            self._rows[row.key] = row
            return self._placed(row)

    def _gone(self, namespace: str, name: str) -> None:
        with self._lock:
            self._rows.pop(PodKey(namespace, name), None)

    def _placed(self, row: Workload) -> Workload:
        return row if row.admitted or row.finished else replace(row, position=self._places.get(row.key))

    def _ask(self, kube: Any, store: Store, stop: threading.Event) -> None:
        while not stop.wait(random.uniform(*POSITION_SECONDS) if self._rows else 1.0):
            self._read_places(kube, store)

    def _read_places(self, kube: Any, store: Store) -> None:
        """Ask every cluster queue that has something waiting; a cluster without the visibility API simply tells no places."""
        waiting = [key.name for key, queue in store.snapshot().queues.items() if not key.namespace and queue.pending]
        places: dict[PodKey, int] = {}
        for queue in waiting:
            places.update(_places_in(kube, queue))
        with self._lock:
            self._places, before = places, self._places
            moved = [self._placed(row) for key, row in self._rows.items() if places.get(key) != before.get(key)]
            if moved:
                store.apply(Upsert(self.name, "workloads", tuple(moved)))


def _paths(plural: str) -> tuple[str, ...]:
    return tuple(f"/apis/kueue.x-k8s.io/{version}/{plural}" for version in VERSIONS)


def _places_in(kube: Any, queue: str) -> dict[PodKey, int]:
    for version in VERSIONS:
        try:
            path = f"/apis/visibility.kueue.x-k8s.io/{version}/clusterqueues/{queue}/pendingworkloads"
            found = kube.request("GET", path, params={"limit": POSITION_LIMIT})
        except CockpitError:
            continue
        return dict(_place(one) for one in found.get("items") or () if isinstance(one, dict) and one.get("metadata"))
    return {}


def _place(one: dict[str, Any]) -> tuple[PodKey, int]:
    """A pending workload and its place, counted from 1 as people do."""
    meta = one["metadata"]
    return PodKey(str(meta.get("namespace") or ""), str(meta.get("name") or "")), int(one.get("positionInClusterQueue") or 0) + 1


def source() -> Queues:
    """Every ClusterQueue, LocalQueue and Workload."""
    return Queues()
