"""What scripts and people read on stdout: json, jsonl, yaml, table, wide and name; the one place besides the screen that formats numbers.

JSON and YAML are lossless: what could act on a terminal is escaped by the format itself. Everything else passes through `inert`.
"""

from __future__ import annotations

import json
import math
import unicodedata
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from cockpit.inert import inert

if TYPE_CHECKING:
    from actions.core import Column, Result

FORMATS = ("json", "jsonl", "yaml", "table", "wide", "name")
ITEMS_SHOWN = 4


def render(result: Result, output: str, columns: Sequence[Column] = (), indent: bool = False) -> str:
    """The whole answer in one format, without its last newline; `output` is one of FORMATS or empty for the text a person reads."""
    if output == "json":
        return to_json(result.to_dict(), indent=2 if indent else None)
    if output == "yaml":
        return to_yaml(result.to_dict())
    if output == "jsonl":
        rows = result.result if isinstance(result.result, list) else [result.to_dict()]
        return "\n".join(to_json(row) for row in rows)
    if output == "name":
        return "\n".join(names_of(result))
    if columns and isinstance(result.result, list):
        return table(columns, result.result, wide=output == "wide")
    return "\n".join(text_of(result))


def to_json(value: Any, indent: int | None = None) -> str:
    """ASCII JSON; what JSON cannot say (NaN, infinity) is null."""
    return (None if indent else _plain_json(value)) or _escaped_json(value, indent)


def _plain_json(value: Any) -> str | None:
    """Compact JSON by the fast encoder; None when something in it needs what only the slow one does: escapes, huge numbers, odd keys."""
    import msgspec  # what asks for help needs none of it

    try:
        text = msgspec.json.encode(value, enc_hook=str)
    except (TypeError, ValueError, OverflowError, RecursionError):
        return None
    return text.decode() if text.isascii() and b"\x7f" not in text else None


def _escaped_json(value: Any, indent: int | None) -> str:
    separators = None if indent else (",", ":")
    try:
        return json.dumps(value, separators=separators, indent=indent, default=str, allow_nan=False)
    except ValueError:
        return json.dumps(_finite(value), separators=separators, indent=indent, default=str)


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(one) for key, one in value.items()}
    return [_finite(one) for one in value] if isinstance(value, list | tuple) else value


def to_yaml(value: Any) -> str:
    """The same object as YAML."""
    import yaml

    return yaml.safe_dump(json.loads(to_json(value)), sort_keys=False, allow_unicode=False, width=160).rstrip("\n")


def names_of(result: Result) -> list[str]:
    """`kind/name` of every record, or of every object changed."""
    rows = result.result if isinstance(result.result, list) else [change["object"] for change in result.changes]
    return [inert(f"{str(row.get('kind') or 'object').lower()}/{row.get('name')}") for row in rows if isinstance(row, Mapping)]


def text_of(result: Result) -> list[str]:
    """What was done, for a person: a line a change, then the result field by field."""
    done = " (dry run)" if result.dry_run else ""
    lines = [inert(change["summary"]) + done for change in result.changes]
    if isinstance(result.result, Mapping) and set(result.result) == {"already"}:
        lines.append(inert(str(result.result["already"])))
    elif isinstance(result.result, Mapping):
        width = max((len(key) for key in result.result), default=0)
        lines += [f"{key:<{width}}  {cell(key, value)}" for key, value in result.result.items()]
    elif isinstance(result.result, list):
        lines += [cell("", row) for row in result.result]
    elif result.result is not None:
        lines.append(cell("", result.result))
    return lines


def table(columns: Sequence[Column], rows: Iterable[Mapping[str, Any]], wide: bool = False) -> str:
    """Aligned columns under their titles; numbers to the right, unknown as `-`."""
    shown = [column for column in columns if wide or not column.wide]
    lines = [[column.title for column in shown]]
    lines += [[cell(column.key, row.get(column.key)) for column in shown] for row in rows]
    widths = [max(width_of(line[index]) for line in lines) for index in range(len(shown))]
    return "\n".join(_row(line, shown, widths) for line in lines)


def _row(cells: Sequence[str], columns: Sequence[Column], widths: Sequence[int]) -> str:
    padded = []
    for text, column, width in zip(cells, columns, widths, strict=True):
        gap = " " * (width - width_of(text))
        padded.append(gap + text if column.right else text + gap)
    return "  ".join(padded).rstrip()


