"""The rank that failed first, by torchrun's root cause and the program's own last line; where no log was read, by the pod's exit code."""

from __future__ import annotations

import signal

from cockpit.diagnosis.cases import Case, Cause
from cockpit.model import LastWords, Pod

REFUSED, NOT_FINITE, PEER_LOST, ASKED_TO_STOP = 2, 3, 4, frozenset({130, 143, -2, -15})
"""Exit codes of the training programs, which torchrun passes on for each rank."""


def cause(case: Case) -> Cause | None:
    """What ended the rank that took the others along."""
    starved = next((pod for pod in case.pods if "OOMKilled" in pod.message or pod.state == "OOMKilled"), None)
    if starved is not None:
        return Cause("out-of-memory", f"{case.ranks_of([starved.key.name])} ran out of memory{_at(case)} (OOMKilled)", (starved.message,))
    told = [one for one in case.words if one.exit_code is not None or one.event]
    if told:
        return _by_words(case, min(told, key=_weight))
    failed = next((pod for pod in sorted(case.pods, key=lambda pod: pod.ended or float("inf")) if pod.exit_code), None)
    return _by_code(case, failed) if failed is not None else None


def _weight(words: LastWords) -> int:
    """A lost peer is never the cause, a stop that was asked for seldom; among equals the first to end is taken."""
    return 2 if words.exit_code == PEER_LOST else 1 if _code(words) in ASKED_TO_STOP else 0


def _code(words: LastWords) -> int | None:
    return words.exit_code if words.exit_code is not None else words.code


def _by_words(case: Case, words: LastWords) -> Cause:
    code, who = _code(words), f"rank {words.rank}" if words.rank is not None else case.ranks_of([words.pod.name])
    said = words.reason or words.error
    evidence = (f"{words.pod.name}: {who} ended with {code}", *([said] if said else []))
    if code == NOT_FINITE:
        return Cause("loss-not-finite", said or f"the loss is not finite{_at(case)}", evidence)
    if code == REFUSED:
        return Cause("refused", f"the program refused to start: {said}" if said else "the program refused its flags", evidence)
    if code == PEER_LOST:
        return Cause("peer-lost", f"{who} lost a peer{_at(case)} whose end was not seen", evidence)
    if code in ASKED_TO_STOP:
        saved = f" and saved step {words.checkpoint}" if words.checkpoint is not None else ""
        return Cause("stopped", f"{who} was asked to stop{_at(case)}{saved}", evidence)
    if code is not None and (number := -code if code < 0 else code - 128 if 128 < code < 160 else 0):
        return Cause("rank-killed", f"{who} was killed ({signal_name(number)}){_at(case)}", evidence)
    return Cause("rank-failed", f"{who} failed{_at(case)}" + (f": {said}" if said else f" with exit code {code}"), evidence)


def _by_code(case: Case, pod: Pod) -> Cause:
    code = pod.exit_code or 0
    if 128 < code < 160:
        return Cause("rank-killed", f"{case.ranks_of([pod.key.name])} was killed ({signal_name(code - 128)}){_at(case)}", (pod.message,))
    return Cause("rank-failed", f"{pod.key.name} ended with exit code {code}{_at(case)}", (pod.message,))


def end_in_words(words: LastWords) -> str:
    """How the rank that failed first in one pod ended, in few words; empty when its log does not say."""
    code, who = _code(words), "" if words.rank is None else f"rank {words.rank}: "
    if code is None:
        return words.reason or words.error
    if code == PEER_LOST:
        return f"{who}lost a peer"
    number = -code if code < 0 else code - 128 if 128 < code < 160 else 0
    ended = signal_name(number) if number else f"exit code {code}"
    said = words.reason or words.error
    return f"{who}{ended}" + (f": {said}" if said else "")


def _at(case: Case) -> str:
    return "" if case.step is None else f" at step {case.step}"


def signal_name(number: int) -> str:
    """SIGKILL; the number where it has no name."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"
