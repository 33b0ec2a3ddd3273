"""OpenAPI documents, as much as kubectl asks of them: field validation support, schemas for explain."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from cockpit.sim.api import shapes
from cockpit.sim.api.discovery import groups, kinds_at
from cockpit.sim.api.kinds import Kind

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

PATCH_TYPES = ("application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml")
QUERY = [{"name": name, "in": "query", "schema": {"type": "string", "uniqueItems": True}}
         for name in ("dryRun", "fieldManager", "fieldValidation", "force")]
PROTOBUF = "application/com.github.proto-openapi.spec.v2.v1.0+protobuf"


def v3_index(cluster: Cluster) -> dict[str, Any]:
    """The answer of /openapi/v3: where each group version's document is."""
    paths = {}
    for group, versions in groups(cluster).items():
        for version in versions:
            path = f"apis/{group}/{version}" if group else f"api/{version}"
            paths[path] = {"serverRelativeURL": f"/openapi/v3/{path}?hash={cluster.kinds.edition:08X}"}
    return {"paths": paths}


def v3_document(cluster: Cluster, group: str, version: str) -> dict[str, Any] | None:
    """The OpenAPI v3 document of one group version; None when it is not served."""
    kinds = kinds_at(cluster, group, version)
    if kinds is None:
        return None
    paths: dict[str, Any] = {}
    schemas: dict[str, Any] = {}
    for kind in kinds:
        name = schema_name(kind, version)
        schemas[name] = _object_schema(kind, version)
        paths |= _paths(kind, version, {"$ref": f"#/components/schemas/{name}"})
    if any(kind.builtin for kind in kinds):
        schemas |= {f"io.k8s.{name}": _type_schema(name) for name in shapes.table()["types"]}
    return {"openapi": "3.0.0", "info": {"title": "Kubernetes", "version": "v1.34.2"}, "paths": paths, "components": {"schemas": schemas}}


def schema_name(kind: Kind, version: str) -> str:
    """The name of a kind's schema: the group's domain reversed, version, kind."""
    group = ".".join(reversed(kind.group.split("."))) if kind.group else "io.k8s.api.core"
    return f"{group}.{version}.{kind.kind}"


def _gvk(kind: Kind, version: str) -> dict[str, str]:
    return {"group": kind.group, "kind": kind.kind, "version": version}


def _paths(kind: Kind, version: str, ref: dict[str, Any]) -> dict[str, Any]:
    root = f"/apis/{kind.group}/{version}" if kind.group else f"/api/{version}"
    scope = "/namespaces/{namespace}" if kind.namespaced else ""
    gvk = _gvk(kind, version)

    def operation(action: str, content: dict[str, Any] | None = None) -> dict[str, Any]:
        answers = {"200": {"description": "OK", "content": {"application/json": {"schema": ref}}}}
        one: dict[str, Any] = {"parameters": QUERY, "responses": answers,
                               "x-kubernetes-action": action, "x-kubernetes-group-version-kind": gvk}
        return {**one, "requestBody": {"content": content}} if content else one
    body = {"*/*": {"schema": ref}}
    collection = {"get": operation("list"), "post": operation("post", body)}
    patches = {kind_of_patch: {"schema": {"type": "object"}} for kind_of_patch in PATCH_TYPES}
    single = {"get": operation("get"), "put": operation("put", body), "patch": operation("patch", patches), "delete": operation("delete")}
    return {f"{root}{scope}/{kind.plural}": collection, f"{root}{scope}/{kind.plural}/{{name}}": single}


def _object_schema(kind: Kind, version: str) -> dict[str, Any]:
    gvk = {"x-kubernetes-group-version-kind": [_gvk(kind, version)]}
    if kind.builtin:
        name = shapes.table()["kinds"].get(kind.resource)
        return {**(_type_schema(name) if name else {"type": "object"}), **gvk}
    schema = kind.schemas.get(version) or {}
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, "metadata": {"type": "object"},
                  **(schema.get("properties") or {})}
    return {**schema, "type": "object", "properties": properties, **gvk}


def _type_schema(name: str) -> dict[str, Any]:
    """A built-in type with its fields, which refer to other types by name."""
    entry = shapes.table()["types"][name]
    schema: dict[str, Any] = {"type": "object", "properties": {field: _written(kind) for field, kind in entry["fields"].items()}}
    return {**schema, "required": entry["required"]} if entry.get("required") else schema


def _written(kind: str) -> dict[str, Any]:
    if kind.startswith("["):
        return {"type": "array", "items": _written(kind[1:-1])}
    if kind.startswith("{"):
        return {"type": "object", "additionalProperties": _written(kind[1:-1])}
    scalars = {"str": "string", "int": "integer", "bool": "boolean", "float": "number", "datetime": "string", "object": "object"}
    if kind in scalars:
        return {"type": scalars[kind]}
    return {"allOf": [{"$ref": f"#/components/schemas/io.k8s.{kind}"}]}


def v2_json(cluster: Cluster) -> dict[str, Any]:
    """A Swagger 2.0 document: the paths and kinds without their inner types."""
    paths: dict[str, Any] = {}
    definitions: dict[str, Any] = {}
    for kind in cluster.kinds:
        name = schema_name(kind, kind.version)
        definitions[name] = {"type": "object", "x-kubernetes-group-version-kind": [_gvk(kind, kind.version)]}
        for path, operations in _paths(kind, kind.version, {"$ref": f"#/definitions/{name}"}).items():
            parameters = [{"name": one["name"], "in": "query", "type": "string"} for one in QUERY]
            paths[path] = {method: {**{k: v for k, v in one.items() if k not in ("requestBody", "responses")}, "parameters": parameters,
                                    "responses": {"200": {"description": "OK"}}} for method, one in operations.items()}
    return {"swagger": "2.0", "info": {"title": "Kubernetes", "version": "v1.34.2"}, "paths": paths, "definitions": definitions}


def v2_protobuf() -> bytes:
    """The smallest gnostic Document: swagger, info, no paths; clients then use what they have built in."""
    def text(number: int, value: bytes) -> bytes:
        return bytes([number << 3 | 2, len(value)]) + value
    info = text(1, b"Kubernetes") + text(2, b"v1.34.2")
    return text(1, b"2.0") + text(2, info) + text(8, b"")
