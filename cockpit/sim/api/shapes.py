"""Schemas of the built-in kinds, in the form a CRD's openAPIV3Schema has, with the keys by which lists merge."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

from cockpit.sim.api.kinds import Kind

Schema = dict[str, Any]
LIST_KEYS = "x-kubernetes-list-map-keys"
LIST_TYPE = "x-kubernetes-list-type"
MAP_TYPE = "x-kubernetes-map-type"
MERGE_KEY = "x-kubernetes-patch-merge-key"

# Lists that merge by key: Type.field -> keys; the first is the strategic merge patch's too unless MERGE_BY says otherwise.
LISTS: dict[str, tuple[str, ...]] = {
    "PodSpec.containers": ("name",),
    "PodSpec.initContainers": ("name",),
    "PodSpec.ephemeralContainers": ("name",),
    "PodSpec.volumes": ("name",),
    "PodSpec.imagePullSecrets": ("name",),
    "PodSpec.hostAliases": ("ip",),
    "PodSpec.topologySpreadConstraints": ("topologyKey", "whenUnsatisfiable"),
    "PodSpec.schedulingGates": ("name",),
    "PodSpec.resourceClaims": ("name",),
    "PodStatus.conditions": ("type",),
    "PodStatus.podIPs": ("ip",),
    "PodStatus.hostIPs": ("ip",),
    "PodStatus.resourceClaimStatuses": ("name",),
    "Container.ports": ("containerPort", "protocol"),
    "Container.env": ("name",),
    "Container.volumeMounts": ("mountPath",),
    "Container.volumeDevices": ("devicePath",),
    "EphemeralContainer.env": ("name",),
    "ResourceRequirements.claims": ("name",),
    "NodeStatus.conditions": ("type",),
    "NodeStatus.addresses": ("type",),
    "NamespaceStatus.conditions": ("type",),
    "ServiceSpec.ports": ("port", "protocol"),
    "ServiceStatus.conditions": ("type",),
    "LoadBalancerStatus.ingress": ("ip",),
    "ServiceAccount.secrets": ("name",),
    "PersistentVolumeClaimStatus.conditions": ("type",),
    "DeploymentStatus.conditions": ("type",),
    "DaemonSetStatus.conditions": ("type",),
    "ReplicaSetStatus.conditions": ("type",),
    "StatefulSetStatus.conditions": ("type",),
    "PodDisruptionBudgetStatus.conditions": ("type",),
    "CustomResourceDefinitionStatus.conditions": ("type",),
    "ObjectMeta.ownerReferences": ("uid",),
    "TopologySpreadConstraint.matchLabelKeys": (),
    "JobStatus.conditions": (),
}
MERGE_BY = {"JobStatus.conditions": "type"}
SETS = {"ObjectMeta.finalizers", "NodeSpec.podCIDRs", "CustomResourceDefinitionStatus.storedVersions"}
ATOMIC = {
    "LabelSelector",
    "LocalObjectReference",
    "ObjectReference",
    "ObjectFieldSelector",
    "ResourceFieldSelector",
    "ConfigMapKeySelector",
    "SecretKeySelector",
    "NodeSelector",
    "NodeSelectorTerm",
    "TypedLocalObjectReference",
    "SecretReference",
    "RoleRef",
    "RbacV1Subject",
    "ScopeSelector",
}
ATOMIC_FIELDS = {"PodSpec.nodeSelector", "ServiceSpec.selector"}
QUANTITIES = {
    "limits",
    "requests",
    "capacity",
    "allocatable",
    "hard",
    "used",
    "overhead",
    "default",
    "defaultRequest",
    "max",
    "min",
    "maxLimitRequestRatio",
    "allocatedResources",
}
_SCALARS: dict[str, Schema] = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "bool": {"type": "boolean"},
    "float": {"type": "number"},
    "datetime": {"type": "string"},
    "object": {},
}


@cache
def table() -> dict[str, Any]:
    """The compact field table as derived from the official client's models."""
    loaded: dict[str, Any] = json.loads(Path(__file__).with_name("builtin_fields.json").read_text(encoding="utf-8"))
    return loaded


@cache
def _type(name: str) -> Schema:
    """The schema of a type; types refer to each other, so nested ones fill in after the outer exists."""
    schema: Schema = {"type": "object", "properties": {}}
    _building[name] = schema
    entry = table()["types"][name]
    for field, written in entry["fields"].items():
        schema["properties"][field] = _field(f"{name}.{field}", field, written)
    if entry.get("required"):
        schema["required"] = entry["required"]
    if name in ATOMIC:
        schema[MAP_TYPE] = "atomic"
    return schema


_building: dict[str, Schema] = {}


def _named(name: str) -> Schema:
    return _building.get(name) or _type(name)


def _field(path: str, field: str, written: str) -> Schema:
    if written.startswith("["):
        return _list(path, written[1:-1])
    if written.startswith("{"):
        values: Schema = {"x-kubernetes-int-or-string": True} if field in QUANTITIES else _field(path, "", written[1:-1])
        atomic = {MAP_TYPE: "atomic"} if path in ATOMIC_FIELDS else {}
        return {"type": "object", "additionalProperties": values, **atomic}
    return _SCALARS[written] if written in _SCALARS else _named(written)


def _list(path: str, items: str) -> Schema:
    schema: Schema = {"type": "array", "items": _field(path, "", items)}
    keys = LISTS.get(path)
    if keys:
        schema |= {LIST_TYPE: "map", LIST_KEYS: list(keys)}
    if path in SETS:
        schema |= {LIST_TYPE: "set"}
    merge_key = MERGE_BY.get(path) or (keys[0] if keys else None)
    if merge_key:
        schema[MERGE_KEY] = merge_key
    return schema


def metadata_schema() -> Schema:
    """The schema of ObjectMeta."""
    return _named("ObjectMeta")


def schema_of(kind: Kind, version: str | None = None) -> Schema:
    """The whole schema of a kind's objects, metadata included; {} where nothing is known."""
    if kind.builtin:
        name = table()["kinds"].get(kind.resource)
        return _named(name) if name else {}
    return _with_metadata(kind, version or kind.version)


def _with_metadata(kind: Kind, version: str) -> Schema:
    schema = kind.schemas.get(version) or {}
    properties = {"apiVersion": {"type": "string"}, "kind": {"type": "string"}, **(schema.get("properties") or {})}
    return {**schema, "type": "object", "properties": {**properties, "metadata": metadata_schema()}}
