"""From the command line to the screen: a skeleton is painted before the imports that take long."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from cockpit import flags
from cockpit.errors import BadInput, CockpitError
from cockpit.narration import say


def open_screen(words: Sequence[str]) -> int:
    """Open the cockpit on a terminal; its exit code. Without a terminal it says what to type instead."""
    try:
        asked = flags.read(words)
        if not all(stream.isatty() for stream in (sys.stdin, sys.stdout, sys.stderr)):
            raise BadInput(
                "the screen needs a terminal for input, output and errors", "without one: cockpit --action NAME -o json; cockpit --actions lists them"
            )
    except CockpitError as error:
        say(f"error: {error.message}")
        if error.hint:
            say(f"  {error.hint}")
        return error.exit_code
    from cockpit.tui.skeleton import paint

    paint()
    from cockpit.session import Options
    from cockpit.tui.app import run

    return run(
        Options(
            kubeconfig=asked.kubeconfig,
            context=asked.context,
            namespace=asked.namespace,
            impersonate=asked.impersonate,
            readonly=asked.readonly,
            sim=asked.sim,
        )
    )
