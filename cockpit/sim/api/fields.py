"""Field validation of request bodies: unknown and duplicate fields, wrong types, by fieldValidation=Strict, Warn or Ignore."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api import structural
from cockpit.sim.api.errors import ApiError, bad_request
from cockpit.sim.api.kinds import Kind
from cockpit.sim.api.requests import Call, duplicate_fields
from cockpit.sim.api.shapes import Schema, schema_of

_TYPED = frozenset({"apiVersion", "kind"})
_GO_TYPES = {"string": "string", "integer": "int64", "boolean": "bool", "object": "object", "array": "array", "number": "float64"}


def check_fields(call: Call, kind: Kind, version: str, obj: dict[str, Any]) -> None:
    """Refuse (400), warn about or drop what the kind's schema does not know, in place; built-in types are checked too."""
    level = call.query.get("fieldValidation", "") or "Warn"
    if level not in ("Strict", "Warn", "Ignore"):
        raise bad_request(f'fieldValidation: Unsupported value: "{level}": supported values: "Ignore", "Strict", "Warn"')
    schema = schema_of(kind, version)
    if not schema:
        return
    drop_nulls(obj if kind.builtin else obj["metadata"])
    typed = schema if kind.builtin else {"type": "object", "properties": {"metadata": schema["properties"]["metadata"]}}
    _check_types(kind, version, typed, obj)
    problems = [] if level == "Ignore" else _problems(call, schema, obj, kind)
    if problems and level == "Strict":
        where = f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: ' if kind.builtin else ""
        raise bad_request(f"{where}strict decoding error: {', '.join(problems)}")
    call.warnings.extend(problems)
    if kind.builtin:
        structural.prune_and_default(schema, obj, _TYPED)
        quantities_to_text(schema, obj)


def drop_nulls(value: Any) -> None:
    """Remove fields that are null, in place: to a typed API server they are fields that are not there."""
    if isinstance(value, dict):
        for name in [name for name, inner in value.items() if inner is None]:
            del value[name]
    for inner in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        drop_nulls(inner)


def _problems(call: Call, schema: Schema, obj: dict[str, Any], kind: Kind) -> list[str]:
    keep = _TYPED
    unknown = [f'unknown field "{path}"' for path in structural.unknown_fields(schema, obj, keep=keep)]
    twice = duplicate_fields(call.body) if call.method in ("POST", "PUT") else []
    return [*(f'duplicate field "{name}"' for name in twice), *unknown]


def _check_types(kind: Kind, version: str, schema: Schema, obj: dict[str, Any]) -> None:
    for one in structural.violations({**schema, "required": []}, obj, keep=_TYPED):
        if one["reason"] == "FieldValueTypeInvalid":
            found, _, rest = one["message"].partition(": ")[2].partition(": ")
            wanted = rest.partition("of type ")[2].partition(":")[0]
            said = f"json: cannot unmarshal {found.strip(chr(34))} into Go struct field {kind.kind}.{one['field']} of type "
            raise bad_request(f'{kind.kind} in version "{version}" cannot be handled as a {kind.kind}: {said}'
                              f"{_GO_TYPES.get(wanted, wanted)}")


def quantities_to_text(schema: Schema, value: Any) -> None:
    """Write quantities that were given as numbers as strings, in place, as a real server does."""
    if isinstance(value, list):
        for item in value:
            quantities_to_text(schema.get("items") or {}, item)
    elif isinstance(value, dict):
        additional = schema.get("additionalProperties")
        properties = schema.get("properties") or {}
        for name, inner in value.items():
            child: Any = properties.get(name) or (additional if isinstance(additional, dict) else {})
            if isinstance(inner, int | float) and not isinstance(inner, bool) and child.get("x-kubernetes-int-or-string"):
                value[name] = str(inner)
            else:
                quantities_to_text(child, inner)


def require_object(value: Any) -> dict[str, Any]:
    """A body that must be an object; ApiError 400."""
    if not isinstance(value, dict):
        raise bad_request("the object provided is unrecognized (must be of type Object)")
    metadata = value.get("metadata")
    if metadata is not None and not isinstance(metadata, dict):
        raise bad_request("json: cannot unmarshal value into Go struct field .metadata of type v1.ObjectMeta")
    value["metadata"] = metadata or {}
    return value


def require_kind(kind: Kind, api_version: str, obj: dict[str, Any]) -> None:
    """ApiError 400 when a body says it is of another kind or version than its path."""
    said = obj.get("apiVersion")
    if said and said != api_version:
        raise bad_request(f"the API version in the data ({said}) does not match the expected API version ({api_version})")
    if obj.get("kind") and obj["kind"] != kind.kind:
        version = api_version.rpartition("/")[2]
        raise bad_request(f'{obj["kind"]} in version "{version}" cannot be handled as a {kind.kind}: no kind "{obj["kind"]}" is registered '
                          f"for the version \"{api_version}\" at this path")


def unsupported_patch(kind: Kind) -> ApiError:
    types = ["application/json-patch+json", "application/merge-patch+json", "application/apply-patch+yaml"]
    if kind.builtin:
        types.insert(2, "application/strategic-merge-patch+json")
    return ApiError(415, "UnsupportedMediaType",
                    f"the body of the request was in an unknown format - accepted media types include: {', '.join(types)}", {})
