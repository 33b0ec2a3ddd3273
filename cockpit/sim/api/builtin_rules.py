"""What a built-in object sent by a client must and must not hold, with the words of a real API server."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

from cockpit.sim.api import errors
from cockpit.sim.api.errors import cause
from cockpit.sim.api.kinds import Kind
from cockpit.sim.api.metadata import DNS_LABEL, LABEL_SAYS
from cockpit.sim.api.objects import at
from cockpit.sim.api.selectors import selects

Object = dict[str, Any]
Causes = Iterator[dict[str, str]]
QUANTITY = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([numkMGTPE]|[KMGTPE]i|[eE][+-]?\d+)?\Z")
QUANTITY_SAYS = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
POD_FIXED = (
    "Forbidden: pod updates may not change fields other than `spec.containers[*].image`,`spec.initContainers[*].image`,"
    "`spec.activeDeadlineSeconds`,`spec.tolerations` (only additions to existing tolerations),"
    "`spec.terminationGracePeriodSeconds` (allow it to be set to 1 if it was previously negative)"
)
_OVERCOMMIT = ("cpu", "memory", "ephemeral-storage")


def check_new(kind: Kind, obj: Object) -> None:
    """ApiError 422 for a new object that breaks a rule of its kind."""
    _raise(kind, obj, _of_kind(kind, obj))


def check_changed(kind: Kind, obj: Object, before: Object) -> None:
    """ApiError 422 for a change that breaks a rule of its kind or touches what may not change."""
    rule = _FIXED.get(kind.resource)
    if rule is not None:
        _raise(kind, obj, rule(obj, before))
    if obj.get("spec") != before.get("spec"):
        _raise(kind, obj, _of_kind(kind, obj))


def _raise(kind: Kind, obj: Object, causes: Causes) -> None:
    found = list(causes)
    if found:
        raise errors.invalid(kind, obj["metadata"].get("name", ""), found)


def _of_kind(kind: Kind, obj: Object) -> Causes:
    rule = _RULES.get(kind.resource)
    return rule(obj) if rule is not None else iter(())


def _required(field: str, why: str = "") -> dict[str, str]:
    return cause(field, f"Required value: {why}" if why else "Required value", "FieldValueRequired")


# -- pods and their templates -------------------------------------------------------------------------------------------------


def pod_spec_causes(spec: Object, path: str) -> Causes:
    """What is wrong with a pod spec found at `path`."""
    containers = spec.get("containers") or []
    if not containers:
        yield _required(f"{path}.containers")
    seen: set[str] = set()
    for part in ("initContainers", "containers"):
        for index, container in enumerate(spec.get(part) or ()):
            yield from _container_causes(container, f"{path}.{part}[{index}]", seen, {one["name"] for one in spec.get("volumes") or ()})
    policy = spec.get("restartPolicy", "Always")
    if policy not in ("Always", "OnFailure", "Never"):
        yield cause(
            f"{path}.restartPolicy", f'Unsupported value: "{policy}": supported values: "Always", "Never", "OnFailure"', "FieldValueNotSupported"
        )


def _container_causes(container: Object, path: str, seen: set[str], volumes: set[str]) -> Causes:
    name = container.get("name")
    if not name:
        yield _required(f"{path}.name")
    elif not DNS_LABEL.match(name) or len(name) > 63:
        yield cause(f"{path}.name", f'Invalid value: "{name}": {LABEL_SAYS}')
    elif name in seen:
        yield cause(f"{path}.name", f'Duplicate value: "{name}"', "FieldValueDuplicate")
    seen.add(name or "")
    if not container.get("image"):
        yield _required(f"{path}.image")
    yield from _resource_causes(container.get("resources") or {}, f"{path}.resources")
    for index, mount in enumerate(container.get("volumeMounts") or ()):
        if mount.get("name") not in volumes:
            yield cause(f"{path}.volumeMounts[{index}].name", f'Not found: "{mount.get("name", "")}"', "FieldValueNotFound")


def _resource_causes(resources: Object, path: str) -> Causes:
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    for part, amounts in (("limits", limits), ("requests", requests)):
        for name, amount in amounts.items():
            if not QUANTITY.match(str(amount)):
                yield cause(f"{path}.{part}[{name}]", f'Invalid value: "{amount}": {QUANTITY_SAYS}')
    for name in {**limits, **requests}:
        if name in _OVERCOMMIT or name.startswith("hugepages-"):
            continue
        if name not in limits:
            yield _required(f"{path}.limits[{name}]", "Limit must be set for non overcommitable resources")
        elif requests.get(name, limits[name]) != limits[name]:
            yield cause(f"{path}.requests", f'Invalid value: "{requests[name]}": must be equal to {name} limit of {limits[name]}')


def _pod(obj: Object) -> Causes:
    return pod_spec_causes(obj.get("spec") or {}, "spec")


def _workload(obj: Object) -> Causes:
    spec = obj.get("spec") or {}
    labels = at(spec, "template.metadata.labels") or {}
    if not spec.get("selector"):
        yield _required("spec.selector")
    elif not selects(spec["selector"], labels):
        shown = json.dumps(labels, separators=(",", ":"))
        yield cause("spec.template.metadata.labels", f"Invalid value: {shown}: `selector` does not match template `labels`")
    yield from pod_spec_causes(at(spec, "template.spec") or {}, "spec.template.spec")
    policy = at(spec, "template.spec.restartPolicy")
    if policy not in (None, "Always"):
        yield cause("spec.template.spec.restartPolicy", f'Unsupported value: "{policy}": supported values: "Always"', "FieldValueNotSupported")


def _job(obj: Object) -> Causes:
    spec = obj.get("spec") or {}
    yield from pod_spec_causes(at(spec, "template.spec") or {}, "spec.template.spec")
    if at(spec, "template.spec.restartPolicy") not in ("OnFailure", "Never"):
        yield _required("spec.template.spec.restartPolicy", 'valid values: "OnFailure", "Never"')
    for name in ("parallelism", "completions", "backoffLimit", "activeDeadlineSeconds", "ttlSecondsAfterFinished"):
        if isinstance(spec.get(name), int) and spec[name] < 0:
            yield cause(f"spec.{name}", f"Invalid value: {spec[name]}: must be greater than or equal to 0")
    if spec.get("completionMode") == "Indexed" and spec.get("completions") is None:
        yield _required("spec.completions", "when completion mode is Indexed")


# -- everything else ----------------------------------------------------------------------------------------------------------


def _service(obj: Object) -> Causes:
    spec = obj.get("spec") or {}
    ports = spec.get("ports") or []
    if not ports and spec.get("type") != "ExternalName" and spec.get("clusterIP") != "None":
        yield _required("spec.ports")
    for index, port in enumerate(ports):
        if not 1 <= int(port.get("port") or 0) <= 65535:
            yield cause(f"spec.ports[{index}].port", f"Invalid value: {port.get('port')}: must be between 1 and 65535, inclusive")
        if len(ports) > 1 and not port.get("name"):
            yield _required(f"spec.ports[{index}].name")


def _budget(obj: Object) -> Causes:
    spec = obj.get("spec") or {}
    if spec.get("minAvailable") is not None and spec.get("maxUnavailable") is not None:
        yield cause("spec", "Invalid value: minAvailable and maxUnavailable cannot be both set")


def _claim(obj: Object) -> Causes:
    if not at(obj, "spec.accessModes"):
        yield _required("spec.accessModes", "at least 1 access mode is required")
    if not at(obj, "spec.resources.requests.storage"):
        yield _required("spec.resources[storage]")


def _binding(obj: Object) -> Causes:
    ref = obj.get("roleRef") or {}
    if not ref.get("name"):
        yield _required("roleRef.name")
    if ref.get("kind") not in ("Role", "ClusterRole"):
        yield cause("roleRef.kind", f'Unsupported value: "{ref.get("kind", "")}": supported values: "Role", "ClusterRole"', "FieldValueNotSupported")


def _definition(obj: Object) -> Causes:
    spec = obj.get("spec") or {}
    for field in ("group", "scope", "versions"):
        if not spec.get(field):
            yield _required(f"spec.{field}")
    for field in ("plural", "kind"):
        if not at(spec, f"names.{field}"):
            yield _required(f"spec.names.{field}")
    wanted = f"{at(spec, 'names.plural')}.{spec.get('group')}"
    if obj["metadata"].get("name") != wanted:
        yield cause("metadata.name", f'Invalid value: "{obj["metadata"].get("name")}": must be spec.names.plural+"."+spec.group')
    versions = spec.get("versions") or []
    if versions and sum(bool(version.get("storage")) for version in versions) != 1:
        yield cause("spec.versions", "Invalid value: must have exactly one version marked as storage version")
    for index, version in enumerate(versions):
        if not at(version, "schema.openAPIV3Schema"):
            yield _required(f"spec.versions[{index}].schema.openAPIV3Schema", "schemas are required")


# -- what may not change ------------------------------------------------------------------------------------------------------


def _without_changeable(spec: Object) -> Object:
    reduced = {
        key: value
        for key, value in spec.items()
        if key not in ("activeDeadlineSeconds", "tolerations", "terminationGracePeriodSeconds", "schedulingGates")
    }
    for part in ("containers", "initContainers"):
        if part in reduced:
            reduced[part] = [{**container, "image": ""} for container in reduced[part]]
    return reduced


def _pod_fixed(obj: Object, before: Object) -> Causes:
    new, old = obj.get("spec") or {}, before.get("spec") or {}
    added = new.get("tolerations") or []
    if _without_changeable(new) != _without_changeable(old) or any(one not in added for one in old.get("tolerations") or ()):
        yield cause("spec", POD_FIXED, "FieldValueForbidden")


def _fixed(*paths: str) -> Callable[[Object, Object], Causes]:
    """A rule that these paths never change."""

    def rule(obj: Object, before: Object) -> Causes:
        for path in paths:
            if at(obj, path) != at(before, path):
                shown = json.dumps(at(obj, path), separators=(",", ":"))
                yield cause(path, f"Invalid value: {shown}: field is immutable")

    return rule


def _data_fixed(obj: Object, before: Object) -> Causes:
    if before.get("immutable") and (obj.get("data") != before.get("data") or not obj.get("immutable")):
        yield cause("data", "Forbidden: field is immutable when `immutable` is set", "FieldValueForbidden")


def _role_fixed(obj: Object, before: Object) -> Causes:
    if obj.get("roleRef") != before.get("roleRef"):
        yield cause("roleRef", f"Invalid value: {json.dumps(obj.get('roleRef'))}: cannot change roleRef")


_RBAC = "rbac.authorization.k8s.io"
_RULES: dict[str, Callable[[Object], Causes]] = {
    "pods": _pod,
    "deployments.apps": _workload,
    "daemonsets.apps": _workload,
    "replicasets.apps": _workload,
    "statefulsets.apps": _workload,
    "jobs.batch": _job,
    "services": _service,
    "poddisruptionbudgets.policy": _budget,
    "persistentvolumeclaims": _claim,
    f"rolebindings.{_RBAC}": _binding,
    f"clusterrolebindings.{_RBAC}": _binding,
    "customresourcedefinitions.apiextensions.k8s.io": _definition,
}
_FIXED: dict[str, Callable[[Object, Object], Causes]] = {
    "pods": _pod_fixed,
    "deployments.apps": _fixed("spec.selector"),
    "daemonsets.apps": _fixed("spec.selector"),
    "replicasets.apps": _fixed("spec.selector"),
    "statefulsets.apps": _fixed("spec.selector", "spec.serviceName"),
    "jobs.batch": _fixed("spec.template", "spec.selector", "spec.completionMode"),
    "configmaps": _data_fixed,
    "secrets": _data_fixed,
    f"rolebindings.{_RBAC}": _role_fixed,
    f"clusterrolebindings.{_RBAC}": _role_fixed,
    "persistentvolumeclaims": _fixed("spec.accessModes", "spec.storageClassName"),
    "priorityclasses.scheduling.k8s.io": _fixed("value"),
    "customresourcedefinitions.apiextensions.k8s.io": _fixed("spec.group", "spec.scope", "spec.names.plural"),
}