def width_of(text: str) -> int:
    """Terminal columns the text takes."""
    if text.isascii():
        return len(text)
    return sum(0 if unicodedata.combining(char) else 2 if unicodedata.east_asian_width(char) in "WF" else 1 for char in text)


def cell(key: str, value: Any) -> str:
    """One value as a person reads it; its unit is in the key's name."""
    if value is None or value == "":
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return number(key, value)
    if isinstance(value, list | tuple):
        more = f" +{len(value) - ITEMS_SHOWN}" if len(value) > ITEMS_SHOWN else ""
        return ", ".join(cell("", one) for one in value[:ITEMS_SHOWN]) + more if value else "-"
    if isinstance(value, Mapping):
        return inert(to_json(value))
    return inert(str(value))


def number(key: str, value: float) -> str:
    """A number with the unit its key names."""
    if not math.isfinite(value):
        return str(value)
    for ending, shown in UNITS:
        if key.endswith(ending):
            return shown(value)
    return str(value) if isinstance(value, int) else f"{value:.0f}" if value.is_integer() else f"{value:.4g}"


def bytes_text(value: float) -> str:
    """1536 -> 1.5 KiB."""
    return _scaled(value, 1024.0, ("B", "KiB", "MiB", "GiB", "TiB", "PiB"))


def rate_text(value: float) -> str:
    """Bits a second: 47100000000 -> 47.1 Gbps."""
    return _scaled(value, 1000.0, ("bps", "Kbps", "Mbps", "Gbps", "Tbps"))


def _scaled(value: float, step: float, units: Sequence[str]) -> str:
    for unit in units[:-1]:
        if abs(value) < step:
            return f"{value:.0f} {unit}" if unit == units[0] else f"{value:.1f} {unit}"
        value /= step
    return f"{value:.1f} {units[-1]}"


def span_text(seconds: float) -> str:
    """A length of time in its two largest units: 3725 -> 1h2m."""
    if seconds < 10:
        return f"{seconds:.1f}s"
    if seconds < 120:
        return f"{seconds:.0f}s"
    minutes, hours, days = seconds / 60, seconds / 3600, seconds / 86400
    if minutes < 60:
        return f"{int(minutes)}m{int(seconds % 60)}s" if minutes < 10 else f"{int(minutes)}m"
    if hours < 48:
        return f"{int(hours)}h{int(minutes % 60)}m" if hours < 10 else f"{int(hours)}h"
    return f"{int(days)}d"


UNITS: tuple[tuple[str, Callable[[float], str]], ...] = (
    ("_bytes", bytes_text),
    ("tokens_per_second", lambda value: f"{value:.0f}"),
    ("bits_per_second", rate_text),
    ("dollars_per_hour", lambda value: f"${value:,.2f}"),
    ("seconds", span_text),
    ("_percent", lambda value: f"{value:.0f} %"),
    ("_ratio", lambda value: f"{value * 100:.0f} %" if value >= 0.1 or value == 0 else f"{value * 100:.2f} %"),
    ("_celsius", lambda value: f"{value:.0f} °C"),
    ("_watts", lambda value: f"{value:.0f} W"),
    ("_mhz", lambda value: f"{value:.0f} MHz"),
)


def listed(actions: Sequence[Mapping[str, Any]]) -> str:
    """Every action on a line, for --actions."""
    rows = [(one["name"], one["key"] or "-", one["risk"], one["doc"] or one["title"]) for one in actions]
    widths = [max(len(row[index]) for row in rows) for index in range(3)]
    return "\n".join("  ".join([*(text.ljust(width) for text, width in zip(row, widths, strict=False)), row[3]]) for row in rows)


def described(action: Mapping[str, Any]) -> str:
    """One action with its parameters, for --describe."""
    lines = [f"{action['name']}: {action['doc'] or action['title']}", f"key {action['key'] or '-'}, risk {action['risk']}", ""]
    flags = [f"{one['flag']} {one['type']}" for one in action["params"]]
    width = max((len(flag) for flag in flags), default=0)
    for flag, one in zip(flags, action["params"], strict=True):
        choices = f" [{', '.join(one['choices'])}]" if one["choices"] else ""
        default = "required" if one["required"] else f"default {cell('', one['default'])}"
        lines.append(f"  {flag:<{width}}  {one['help']}{choices} ({default})")
    return "\n".join(lines)
