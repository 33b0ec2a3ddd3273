"""Development tool: derive builtin_fields.json from the models of the official Python client.

    python -m cockpit.sim.api.derive_fields      # rewrites the file beside this one

The file maps each type to its JSON fields and their types ("str", "[Container]", "{str}", ...) and names the required ones.
"""

from __future__ import annotations

import inspect
import json
import re
from pathlib import Path
from typing import Any

TARGET = Path(__file__).with_name("builtin_fields.json")
ROOTS = {
    "namespaces": "V1Namespace",
    "nodes": "V1Node",
    "pods": "V1Pod",
    "services": "V1Service",
    "endpoints": "V1Endpoints",
    "configmaps": "V1ConfigMap",
    "secrets": "V1Secret",
    "events": "CoreV1Event",
    "serviceaccounts": "V1ServiceAccount",
    "persistentvolumes": "V1PersistentVolume",
    "persistentvolumeclaims": "V1PersistentVolumeClaim",
    "limitranges": "V1LimitRange",
    "resourcequotas": "V1ResourceQuota",
    "daemonsets.apps": "V1DaemonSet",
    "deployments.apps": "V1Deployment",
    "replicasets.apps": "V1ReplicaSet",
    "statefulsets.apps": "V1StatefulSet",
    "cronjobs.batch": "V1CronJob",
    "jobs.batch": "V1Job",
    "poddisruptionbudgets.policy": "V1PodDisruptionBudget",
    "clusterroles.rbac.authorization.k8s.io": "V1ClusterRole",
    "roles.rbac.authorization.k8s.io": "V1Role",
    "clusterrolebindings.rbac.authorization.k8s.io": "V1ClusterRoleBinding",
    "rolebindings.rbac.authorization.k8s.io": "V1RoleBinding",
    "priorityclasses.scheduling.k8s.io": "V1PriorityClass",
    "storageclasses.storage.k8s.io": "V1StorageClass",
    "leases.coordination.k8s.io": "V1Lease",
    "events.events.k8s.io": "EventsV1Event",
    "customresourcedefinitions.apiextensions.k8s.io": "V1CustomResourceDefinition",
}
_SCALARS = {"str", "int", "bool", "float", "object", "datetime"}


def _short(model: str) -> str:
    return re.sub(r"^V1(?=[A-Z])", "", model)


def _type(written: str) -> str:
    listed = re.fullmatch(r"list\[(.+)\]", written)
    if listed:
        return f"[{_type(listed[1])}]"
    mapped = re.fullmatch(r"dict[\[(]str, (.+)[\])]", written)
    if mapped:
        return f"{{{_type(mapped[1])}}}"
    return written if written in _SCALARS else _short(written)


def _required(model: Any) -> list[str]:
    names = []
    for attribute, field in model.attribute_map.items():
        setter = getattr(model, attribute).fset
        if "must not be `None`" in inspect.getsource(setter):
            names.append(field)
    return names


def derive() -> dict[str, Any]:
    """The compact table for every type that the built-in kinds reach."""
    from kubernetes.client import models

    types: dict[str, Any] = {}
    waiting = list(ROOTS.values())
    while waiting:
        name = waiting.pop()
        if _short(name) in types:
            continue
        model = getattr(models, name)
        written = model.openapi_types
        fields = {model.attribute_map[attribute]: _type(kind) for attribute, kind in written.items()}
        entry: dict[str, Any] = {"fields": fields}
        required = _required(model)
        if required:
            entry["required"] = required
        types[_short(name)] = entry
        found = {part for kind in written.values() for part in re.findall(r"\w+", kind)}
        waiting += [part for part in found if hasattr(models, part) and part not in _SCALARS]
    return {"kinds": {resource: _short(model) for resource, model in ROOTS.items()}, "types": dict(sorted(types.items()))}


def main() -> None:
    """Write the table."""
    lines = json.dumps(derive(), separators=(",", ":"), sort_keys=True).replace('},"', '},\n"')
    TARGET.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
