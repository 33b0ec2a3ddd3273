"""Label and field selectors, parsed and matched as a kube-apiserver does."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

from cockpit.sim.api.errors import bad_request
from cockpit.sim.api.kinds import Kind
from cockpit.sim.api.records import Record

Match = Callable[[Record], bool]
Requirement = Callable[[Mapping[str, str]], bool]
_SET = re.compile(r"^(?P<key>[^\s!=,()]+)\s+(?P<op>in|notin)\s*\((?P<values>[^()]*)\)$")
_PAIR = re.compile(r"^(?P<key>[^\s!=,()<>]+)\s*(?P<op>==|=|!=)\s*(?P<value>[^\s=!,()]*)$")
_ORDER = re.compile(r"^(?P<key>[^\s!=,()<>]+)\s*(?P<op><|>)\s*(?P<value>-?\d+)$")
_EXISTS = re.compile(r"^(?P<absent>!?)\s*(?P<key>[^\s!=,()<>]+)$")


def _split(text: str) -> list[str]:
    """Split at commas outside parentheses."""
    parts = re.split(r",(?![^()]*\))", text)
    return [part.strip() for part in parts]


def _requirement(text: str) -> Requirement:
    if found := _SET.match(text):
        key, values = found["key"], {value.strip() for value in found["values"].split(",")}
        if found["op"] == "in":
            return lambda labels: labels.get(key, None) in values
        return lambda labels: labels.get(key, None) not in values
    if found := _PAIR.match(text):
        key, value = found["key"], found["value"]
        if found["op"] == "!=":
            return lambda labels: labels.get(key) != value
        return lambda labels: labels.get(key) == value
    if found := _ORDER.match(text):
        key, bound, more = found["key"], int(found["value"]), found["op"] == ">"
        return lambda labels: _ordered(labels.get(key), bound, more)
    if found := _EXISTS.match(text):
        key = found["key"]
        return (lambda labels: key not in labels) if found["absent"] else (lambda labels: key in labels)
    raise bad_request(f"unable to parse requirement: found '{text}', expected: identifier or an operator")


def _ordered(value: str | None, bound: int, more: bool) -> bool:
    if value is None or not re.fullmatch(r"-?\d+", value):
        return False
    return int(value) > bound if more else int(value) < bound


def label_requirements(text: str) -> list[Requirement]:
    """The requirements of a label selector in its string form; ApiError 400 when it cannot be parsed."""
    return [_requirement(part) for part in _split(text) if part] if text.strip() else []


def selector_requirements(selector: Mapping[str, Any] | None) -> list[Requirement] | None:
    """The requirements of a metav1.LabelSelector; None selects nothing, an empty selector everything."""
    if selector is None:
        return None
    wanted = dict(selector.get("matchLabels") or {})
    requirements: list[Requirement] = [lambda labels: wanted.items() <= labels.items()]
    for expression in selector.get("matchExpressions") or ():
        key, operator, values = expression["key"], expression["operator"], ",".join(expression.get("values") or ())
        text = {"In": f"{key} in ({values})", "NotIn": f"{key} notin ({values})", "Exists": key, "DoesNotExist": f"!{key}"}
        requirements.append(_requirement(text[operator]))
    return requirements


def selects(selector: Mapping[str, Any] | None, labels: Mapping[str, str]) -> bool:
    """Whether a metav1.LabelSelector selects these labels."""
    requirements = selector_requirements(selector)
    return requirements is not None and all(matches(labels) for matches in requirements)


def _fields(kind: Kind, text: str) -> list[tuple[str, str, bool]]:
    wanted = []
    for part in filter(None, (one.strip() for one in re.split(r"(?<!\\),", text))):
        found = re.match(r"^(?P<path>[^=!]+?)\s*(?P<op>==|=|!=)\s*(?P<value>.*)$", part)
        if not found:
            raise bad_request(f"invalid selector: '{part}'; can't understand '{part}'")
        path = found["path"]
        if path not in ("metadata.name", "metadata.namespace") and path not in kind.selectable:
            where = f"{kind.group}/{kind.version}, Resource={kind.plural}"
            raise bad_request(f'Unable to find "{where}" that match label selector "", field selector "{text}": field label not supported: {path}')
        wanted.append((path, re.sub(r"\\(.)", r"\1", found["value"]), found["op"] != "!="))
    return wanted


def _field_value(record: Record, path: str) -> str:
    if path == "metadata.name":
        return record.name
    if path == "metadata.namespace":
        return record.namespace or ""
    return record.fields.get(path, "")


def matcher(kind: Kind, labels: str, fields: str) -> Match | None:
    """Whether a record passes both selectors; None when there is nothing to select by. ApiError 400 on nonsense."""
    requirements = label_requirements(labels)
    wanted = _fields(kind, fields)
    if not requirements and not wanted:
        return None

    def match(record: Record) -> bool:
        return all(one(record.labels) for one in requirements) and all(
            (_field_value(record, path) == value) is equal for path, value, equal in wanted
        )

    return match


def single_name(kind: Kind, fields: str) -> str | None:
    """The object's name when a field selector asks for exactly one."""
    names = [value for path, value, equal in _fields(kind, fields) if path == "metadata.name" and equal]
    return names[0] if names else None
