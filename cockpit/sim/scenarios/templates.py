"""Objects as byte templates: written once as JSON, then filled in by %-formatting, thousands a second."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

Object = dict[str, Any]


def hole(name: str) -> str:
    """A place in an object's strings to be filled in later."""
    return f"\u00ab{name}\u00bb"


def template_of(obj: Object) -> bytes:
    """The JSON of an object as a bytes template: metadata first, holes as %(name)b, without apiVersion and kind."""
    ordered = {"metadata": obj["metadata"], **{key: value for key, value in obj.items() if key not in ("apiVersion", "kind", "metadata")}}
    text = json.dumps(ordered, separators=(",", ":"), ensure_ascii=False).replace("%", "%%")
    return text.replace("\u00ab", "%(").replace("\u00bb", ")b").encode()


def filled(template: bytes, values: Mapping[str, str]) -> bytes:
    """A template with its holes filled in; the values must need no JSON escape."""
    return template % {key.encode(): value.encode() for key, value in values.items()}


def fields_of(value: Any) -> Any:
    """The FieldsV1 tree of a value, as managedFields holds it."""
    if isinstance(value, dict):
        return {f"f:{key}": fields_of(one) for key, one in value.items()}
    if isinstance(value, list) and value and isinstance(value[0], dict):
        merge_key = next((key for key in ("type", "name", "containerPort", "key") if key in value[0]), None)
        if merge_key is not None:
            named = {f'k:{{"{merge_key}":{json.dumps(one[merge_key])}}}': {".": {}, **fields_of(one)} for one in value}
            return {".": {}, **named}
    return {}


def managed(manager: str, fields: Object, time: str, api_version: str = "v1", subresource: str = "") -> Object:
    """One entry of managedFields."""
    entry = {"manager": manager, "operation": "Update", "apiVersion": api_version, "time": time, "fieldsType": "FieldsV1"}
    return entry | {"fieldsV1": fields_of(fields)} | ({"subresource": subresource} if subresource else {})
