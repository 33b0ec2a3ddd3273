"""Create, update, patch and delete as requests."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from cockpit.sim.api import builtin_rules, deletions, errors, fields, forms, managed, writes
from cockpit.sim.api.errors import bad_request
from cockpit.sim.api.json_patches import json_patch
from cockpit.sim.api.merges import merge_patch
from cockpit.sim.api.metadata import require_uid_match
from cockpit.sim.api.records import Record, decode, encode
from cockpit.sim.api.requests import Call, Target, accepted_form, decoded
from cockpit.sim.api.responses import bytes_response, json_response
from cockpit.sim.api.selectors import matcher
from cockpit.sim.api.shapes import schema_of
from cockpit.sim.api.strategic import strategic_merge
from cockpit.sim.api.structural import unknown_fields

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

APPLY = "application/apply-patch+yaml"


def manager_of(call: Call) -> str:
    """The field manager of a write: the one named, else the client's name."""
    return call.query.get("fieldManager") or call.headers.get("User-Agent", "unknown").partition("/")[0][:128] or "unknown"


def _check_rules(target: Target, obj: dict[str, Any], before: dict[str, Any] | None) -> None:
    if before is None:
        builtin_rules.check_new(target.kind, obj)
    elif not target.subresource:
        builtin_rules.check_changed(target.kind, obj, before)


def _finish(cluster: Cluster, call: Call) -> writes.Finish:
    target = call.where
    schema = schema_of(target.kind, target.version)

    def finish(obj: dict[str, Any], before: dict[str, Any] | None) -> None:
        _check_rules(target, obj, before)
        writer = managed.Owner(manager_of(call), "Update", target.api_version, target.subresource, cluster.now())
        managed.track_update(schema, obj, before, writer)

    return finish


def answer(call: Call, obj: dict[str, Any], status: int = 200) -> web.Response:
    """A written object in the form and version the client asked for."""
    target = call.where
    headers: dict[str, str] = {}
    form = accepted_form(call.headers.get("Accept", ""), ("Table", "PartialObjectMetadata"))
    if form.name:
        from cockpit.sim.api.records import record_of

        record = record_of(target.kind, obj, int(obj["metadata"].get("resourceVersion") or 0))
        return bytes_response(forms.object_body(form, target, record, call.query), status)
    shown = forms.regarding(obj) if target.kind.store else {**obj, "apiVersion": target.api_version}
    return json_response(shown, status, headers=headers)


def body_object(call: Call) -> dict[str, Any]:
    """The object of a POST or PUT, checked against its path and its schema; ApiError 400."""
    target = call.where
    obj = fields.require_object(call.document())
    fields.require_kind(target.kind, target.api_version, obj)
    fields.check_fields(call, target.kind, target.version, obj)
    meta = obj["metadata"]
    if target.kind.namespaced:
        if meta.get("namespace") and target.namespace and meta["namespace"] != target.namespace:
            raise bad_request("the namespace of the provided object does not match the namespace sent on the request")
        meta["namespace"] = target.namespace
    if target.name and meta.get("name") and meta["name"] != target.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")
    return forms.core_event(obj) if target.kind.store else obj


def create(cluster: Cluster, call: Call) -> web.Response:
    """POST of a new object."""
    target = call.where
    if target.kind.namespaced and target.namespace is None:
        raise errors.method_not_allowed()
    obj = body_object(call)
    if target.kind.status and target.kind.resource != "nodes":
        obj.pop("status", None)
    return answer(call, writes.create(cluster, target.kind.resource, obj, call.dry_run, _finish(cluster, call)), 201)


def update(cluster: Cluster, call: Call) -> web.Response:
    """PUT of an object or of its status."""
    target = call.where
    obj = body_object(call)
    obj["metadata"].setdefault("name", target.name)
    old = cluster.require(target.kind.resource, target.namespace, target.name)
    require_uid_match(target.kind, obj["metadata"], old)
    made = writes.update(cluster, old, obj, target.subresource or None, call.dry_run, _finish(cluster, call))
    return answer(call, made)


