"""argv -> one action -> stdout and an exit code. stdout is data, stderr is narration; with -o json exactly one object, whatever happened."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence

from actions.core import Action, Result, Risk, all_actions, params_of, parse
from cockpit import __version__, flags, output
from cockpit.errors import BadInput, CockpitError, Interrupted, Refused, VerdictBad
from cockpit.narration import say

WHOLE = ("json", "yaml")
"""Formats that print one object also when the action failed."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; returns its exit code. Ends quietly when the reader of stdout has gone."""
    for stream in (sys.stdout, sys.stderr):
        if hasattr(stream, "reconfigure"):
            stream.reconfigure(errors="backslashreplace")
    try:
        return Run(list(sys.argv[1:] if argv is None else argv)).run()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


class Run:
    """One command line, from its words to its answer."""

    def __init__(self, words: Sequence[str]) -> None:
        self.words = words
        self.output = flags.peek(words, "-o", "--output") or ""
        self.action: Action | None = None
        self.result = Result(action=flags.peek(words, "--action"))
        self.answered = False
        self.applied = False

    def run(self) -> int:
        """The exit code; a failure is told in the format asked for, and so is a defect of ours before its traceback."""
        code = None
        try:
            asked = flags.read(self.words)
            self.output, self.action = asked.output, asked.action
            code = self._answer(asked)
        except KeyboardInterrupt:
            code = self._fail(Interrupted("interrupted", "what was applied stays applied"))
        except CockpitError as error:
            code = self._fail(error)
        finally:
            if code is None:
                self._fail(CockpitError("the cockpit broke off; its traceback is on stderr"), told=False)
            self._print_result()
        return code

    def _fail(self, error: CockpitError, told: bool = True) -> int:
        applied = getattr(error, "result", None)
        if isinstance(applied, Result):
            self.result.changes, self.result.journal_id = applied.changes, applied.journal_id
            self.applied = bool(applied.changes)
        self.applied = self.applied or isinstance(error, VerdictBad)
        self.result.ok, self.result.error = False, error.to_dict()
        if told:
            say(f"error: {error.message}")
            for line in error.hint.splitlines():
                say(f"  {line}")
        return error.exit_code

    def _print_result(self) -> None:
        if not self.answered and (self.output in WHOLE or self.result.error is None or self.applied):
            columns = self.action.columns if self.action else ()
            self._print(output.render(self.result, self.output, columns, indent=sys.stdout.isatty()))

    def _print(self, text: str) -> None:
        self.answered = True
        sys.stdout.write(text + "\n" if text else "")
        sys.stdout.flush()

    def _answer(self, asked: flags.Asked) -> int:
        if asked.help:
            self._print(flags.usage(asked.action).rstrip("\n"))
        elif asked.version:
            self._print(f"cockpit {__version__}")
        elif asked.list_actions or asked.describe:
            self._describe(asked.action)
        elif asked.action is None:
            raise BadInput("nothing to do", "cockpit --actions lists the actions, cockpit --help the flags")
        else:
            self._act(asked, asked.action)
        return 0

    def _describe(self, action: Action | None) -> None:
        shown = [one.describe() for one in ([action] if action else all_actions())]
        self.result.result = shown[0] if action else shown
        if self.output == "name":
            self._print("\n".join(one["name"] for one in shown))
        elif self.output in ("", "table", "wide"):
            self._print(output.described(shown[0]) if action else output.listed(shown))

    def _act(self, asked: flags.Asked, action: Action) -> None:
        if asked.readonly and action.risk is not Risk.READ:
            raise Refused(f"{action.name} changes the cluster, and --readonly was given", "leave --readonly out to allow it")
        self.result.dry_run = asked.dry_run
        given = dict(asked.given)
        spaced = any(one.name == "namespace" for one in params_of(action.params))
        if spaced and asked.namespace:
            given["namespace"] = asked.namespace
        parse(action.params, given)

        from cockpit.calls import Call, run
        from cockpit.worlds import outside

        with outside(asked, action) as world:
            if spaced and action.risk is not Risk.READ:
                given.setdefault("namespace", world.namespace)
            call = Call(asked, action, parse(action.params, given), world, self.result)
            try:
                run(call)
            finally:
                self.answered = call.streamed
                self.result.cluster, self.result.simulated = world.name, world.simulated
