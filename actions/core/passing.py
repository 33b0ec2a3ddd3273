"""Changes that last only as long as somebody looks: made through the journal, and taken back in every ending.

A cockpit that is killed meanwhile leaves its entry in the journal unfinished, with what takes each change back.
"""

from __future__ import annotations

import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from actions.core import Change, Clients, Plan, Result
from actions.core.apply import ApplyFailed, begun, described
from actions.core.journal import Journal
from actions.core.performing import Performer
from actions.core.permissions import check
from cockpit.errors import ActionFailed, CockpitError, TimedOut, Unreachable

ENDS = (signal.SIGTERM, signal.SIGHUP)


@contextmanager
def lasting(
    plan: Plan,
    clients: Clients,
    *,
    action: str,
    params: Any,
    journal: Journal | None = None,
    on_done: Callable[[Change], None] = lambda change: None,
) -> Iterator[Result]:
    """The plan's changes for as long as the block lasts; then their inverses, the last first. ApplyFailed where one cannot be made."""
    check(plan)
    result = Result(action=action, warnings=list(plan.warnings))
    result.cluster, result.simulated = clients.kube.cluster, clients.kube.simulated
    book = journal or Journal()
    performer, entry = Performer(clients, book=book), begun(book, plan, clients, action, params, passing=True)
    result.journal_id = entry
    made: list[Change] = []
    with _signals_interrupt():
        try:
            for index, change in enumerate(plan.changes):
                _make(change, performer, made, result)
                book.mark(entry, index)
                on_done(change)
            yield result
        finally:
            _take_back(made, performer, entry)


def _make(change: Change, performer: Performer, made: list[Change], result: Result) -> None:
    """Make one change; one whose answer never came may have been made, one that was refused was not."""
    try:
        answer = performer.perform(change)
    except (Unreachable, TimedOut, KeyboardInterrupt):
        made.append(change)
        raise
    except CockpitError as error:
        raise ApplyFailed(error, result) from error
    made.append(change)
    result.changes.append(described(change, answer))


def _take_back(made: list[Change], performer: Performer, entry: str) -> None:
    left = []
    for change in reversed(made):
        if change.inverse is None:
            continue
        try:
            performer.perform(change.inverse)
        except CockpitError as error:
            left.append((change.inverse, error))
    if left:
        inverse, why = left[0]
        performer.book.end(entry, "failed", f"{inverse.target} may still be there: {why.message}")
        raise ActionFailed(f"{inverse.target} could not be removed: {why.message}", "; ".join(one.line for one, _ in left))
    performer.book.end(entry, "undone")


@contextmanager
def _signals_interrupt() -> Iterator[None]:
    """SIGTERM and a closed terminal end the block as ctrl-c does; only the main thread is told of signals."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: Any) -> None:
        raise KeyboardInterrupt

    before = {number: signal.signal(number, leave) for number in ENDS}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
