"""Where `:` goes: words for panes and views. Everything else typed there is the name of an action."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping

from cockpit.errors import BadInput
from cockpit.tui.checkpoints import Checkpoints
from cockpit.tui.cluster import Nodes, Pods
from cockpit.tui.devices import Devices
from cockpit.tui.efa import Efa
from cockpit.tui.gpus import Gpus
from cockpit.tui.jobs import Jobs
from cockpit.tui.nodepools import Claims, NodePools
from cockpit.tui.resources import Events, Queues
from cockpit.tui.views import View

PANES: tuple[type[View], ...] = (Nodes, NodePools, Jobs, Gpus, Efa)
PANE_WORDS: Mapping[str, str] = {
    "no": "cluster",
    "node": "cluster",
    "nodes": "cluster",
    "cluster": "cluster",
    "np": "nodepools",
    "nodepool": "nodepools",
    "nodepools": "nodepools",
    "job": "jobs",
    "jobs": "jobs",
    "gpu": "gpus",
    "gpus": "gpus",
    "efa": "efa",
}
VIEW_WORDS: Mapping[str, Callable[[], View]] = {
    "nc": Claims,
    "nodeclaims": Claims,
    "po": Pods,
    "pod": Pods,
    "pods": Pods,
    "ckpt": Checkpoints,
    "checkpoints": Checkpoints,
    "dev": Devices,
    "devices": Devices,
    "ev": Events,
    "events": Events,
    "queue": Queues,
    "queues": Queues,
}
APP_WORDS: Mapping[str, str] = {"q": "quit", "quit": "quit", "help": "help", "h": "help", "ns": "namespaces", "ctx": "contexts", "history": "history"}


def words(actions: list[str]) -> list[str]:
    """Everything that completes after `:`, short words first."""
    return sorted({*PANE_WORDS, *VIEW_WORDS, *APP_WORDS, *actions}, key=lambda word: (len(word), word))


def split(text: str) -> tuple[str, list[str]]:
    """A command line as its word and the rest."""
    try:
        parts = shlex.split(text)
    except ValueError as problem:
        raise BadInput(f"cannot read the command: {problem}", "close the quote") from problem
    return (parts[0], parts[1:]) if parts else ("", [])


def pairs(rest: list[str]) -> dict[str, str]:
    """`--name value`, `--name=value` and `name=value` as parameter values; a bare flag is true."""
    values: dict[str, str] = {}
    waiting = ""
    for part in rest:
        name, equals, value = part.partition("=")
        if part.startswith("--") or equals:
            if waiting:
                values[waiting] = "true"
            waiting = name.removeprefix("--").replace("-", "_")
            if equals:
                values[waiting], waiting = value, ""
        elif waiting:
            values[waiting], waiting = part, ""
        else:
            raise BadInput(f"{part!r} stands alone", "write --name value")
    if waiting:
        values[waiting] = "true"
    return values
