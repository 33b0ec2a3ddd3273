"""The JSONPath that printer columns use: fields, indexes, slices and simple filters."""

from __future__ import annotations

import json
import re
from functools import cache
from typing import Any

_STEP = re.compile(
    r"""\.(?P<field>[A-Za-z0-9_$-](?:[A-Za-z0-9_$/-]|\\\.)*)      # .name, .a\.b
      | \['(?P<quoted>[^']+)'\]
      | \[\?\(@(?P<path>[^=!<>]*?)\s*(?P<op>==|!=)\s*(?P<value>"[^"]*"|'[^']*'|[^)\s]+)\s*\)\]
      | \[(?P<star>\*)\] | (?P<dotstar>\.\*)
      | \[(?P<low>-?\d*):(?P<high>-?\d*)\]
      | \[(?P<index>-?\d+)\]""",
    re.VERBOSE,
)
Step = tuple[str, Any]


@cache
def _steps(path: str) -> tuple[Step, ...] | None:
    path = path.strip().removeprefix("{").removesuffix("}")
    path = path if path.startswith((".", "[")) else f".{path}"
    steps: list[Step] = []
    position = 0
    while position < len(path):
        found = _STEP.match(path, position)
        if not found:
            return None
        steps.append(_step(found.groupdict()))
        position = found.end()
    return tuple(steps)


def _step(parts: dict[str, str | None]) -> Step:
    if parts["field"] is not None:
        return ("field", parts["field"].replace("\\.", "."))
    if parts["quoted"] is not None:
        return ("field", parts["quoted"])
    if parts["op"] is not None:
        value = str(parts["value"])
        literal = value[1:-1] if value[0] in "\"'" else _literal(value)
        return ("filter", (parts["path"] or "", parts["op"], literal))
    if parts["star"] or parts["dotstar"]:
        return ("all", None)
    if parts["index"] is not None:
        return ("index", int(parts["index"]))
    return ("slice", tuple(int(one) if one else None for one in (parts["low"], parts["high"])))


def _literal(text: str) -> Any:
    try:
        return json.loads(text)
    except ValueError:
        return text


def find(path: str, value: Any) -> list[Any]:
    """Every value the path leads to; [] for none and for a path this subset cannot read."""
    steps = _steps(path)
    values = [value] if steps is not None else []
    for word, argument in steps or ():
        values = [found for one in values for found in _follow(word, argument, one)]
    return values


def _follow(word: str, argument: Any, value: Any) -> list[Any]:
    if word == "field":
        return [value[argument]] if isinstance(value, dict) and argument in value else []
    if word == "all" and isinstance(value, dict):
        return list(value.values())
    if not isinstance(value, list):
        return []
    if word == "index":
        return value[argument : argument + 1] if argument != -1 else value[-1:]
    if word == "slice":
        return value[slice(*argument)]
    if word == "filter":
        path, operator, wanted = argument
        return [item for item in value if ((find(path, item) or [None])[0] == wanted) is (operator == "==")]
    return list(value)
