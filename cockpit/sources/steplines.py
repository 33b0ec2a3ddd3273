"""Training log lines -> steps and losses: our own JSON lines, the Hugging Face trainer's, and the usual `Step 3 | Loss: 0.1`."""

from __future__ import annotations

import json
import math
import re
from collections import deque
from dataclasses import dataclass, field
from typing import Any

from msgspec.structs import replace

from cockpit.model import Checkpoint, CheckpointKey, JobKey, Progress, StoreKey
from cockpit.sources.raw import seconds

LINE_CHARS = 1 << 14
LOSSES_KEPT = 30
STEPS_KEPT, CHECKPOINTS_KEPT = 512, 200
NUMBER = r"([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?|nan|inf)"
STEP = re.compile(r"\b(?:step|iter(?:ation)?)\b['\"]?\s*[:=]?\s*(\d{1,12})(?:\s*/\s*(\d{1,12}))?", re.IGNORECASE)
LOSS = re.compile(rf"\b(?:train_)?loss\b['\"]?\s*[:=]\s*{NUMBER}", re.IGNORECASE)
STRATEGIES = {"ddp": "ddp", "fsdp": "fsdp", "zero": "deepspeed", "amx": "amx"}
BAR = re.compile(r"\b(\d{1,12})/(\d{1,12}) \[\d")


@dataclass
class Steps:
    """What the lines of one log say so far; feed it lines in order."""

    step: int | None = None
    steps: int | None = None
    loss: float | None = None
    loss_first: float | None = None
    losses: deque[float] = field(default_factory=lambda: deque(maxlen=LOSSES_KEPT))
    tokens_per_second: float | None = None
    step_seconds: float | None = None
    at: float | None = None
    rank: int | None = None
    reports: int = 0
    last_stamp: str = ""
    told: dict[int, Checkpoint] = field(default_factory=dict)
    loss_at: dict[int, float] = field(default_factory=dict)

    def feed(self, line: str) -> None:
        """Take one line that begins with the API's RFC 3339 time stamp; lines not newer than the last one taken are skipped."""
        stamp, _, text = line.partition(" ")
        at = seconds(stamp)
        if at is None:
            stamp, text = "", line
        elif stamp <= self.last_stamp:
            return
        else:
            self.last_stamp = stamp
        text = text[:LINE_CHARS]
        brace = text.find('{"')
        report = _json(text[brace:]) if brace >= 0 else None
        if report is not None:
            self._report(report, at)
        else:
            self._words(text, at)

    def head(self, line: str) -> None:
        """Take one line of the log's beginning: only the first loss is learnt from it."""
        other = Steps()
        other.feed(line)
        if self.loss_first is None:
            self.loss_first = other.loss

    def progress(self, job: JobKey) -> Progress | None:
        """The row, None before the first step."""
        if self.step is None:
            return None
        return Progress(
            job, self.step, self.steps, self.loss, self.loss_first, tuple(self.losses), self.tokens_per_second, self.step_seconds, self.at
        )

    def _report(self, report: dict[str, Any], at: float | None) -> None:
        """Our own line; every rank of a pod writes one, and the lowest rank's are taken."""
        rank = whole(report.get("rank"))
        if rank is not None and self.rank is not None and rank > self.rank:
            return
        self.rank = rank if rank is not None else self.rank
        self.steps = whole(report.get("steps")) or self.steps
        if "event" in report:
            self.loss_first = finite(report.get("loss_first")) or self.loss_first
            if report["event"] == "checkpoint":
                self._checkpoint(report, at)
            return
        step = whole(report.get("step"))
        if step is None:
            return
        self.tokens_per_second = finite(report.get("tokens_per_second"))
        self.step_seconds = finite(report.get("step_seconds"))
        self._take(step, finite(report.get("loss")), at)

    def checkpoints(self, store: StoreKey, job: JobKey) -> tuple[Checkpoint, ...]:
        """What the lines told of checkpoints in that place, each with the loss of its step where it was seen go by."""
        return tuple(
            replace(one, key=CheckpointKey(store, one.key.entry), job=job, loss=self.loss_at.get(one.step, one.loss)) for one in self.told.values()
        )

    def _checkpoint(self, report: dict[str, Any], at: float | None) -> None:
        """The line of one checkpoint: saved (said, until someone looks), or why it was not."""
        step = whole(report.get("step"))
        if step is None:
            return
        saved, reason = report.get("state") == "whole", report.get("reason")
        why = "" if saved else str(reason)[:LINE_CHARS] if isinstance(reason, str) else "the log does not say why"
        self.told.pop(step, None)
        self.told[step] = Checkpoint(
            CheckpointKey(StoreKey("", ""), f"step_{step:08}"),
            step,
            "said" if saved else "failed",
            why,
            finite(report.get("time")) or at,
            whole(report.get("size_bytes")),
            whole(report.get("world_size")),
            STRATEGIES.get(str(report.get("strategy")), ""),
            finite(report.get("loss")),
        )
        while len(self.told) > CHECKPOINTS_KEPT:
            del self.told[next(iter(self.told))]

    def _words(self, text: str, at: float | None) -> None:
        bar, step, loss = BAR.search(text), STEP.search(text), LOSS.search(text)
        if bar and not step:
            self.step, self.steps, self.at = int(bar[1]), int(bar[2]), at
        if step and step[2]:
            self.steps = int(step[2])
        if loss:
            self.reports += 1
            value = float(loss[1])
            self._take(int(step[1]) if step else (self.step if self.steps else self.reports) or 0, value if math.isfinite(value) else None, at)

    def _take(self, step: int, loss: float | None, at: float | None) -> None:
        self.step, self.loss, self.at = step, loss, at if at is not None else self.at
        if loss is not None:
            self.loss_at.pop(step, None)
            self.loss_at[step] = loss
            while len(self.loss_at) > STEPS_KEPT:
                del self.loss_at[next(iter(self.loss_at))]
            self.losses.append(loss)
            if self.loss_first is None:
                self.loss_first = loss


def _json(text: str) -> dict[str, Any] | None:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) and ("step" in found or "event" in found) else None


def whole(value: Any) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 53 else None


def finite(value: Any) -> float | None:
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value) else None
