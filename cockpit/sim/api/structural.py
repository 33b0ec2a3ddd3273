"""Structural schemas of custom resources: pruning, defaulting and validation, as apiextensions-apiserver does them."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

from cockpit.sim.api.errors import cause

Schema = dict[str, Any]
_TOP = frozenset({"apiVersion", "kind", "metadata"})
_NONE: frozenset[str] = frozenset()
PRESERVE = "x-kubernetes-preserve-unknown-fields"
EMBEDDED = "x-kubernetes-embedded-resource"


def prune_and_default(schema: Schema, obj: dict[str, Any], keep: frozenset[str] = _TOP) -> None:
    """Drop what the schema does not know and fill in its defaults, in place; fields in `keep` are left alone."""
    _walk(schema, obj, keep)


def _walk(schema: Schema, value: Any, keep: frozenset[str]) -> None:
    if isinstance(value, dict):
        _walk_object(schema, value, keep)
    elif isinstance(value, list):
        items = schema.get("items") or {}
        for item in value:
            _walk(items, item, _TOP if items.get(EMBEDDED) else _NONE)


def _walk_object(schema: Schema, value: dict[str, Any], keep: frozenset[str]) -> None:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name, child in properties.items():
        if "default" in child and name not in value and name not in keep:
            value[name] = json.loads(json.dumps(child["default"]))
        if value.get(name, 0) is None and not child.get("nullable") and name not in keep:
            if "default" in child:
                value[name] = json.loads(json.dumps(child["default"]))
            else:
                del value[name]
    free = bool(schema.get(PRESERVE)) or (not properties and additional is None and schema.get("type") != "object")
    for name in list(value):
        child = _child(properties, additional, name)
        if name in keep:
            continue
        if child is not None:
            _walk(child, value[name], _TOP if child.get(EMBEDDED) else _NONE)
        elif not free and additional is not True:
            del value[name]


def _child(properties: Schema, additional: Any, name: str) -> Schema | None:
    """The schema of a field, {} for one that may hold anything, None for one that is not declared."""
    found: Schema | None = properties.get(name)
    return found if found is not None else additional if isinstance(additional, dict) else None


def unknown_fields(schema: Schema, value: Any, path: str = "", keep: frozenset[str] = _TOP) -> Iterator[str]:
    """Paths of fields the schema would prune, for strict field validation: 'spec.containers[0].foo'."""
    if isinstance(value, list):
        items = schema.get("items") or {}
        below = _TOP if items.get(EMBEDDED) else frozenset()
        for index, item in enumerate(value):
            yield from unknown_fields(items, item, f"{path}[{index}]", below)
    elif isinstance(value, dict):
        properties = schema.get("properties") or {}
        additional = schema.get("additionalProperties")
        free = bool(schema.get(PRESERVE)) or (not properties and additional is None and schema.get("type") != "object")
        for name, inner in value.items():
            child = _child(properties, additional, name)
            here = f"{path}.{name}" if path else name
            if name in keep:
                continue
            if child is not None:
                yield from unknown_fields(child, inner, here, _TOP if child.get(EMBEDDED) else frozenset())
            elif not free and additional is not True:
                yield here


_TYPES: dict[str, tuple[type, ...]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "integer": (int,),
    "number": (int, float),
}


def _type_name(value: Any) -> str:
    if isinstance(value, bool):
        return "boolean"
    names = {dict: "object", list: "array", str: "string", int: "integer", float: "number"}
    return names.get(type(value), "null")


def _shown(value: Any) -> str:
    return json.dumps(value) if isinstance(value, str | int | float | bool) else f'"{_type_name(value)}"'


def violations(schema: Schema, value: Any, path: str = "", keep: frozenset[str] = _TOP) -> Iterator[dict[str, str]]:
    """Causes of a 422: where a value is not what the schema says."""
    if value is None and (schema.get("nullable") or not schema.get("type")):
        return
    wrong = _wrong_type(schema, value, path)
    if wrong:
        yield wrong
        return
    yield from _value_rules(schema, value, path)
    if isinstance(value, dict):
        yield from _object_rules(schema, value, path, keep)
    elif isinstance(value, list):
        yield from _list_rules(schema, value, path)
    yield from _combined(schema, value, path)


def _wrong_type(schema: Schema, value: Any, path: str) -> dict[str, str] | None:
    if schema.get("x-kubernetes-int-or-string"):
        ok = isinstance(value, int | str) and not isinstance(value, bool)
        kinds = "integer,string"
    else:
        kinds = schema.get("type") or ""
        whole = kinds == "integer" and isinstance(value, float) and value.is_integer()
        ok = not kinds or whole or (isinstance(value, _TYPES[kinds]) and not (isinstance(value, bool) and kinds != "boolean"))
    if ok:
        return None
    shown = f'"{_type_name(value)}"'
    return cause(path, f"Invalid value: {shown}: {path} in body must be of type {kinds}: {shown}", "FieldValueTypeInvalid")


def _value_rules(schema: Schema, value: Any, path: str) -> Iterator[dict[str, str]]:
    choices = schema.get("enum")
    if choices and value not in choices:
        listed = ", ".join(json.dumps(choice) for choice in choices)
        yield cause(path, f"Unsupported value: {_shown(value)}: supported values: {listed}", "FieldValueNotSupported")
    if isinstance(value, str):
        yield from _string_rules(schema, value, path)
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield from _number_rules(schema, value, path)


def _string_rules(schema: Schema, value: str, path: str) -> Iterator[dict[str, str]]:
    pattern = schema.get("pattern")
    if pattern and not re.search(pattern, value):
        yield cause(path, f"Invalid value: {_shown(value)}: {path} in body should match '{pattern}'")
    longest = schema.get("maxLength")
    if longest is not None and len(value) > longest:
        yield cause(path, f"Too long: may not be more than {longest} bytes", "FieldValueTooLong")
    shortest = schema.get("minLength")
    if shortest is not None and len(value) < shortest:
        yield cause(path, f"Invalid value: {_shown(value)}: {path} in body should be at least {shortest} chars long")


def _number_rules(schema: Schema, value: float, path: str) -> Iterator[dict[str, str]]:
    low, high = schema.get("minimum"), schema.get("maximum")
    if low is not None and (value < low or (schema.get("exclusiveMinimum") and value == low)):
        yield cause(path, f"Invalid value: {_shown(value)}: {path} in body should be greater than or equal to {low}")
    if high is not None and (value > high or (schema.get("exclusiveMaximum") and value == high)):
        yield cause(path, f"Invalid value: {_shown(value)}: {path} in body should be less than or equal to {high}")


def _object_rules(schema: Schema, value: dict[str, Any], path: str, keep: frozenset[str]) -> Iterator[dict[str, str]]:
    properties = schema.get("properties") or {}
    additional = schema.get("additionalProperties")
    for name in schema.get("required") or ():
        if name not in value:
            yield cause(f"{path}.{name}" if path else name, "Required value", "FieldValueRequired")
    for name, inner in value.items():
        child = _child(properties, additional, name)
        if child is not None and name not in keep:
            yield from violations(child, inner, f"{path}.{name}" if path else name, frozenset())
    most = schema.get("maxProperties")
    if most is not None and len(value) > most:
        yield cause(path, f"Too many: {len(value)}: must have at most {most} items", "FieldValueTooMany")


def _list_rules(schema: Schema, value: list[Any], path: str) -> Iterator[dict[str, str]]:
    items = schema.get("items") or {}
    for index, item in enumerate(value):
        yield from violations(items, item, f"{path}[{index}]", frozenset())
    most, least = schema.get("maxItems"), schema.get("minItems")
    if most is not None and len(value) > most:
        yield cause(path, f"Too many: {len(value)}: must have at most {most} items", "FieldValueTooMany")
    if least is not None and len(value) < least:
        yield cause(path, f"Invalid value: {len(value)}: {path} in body should have at least {least} items")
    keys = schema.get("x-kubernetes-list-map-keys")
    if keys:
        seen: set[tuple[Any, ...]] = set()
        for index, item in enumerate(value):
            identity = tuple(json.dumps(item.get(key)) for key in keys) if isinstance(item, dict) else ()
            if identity in seen:
                shown = json.dumps({key: item.get(key) for key in keys}, separators=(",", ":"))
                yield cause(f"{path}[{index}]", f"Duplicate value: {shown}", "FieldValueDuplicate")
            seen.add(identity)


def _combined(schema: Schema, value: Any, path: str) -> Iterator[dict[str, str]]:
    for part in schema.get("allOf") or ():
        yield from violations(part, value, path)
    for word in ("anyOf", "oneOf"):
        parts = schema.get(word)
        if parts and not schema.get("x-kubernetes-int-or-string") and all(any(True for _ in violations(p, value, path)) for p in parts):
            yield cause(path, f'Invalid value: "": "{path}" must validate at least one schema ({word})')
