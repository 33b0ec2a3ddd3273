"""What an action's records become without a screen: a table's rows, or lines as they come; notes are warnings, and a bad answer is a verdict."""

from __future__ import annotations

import sys
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from cockpit import output
from cockpit.errors import TimedOut, VerdictBad
from cockpit.inert import inert
from cockpit.narration import say
from cockpit.snapshot import Snapshot

if TYPE_CHECKING:
    from cockpit.calls import Call

LINE_CHARS = 1 << 20


def tabulate(call: Call, picture: Snapshot) -> None:
    """The records as the result, those of a broken-off reading too; running out of time ends the reading."""
    found: list[Mapping[str, Any]] = []
    call.result.result = found
    with in_time(call) as stop:
        assert call.action.records is not None
        for record in call.action.records(call.world.clients, picture, call.params, stop):
            if "note" in record:
                warn(call, record["note"])
            else:
                found.append(record)


def pour(call: Call, picture: Snapshot) -> None:
    """Records as they come: lines for a person, JSON lines, or all of them in one object."""
    kept: list[Mapping[str, Any]] | None = [] if call.asked.output in ("json", "yaml") else None
    call.streamed, call.result.result = kept is None, kept
    with in_time(call) as stop:
        assert call.action.records is not None
        for record in call.action.records(call.world.clients, picture, call.params, stop):
            if "note" in record:
                warn(call, record["note"])
            elif kept is not None:
                kept.append(record)
                _find(call, record)
            else:
                show(call, record)


@contextmanager
def in_time(call: Call) -> Iterator[threading.Event]:
    """An event that is set when the time allowed is over; TimedOut afterwards."""
    stop, late = threading.Event(), threading.Event()
    timer = alarm(call.left(), late, stop)
    try:
        yield stop
    finally:
        if timer is not None:
            timer.cancel()
    if late.is_set():
        raise TimedOut(f"{call.action.name} went on after {call.asked.timeout_seconds:g} s", "raise --timeout, or leave it out")


def alarm(seconds: float | None, late: threading.Event, stop: threading.Event) -> threading.Timer | None:
    """Sets `late` and then `stop` when the time allowed is over; None when nothing limits it."""
    if seconds is None:
        return None

    def ring() -> None:
        late.set()
        stop.set()

    timer = threading.Timer(max(0.0, seconds), ring)
    timer.daemon = True
    timer.start()
    return timer


def judge(call: Call) -> None:
    """VerdictBad when what the records say is bad."""
    why = call.action.verdict(call.result.result or ()) if call.action.verdict is not None else ""
    if why:
        raise VerdictBad(why)


def _find(call: Call, record: Mapping[str, Any]) -> None:
    """Keep what a record finds wrong where scripts look for it in every answer."""
    found = call.action.finding(record) if call.action.finding is not None else None
    if found is not None:
        call.result.findings.append(found)


def show(call: Call, record: Mapping[str, Any]) -> None:
    """One record on stdout."""
    if call.asked.output == "jsonl" or call.action.line is None:
        line = output.to_json(record)
    elif call.action.pipes(call.params):
        _pipe(call.action.line(record, call.params), record)
        return
    else:
        line = inert(call.action.line(record, call.params).expandtabs(4), LINE_CHARS)
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


def _pipe(line: str, record: Mapping[str, Any]) -> None:
    """A file goes to stdout as it is, and on a terminal with nothing in it that acts there; what is said about it to stderr."""
    text = record.get("text")
    if text is None:
        say(line)
    elif sys.stdout.isatty():
        sys.stdout.write("".join(inert(one, LINE_CHARS) + "\n" for one in str(text).splitlines()))
    else:
        sys.stdout.write(str(text))


def warn(call: Call, text: str) -> None:
    """Say a warning, and keep it for the answer."""
    call.result.warnings.append(text)
    say(f"warning: {text}")
