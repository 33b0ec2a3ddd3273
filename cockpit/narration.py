"""What a person reads while a command runs: stderr, one line at a time, never data."""

from __future__ import annotations

import sys

from cockpit.inert import inert


def say(line: str) -> None:
    """One line on stderr; a closed stderr is nobody listening."""
    try:
        print(inert(line), file=sys.stderr, flush=True)
    except (BrokenPipeError, ValueError):
        return


def ask(question: str) -> str | None:
    """What a person at the terminal answers; None when nobody can be asked or the input ends."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return None
    sys.stderr.write(inert(question) + " ")
    sys.stderr.flush()
    answer = sys.stdin.readline()
    return answer.strip() if answer else None


def ask_secret(question: str) -> str | None:
    """What a person types unseen; None when nobody can be asked, or the terminal would show it."""
    if not sys.stdin.isatty() or not sys.stderr.isatty():
        return None
    import getpass
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error", getpass.GetPassWarning)
        try:
            return getpass.getpass(inert(question) + " ", stream=sys.stderr)
        except (getpass.GetPassWarning, EOFError):
            return None
