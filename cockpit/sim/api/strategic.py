"""Strategic merge patch, for the built-in kinds whose lists have merge keys."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api.errors import bad_request
from cockpit.sim.api.shapes import LIST_TYPE, MERGE_KEY, Schema

DIRECTIVE = "$patch"
RETAIN = "$retainKeys"
ORDER = "$setElementOrder/"
DELETE_FROM = "$deleteFromPrimitiveList/"


def strategic_merge(schema: Schema, target: Any, patch: dict[str, Any]) -> Any:
    """`target` after the patch; neither is changed."""
    directive = patch.get(DIRECTIVE)
    if directive == "replace":
        return {key: value for key, value in patch.items() if key != DIRECTIVE}
    if directive == "delete":
        return {}
    merged = dict(target) if isinstance(target, dict) else {}
    if RETAIN in patch:
        merged = {key: value for key, value in merged.items() if key in patch[RETAIN]}
    for key, value in patch.items():
        if key in (DIRECTIVE, RETAIN) or key.startswith(ORDER):
            continue
        if key.startswith(DELETE_FROM):
            field = key.removeprefix(DELETE_FROM)
            merged[field] = [item for item in merged.get(field) or () if item not in value]
        elif value is None:
            merged.pop(key, None)
        else:
            merged[key] = _merged_value(_child(schema, key), merged.get(key), value, patch.get(ORDER + key))
    return merged


def _child(schema: Schema, key: str) -> Schema:
    child: Any = (schema.get("properties") or {}).get(key)
    additional = schema.get("additionalProperties")
    return child or (additional if isinstance(additional, dict) else {})


def _merged_value(schema: Schema, target: Any, patch: Any, order: list[Any] | None) -> Any:
    if isinstance(patch, dict):
        return strategic_merge(schema, target, patch)
    if not isinstance(patch, list):
        return patch
    key = schema.get(MERGE_KEY)
    if key and all(isinstance(item, dict) for item in patch):
        return _merged_list(schema, key, target, patch, order)
    if schema.get(LIST_TYPE) == "set":
        return [*dict.fromkeys([*(target or ()), *patch])]
    return patch


def _merged_list(schema: Schema, key: str, target: Any, patch: list[Any], order: list[Any] | None) -> list[Any]:
    if any(item.get(DIRECTIVE) == "replace" for item in patch):
        return [item for item in patch if DIRECTIVE not in item]
    items = schema.get("items") or {}
    merged: dict[Any, Any] = {item.get(key): item for item in target or ()}
    for item in patch:
        if key not in item:
            raise bad_request(f"map: {item} does not contain declared merge key: {key}")
        if item.get(DIRECTIVE) == "delete":
            merged.pop(item[key], None)
        else:
            merged[item[key]] = strategic_merge(items, merged.get(item[key]), item)
    if order:
        places = {one.get(key): place for place, one in enumerate(order) if isinstance(one, dict)}
        return sorted(merged.values(), key=lambda item: places.get(item.get(key), len(places)))
    return list(merged.values())
