"""JSON patch (RFC 6902)."""

from __future__ import annotations

import copy
from typing import Any

from cockpit.sim.api.errors import ApiError, bad_request


def _unprocessable(message: str) -> ApiError:
    return ApiError(422, "Invalid", f"the server rejected our request due to an error in our request: {message}", {})


def _parts(pointer: Any) -> list[str]:
    if not isinstance(pointer, str) or (pointer and not pointer.startswith("/")):
        raise bad_request(f"error decoding patch: invalid JSON pointer {pointer!r}")
    return [part.replace("~1", "/").replace("~0", "~") for part in pointer.split("/")[1:]]


def _index(parent: list[Any], part: str, end: bool = False) -> int:
    if part == "-" and end:
        return len(parent)
    if not part.isdigit() or int(part) > len(parent) - (0 if end else 1):
        raise _unprocessable(f"Unable to access invalid index: {part}")
    return int(part)


def _step(parent: Any, part: str, pointer: str) -> Any:
    if isinstance(parent, list):
        return parent[_index(parent, part)]
    if isinstance(parent, dict) and part in parent:
        return parent[part]
    raise _unprocessable(f"missing path: {pointer}: missing value")


def _value_at(document: Any, pointer: str) -> Any:
    for part in _parts(pointer):
        document = _step(document, part, pointer)
    return document


def _parent(document: Any, pointer: str) -> tuple[Any, str]:
    parts = _parts(pointer)
    if not parts:
        raise bad_request("error decoding patch: the whole document cannot be replaced")
    for part in parts[:-1]:
        document = _step(document, part, pointer)
    return document, parts[-1]


def _add(document: Any, pointer: str, value: Any) -> None:
    parent, part = _parent(document, pointer)
    if isinstance(parent, list):
        parent.insert(_index(parent, part, end=True), value)
    elif isinstance(parent, dict):
        parent[part] = value
    else:
        raise _unprocessable(f"add operation does not apply: doc is missing path: {pointer}: missing value")


def _remove(document: Any, pointer: str) -> Any:
    parent, part = _parent(document, pointer)
    value = _step(parent, part, pointer)
    del parent[_index(parent, part) if isinstance(parent, list) else part]
    return value


def _replace(document: Any, pointer: str, value: Any) -> None:
    parent, part = _parent(document, pointer)
    if isinstance(parent, dict) and part not in parent:
        raise _unprocessable(f"replace operation does not apply: doc is missing key: {pointer}: missing value")
    _step(parent, part, pointer)
    parent[_index(parent, part) if isinstance(parent, list) else part] = value


def _apply(document: Any, step: dict[str, Any]) -> None:
    word, pointer = step.get("op"), step.get("path", "")
    if word == "add":
        _add(document, pointer, copy.deepcopy(step.get("value")))
    elif word == "remove":
        _remove(document, pointer)
    elif word == "replace":
        _replace(document, pointer, copy.deepcopy(step.get("value")))
    elif word == "move":
        _add(document, pointer, _remove(document, step.get("from", "")))
    elif word == "copy":
        _add(document, pointer, copy.deepcopy(_value_at(document, step.get("from", ""))))
    elif word == "test":
        if _value_at(document, pointer) != step.get("value"):
            raise _unprocessable(f"testing value {pointer} failed")
    else:
        raise bad_request(f"error decoding patch: unknown operation {word!r}")


def json_patch(document: dict[str, Any], steps: Any) -> dict[str, Any]:
    """The document after every operation; ApiError 400 for a malformed patch, 422 for one that does not apply."""
    if not isinstance(steps, list) or not all(isinstance(step, dict) for step in steps):
        raise bad_request("error decoding patch: a JSON patch must be an array of operations")
    patched = copy.deepcopy(document)
    for step in steps:
        _apply(patched, step)
    return patched
