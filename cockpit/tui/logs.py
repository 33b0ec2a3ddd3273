"""Records of a streaming action, read in a thread and handed to the screen in batches; what the screen cannot take is dropped and counted."""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from typing import Any

from actions.core import Action, Clients, Plan, params_of, parse
from actions.core.passing import lasting
from cockpit.errors import CockpitError
from cockpit.snapshot import Snapshot
from cockpit.tui.cells import Tone
from cockpit.tui.textlines import Line

QUEUE_LINES = 20_000
BATCH_LINES = 4_000
TAKE_BACK_SECONDS = 5.0
WINDOWS = (("tail", None), ("1m", 60), ("5m", 300), ("15m", 900), ("30m", 1800), ("1h", 3600), ("24h", 86400))
TEXT_KEYS = ("line", "note", "text", "message")
TIME_KEYS = ("time", "at", "timestamp")


def to_line(record: Mapping[str, Any], action: Action | None = None, params: Any = None) -> Line:
    """A log record as a line: its text, its time, and the rank or pod that said it; any other as its action words it."""
    text = next((str(record[key]) for key in TEXT_KEYS if record.get(key) is not None), "")
    if not text and action is not None and action.line is not None and not any(key in record for key in TEXT_KEYS):
        text = action.line(record, params)
    time = next((str(record[key]) for key in TIME_KEYS if record.get(key)), "")
    source = str(record.get("who") or record.get("pod") or "")
    return Line(text, time, source, Tone.WARN if record.get("note") else Tone.PLAIN)


@dataclass
class Feed:
    """One running stream; `drain` gives what came since, and how many lines were dropped. A `plan` is made before it and taken back after it."""

    action: Action
    clients: Clients
    snapshot: Snapshot
    values: dict[str, Any]
    plan: Plan | None = None
    stop: threading.Event = field(default_factory=threading.Event)
    done: bool = False

    def __post_init__(self) -> None:
        self._lines: deque[Line] = deque()
        self._lock = threading.Lock()
        self._dropped = 0
        self._thread = threading.Thread(target=self._read, name=f"feed {self.action.name}", daemon=True)

    def start(self) -> None:
        """Begin reading."""
        self._thread.start()

    def close(self) -> None:
        """Stop reading; the thread ends by itself."""
        self.stop.set()

    def leave(self) -> None:
        """Stop reading, and wait for what was made for it to be taken back."""
        self.stop.set()
        if self.plan is not None and self._thread.is_alive():
            self._thread.join(TAKE_BACK_SECONDS)

    def drain(self) -> tuple[list[Line], int]:
        """What came since the last drain, at most a batch."""
        with self._lock:
            taken = [self._lines.popleft() for _ in range(min(BATCH_LINES, len(self._lines)))]
            dropped, self._dropped = self._dropped, 0
        return taken, dropped

    def _read(self) -> None:
        try:
            params = parse(self.action.params, self.values)
            with self._made(params):
                for record in (self.action.records or _nothing)(self.clients, self.snapshot, params, self.stop):
                    self._put(to_line(record, self.action, params))
                    if self.stop.is_set():
                        return
            self._put(Line("— end —", tone=Tone.MUTED))
        except CockpitError as error:
            self._put(Line(f"✖ {error.message}", tone=Tone.BAD))
            if error.hint:
                self._put(Line(f"→ {error.hint}", tone=Tone.MUTED))
        finally:
            self.done = True

    def _made(self, params: Any) -> AbstractContextManager[Any]:
        if self.plan is None:
            return nullcontext()
        return lasting(self.plan, self.clients, action=self.action.name, params=params)

    def _put(self, line: Line) -> None:
        with self._lock:
            if len(self._lines) >= QUEUE_LINES:
                self._lines.popleft()
                self._dropped += 1
            self._lines.append(line)


def _nothing(*_: Any) -> list[dict[str, Any]]:
    return []


def turned(action: Action, values: Mapping[str, Any], word: str, pods: Sequence[str]) -> dict[str, Any]:
    """The values after a key: a digit sets the since-window, [ and ] go from one of the job's pods to the next; what is unknown is left alone."""
    known = {one.name: one for one in params_of(action.params)}
    changed = dict(values)
    if word.isdigit() and "since" in known:
        name, seconds = WINDOWS[int(word)]
        changed.pop("since", None)
        if seconds is not None:
            changed["since"] = name if known["since"].kind == "str" else seconds
    if word in "[]" and "pod" in known and pods:
        at = pods.index(changed["pod"]) if changed.get("pod") in pods else (-1 if word == "]" else len(pods))
        changed.pop("job", None)
        changed["pod"] = pods[(at + (1 if word == "]" else -1)) % len(pods)]
    return changed


def following(action: Action, values: Mapping[str, Any]) -> dict[str, Any]:
    """The values with following turned on, where the action knows it."""
    names = {one.name for one in params_of(action.params)}
    return {**values, **({"follow": True} if "follow" in names else {})}
