"""Programs through the shell client: lines as they come, failures in the program's words, never a shell in between."""

from __future__ import annotations

import sys

import pytest

from cockpit.clients.shell import Shell
from cockpit.errors import ActionFailed, NotFound, TimedOut


def test_lines_come_as_they_are_printed_and_stdout_is_returned() -> None:
    lines: list[str] = []
    out = Shell().run([sys.executable, "-c", "import sys; print('one'); print('two'); print('aside', file=sys.stderr)"], on_line=lines.append)
    assert out == "one\ntwo\n"
    assert sorted(lines) == ["aside", "one", "two"]


def test_arguments_reach_the_program_untouched() -> None:
    odd = "$(id); `x` 'y' \"z\" *"
    assert Shell().run([sys.executable, "-c", "import sys; print(sys.argv[1])", odd]) == odd + "\n"


def test_the_program_has_no_terminal_and_our_environment_with_additions() -> None:
    code = "import os, sys; print(sys.stdin.read() == '', os.isatty(0), os.isatty(1), os.environ['A'], os.environ['B'], bool(os.environ.get('PATH')))"
    assert Shell({"A": "1"}).run([sys.executable, "-c", code], env={"B": "2"}).split() == ["True", "False", "False", "1", "2", "True"]


def test_a_failure_is_told_in_the_programs_last_words() -> None:
    with pytest.raises(ActionFailed, match=r"sh failed \(3\): no quota"):
        Shell().run(["sh", "-c", "echo working; echo no quota >&2; exit 3"])


def test_a_missing_program_says_so() -> None:
    assert Shell.which("no-such-program-here") is None
    with pytest.raises(NotFound, match="not installed"):
        Shell().run(["no-such-program-here"])


def test_a_program_that_does_not_end_is_ended() -> None:
    with pytest.raises(TimedOut):
        Shell().run(["sleep", "30"], timeout_seconds=0.2)
