"""A collection of the API, and what becomes of the objects in it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import msgspec


class _ListMeta(msgspec.Struct, rename="camel"):
    resource_version: str | None = None


class _RawPage(msgspec.Struct):
    metadata: _ListMeta | None = None
    items: list[msgspec.Raw] | None = None


_raw_page = msgspec.json.Decoder(_RawPage)


@dataclass
class Listing:
    """One collection of the API and what becomes of its objects.

    `raw` is the msgspec Struct of one object (with `metadata`), `to_row` makes its row or None, `key` the row's key from namespace and name (None:
    its rows are not deleted with it), `within` the keys of `kind` that this listing answers for. `paths` are tried in order until one is served;
    `namespaced` ones are listed in one namespace where all may not be.
    Of rows that are kept, only the newest `keep` by `age` are (0: all).
    """

    kind: str
    paths: tuple[str, ...]
    raw: type
    to_row: Callable[[Any], Any]
    key: Callable[[str, str], Any]
    within: Callable[[Any], bool] | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    on_gone: Callable[[str, str], None] = lambda namespace, name: None
    keep: int = 0
    age: Callable[[Any], float] = lambda row: 0.0
    namespaced: bool = False

    @property
    def resource(self) -> str:
        """What it lists, as `plural.group`."""
        parts = self.paths[0].strip("/").split("/")
        return f"{parts[-1]}.{parts[1]}" if parts[0] == "apis" else parts[-1]

    def __post_init__(self) -> None:
        page = msgspec.defstruct("Page", [("metadata", _ListMeta | None, None), ("items", list[self.raw | None] | None, None)])  # type: ignore[name-defined]
        self._page: Any = msgspec.json.Decoder(page)
        self._one: Any = msgspec.json.Decoder(self.raw)

    def page(self, body: bytes) -> tuple[list[Any], str]:
        """The rows of a page and its resourceVersion; an object that cannot be read is left out."""
        try:
            page = self._page.decode(body)
            items = page.items or []
        except msgspec.ValidationError:
            page = _raw_page.decode(body)
            items = [self._readable(one) for one in page.items or ()]
        rows = [row for item in items if named(item) and (row := self.to_row(item)) is not None]
        return rows, (page.metadata.resource_version if page.metadata else None) or ""

    def one(self, body: msgspec.Raw) -> Any:
        """The row of one object, None when it cannot be read."""
        item = self._readable(body)
        return self.to_row(item) if named(item) else None

    def _readable(self, body: msgspec.Raw) -> Any:
        try:
            return self._one.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError):
            return None


def in_namespace(path: str, namespace: str) -> str:
    """The path of a collection in one namespace; of all namespaces when it is empty."""
    root, _, plural = path.rpartition("/")
    return f"{root}/namespaces/{namespace}/{plural}" if namespace else path


def named(item: Any) -> bool:
    """True for an object with a name."""
    return item is not None and item.metadata is not None and bool(item.metadata.name)
