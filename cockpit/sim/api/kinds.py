"""Which kinds of object the API serves: the built-in ones and those a CustomResourceDefinition adds."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from cockpit.sim.api.errors import ApiError

READ_WRITE = ("create", "delete", "deletecollection", "get", "list", "patch", "update", "watch")


@dataclass(eq=False)
class Kind:
    """One resource type; `resource` is its name in the cluster: plural[.group]."""

    group: str
    version: str
    kind: str
    plural: str
    namespaced: bool
    short_names: tuple[str, ...] = ()
    categories: tuple[str, ...] = ()
    status: bool = False
    generation: bool = False
    scale: dict[str, str] | None = None
    subresources: tuple[str, ...] = ()
    verbs: tuple[str, ...] = READ_WRITE
    served: tuple[str, ...] = ()
    singular: str = ""
    list_kind: str = ""
    builtin: bool = True
    store: str = ""
    schemas: dict[str, dict[str, Any]] = field(default_factory=dict)
    columns: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    selectable: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.singular = self.singular or self.kind.lower()
        self.list_kind = self.list_kind or f"{self.kind}List"
        self.served = self.served or (self.version,)
        self._heads: dict[str, bytes] = {}

    @cached_property
    def resource(self) -> str:
        return f"{self.plural}.{self.group}" if self.group else self.plural

    @cached_property
    def shelf(self) -> str:
        """The resource whose objects this kind shows; differs only where one store is served under two groups."""
        return self.store or self.resource

    @cached_property
    def api_version(self) -> str:
        return self.api_version_of(self.version)

    def api_version_of(self, version: str) -> str:
        return f"{self.group}/{version}" if self.group else version

    def head(self, version: str) -> bytes:
        """The first bytes of every serialised object of a version: its kind and apiVersion."""
        known = self._heads.get(version)
        if known is None:
            known = f'"kind":"{self.kind}","apiVersion":"{self.api_version_of(version)}",'.encode()
            self._heads[version] = known
        return known

    def key(self, namespace: str | None, name: str) -> str:
        return f"{namespace}/{name}" if self.namespaced else name


class Kinds:
    """The registry of served kinds, by resource name and by group, version and plural."""

    def __init__(self, kinds: Iterator[Kind]) -> None:
        self._by_resource: dict[str, Kind] = {}
        self._by_path: dict[tuple[str, str, str], Kind] = {}
        self.edition = 0
        for kind in kinds:
            self.add(kind)

    def add(self, kind: Kind) -> None:
        self.edition += 1
        self.remove(kind.resource)
        self._by_resource[kind.resource] = kind
        for version in kind.served:
            self._by_path[(kind.group, version, kind.plural)] = kind

    def remove(self, resource: str) -> None:
        self.edition += 1
        old = self._by_resource.pop(resource, None)
        for version in old.served if old else ():
            self._by_path.pop((old.group, version, old.plural), None) if old else None

    def find(self, resource: str) -> Kind | None:
        return self._by_resource.get(resource)

    def require(self, resource: str) -> Kind:
        kind = self._by_resource.get(resource)
        if kind is None:
            raise ApiError(404, "NotFound", f"the server could not find the requested resource: {resource}", {})
        return kind

    def at(self, group: str, version: str, plural: str) -> Kind | None:
        return self._by_path.get((group, version, plural))

    def of_object(self, api_version: str, kind_name: str) -> Kind | None:
        group, _, version = api_version.rpartition("/")
        return next((k for k in self if k.kind == kind_name and k.group == group and version in k.served), None)

    def __iter__(self) -> Iterator[Kind]:
        return iter(list(self._by_resource.values()))
