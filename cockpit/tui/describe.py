"""An object of the Kubernetes API as lines: YAML as it is, or described for reading, with its events."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import yaml

from cockpit.model import Event
from cockpit.tui.cells import Tone, age
from cockpit.tui.textlines import Line

NOISE = ("managedFields", "selfLink")


def without_noise(found: Mapping[str, Any]) -> dict[str, Any]:
    """The object without the bookkeeping nobody reads."""
    meta = {key: value for key, value in (found.get("metadata") or {}).items() if key not in NOISE}
    return {**found, "metadata": meta}


def yaml_lines(found: Mapping[str, Any]) -> list[Line]:
    """The object as YAML."""
    text: str = yaml.safe_dump(without_noise(found), sort_keys=False, allow_unicode=True, width=4096)
    return [Line(line) for line in text.splitlines()]


def described(found: Mapping[str, Any], events: list[Event], now: float) -> list[Line]:
    """The object as `Title: value` lines, then its events."""
    meta = found.get("metadata") or {}
    lines = [Line(f"{'Name:':<14}{meta.get('name', '')}", tone=Tone.STRONG)]
    lines += [Line(f"{title + ':':<14}{meta[key]}") for title, key in (("Namespace", "namespace"), ("Created", "creationTimestamp")) if meta.get(key)]
    for title in ("labels", "annotations"):
        lines += list(_block(title.capitalize(), meta.get(title) or {}, 0))
    for title in ("spec", "status"):
        lines += [Line(""), *_block(title.capitalize(), found.get(title) or {}, 0)]
    lines += [Line(""), Line("Events", tone=Tone.INFO)]
    for event in events:
        when = age(now - event.at) if event.at else "?"
        lines.append(Line(f"  {when:>7}  {event.reason:<22} {event.message}", tone=Tone.PLAIN if event.type == "Normal" else Tone.WARN))
    return lines if events else [*lines, Line("  none", tone=Tone.MUTED)]


def _block(title: str, value: Any, depth: int) -> Iterator[Line]:
    pad = "  " * depth
    tone = Tone.INFO if depth == 0 else Tone.PLAIN
    if isinstance(value, Mapping):
        yield Line(f"{pad}{title}", tone=tone)
        for key, inner in value.items():
            yield from _block(str(key), inner, depth + 1)
    elif isinstance(value, list):
        yield Line(f"{pad}{title}", tone=tone)
        for inner in value:
            yield from _block("-", inner, depth + 1) if isinstance(inner, (Mapping, list)) else iter([Line(f"{pad}  - {inner}")])
    else:
        first, *rest = str(value).splitlines() or [""]
        yield Line(f"{pad}{title}: {first}" if title != "-" else f"{pad}- {first}", tone=tone)
        yield from (Line(f"{pad}    {line}") for line in rest)
