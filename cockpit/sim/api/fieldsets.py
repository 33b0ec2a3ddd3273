"""Sets of field paths as server-side apply knows them, and their FieldsV1 form.

A path is a tuple of elements: "f:spec", 'k:{"name":"main"}' for an item of a keyed list, 'v:"x"' for a member of a set.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

from cockpit.sim.api.shapes import LIST_KEYS, LIST_TYPE, MAP_TYPE, Schema

Path = tuple[str, ...]
ITEM = "·item·"  # the value of a list item's own path
_KEY_DEFAULTS = {"protocol": "TCP"}
_UNMANAGED = {
    ("f:apiVersion",),
    ("f:kind",),
    ("f:metadata",),
    *(
        ("f:metadata", f"f:{name}")
        for name in (
            "name",
            "namespace",
            "creationTimestamp",
            "selfLink",
            "uid",
            "generation",
            "managedFields",
            "resourceVersion",
            "deletionTimestamp",
            "deletionGracePeriodSeconds",
        )
    ),
}


def child_schema(schema: Schema, name: str) -> Schema:
    """The schema of a field of an object; {} when unknown."""
    child: Any = (schema.get("properties") or {}).get(name)
    additional = schema.get("additionalProperties")
    return child or (additional if isinstance(additional, dict) else {})


def item_element(schema: Schema, item: Any) -> str:
    """The path element of an item of a keyed list."""
    keys = {key: item.get(key, _KEY_DEFAULTS.get(key)) if isinstance(item, dict) else None for key in sorted(schema[LIST_KEYS])}
    return "k:" + json.dumps(keys, separators=(",", ":"), ensure_ascii=False)


def is_keyed(schema: Schema) -> bool:
    return schema.get(LIST_TYPE) == "map" and bool(schema.get(LIST_KEYS))


def is_atomic(schema: Schema, value: Any) -> bool:
    """Whether a value is owned as a whole."""
    if isinstance(value, dict):
        return schema.get(MAP_TYPE) == "atomic"
    return not isinstance(value, list) or not (is_keyed(schema) or schema.get(LIST_TYPE) == "set")


def leaves(schema: Schema, obj: Mapping[str, Any]) -> dict[Path, Any]:
    """Every path that can be owned in an object, with its value; what only the server sets is left out."""
    found: dict[Path, Any] = {}
    _collect(schema, obj, (), found)
    for path in list(found):
        if path[:2] in _UNMANAGED or path in _UNMANAGED:
            del found[path]
    return found


def _collect(schema: Schema, value: Any, path: Path, found: dict[Path, Any]) -> None:
    if is_atomic(schema, value) or not value:
        if path:
            found[path] = value
    elif isinstance(value, dict):
        for name, inner in value.items():
            _collect(child_schema(schema, name), inner, (*path, f"f:{name}"), found)
    elif is_keyed(schema):
        for item in value:
            here = (*path, item_element(schema, item))
            found[here] = ITEM
            _collect(schema.get("items") or {}, item, here, found)
    else:
        for item in value:
            found[(*path, "v:" + json.dumps(item, separators=(",", ":")))] = item


def to_fields_v1(paths: Iterable[Path]) -> dict[str, Any]:
    """The nested FieldsV1 form of a set of paths."""
    chosen = set(paths)
    tree: dict[str, Any] = {}
    for path in sorted(chosen):
        node = tree
        for element in path:
            node = node.setdefault(element, {})
    for path in chosen:
        node = tree
        for element in path:
            node = node[element]
        if node:
            node["."] = {}
    return tree


def from_fields_v1(tree: Mapping[str, Any], path: Path = ()) -> set[Path]:
    """The set of paths of a FieldsV1."""
    found: set[Path] = set()
    if path and (not tree or "." in tree):
        found.add(path)
    for element, below in tree.items():
        if element != ".":
            found |= from_fields_v1(below, (*path, element))
    return found


def shown(path: Path) -> str:
    """A path as conflicts print it: .spec.containers[name="main"].image"""
    text = ""
    for element in path:
        mark, _, rest = element.partition(":")
        if mark == "f":
            text += f".{rest}"
        elif mark == "k":
            text += "[" + ",".join(f"{key}={json.dumps(value)}" for key, value in json.loads(rest).items()) + "]"
        else:
            text += f"[={rest}]"
    return text


def merge_applied(schema: Schema, live: Any, applied: Any) -> Any:
    """The applied configuration laid over the live value, by the schema's list keys; neither is changed."""
    if isinstance(applied, dict) and isinstance(live, dict) and schema.get(MAP_TYPE) != "atomic":
        laid = {name: merge_applied(child_schema(schema, name), live.get(name), value) for name, value in applied.items()}
        return {**live, **laid}
    if isinstance(applied, list) and isinstance(live, list) and not is_atomic(schema, applied):
        if not is_keyed(schema):
            return [*live, *(item for item in applied if item not in live)]
        items = schema.get("items") or {}
        merged = {item_element(schema, item): item for item in live}
        for item in applied:
            element = item_element(schema, item)
            merged[element] = merge_applied(items, merged[element], item) if element in merged else item
        return list(merged.values())
    return applied


def without(schema: Schema, value: Any, gone: set[Path], kept: set[Path], path: Path = ()) -> Any:
    """The value without the paths in `gone`; a list item stays while something below it is in `kept`."""
    if is_atomic(schema, value):
        return value
    if isinstance(value, dict):
        return _object_without(schema, value, gone, kept, path)
    remaining = []
    for item in value:
        here = (*path, item_element(schema, item) if is_keyed(schema) else "v:" + json.dumps(item, separators=(",", ":")))
        if here in gone and not any(one[: len(here)] == here for one in kept):
            continue
        remaining.append(without(schema.get("items") or {}, item, gone, kept, here) if is_keyed(schema) else item)
    return remaining


def _object_without(schema: Schema, value: dict[str, Any], gone: set[Path], kept: set[Path], path: Path) -> dict[str, Any]:
    remaining = {}
    for name, inner in value.items():
        here = (*path, f"f:{name}")
        if here in gone:
            continue
        child = child_schema(schema, name)
        reduced = without(child, inner, gone, kept, here) if isinstance(inner, dict | list) else inner
        if reduced or not inner or reduced == inner:
            remaining[name] = reduced
    return remaining
