"""Scenarios: what a practice cluster holds when it starts, as YAML; `load` reads one, `apply` creates it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

HERE = Path(__file__).parent
SHIPPED = ("small", "empty", "big")
Entry = dict[str, Any]


class ScenarioError(ValueError):
    """A scenario that cannot be read; says which file and why."""


@dataclass(frozen=True)
class Scenario:
    """A scenario as read: lists of entries by section; `big` counts objects instead of listing them."""

    name: str
    sections: Mapping[str, list[Entry]]
    big: Mapping[str, Any] | None = None
    folder: Path = field(default=HERE)

    @property
    def static(self) -> bool:
        """Whether its objects only change by themselves, so that no controller runs."""
        return self.big is not None

    def entries(self, section: str) -> list[Entry]:
        """The entries of one section."""
        return list(self.sections.get(section) or [])


def load(name_or_path: str, nodes: int | None = None, pods: int | None = None, changes_per_second: float | None = None) -> Scenario:
    """Read a shipped scenario by name or any YAML file; nodes, pods and changes_per_second override the counts of `big`."""
    path = HERE / f"{name_or_path}.yaml" if name_or_path in SHIPPED else Path(name_or_path)
    read = _read(path)
    big = read.get("big")
    if big is not None:
        asked = {"nodes": nodes, "pods": pods, "changesPerSecond": changes_per_second}
        big = {**big, **{key: value for key, value in asked.items() if value is not None}}
    sections = {key: value for key, value in read.items() if isinstance(value, list) and key != "include"}
    return Scenario(str(read.get("name") or path.stem), sections, big, path.parent)


def _read(path: Path) -> Entry:
    """One file with what it includes; its own entries come after the included ones."""
    try:
        own = yaml.load(path.read_text(encoding="utf-8"), getattr(yaml, "CSafeLoader", yaml.SafeLoader))
    except (OSError, yaml.YAMLError) as error:
        raise ScenarioError(f"cannot read scenario {path}: {error}") from error
    if not isinstance(own, dict):
        raise ScenarioError(f"scenario {path} is not a mapping; known scenarios: {', '.join(SHIPPED)}")
    merged: Entry = {}
    for name in own.get("include") or []:
        included = HERE / f"{name}.yaml"
        merged = _merged(merged, _read(included if included.exists() else path.parent / f"{name}.yaml"))
    return _merged(merged, own)


def _merged(base: Entry, more: Entry) -> Entry:
    lists = {key: [*(base.get(key) or []), *value] for key, value in more.items() if isinstance(value, list)}
    return {**base, **more, **lists}


async def apply(scenario: Scenario, cluster: Cluster) -> None:
    """Create everything a scenario lists; objects that exist already are left alone."""
    if scenario.big is not None:
        from cockpit.sim.scenarios.big import fill

        await fill(scenario.big, cluster)
        return
    from cockpit.sim.scenarios.creation import create_all

    create_all(scenario, cluster)
