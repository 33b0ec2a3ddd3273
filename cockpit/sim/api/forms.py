"""The forms an object can be answered in: plain, Table, PartialObjectMetadata, and core events as events.k8s.io ones."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from cockpit.sim.api import columns, jsonpaths
from cockpit.sim.api.durations import since
from cockpit.sim.api.errors import bad_request
from cockpit.sim.api.records import Record, encode
from cockpit.sim.api.requests import Form, Target

META = "meta.k8s.io"
ROWS_AT_A_TIME = 200
DESCRIPTIONS = {"Name": "Name must be unique within a namespace.", "Age": "CreationTimestamp is a timestamp representing the server time."}
AGE = [{"name": "Age", "type": "date", "jsonPath": ".metadata.creationTimestamp"}]


def plain(target: Target, record: Record) -> bytes:
    """The object's JSON in the version asked for."""
    return encode(regarding(record.object)) if target.kind.store else record.json(target.version)


def regarding(event: dict[str, Any]) -> dict[str, Any]:
    """A core/v1 Event as events.k8s.io/v1 shows it."""
    moved = {"involvedObject": "regarding", "message": "note", "source": "deprecatedSource", "count": "deprecatedCount",
             "firstTimestamp": "deprecatedFirstTimestamp", "lastTimestamp": "deprecatedLastTimestamp",
             "reportingComponent": "reportingController"}
    return {**{moved.get(key, key): value for key, value in event.items()}, "apiVersion": "events.k8s.io/v1"}


def core_event(event: dict[str, Any]) -> dict[str, Any]:
    """An events.k8s.io/v1 Event as it is stored: core/v1."""
    moved = {"regarding": "involvedObject", "note": "message", "deprecatedSource": "source", "deprecatedCount": "count",
             "deprecatedFirstTimestamp": "firstTimestamp", "deprecatedLastTimestamp": "lastTimestamp",
             "reportingController": "reportingComponent"}
    return {**{moved.get(key, key): value for key, value in event.items()}, "apiVersion": "v1"}


def definitions(target: Target) -> list[dict[str, Any]]:
    """The columnDefinitions of a kind's Table."""
    kind = target.kind
    if kind.builtin:
        found = columns.BUILTIN.get(kind.shelf)
        triples = found[0] if found else (("Name", "string", 0), ("Age", "string", 0))
        return [_definition(name, type_, priority) for name, type_, priority in triples]
    own = kind.columns.get(target.version) or AGE
    return [_definition("Name", "string", 0)] + [
        {"name": one["name"], "type": one["type"], "format": one.get("format", ""),
         "description": one.get("description") or f"Custom resource definition column (in JSONPath format): {one['jsonPath']}",
         "priority": one.get("priority", 0)} for one in own]


def _definition(name: str, type_: str, priority: int) -> dict[str, Any]:
    return {"name": name, "type": type_, "format": "name" if name == "Name" else "", "description": DESCRIPTIONS.get(name, name),
            "priority": priority}


def cells(target: Target, obj: dict[str, Any]) -> list[Any]:
    """The cells of one row."""
    kind = target.kind
    if kind.builtin:
        found = columns.BUILTIN.get(kind.shelf)
        return found[1](obj) if found else [obj["metadata"]["name"], since(obj["metadata"].get("creationTimestamp"))]
    own = kind.columns.get(target.version) or AGE
    return [obj["metadata"]["name"], *(_custom_cell(one, obj) for one in own)]


def _custom_cell(column: dict[str, Any], obj: dict[str, Any]) -> Any:
    values = jsonpaths.find(column["jsonPath"], obj)
    if not values or values[0] is None:
        return None
    value, type_ = values[0], column["type"]
    if type_ == "date":
        return since(value)
    if type_ == "string":
        text = {True: "true", False: "false"}.get(value) if isinstance(value, bool) else None
        return text or (value if isinstance(value, str) else encode(value).decode())
    if type_ in ("integer", "number"):
        return value if isinstance(value, int | float) else None
    return value if isinstance(value, bool) or type_ != "boolean" else None


def partial(obj: dict[str, Any]) -> dict[str, Any]:
    """An object's metadata alone."""
    return {"kind": "PartialObjectMetadata", "apiVersion": f"{META}/v1", "metadata": obj["metadata"]}


def _row(target: Target, obj: dict[str, Any], include: str) -> dict[str, Any]:
    row: dict[str, Any] = {"cells": cells(target, obj)}
    if include == "Object":
        row["object"] = {**obj, "apiVersion": target.api_version}
    elif include == "None":
        row["object"] = None
    else:
        row["object"] = partial(obj)
    return row


def _included(query: Mapping[str, str]) -> str:
    asked = query.get("includeObject", "") or "Metadata"
    if asked not in ("None", "Metadata", "Object"):
        raise bad_request(f"unrecognized includeObject value: {asked!r}")
    return asked


def _table(form: Form, metadata: dict[str, Any], definitions_: list[dict[str, Any]], rows: list[Any]) -> dict[str, Any]:
    version = form.version or "v1"
    return {"kind": "Table", "apiVersion": f"{META}/{version}", "metadata": metadata, "columnDefinitions": definitions_, "rows": rows}


async def list_body(form: Form, target: Target, records: list[Record], metadata: dict[str, Any], query: Mapping[str, str]) -> bytes:
    """A whole list as Table or PartialObjectMetadataList; the loop gets a turn between batches of rows."""
    include = _included(query)
    pieces: list[bytes] = []
    for start in range(0, len(records), ROWS_AT_A_TIME):
        some = records[start:start + ROWS_AT_A_TIME]
        objects = [one.object for one in some] if len(records) <= ROWS_AT_A_TIME else [one.fresh() for one in some]
        made = [_row(target, one, include) if form.name == "Table" else partial(one) for one in objects]
        pieces.append(encode(made)[1:-1])
        await asyncio.sleep(0)
    body = b",".join(pieces)
    if form.name == "Table":
        head = _table(form, metadata, definitions(target), [])
        return encode(head)[:-2] + body + b"]}"
    head = {"kind": "PartialObjectMetadataList", "apiVersion": f"{META}/v1", "metadata": metadata, "items": []}
    return encode(head)[:-2] + body + b"]}"


def object_body(form: Form, target: Target, record: Record, query: Mapping[str, str], with_columns: bool = True) -> bytes:
    """One object as a Table of one row or as PartialObjectMetadata."""
    if form.name != "Table":
        return encode(partial(record.object))
    meta = {"resourceVersion": str(record.rv)}
    return encode(_table(form, meta, definitions(target) if with_columns else [], [_row(target, record.object, _included(query))]))
