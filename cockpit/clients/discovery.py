"""What an API serves: aggregated discovery, or one request a group where an API is too old for it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

AGGREGATED = ",".join(
    [f"application/json;g=apidiscovery.k8s.io;v={version};as=APIGroupDiscoveryList" for version in ("v2", "v2beta1")] + ["application/json"]
)


@dataclass(frozen=True, slots=True)
class ServedResource:
    """A resource (`plural.group`) in the version the API prefers; `versions` names all it is served in."""

    resource: str
    group: str
    version: str
    kind: str
    namespaced: bool
    verbs: tuple[str, ...] = ()
    versions: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The API path of the whole collection."""
        plural = self.resource.split(".", 1)[0]
        return f"/apis/{self.group}/{self.version}/{plural}" if self.group else f"/api/{self.version}/{plural}"


def resources(get: Callable[[str, str], Mapping[str, Any]]) -> dict[str, ServedResource]:
    """Everything served, by `plural.group`; `get(path, accept)` fetches one discovery document."""
    found: dict[str, ServedResource] = {}
    for root in ("/api", "/apis"):
        document = get(root, AGGREGATED)
        if document.get("kind") == "APIGroupDiscoveryList":
            entries = _aggregated(document)
        else:
            entries = _plain(document, get)
        for one in entries:
            known = found.get(one.resource)
            found[one.resource] = _also(known, one.version) if known else one
    return found


def _also(known: ServedResource, version: str) -> ServedResource:
    versions = known.versions if version in known.versions else (*known.versions, version)
    return ServedResource(known.resource, known.group, known.version, known.kind, known.namespaced, known.verbs, versions)


def _aggregated(document: Mapping[str, Any]) -> Iterator[ServedResource]:
    for group in document.get("items") or ():
        name = (group.get("metadata") or {}).get("name") or ""
        for version in group.get("versions") or ():
            for one in version.get("resources") or ():
                kind = (one.get("responseKind") or {}).get("kind") or ""
                yield _row(one.get("resource") or "", name, version.get("version") or "", kind, one.get("scope") == "Namespaced", one.get("verbs"))


def _plain(document: Mapping[str, Any], get: Callable[[str, str], Mapping[str, Any]]) -> Iterator[ServedResource]:
    if document.get("kind") == "APIVersions":
        for version in document.get("versions") or ():
            yield from _resource_list("", version, get(f"/api/{version}", "application/json"))
        return
    for group in document.get("groups") or ():
        preferred = (group.get("preferredVersion") or {}).get("version") or ""
        others = [one.get("version") for one in group.get("versions") or () if one.get("version") != preferred]
        for version in filter(None, [preferred, *others]):
            yield from _resource_list(group["name"], version, get(f"/apis/{group['name']}/{version}", "application/json"))


def _resource_list(group: str, version: str, document: Mapping[str, Any]) -> Iterator[ServedResource]:
    for one in document.get("resources") or ():
        if "/" not in one.get("name", "/"):
            yield _row(one["name"], group, version, one.get("kind") or "", bool(one.get("namespaced")), one.get("verbs"))


def _row(plural: str, group: str, version: str, kind: str, namespaced: bool, verbs: Any) -> ServedResource:
    resource = f"{plural}.{group}" if group else plural
    return ServedResource(resource, group, version, kind, namespaced, tuple(verbs or ()), (version,))
