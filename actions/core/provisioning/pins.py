"""The pinned versions, all from manifests/addons/addons.yaml."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any

from actions.core.params import nearest
from actions.core.render import ROOT
from cockpit.errors import BadInput


@dataclass(frozen=True)
class Addon:
    """One add-on: a chart, a kustomization or objects of our own; `serves` is a resource that is there when it is, `needs` what goes before it."""

    name: str
    about: str
    namespace: str
    version: str
    release: str = ""
    chart: str = ""
    repo: str = ""
    kustomize: str = ""
    objects: str = ""
    serves: str = ""
    needs: tuple[str, ...] = ()
    alone: bool = False


@cache
def _file() -> Mapping[str, Any]:
    import yaml

    found: Mapping[str, Any] = yaml.safe_load((ROOT / "manifests" / "addons" / "addons.yaml").read_text(encoding="utf-8"))
    return found


def pin(name: str) -> str:
    """A version that is no add-on's: kubernetes, karpenter, system_type."""
    return str(_file()[name])


@cache
def addons() -> Mapping[str, Addon]:
    """Every add-on by name, in the order of installing."""
    rows = (dict(row, version=str(row["version"]), needs=tuple(row.get("needs") or ())) for row in _file()["addons"])
    return {row["name"]: Addon(**row) for row in rows}


def chosen(names: tuple[str, ...]) -> tuple[Addon, ...]:
    """Those add-ons in order; `all` leaves out those that are asked for by name alone."""
    known = addons()
    for name in names:
        if name != "all" and name not in known:
            raise BadInput(f"there is no add-on {name!r}", nearest(name, ["all", *known]))
    return tuple(one for one in known.values() if one.name in names or ("all" in names and not one.alone))
