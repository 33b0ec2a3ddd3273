"""A pod's status in one word, as kubectl prints it, and in one sentence: what holds it or what ended it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from cockpit.sources.raw import RawCondition


class RawWaiting(msgspec.Struct, gc=False):
    reason: str | None = None
    message: str | None = None


class RawRunning(msgspec.Struct, rename="camel", gc=False):
    started_at: str | None = None


class RawTerminated(msgspec.Struct, rename="camel", gc=False):
    exit_code: int | None = None
    signal: int | None = None
    reason: str | None = None
    message: str | None = None
    finished_at: str | None = None


class RawContainerState(msgspec.Struct):
    waiting: RawWaiting | None = None
    running: RawRunning | None = None
    terminated: RawTerminated | None = None


class RawContainerStatus(msgspec.Struct, rename="camel"):
    name: str | None = None
    ready: bool | None = None
    started: bool | None = None
    restart_count: int | None = None
    state: RawContainerState | None = None
    last_state: RawContainerState | None = None

    def end(self) -> RawTerminated | None:
        """How it ended, if it is over."""
        return self.state.terminated if self.state else None

    def last_end(self) -> RawTerminated | None:
        """How it ended now, or the time before."""
        return self.end() or (self.last_state.terminated if self.last_state else None)

    def waits(self) -> RawWaiting | None:
        """What it waits for."""
        return self.state.waiting if self.state else None


class RawPodStatus(msgspec.Struct, rename="camel"):
    phase: str | None = None
    reason: str | None = None
    message: str | None = None
    pod_ip: str | None = msgspec.field(default=None, name="podIP")
    start_time: str | None = None
    nominated_node_name: str | None = None
    conditions: list[RawCondition | None] | None = None
    container_statuses: list[RawContainerStatus | None] | None = None
    init_container_statuses: list[RawContainerStatus | None] | None = None


def state_of(status: RawPodStatus, sidecars: Sequence[bool], deleting: bool) -> str:
    """The STATUS column of `kubectl get pods`; `sidecars` says for each init container whether it keeps running."""
    word = status.reason or status.phase or "Unknown"
    if any(one.type == "PodScheduled" and one.reason == "SchedulingGated" for one in status.conditions or () if one):
        word = "SchedulingGated"
    init = _init_word(status, sidecars)
    if init and not _condition(status, "Initialized"):
        word = init
    else:
        word = _container_word(status, word)
    if deleting:
        if status.reason == "NodeLost":
            return "Unknown"
        if status.phase not in ("Succeeded", "Failed"):
            return "Terminating"
    return word


def _init_word(status: RawPodStatus, sidecars: Sequence[bool]) -> str:
    found = [one for one in status.init_container_statuses or () if one]
    for index, one in enumerate(found):
        end, waits = one.end(), one.waits()
        if (end and end.exit_code == 0) or (index < len(sidecars) and sidecars[index] and one.started):
            continue
        if end:
            return "Init:" + (end.reason or _code(end))
        if waits and waits.reason and waits.reason != "PodInitializing":
            return f"Init:{waits.reason}"
        return f"Init:{index}/{max(len(sidecars), len(found))}"
    return ""


def _container_word(status: RawPodStatus, word: str) -> str:
    running = False
    for one in reversed([one for one in status.container_statuses or () if one]):
        end, waits = one.end(), one.waits()
        if waits and waits.reason:
            word = waits.reason
        elif end:
            word = end.reason or _code(end)
        elif one.ready and one.state and one.state.running:
            running = True
    if word == "Completed" and running:
        return "Running" if _condition(status, "Ready") else "NotReady"
    return word


def _code(end: RawTerminated) -> str:
    return f"Signal:{end.signal}" if end.signal else f"ExitCode:{end.exit_code}"


def _condition(status: RawPodStatus, type_: str, is_: str = "True") -> bool:
    return any(one.type == type_ and one.status == is_ for one in status.conditions or () if one)


def reason_of(status: RawPodStatus) -> str:
    """Why a pod is not running well: the scheduler's words, a container's, or the pod's own; empty when nothing is wrong."""
    for one in status.conditions or ():
        if one and one.type == "PodScheduled" and one.status == "False":
            return one.message or one.reason or ""
    return next(_container_reasons(status), "") or _said(status.reason, status.message)


def _container_reasons(status: RawPodStatus) -> Iterator[str]:
    for one in (*(status.init_container_statuses or ()), *(status.container_statuses or ())):
        if one is None:
            continue
        waits, end = one.waits(), one.end()
        if waits and waits.reason and waits.reason not in ("ContainerCreating", "PodInitializing"):
            last = one.last_end()
            yield _said(waits.reason, waits.message) + (f" (last: {_said(last.reason or _code(last), last.message)})" if last else "")
        elif end and (end.exit_code or end.signal):
            yield _said(end.reason or "Error", end.message or f"exit code {end.exit_code}")


def _said(reason: str | None, message: str | None) -> str:
    return ": ".join(filter(None, (reason, message)))
