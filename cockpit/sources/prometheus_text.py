"""The text that exporters print, read quickly: only the wanted series, and nothing trusted."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

LABEL = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"')
ESCAPED = re.compile(r"\\(.)")
BLANK = 1e18
LINE_CHARS = 4096


class Sample(NamedTuple):
    """One series and its value now."""

    name: str
    labels: Mapping[str, str]
    value: float


def samples(text: bytes, wanted: Callable[[str], bool]) -> Iterator[Sample]:
    """The samples whose name is wanted; what is malformed, NaN or one of DCGM's blank values is left out."""
    for line in text.decode("utf-8", "replace").split("\n"):
        if not line or line[0] == "#" or len(line) > LINE_CHARS:
            continue
        brace = line.find("{")
        name = line[:brace] if brace > 0 else line.split(" ", 1)[0]
        if not wanted(name):
            continue
        end = line.rfind("}") if brace > 0 else len(name) - 1
        value = _number(line[end + 1 :])
        if value is not None:
            yield Sample(name, labels(line[brace + 1 : end]) if brace > 0 else {}, value)


def labels(text: str) -> dict[str, str]:
    """The labels between the braces."""
    return {name: ESCAPED.sub(_unescaped, value) if "\\" in value else value for name, value in LABEL.findall(text)}


def _unescaped(match: re.Match[str]) -> str:
    return "\n" if match[1] == "n" else match[1]


def _number(text: str) -> float | None:
    """The value, which a timestamp may follow."""
    words = text.split()
    try:
        value = float(words[0]) if words else math.nan
    except ValueError:
        return None
    return value if math.isfinite(value) and abs(value) < BLANK else None


def simulated(text: bytes) -> bool:
    """True when the first line says that all of it is invented."""
    return b"SIMULATED" in text[:400].split(b"\n", 1)[0]
