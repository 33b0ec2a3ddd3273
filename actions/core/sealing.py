"""Secret values at the one moment they are needed: read as the change is made, put into its body, and masked in what the server says of it."""

from __future__ import annotations

import base64
import binascii
import dataclasses
import os
from collections.abc import Iterable, Mapping, Sequence

from actions.core import Change, Clients
from cockpit.errors import BadInput, CockpitError

MASK = "•••"
STAND_IN = "stand-in-of-a-dry-run"
SHORTEST = 4
"""Below this a value is not masked: it would hit every word."""


def unsealed(changes: Sequence[Change], clients: Clients, dry_run: bool) -> list[Change]:
    """The changes with the data of their Secrets; BadInput before anything is made when a value cannot be had. A dry run sends a stand-in."""
    return [_unsealed(change, clients, dry_run) if change.sealed else change for change in changes]


def _unsealed(change: Change, clients: Clients, dry_run: bool) -> Change:
    values = {key: _value(change, key, source, clients, dry_run) for key, source in change.sealed.items()}
    data = {key: base64.b64encode(value.encode()).decode() for key, value in values.items()}
    return dataclasses.replace(change, body={**(change.body or {}), "data": data})


def _value(change: Change, key: str, source: str, clients: Clients, dry_run: bool) -> str:
    if source.startswith("env:"):
        name = source.removeprefix("env:")
        value = os.environ.get(name, "").strip()
        if not value:
            raise BadInput(f"the environment variable {name} is not set or is empty", f"{change.target} takes its {key} from it")
        return STAND_IN if dry_run else value
    if dry_run:
        return STAND_IN
    typed = (clients.ask(prompt_for(change, key)) or "").strip() if clients.ask is not None else ""
    if not typed:
        raise BadInput(f"no {key} was given for {change.target}", "a prompt needs a terminal; without one name an environment variable")
    return typed


def prompt_for(change: Change, key: str) -> str:
    """The question for one value."""
    return f"{key} for {change.target}:"


def hidden_in(changes: Iterable[Change]) -> tuple[str, ...]:
    """Every secret value the changes send, plain and encoded, longest first."""
    found = set()
    for change in changes:
        if change.target.kind != "Secret" or not change.body:
            continue
        for block in ("data", "stringData"):
            held = change.body.get(block)
            for value in held.values() if isinstance(held, Mapping) else ():
                found |= {str(value), _decoded(str(value))}
    return tuple(sorted((value for value in found if len(value) >= SHORTEST), key=len, reverse=True))


def _decoded(value: str) -> str:
    try:
        return base64.b64decode(value, validate=True).decode()
    except (binascii.Error, ValueError):
        return ""


def mask(error: CockpitError, hidden: Iterable[str]) -> CockpitError:
    """The error without these values in what it says."""
    for value in hidden:
        error.message, error.hint = error.message.replace(value, MASK), error.hint.replace(value, MASK)
    return error