def patch(cluster: Cluster, call: Call) -> web.Response:
    """PATCH of an object or of its status, in any of the four patch types."""
    content_type = call.headers.get("Content-Type", "").partition(";")[0].strip()
    if content_type == APPLY:
        return apply(cluster, call)
    target = call.where
    old = cluster.require(target.kind.resource, target.namespace, target.name)
    obj = fields.require_object(patched(target, old.fresh(), call.body, content_type))
    fields.check_fields(call, target.kind, target.version, obj)
    require_uid_match(target.kind, obj["metadata"], old)
    made = writes.update(cluster, old, obj, target.subresource or None, call.dry_run, _finish(cluster, call))
    return answer(call, made)


def patched(target: Target, obj: dict[str, Any], body: bytes, content_type: str) -> Any:
    """An object after a JSON, merge or strategic merge patch; ApiError 400 or 415."""
    document = decoded(body, content_type)
    if content_type == "application/json-patch+json":
        return json_patch(obj, document)
    if not isinstance(document, dict):
        raise bad_request("error decoding patch: the patch must be an object")
    if content_type == "application/merge-patch+json":
        return merge_patch(obj, document)
    if content_type == "application/strategic-merge-patch+json" and target.kind.builtin:
        return strategic_merge(schema_of(target.kind), obj, document)
    raise fields.unsupported_patch(target.kind)


def apply(cluster: Cluster, call: Call) -> web.Response:
    """Server-side apply: creates the object when there is none."""
    target = call.where
    if not call.query.get("fieldManager"):
        raise errors.ApiError(422, "Invalid", 'PatchOptions.meta.k8s.io "" is invalid: fieldManager: Required value: is required for apply patch', {})
    applied = _applied(call)
    record = cluster.record(target.kind.shelf, target.kind.key(target.namespace, target.name))
    if record:
        require_uid_match(target.kind, applied["metadata"], record)
    writer = managed.Owner(manager_of(call), "Apply", target.api_version, target.subresource, cluster.now())
    live = record.fresh() if record else None
    check: writes.Finish = lambda made, before: _check_rules(target, made, before)  # noqa: E731
    obj = managed.apply(schema_of(target.kind, target.version), live, applied, writer, call.flag("force"))
    if record:
        made = writes.update(cluster, record, decode(encode(obj)), target.subresource or None, call.dry_run, check)
        return answer(call, made)
    if target.subresource:
        raise errors.not_found(target.kind, target.name)
    if target.kind.status and target.kind.resource != "nodes":
        obj.pop("status", None)
    return answer(call, writes.create(cluster, target.kind.resource, obj, call.dry_run, check), 201)


def _applied(call: Call) -> dict[str, Any]:
    target = call.where
    obj = fields.require_object(decoded(call.body, "application/yaml"))
    for part in ("apiVersion", "kind"):
        if not obj.get(part):
            raise bad_request(f"invalid object type: {part} must be set")
    fields.require_kind(target.kind, target.api_version, obj)
    meta = obj["metadata"]
    if meta.get("managedFields"):
        raise bad_request("metadata.managedFields must be nil")
    if meta.get("name", target.name) != target.name:
        raise bad_request(f"the name of the object ({meta['name']}) does not match the name on the URL ({target.name})")
    meta["name"] = target.name
    if target.kind.namespaced:
        meta["namespace"] = target.namespace
    unknown = next(unknown_fields(schema_of(target.kind, target.version), obj, keep=frozenset({"apiVersion", "kind"})), "")
    if unknown and target.kind.builtin:
        where = f"{target.namespace}/{target.name}" if target.namespace else f"/{target.name}"
        typed = f"{target.kind.api_version.rpartition('/')[0]}/{target.version}, Kind={target.kind.kind}"
        raise errors.ApiError(500, "", f"failed to create typed patch object ({where}; {typed}): .{unknown}: field not declared in schema")
    fields.check_fields(call, target.kind, target.version, obj)
    return obj


