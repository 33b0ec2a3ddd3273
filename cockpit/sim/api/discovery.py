"""Discovery: /api, /apis, group and version lists, and the aggregated form in one document."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, Any

from cockpit.sim.api.kinds import READ_WRITE, Kind
from cockpit.sim.api.requests import Form

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

AGGREGATED = "APIGroupDiscoveryList"
_REVIEWS = [
    ("authorization.k8s.io", "SelfSubjectAccessReview", "selfsubjectaccessreviews", False),
    ("authorization.k8s.io", "SelfSubjectRulesReview", "selfsubjectrulesreviews", False),
    ("authorization.k8s.io", "SubjectAccessReview", "subjectaccessreviews", False),
    ("authorization.k8s.io", "LocalSubjectAccessReview", "localsubjectaccessreviews", True),
    ("authentication.k8s.io", "SelfSubjectReview", "selfsubjectreviews", False),
]
REVIEWS = [Kind(group, "v1", kind, plural, namespaced, verbs=("create",)) for group, kind, plural, namespaced in _REVIEWS]
_SUBRESOURCE = {  # name -> kind, group, version, verbs
    "status": ("", "", "", ("get", "patch", "update")),
    "scale": ("Scale", "autoscaling", "v1", ("get", "patch", "update")),
    "log": ("Pod", "", "v1", ("get",)),
    "exec": ("PodExecOptions", "", "v1", ("create", "get")),
    "eviction": ("Eviction", "policy", "v1", ("create",)),
    "binding": ("Binding", "", "v1", ("create",)),
    "finalize": ("Namespace", "", "v1", ("update",)),
    "proxy": ("", "", "", ("create", "delete", "get", "patch", "update")),
}
_PROXY_KINDS = {"pods": "PodProxyOptions", "services": "ServiceProxyOptions"}


def subresources(kind: Kind) -> list[str]:
    """The names of a kind's subresources."""
    return [*(["status"] if kind.status else []), *(["scale"] if kind.scale else []), *kind.subresources]


def groups(cluster: Cluster) -> OrderedDict[str, OrderedDict[str, list[Kind]]]:
    """Kinds by group and version, preferred version first; virtual groups have no kinds."""
    found: OrderedDict[str, OrderedDict[str, list[Kind]]] = OrderedDict()
    for kind in [*cluster.kinds, *REVIEWS]:
        for version in kind.served:
            found.setdefault(kind.group, OrderedDict()).setdefault(version, []).append(kind)
    for virtual in cluster.virtuals:
        parts = virtual.prefix.split("/")
        if len(parts) == 4:
            found.setdefault(parts[2], OrderedDict()).setdefault(parts[3], [])
    return found


def kinds_at(cluster: Cluster, group: str, version: str) -> list[Kind] | None:
    """The kinds of one group version; None when it is not served."""
    versions = groups(cluster).get(group)
    return None if versions is None else versions.get(version)


def _virtual_resources(cluster: Cluster, group: str, version: str) -> list[dict[str, Any]]:
    prefix = f"/apis/{group}/{version}"
    return [resource for virtual in cluster.virtuals if virtual.prefix == prefix for resource in virtual.resources]


def api_versions() -> dict[str, Any]:
    """The answer of /api."""
    address = {"clientCIDR": "0.0.0.0/0", "serverAddress": "127.0.0.1"}
    return {"kind": "APIVersions", "versions": ["v1"], "serverAddressByClientCIDRs": [address]}


def api_group(name: str, versions: list[str]) -> dict[str, Any]:
    """One APIGroup."""
    listed = [{"groupVersion": f"{name}/{version}", "version": version} for version in versions]
    return {"name": name, "versions": listed, "preferredVersion": listed[0]}


def api_groups(cluster: Cluster) -> dict[str, Any]:
    """The answer of /apis."""
    named = [api_group(name, list(versions)) for name, versions in groups(cluster).items() if name]
    return {"kind": "APIGroupList", "apiVersion": "v1", "groups": named}


def resource_list(cluster: Cluster, group: str, version: str) -> dict[str, Any] | None:
    """The answer of /api/v1 or /apis/GROUP/VERSION; None for a version that is not served."""
    kinds = kinds_at(cluster, group, version)
    if kinds is None:
        return None
    resources = [entry for kind in kinds for entry in _entries(kind, version)]
    resources += _virtual_resources(cluster, group, version)
    return {"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": f"{group}/{version}" if group else version, "resources": resources}


def _entries(kind: Kind, version: str) -> list[dict[str, Any]]:
    entry: dict[str, Any] = {
        "name": kind.plural,
        "singularName": kind.singular,
        "namespaced": kind.namespaced,
        "kind": kind.kind,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    entries = [entry]
    for name in subresources(kind):
        kind_name, group, sub_version, verbs = _SUBRESOURCE[name]
        one: dict[str, Any] = {
            "name": f"{kind.plural}/{name}",
            "singularName": "",
            "namespaced": kind.namespaced,
            "kind": kind_name or _PROXY_KINDS.get(kind.plural, kind.kind) if name == "proxy" else kind_name or kind.kind,
            "verbs": list(verbs),
        }
        if group or name == "scale":
            one |= {"group": group, "version": sub_version}
        entries.append(one)
    return entries


def aggregated(cluster: Cluster, legacy: bool, form: Form) -> dict[str, Any]:
    """APIGroupDiscoveryList of /api (legacy) or /apis."""
    items = []
    for group, versions in groups(cluster).items():
        if (group == "") is not legacy:
            continue
        listed = [
            {"version": version, "freshness": "Current", "resources": _discovered(cluster, group, version, kinds)}
            for version, kinds in versions.items()
        ]
        metadata: dict[str, Any] = {"creationTimestamp": None}
        if group:
            metadata["name"] = group
        items.append({"metadata": metadata, "versions": listed})
    return {"kind": AGGREGATED, "apiVersion": f"apidiscovery.k8s.io/{form.version}", "metadata": {}, "items": items}


def _discovered(cluster: Cluster, group: str, version: str, kinds: list[Kind]) -> list[dict[str, Any]]:
    found = [_resource(kind, group, version) for kind in kinds]
    for entry in _virtual_resources(cluster, group, version):
        kind = {"group": group, "version": version, "kind": entry["kind"]}
        found.append(
            {
                "resource": entry["name"].partition("/")[0],
                "responseKind": kind,
                "scope": "Namespaced" if entry["namespaced"] else "Cluster",
                "singularResource": entry.get("singularName", ""),
                "verbs": entry["verbs"],
            }
        )
    return found


def _resource(kind: Kind, group: str, version: str) -> dict[str, Any]:
    own = {"group": group, "version": version, "kind": kind.kind}
    entry: dict[str, Any] = {
        "resource": kind.plural,
        "responseKind": own,
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs or READ_WRITE),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    subs = []
    for name in subresources(kind):
        kind_name, sub_group, sub_version, verbs = _SUBRESOURCE[name]
        named = {"group": sub_group, "version": sub_version or version, "kind": kind_name or _PROXY_KINDS.get(kind.plural, kind.kind)}
        subs.append({"subresource": name, "responseKind": named if kind_name or name == "proxy" else own, "verbs": list(verbs)})
    return {**entry, "subresources": subs} if subs else entry
