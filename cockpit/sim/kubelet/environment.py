"""A container's environment, built from its spec alone: values, references and `$(VAR)` expansion as the kubelet does them."""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Any, Protocol

from cockpit.sim.kubelet.quantities import divided, quantity

REFERENCE = re.compile(r"\$(?:\$|\(([-._a-zA-Z0-9]+)\))")
KEYED = re.compile(r"^metadata\.(labels|annotations)\['(.+)'\]$")


class Reader(Protocol):
    """What the environment needs of the cluster: one object or None."""

    def find(self, resource: str, namespace: str | None, name: str) -> dict[str, Any] | None: ...


class ConfigError(Exception):
    """A container cannot be created yet: a reference of its spec does not resolve (reason CreateContainerConfigError)."""


def expand(text: str, env: Mapping[str, str]) -> str:
    """Replace `$(VAR)` by its value and `$$` by `$`; an unknown reference stays as it is."""

    def value(match: re.Match[str]) -> str:
        name = match.group(1)
        return "$" if name is None else env.get(name, match.group())

    return REFERENCE.sub(value, text)


def environment(cluster: Reader, pod: dict[str, Any], container: dict[str, Any], address: Mapping[str, str]) -> dict[str, str]:
    """The container's env and envFrom, resolved in order; `address` holds podIP and hostIP; ConfigError names what is missing."""
    env: dict[str, str] = {}
    namespace = pod["metadata"]["namespace"]
    for source in container.get("envFrom") or []:
        env.update(_from_source(cluster, namespace, source))
    for entry in container.get("env") or []:
        if "valueFrom" not in entry or entry["valueFrom"] is None:
            env[entry["name"]] = expand(str(entry.get("value") or ""), env)
            continue
        value = _value_from(cluster, pod, container, entry["valueFrom"], address)
        if value is not None:
            env[entry["name"]] = value
    return env


def _from_source(cluster: Reader, namespace: str, source: dict[str, Any]) -> dict[str, str]:
    kind, reference = ("secrets", source["secretRef"]) if "secretRef" in source else ("configmaps", source["configMapRef"])
    data = contents(cluster, kind, namespace, reference["name"], optional=bool(reference.get("optional"))) or {}
    prefix = source.get("prefix") or ""
    return {prefix + key: value.decode("utf-8", "replace") for key, value in data.items()}


def contents(cluster: Reader, kind: str, namespace: str, name: str, optional: bool = False) -> dict[str, bytes] | None:
    """The keys of a ConfigMap (`configmaps`) or Secret (`secrets`) as bytes; None when absent and optional, else ConfigError."""
    found = cluster.find(kind, namespace, name)
    if found is None:
        if optional:
            return None
        raise ConfigError(f'{"secret" if kind == "secrets" else "configmap"} "{name}" not found')
    if kind == "secrets":
        return {key: base64.b64decode(value or "") for key, value in (found.get("data") or {}).items()}
    text = {key: str(value).encode() for key, value in (found.get("data") or {}).items()}
    return text | {key: base64.b64decode(value or "") for key, value in (found.get("binaryData") or {}).items()}


def _value_from(cluster: Reader, pod: dict[str, Any], container: dict[str, Any], source: dict[str, Any], address: Mapping[str, str]) -> str | None:
    if "fieldRef" in source:
        return field(pod, source["fieldRef"]["fieldPath"], address)
    if "resourceFieldRef" in source:
        return resource_field(cluster, pod, container, source["resourceFieldRef"])
    secret = "secretKeyRef" in source
    kind, word = ("secrets", "Secret") if secret else ("configmaps", "ConfigMap")
    reference = source["secretKeyRef" if secret else "configMapKeyRef"]
    namespace, name, key = pod["metadata"]["namespace"], reference["name"], reference["key"]
    data = contents(cluster, kind, namespace, name, optional=bool(reference.get("optional")))
    if data is not None and key in data:
        return data[key].decode("utf-8", "replace")
    if reference.get("optional"):
        return None
    raise ConfigError(f"couldn't find key {key} in {word} {namespace}/{name}")


def field(pod: dict[str, Any], path: str, address: Mapping[str, str]) -> str:
    """The text of a downward API field path; ConfigError for one that no kubelet knows."""
    metadata, spec = pod["metadata"], pod["spec"]
    keyed = KEYED.match(path)
    if keyed:
        return str((metadata.get(keyed.group(1)) or {}).get(keyed.group(2), ""))
    if path in ("metadata.labels", "metadata.annotations"):
        items = metadata.get(path.partition(".")[2]) or {}
        return "\n".join(f'{key}="{_escaped(str(value))}"' for key, value in sorted(items.items()))
    plain = {
        "metadata.name": metadata.get("name"),
        "metadata.namespace": metadata.get("namespace"),
        "metadata.uid": metadata.get("uid"),
        "spec.nodeName": spec.get("nodeName"),
        "spec.serviceAccountName": spec.get("serviceAccountName") or "default",
        "status.podIP": address["podIP"],
        "status.podIPs": address["podIP"],
        "status.hostIP": address["hostIP"],
        "status.hostIPs": address["hostIP"],
    }
    if path not in plain:
        raise ConfigError(f'unsupported fieldPath: "{path}"')
    return str(plain[path] or "")


def _escaped(text: str) -> str:
    return text.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")


def resource_field(cluster: Reader, pod: dict[str, Any], container: dict[str, Any], reference: dict[str, Any]) -> str:
    """A container's request or limit in units of the divisor; an absent limit is the node's allocatable amount."""
    named = reference.get("containerName")
    if named:
        container = next((c for c in pod["spec"]["containers"] if c["name"] == named), container)
    side, _, resource = reference["resource"].partition(".")
    resources = container.get("resources") or {}
    amount = (resources.get(side) or {}).get(resource)
    if amount is None and side == "requests":
        amount = (resources.get("limits") or {}).get(resource, 0)
    if amount is None:
        node = cluster.find("nodes", None, pod["spec"].get("nodeName") or "") or {}
        amount = ((node.get("status") or {}).get("allocatable") or {}).get(resource, 0)
    return divided(quantity(amount), quantity(reference.get("divisor") or 1) or quantity(1))
