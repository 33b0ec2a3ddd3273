"""Deleting: grace periods, finalizers, propagation."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from cockpit.sim.api import errors
from cockpit.sim.api.collector import FOREGROUND
from cockpit.sim.api.records import Record, record_of

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

STATIC = "sim.cockpit.dev/static"


def delete(cluster: Cluster, record: Record, grace_seconds: int | None, propagation: str) -> Record:
    """Delete an object or mark it as being deleted; returns its last version."""
    cluster.admitted("DELETE", record.kind, record.object, record.object)
    if record.kind.resource == "namespaces":
        return _delete_namespace(cluster, record)
    if propagation == "Orphan":
        cluster.collector.orphan(record)
        record = cluster.require(record.kind.resource, record.namespace, record.name)
    grace = _grace(cluster, record, grace_seconds)
    obj = record.fresh()
    meta = obj["metadata"]
    if propagation == "Foreground" and cluster.collector.dependents(record.uid):
        meta["finalizers"] = [*dict.fromkeys([*(meta.get("finalizers") or ()), FOREGROUND])]
    if not grace and not meta.get("finalizers"):
        return remove(cluster, record)
    marked = _mark(cluster, record, obj, grace)
    if propagation == "Foreground":
        cluster.collector.foreground(marked)
    return marked


def remove(cluster: Cluster, record: Record) -> Record:
    """Take an object out of the store; its last version has the resourceVersion of the deletion."""
    gone = record.at(cluster.next_rv())
    cluster.commit("DELETED", gone, record)
    return gone


def _mark(cluster: Cluster, record: Record, obj: dict[str, Any], grace: int) -> Record:
    meta = obj["metadata"]
    if "deletionTimestamp" in meta and meta.get("deletionGracePeriodSeconds", 0) <= grace:
        if obj == record.object:
            return record
    else:
        meta["deletionTimestamp"] = (datetime.now(UTC) + timedelta(seconds=grace)).strftime("%Y-%m-%dT%H:%M:%SZ")
        meta["deletionGracePeriodSeconds"] = grace
    if "generation" in meta and "deletionTimestamp" not in record.object["metadata"]:
        meta["generation"] += 1
    marked = record_of(record.kind, obj, cluster.next_rv(), record.static)
    cluster.commit("MODIFIED", marked, record)
    return marked


def _grace(cluster: Cluster, record: Record, asked: int | None) -> int:
    """Seconds a pod is given to end; 0 for everything that has no process to end."""
    if record.kind.resource != "pods":
        return 0
    pod = record.object
    spec = pod.get("spec") or {}
    node = spec.get("nodeName")
    ended = (pod.get("status") or {}).get("phase") in ("Succeeded", "Failed")
    static = record.static or (pod["metadata"].get("annotations") or {}).get(STATIC) == "true"
    if not node or ended or static or cluster.find("nodes", None, node) is None:
        return 0
    return asked if asked is not None else int(spec.get("terminationGracePeriodSeconds", 30))


def _delete_namespace(cluster: Cluster, record: Record) -> Record:
    if record.name in ("default", "kube-system", "kube-public"):
        raise errors.forbidden(record.kind, record.name, "this namespace may not be deleted")
    if record.object["metadata"].get("deletionTimestamp"):
        return record
    obj = record.fresh()
    obj["metadata"]["deletionTimestamp"] = cluster.now()
    obj.setdefault("status", {})["phase"] = "Terminating"
    marked = record_of(record.kind, obj, cluster.next_rv())
    cluster.commit("MODIFIED", marked, record)
    cluster.collector.empty_namespace(record.name)
    return marked
