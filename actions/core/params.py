"""One declaration of a parameter, from which come the command-line flag, the form field, `--describe` and the docs."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from cockpit.errors import BadInput


@dataclass(frozen=True)
class Param:
    """A parameter as the front ends see it; `kind` is str | int | float | bool | list, `picks` names the rows a form offers (nodes, jobs, ...).

    `rest` takes the words after `--` of a command line, quoted as a shell would read them.
    `short` is the one letter of a flag people know from other tools: f for -f.
    """

    name: str
    kind: str
    help: str
    default: Any
    required: bool
    choices: tuple[str, ...] = ()
    picks: str = ""
    minimum: float | None = None
    rest: bool = False
    short: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The parameter as `--describe -o json` prints it."""
        return {
            "name": self.name,
            "flag": "--" + self.name.replace("_", "-"),
            "short": f"-{self.short}" if self.short else None,
            "type": self.kind,
            "help": self.help,
            "required": self.required,
            "default": None if self.required else self.default,
            "choices": list(self.choices),
            "picks": self.picks,
        }


def param(
    help: str,
    default: Any = dataclasses.MISSING,
    *,
    choices: Sequence[str | int] = (),
    picks: str = "",
    minimum: float | None = None,
    rest: bool = False,
    short: str = "",
) -> Any:
    """A dataclass field that is also a parameter; without a default it is required."""
    metadata = {"help": help, "choices": tuple(str(one) for one in choices), "picks": picks, "minimum": minimum, "rest": rest, "short": short}
    return dataclasses.field(default=default, metadata=metadata)


def params_of(cls: type) -> tuple[Param, ...]:
    """The parameters of a params dataclass, in order."""
    hints = typing.get_type_hints(cls)
    return tuple(_to_param(field, hints[field.name]) for field in dataclasses.fields(cls))


def parse(cls: type, given: Mapping[str, Any]) -> Any:
    """An instance of `cls` from text or typed values; BadInput names the parameter, what is wrong and the nearest valid choice."""
    known = {one.name: one for one in params_of(cls)}
    values: dict[str, Any] = {}
    for name, value in given.items():
        key = name.replace("-", "_")
        if key not in known:
            raise BadInput(f"unknown parameter --{name}", nearest(name, [one.replace("_", "-") for one in known], "--"))
        values[key] = _convert(known[key], value)
    missing = [one.name for one in known.values() if one.required and values.get(one.name) in (None, "", ())]
    if missing:
        flags = ", ".join("--" + name.replace("_", "-") for name in missing)
        raise BadInput(f"missing {flags}", known[missing[0]].help)
    return cls(**values)


def nearest(word: str, words: Sequence[str], prefix: str = "") -> str:
    """A hint naming the closest valid word, or all of them when they are few."""
    import difflib

    close = difflib.get_close_matches(word, words, n=1, cutoff=0.5)
    if close:
        return f"did you mean {prefix}{close[0]}?"
    return "valid: " + ", ".join(prefix + one for one in words) if words else "it takes none"


def _to_param(field: dataclasses.Field[Any], hint: Any) -> Param:
    required = field.default is dataclasses.MISSING and field.default_factory is dataclasses.MISSING
    meta = field.metadata
    default = None if required else field.default
    return Param(
        field.name, _kind(hint), meta["help"], default, required, meta["choices"], meta["picks"], meta["minimum"], meta["rest"], meta["short"]
    )


def _kind(hint: Any) -> str:
    options = [one for one in typing.get_args(hint) if one is not types.NoneType] if _is_union(hint) else [hint]
    origin = typing.get_origin(options[0])
    return "list" if origin is tuple else options[0].__name__


def _is_union(hint: Any) -> bool:
    return typing.get_origin(hint) in (typing.Union, types.UnionType)


def _convert(one: Param, value: Any) -> Any:
    if value is None or (value == "" and one.kind != "str"):
        return one.default
    if one.kind == "list":
        return _to_list(one, value)
    converted = _to_bool(one, value) if one.kind == "bool" else _to_number(one, value) if one.kind in ("int", "float") else str(value)
    _check(one, converted)
    return converted


def _to_list(one: Param, value: Any) -> tuple[str, ...]:
    parts = value.split(",") if isinstance(value, str) else list(value)
    found = tuple(str(part).strip() for part in parts if str(part).strip())
    for part in found:
        _check(one, part)
    return found


def _to_bool(one: Param, value: Any) -> bool:
    words = {"true": True, "yes": True, "1": True, "false": False, "no": False, "0": False}
    if isinstance(value, bool):
        return value
    if str(value).lower() not in words:
        raise BadInput(f"--{one.name.replace('_', '-')} is {value!r}", "it takes true or false")
    return words[str(value).lower()]


def _to_number(one: Param, value: Any) -> float | int:
    try:
        return int(str(value)) if one.kind == "int" else float(str(value))
    except ValueError as problem:
        noun = "a whole number" if one.kind == "int" else "a number"
        raise BadInput(f"--{one.name.replace('_', '-')} is {value!r}", f"it takes {noun}") from problem


def _check(one: Param, value: Any) -> None:
    flag = "--" + one.name.replace("_", "-")
    if one.choices and str(value) not in one.choices and value != one.default:
        raise BadInput(f"{flag} is {value!r}", nearest(str(value), one.choices))
    if one.minimum is not None and isinstance(value, (int, float)) and value < one.minimum:
        raise BadInput(f"{flag} is {value}", f"the least is {one.minimum:g}")
