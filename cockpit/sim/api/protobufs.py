"""Request bodies in Kubernetes' protobuf, which kubectl and other Go clients send for built-in kinds, decoded as their JSON.

The envelope is k8s\\0 and a runtime.Unknown; field numbers come from builtin_messages.json. Answers are always JSON.
"""

from __future__ import annotations

import json
import struct
from base64 import b64encode
from collections.abc import Iterator
from datetime import UTC, datetime
from functools import cache
from pathlib import Path
from typing import Any

from cockpit.sim.api.errors import ApiError, bad_request

MAGIC = b"k8s\x00"
INLINE = {"volumeSource", "handler", "persistentVolumeSource", "localObjectReference", "ephemeralContainerCommon"}
# Numbers and booleans that Go writes even when unset, because they are no pointers: zero means absent.
ZERO_IS_ABSENT = {
    "generation",
    "hostPort",
    "nodePort",
    "initialDelaySeconds",
    "timeoutSeconds",
    "periodSeconds",
    "successThreshold",
    "failureThreshold",
    "hostNetwork",
    "hostPID",
    "hostIPC",
    "stdin",
    "stdinOnce",
    "tty",
    "readOnly",
    "unschedulable",
    "observedGeneration",
    "minReadySeconds",
    "paused",
    "globalDefault",
    "allowed",
    "denied",
    "incomplete",
    "publishNotReadyAddresses",
    "count",
    "restartCount",
    "ready",
}
_GROUPS = {
    "": "core",
    "rbac.authorization.k8s.io": "rbac",
    "scheduling.k8s.io": "scheduling",
    "storage.k8s.io": "storage",
    "coordination.k8s.io": "coordination",
    "authorization.k8s.io": "authorization",
    "authentication.k8s.io": "authentication",
}


@cache
def _table() -> dict[str, dict[str, str]]:
    loaded: dict[str, dict[str, str]] = json.loads(Path(__file__).with_name("builtin_messages.json").read_text(encoding="utf-8"))
    return loaded


def _varint(data: bytes, position: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
        if shift > 63:
            raise ValueError("varint too long")


def fields_of(data: bytes) -> Iterator[tuple[int, Any]]:
    """Field numbers and raw values of one message: int for numbers, bytes for everything with a length. ValueError when cut short."""
    position = 0
    while position < len(data):
        tag, position = _varint(data, position)
        wire = tag & 7
        if wire == 0:
            value, position = _varint(data, position)
            yield tag >> 3, value
            continue
        size = {1: 8, 5: 4}.get(wire)
        if wire == 2:
            size, position = _varint(data, position)
        if size is None or position + size > len(data):
            raise ValueError("message cut short")
        yield tag >> 3, data[position : position + size]
        position += size


def _signed(value: int) -> int:
    return value - (1 << 64) if value >= 1 << 63 else value


def _scalar(kind: str, value: Any) -> Any:
    if kind == "s":
        return value.decode()
    if kind == "b":
        return b64encode(value).decode()
    if kind == "o":
        return bool(value)
    return struct.unpack("<d", value)[0] if kind == "d" else _signed(value)


def _time(data: bytes, micro: bool) -> str | None:
    parts = dict(fields_of(data))
    if not parts:
        return None
    moment = datetime.fromtimestamp(_signed(parts.get(1, 0)) + (parts.get(2, 0) / 1e9 if micro else 0), UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%fZ" if micro else "%Y-%m-%dT%H:%M:%SZ")


def _special(kind: str, data: bytes) -> Any:
    if kind in ("meta.v1.Time", "meta.v1.MicroTime"):
        return _time(data, kind.endswith("MicroTime"))
    parts = dict(fields_of(data))
    if kind == "resource.Quantity":
        return parts.get(1, b"0").decode()
    if kind == "intstr.IntOrString":
        return parts.get(3, b"").decode() if parts.get(1) else _signed(parts.get(2, 0))
    return json.loads(parts.get(1) or b"null")


_SPECIAL = {"meta.v1.Time", "meta.v1.MicroTime", "resource.Quantity", "intstr.IntOrString", "meta.v1.FieldsV1", "runtime.RawExtension"}


def _value(kind: str, value: Any) -> Any:
    if len(kind) == 1:
        return _scalar(kind, value)
    return _special(kind, value) if kind in _SPECIAL else message(kind, value)


def message(kind: str, data: bytes) -> dict[str, Any]:
    """One message as the JSON object it stands for; fields this table does not know are left out."""
    known = _table()[kind]
    made: dict[str, Any] = {}
    for number, raw in fields_of(data):
        if str(number) not in known:
            continue
        name, _, written = known[str(number)].partition(":")
        if written.startswith("%"):
            entry = dict(fields_of(raw))
            made.setdefault(name, {})[entry.get(1, b"").decode()] = _value(written[1:], entry.get(2, b""))
        elif written.startswith("*"):
            made.setdefault(name, []).append(_value(written[1:], raw))
        else:
            value = _value(written, raw)
            if name in INLINE:
                made.update(value)
            elif not (value is None or value == "" or (name in ZERO_IS_ABSENT and not value)):
                made[name] = value
    return made


def decode_protobuf(body: bytes) -> dict[str, Any]:
    """The object of a protobuf body, with its kind and apiVersion; ApiError 400 when it cannot be read, 415 for an unknown kind."""
    if not body.startswith(MAGIC):
        raise bad_request("provided data does not appear to be a protobuf message, expected prefix k8s")
    try:
        envelope = dict(fields_of(body[len(MAGIC) :]))
        typed = dict(fields_of(envelope.get(1, b"")))
        api_version, kind = typed.get(1, b"").decode(), typed.get(2, b"").decode()
        name = _message_name(api_version, kind)
        if name not in _table():
            raise ApiError(415, "UnsupportedMediaType", f"protobuf is not accepted for {kind} in {api_version}, send application/json", {})
        return {"kind": kind, "apiVersion": api_version, **message(name, envelope.get(2, b""))}
    except (ValueError, IndexError, KeyError, struct.error, AttributeError, OverflowError) as problem:
        raise bad_request(f"the protobuf body cannot be read: {problem}") from problem


def _message_name(api_version: str, kind: str) -> str:
    if kind == "DeleteOptions":
        return "meta.v1.DeleteOptions"
    group, _, version = api_version.rpartition("/")
    return f"{_GROUPS.get(group, group)}.{version}.{kind}"
