"""What makes an object invalid (422), for built-in kinds and custom ones."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api import builtin_rules, errors, metadata, structural
from cockpit.sim.api.kinds import Kind

CRDS = "customresourcedefinitions.apiextensions.k8s.io"


def check_new(kind: Kind, obj: dict[str, Any]) -> None:
    """ApiError 422 when a new object is not valid."""
    if kind.resource == CRDS:
        builtin_rules.check_new(kind, obj)
    _raise(kind, obj, [*metadata.metadata_causes(kind, obj["metadata"]), *_schema_causes(kind, obj)])


def check_changed(kind: Kind, obj: dict[str, Any], before: dict[str, Any], subresource: str | None) -> None:
    """ApiError 422 when a new version of an object is not valid."""
    if kind.resource == CRDS:
        builtin_rules.check_changed(kind, obj, before)
    _raise(kind, obj, [*metadata.metadata_causes(kind, obj["metadata"]), *_schema_causes(kind, obj)])


def _schema_causes(kind: Kind, obj: dict[str, Any]) -> list[dict[str, str]]:
    schema = kind.schemas.get(kind.version)
    return list(structural.violations(schema, obj)) if schema else []


def _raise(kind: Kind, obj: dict[str, Any], causes: list[dict[str, str]]) -> None:
    if causes:
        raise errors.invalid(kind, obj["metadata"].get("name", ""), causes)
