"""Manifests are plain Kubernetes YAML with holes, and a hole is `${name}` inside a scalar.

The YAML is parsed first and the holes are filled afterwards, so a value can never become structure: a name with a colon or a quote in it stays one
string. A scalar that is a hole and nothing else takes the value as it is (number, list, mapping) and a value of None leaves its key or list
item out; a hole inside a longer scalar takes the value as text. An unknown hole is a KeyError, which the tests of every manifest would show.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from string import Template
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_WHOLE = re.compile(r"\$\{(\w+)\}")


def manifest(name: str, values: Mapping[str, Any]) -> dict[str, Any]:
    """`manifests/<name>.yaml` with its holes filled."""
    import yaml

    text = (ROOT / "manifests" / f"{name}.yaml").read_text(encoding="utf-8")
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    filled = fill(yaml.load(text, Loader=loader), values)
    if not isinstance(filled, dict):
        raise TypeError(f"manifests/{name}.yaml is not one mapping")
    return filled


def fill(node: Any, values: Mapping[str, Any]) -> Any:
    """One parsed node with its holes filled."""
    if isinstance(node, dict):
        filled = {key: fill(value, values) for key, value in node.items()}
        return {key: value for key, value in filled.items() if value is not None or node[key] is None}
    if isinstance(node, list):
        return [value for value in (fill(one, values) for one in node) if value is not None]
    if isinstance(node, str):
        whole = _WHOLE.fullmatch(node)
        return values[whole.group(1)] if whole else Template(node).substitute(values)
    return node


def training_files() -> dict[str, str]:
    """The training programs by file name: what the ConfigMap delivers to the pods."""
    return {path.name: path.read_text(encoding="utf-8") for path in sorted((ROOT / "training").glob("*.py"))}