def delete(cluster: Cluster, call: Call) -> web.Response:
    """DELETE of one object: a Status when it is gone at once, the object while something holds it."""
    target = call.where
    record = cluster.require(target.kind.resource, target.namespace, target.name)
    options = _options(call)
    _check_preconditions(record, options.get("preconditions") or {})
    if _dry(call, options):
        return _deleted(call, record)
    gone = deletions.delete(cluster, record, options.get("gracePeriodSeconds"), _propagation(call, record, options))
    current = cluster.record(target.kind.shelf, gone.key)
    if current is None or current.uid != record.uid:
        return _deleted(call, record)
    return answer(call, current.object)


def _dry(call: Call, options: dict[str, Any]) -> bool:
    return call.dry_run or "All" in (options.get("dryRun") or ())


def _deleted(call: Call, record: Record) -> web.Response:
    kind = call.where.kind
    group = {"group": kind.group} if kind.group else {}
    details = {"name": record.name, **group, "kind": kind.plural, "uid": record.uid}
    return json_response({"kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Success", "details": details})


def _options(call: Call) -> dict[str, Any]:
    options = decoded(call.body, call.headers.get("Content-Type", "")) if call.body.strip() else {}
    if not isinstance(options, dict):
        raise bad_request("the body of a DELETE must be DeleteOptions")
    seconds = call.number("gracePeriodSeconds")
    if seconds is not None:
        options["gracePeriodSeconds"] = seconds
    if call.query.get("propagationPolicy"):
        options["propagationPolicy"] = call.query["propagationPolicy"]
    return options


def _propagation(call: Call, record: Record, options: dict[str, Any]) -> str:
    asked = options.get("propagationPolicy")
    if asked is None and options.get("orphanDependents") is not None:
        return "Orphan" if options["orphanDependents"] else "Background"
    if asked is None and record.kind.resource == "jobs.batch":
        call.warnings.append(
            "child pods are preserved by default when jobs are deleted; set propagationPolicy=Background to remove them "
            "or set propagationPolicy=Orphan to suppress this warning"
        )
        return "Orphan"
    if asked not in (None, "Background", "Foreground", "Orphan"):
        raise errors.ApiError(
            422,
            "Invalid",
            f'DeleteOptions.meta.k8s.io "" is invalid: propagationPolicy: Unsupported value: "{asked}": '
            'supported values: "Foreground", "Background", "Orphan", "nil"',
            {},
        )
    return asked or "Background"


def _check_preconditions(record: Record, wanted: dict[str, Any]) -> None:
    uid, rv = wanted.get("uid"), wanted.get("resourceVersion")
    if uid and uid != record.uid:
        why = f"Precondition failed: UID in precondition: {uid}, UID in object meta: {record.uid}"
        raise errors.conflict(record.kind, record.name, why)
    if rv and rv != str(record.rv):
        why = f"Precondition failed: ResourceVersion in precondition: {rv}, ResourceVersion in object meta: {record.rv}"
        raise errors.conflict(record.kind, record.name, why)


def delete_collection(cluster: Cluster, call: Call) -> web.Response:
    """DELETE of everything a selector matches."""
    target = call.where
    options = _options(call)
    matches = matcher(target.kind, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
    chosen = [one for one in cluster.shelf(target.kind.resource).within(target.namespace) if matches is None or matches(one)]
    for record in [] if _dry(call, options) else chosen:
        if cluster.record(target.kind.shelf, record.key) is not None:
            deletions.delete(
                cluster,
                cluster.require(target.kind.resource, record.namespace, record.name),
                options.get("gracePeriodSeconds"),
                _propagation(call, record, options),
            )
    items = [{**one.object, "apiVersion": target.api_version} for one in chosen]
    return json_response(
        {"kind": target.kind.list_kind, "apiVersion": target.api_version, "metadata": {"resourceVersion": str(cluster.rv)}, "items": items}
    )
