"""CustomResourceDefinitions: the kinds they add, and the conditions the API server gives them."""

from __future__ import annotations

from typing import Any

from cockpit.sim.api.kinds import Kind

SCALE = {"spec": "specReplicasPath", "status": "statusReplicasPath", "selector": "labelSelectorPath"}


def kind_of_crd(crd: dict[str, Any]) -> Kind:
    """The kind a CustomResourceDefinition serves."""
    spec = crd["spec"]
    names = spec["names"]
    versions = [version for version in spec["versions"] if version.get("served")]
    storage = next(version for version in spec["versions"] if version.get("storage"))
    subresources = storage.get("subresources") or {}
    scale = subresources.get("scale")
    return Kind(
        spec["group"],
        storage["name"],
        names["kind"],
        names["plural"],
        spec.get("scope") == "Namespaced",
        short_names=tuple(names.get("shortNames") or ()),
        categories=tuple(names.get("categories") or ()),
        status="status" in subresources,
        generation=True,
        scale={key: scale[path] for key, path in SCALE.items() if path in scale} if scale else None,
        served=tuple(sorted((version["name"] for version in versions), key=_priority, reverse=True)),
        singular=names.get("singular", ""),
        list_kind=names.get("listKind", ""),
        builtin=False,
        schemas={version["name"]: (version.get("schema") or {}).get("openAPIV3Schema") or {} for version in spec["versions"]},
        columns={version["name"]: version.get("additionalPrinterColumns") or [] for version in versions},
        selectable=tuple(one["jsonPath"].removeprefix(".") for one in storage.get("selectableFields") or ()),
    )


def _priority(version: str) -> tuple[int, int, int]:
    """GA before beta before alpha, higher numbers first, as discovery orders versions."""
    major, _, rest = version.removeprefix("v").partition("beta" if "beta" in version else "alpha")
    stage = 2 if not rest else 1 if "beta" in version else 0
    return (stage, int(major) if major.isdigit() else 0, int(rest) if rest.isdigit() else 0)


def complete_names(spec: dict[str, Any]) -> None:
    """Fill in the names a definition may leave out."""
    names = spec.setdefault("names", {})
    names.setdefault("singular", str(names.get("kind", "")).lower())
    names.setdefault("listKind", f"{names.get('kind', '')}List")
    spec.setdefault("conversion", {"strategy": "None"})


def established(crd: dict[str, Any], now: str) -> dict[str, Any]:
    """The status of a definition whose names were accepted and which is served."""
    spec = crd["spec"]
    old = {one["type"]: one for one in (crd.get("status") or {}).get("conditions") or ()}
    fresh = [
        ("NamesAccepted", "NoConflicts", "no conflicts found"),
        ("Established", "InitialNamesAccepted", "the initial names have been accepted"),
    ]
    stored = list((crd.get("status") or {}).get("storedVersions") or ())
    storage = next(version["name"] for version in spec["versions"] if version.get("storage"))
    return {
        "conditions": [
            old.get(type_) or {"type": type_, "status": "True", "lastTransitionTime": now, "reason": reason, "message": message}
            for type_, reason, message in fresh
        ],
        "acceptedNames": spec["names"],
        "storedVersions": stored if storage in stored else [*stored, storage],
    }
