"""Create and update: the pipeline every write passes, in process or over HTTP."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from cockpit.sim.api import crds, defaults, errors, metadata, validation
from cockpit.sim.api.kinds import Kind
from cockpit.sim.api.records import Record, decode, encode, record_of

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

Finish = Callable[[dict[str, Any], dict[str, Any] | None], None]  # (object, the one before) just before it is stored
CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def create(cluster: Cluster, resource: str, given: dict[str, Any], dry_run: bool = False, finish: Finish | None = None) -> dict[str, Any]:
    """Store a new object and return it; see Cluster.create."""
    kind = cluster.kinds.require(cluster.kinds.require(resource).shelf)
    obj = _private(given)
    meta = obj.setdefault("metadata", {})
    metadata.stamp_new(kind, meta, cluster.now())
    _require_namespace(cluster, kind, meta)
    defaults.fill(cluster, kind, obj)
    obj = cluster.admitted("CREATE", kind, obj, None)
    validation.check_new(kind, obj)
    if cluster.record(kind.resource, kind.key(meta.get("namespace"), meta["name"])):
        raise errors.already_exists(kind, meta["name"])
    if kind.resource == CRDS:
        obj["status"] = crds.established(obj, cluster.now())
    obj = {"kind": kind.kind, "apiVersion": kind.api_version, **{k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}}
    if finish:
        finish(obj, None)
    if dry_run:
        return obj
    record = cluster.store_new(kind, obj)
    if cluster.collector.absent_owners(record):
        cluster.delete(resource, record.namespace, record.name)
    return record.object


def _private(obj: dict[str, Any]) -> dict[str, Any]:
    copy: dict[str, Any] = decode(encode(obj))
    return copy


def _require_namespace(cluster: Cluster, kind: Kind, meta: dict[str, Any]) -> None:
    if not kind.namespaced:
        return
    namespace = cluster.find("namespaces", None, meta["namespace"])
    if namespace is None:
        raise errors.not_found(cluster.kinds.require("namespaces"), meta["namespace"])
    if namespace["metadata"].get("deletionTimestamp"):
        why = f"unable to create new content in namespace {meta['namespace']} because it is being terminated"
        raise errors.forbidden(kind, meta.get("name", ""), why)


def replace(cluster: Cluster, resource: str, given: dict[str, Any], subresource: str | None = None, dry_run: bool = False) -> dict[str, Any]:
    """Store a new version of an object and return it; see Cluster.replace."""
    meta = given.get("metadata") or {}
    kind = cluster.kinds.require(resource)
    old = cluster.require(resource, meta.get("namespace") if kind.namespaced else None, meta.get("name", ""))
    metadata.require_uid_match(kind, meta, old)
    return update(cluster, old, _private(given), subresource, dry_run)


def update(
    cluster: Cluster, old: Record, obj: dict[str, Any], subresource: str | None = None, dry_run: bool = False, finish: Finish | None = None
) -> dict[str, Any]:
    """Make `obj`, which becomes the cluster's, the new version of a record; nothing happens when nothing differs."""
    kind = old.kind
    before = old.object
    obj = _restricted(kind, obj, before, subresource)
    metadata.carry_over(obj["metadata"], before["metadata"])
    defaults.fill(cluster, kind, obj)
    obj = cluster.admitted("UPDATE", kind, obj, before)
    validation.check_changed(kind, obj, before, subresource)
    if kind.resource == CRDS:
        crds.complete_names(obj["spec"])
        obj["status"] = crds.established(obj, cluster.now())
    if kind.generation and subresource != "status" and _without_status(obj) != _without_status(before):
        obj["metadata"]["generation"] = before["metadata"].get("generation", 0) + 1
    obj["metadata"]["resourceVersion"] = before["metadata"]["resourceVersion"]
    if finish:
        finish(obj, before)
    if obj == before or dry_run:
        return before if obj == before else obj
    return _store(cluster, old, obj)


def _store(cluster: Cluster, old: Record, obj: dict[str, Any]) -> dict[str, Any]:
    fresh = record_of(old.kind, obj, cluster.next_rv(), old.static)
    if _finished(obj):
        cluster.commit("DELETED", fresh, old)
    else:
        cluster.commit("MODIFIED", fresh, old)
    return fresh.object


def _finished(obj: dict[str, Any]) -> bool:
    """Whether an object was only waiting for its finalizers, and the last one is gone."""
    meta = obj["metadata"]
    if not meta.get("deletionTimestamp") or meta.get("finalizers") or meta.get("deletionGracePeriodSeconds"):
        return False
    return not (obj.get("spec") or {}).get("finalizers") if obj.get("kind") == "Namespace" else True


def _without_status(obj: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in obj.items() if key not in ("metadata", "status", "apiVersion", "kind")}


def _restricted(kind: Kind, obj: dict[str, Any], before: dict[str, Any], subresource: str | None) -> dict[str, Any]:
    """The object with only those parts changed that this subresource may change."""
    typed = {"kind": before["kind"], "apiVersion": before["apiVersion"]}
    if subresource == "status" and kind.status:
        meta = {**before["metadata"]}
        if "managedFields" in obj["metadata"]:
            meta["managedFields"] = obj["metadata"]["managedFields"]
        if kind.resource == "nodes":
            meta["annotations"] = obj["metadata"].get("annotations") or {}
        return {**before, "metadata": {k: v for k, v in meta.items() if v != {}}, "status": obj.get("status") or {}}
    body = {k: v for k, v in obj.items() if k not in ("kind", "apiVersion")}
    if kind.status and subresource is None:
        body.pop("status", None)
        if "status" in before:
            body["status"] = before["status"]
    return {**typed, **body}
