"""metadata.managedFields: who owns which field; server-side apply and its conflicts."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any

from cockpit.sim.api import fieldsets
from cockpit.sim.api.errors import ApiError
from cockpit.sim.api.fieldsets import Path
from cockpit.sim.api.shapes import Schema


@dataclass
class Owner:
    """One entry of managedFields."""

    manager: str
    operation: str
    api_version: str
    subresource: str = ""
    time: str = ""
    paths: set[Path] = field(default_factory=set)

    @property
    def identity(self) -> tuple[str, str, str]:
        return (self.manager, self.operation, self.subresource)

    def entry(self) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "manager": self.manager,
            "operation": self.operation,
            "apiVersion": self.api_version,
            "time": self.time,
            "fieldsType": "FieldsV1",
            "fieldsV1": fieldsets.to_fields_v1(self.paths),
        }
        return {**entry, "subresource": self.subresource} if self.subresource else entry


def owners_of(entries: list[dict[str, Any]] | None) -> list[Owner]:
    """The owners written in managedFields; entries that name no manager are left out."""
    return [
        Owner(
            entry["manager"],
            entry.get("operation", "Update"),
            entry.get("apiVersion", ""),
            entry.get("subresource", ""),
            entry.get("time", ""),
            fieldsets.from_fields_v1(entry.get("fieldsV1") or {}),
        )
        for entry in entries or ()
        if entry.get("manager")
    ]


def _entries(owners: list[Owner]) -> list[dict[str, Any]]:
    return [owner.entry() for owner in owners if owner.paths]


def _base(obj: dict[str, Any], before: dict[str, Any] | None) -> list[Owner]:
    given = obj["metadata"].get("managedFields")
    if given == [] or given == [{}]:
        return []
    return owners_of(given) or owners_of(before["metadata"].get("managedFields") if before else None)


def track_update(schema: Schema, obj: dict[str, Any], before: dict[str, Any] | None, writer: Owner) -> None:
    """Write into `obj` who owns what after an ordinary create, update or patch by `writer`."""
    old = fieldsets.leaves(schema, before) if before else {}
    new = fieldsets.leaves(schema, obj)
    changed = {path for path, value in new.items() if path not in old or old[path] != value}
    removed = old.keys() - new.keys()
    owners = _base(obj, before)
    mine = next((owner for owner in owners if owner.identity == writer.identity), None)
    for owner in owners:
        owner.paths -= removed
        if owner is not mine:
            owner.paths -= changed
    if changed:
        if mine is None:
            owners.append(writer)
            mine = writer
        mine.paths |= changed
        mine.time, mine.api_version = writer.time, writer.api_version
    obj["metadata"]["managedFields"] = _entries(owners)
    if not obj["metadata"]["managedFields"]:
        del obj["metadata"]["managedFields"]


def apply(schema: Schema, live: dict[str, Any] | None, applied: dict[str, Any], writer: Owner, force: bool) -> dict[str, Any]:
    """The object after a server-side apply, managedFields included; ApiError 409 when others own a changed field."""
    owners = owners_of(live["metadata"].get("managedFields")) if live else []
    mine = next((owner for owner in owners if owner.identity == writer.identity), None)
    others = [owner for owner in owners if owner is not mine]
    wanted = fieldsets.leaves(schema, applied)
    current = fieldsets.leaves(schema, live) if live else {}
    differing = {path for path, value in wanted.items() if path in current and current[path] != value}
    _resolve_conflicts(others, differing, force)
    merged = fieldsets.merge_applied(schema, live, applied) if live else dict(applied)
    kept = set(wanted).union(*(owner.paths for owner in others))
    gone = (mine.paths - kept) if mine else set()
    if gone:
        merged = fieldsets.without(schema, merged, gone, kept)
    same = mine is not None and mine.paths == set(wanted) and merged == live
    writer.paths = set(wanted)
    writer.time = mine.time if mine and same else writer.time
    placed = [writer if owner is mine else owner for owner in owners]
    merged["metadata"] = {**merged["metadata"], "managedFields": _entries(placed if mine else [*placed, writer])}
    return merged


def _resolve_conflicts(others: list[Owner], differing: set[Path], force: bool) -> None:
    clashes = [(owner, sorted(owner.paths & differing)) for owner in others if owner.paths & differing]
    if force:
        for owner, paths in clashes:
            owner.paths -= set(paths)
    elif clashes:
        raise _conflict(clashes)


def _conflict(clashes: list[tuple[Owner, list[Path]]]) -> ApiError:
    causes = []
    by_owner: dict[str, list[str]] = defaultdict(list)
    for owner, paths in clashes:
        name = f'"{owner.manager}"' + (f' with subresource "{owner.subresource}"' if owner.subresource else "")
        who = f"{name} using {owner.api_version}" if owner.operation == "Update" else name
        for path in paths:
            by_owner[who].append(fieldsets.shown(path))
            causes.append({"reason": "FieldManagerConflict", "message": f"conflict with {who}", "field": fieldsets.shown(path)})
    total = len(causes)
    if total == 1:
        text = f"Apply failed with 1 conflict: {causes[0]['message']}: {causes[0]['field']}"
    else:
        parts = [f"conflicts with {who}:\n" + "\n".join(f"- {path}" for path in paths) for who, paths in by_owner.items()]
        text = f"Apply failed with {total} conflicts: " + "\n".join(parts)
    return ApiError(409, "Conflict", text, {"causes": causes})
