"""What ranks report on their metrics ports, scraped once a second while any run."""

from __future__ import annotations

import asyncio
import re
import statistics
import time
from collections.abc import Iterable
from dataclasses import dataclass, field

import aiohttp

from cockpit.sim.kubelet import MetricsPort
from cockpit.sim.kubelet.context import METRICS_PORTS

SAMPLE = re.compile(rb"^(training_[a-z_]+)(?:\{([^}]*)\})? ([^ \n]+)", re.MULTILINE)
LABEL = re.compile(r'([a-z_]+)="((?:[^"\\]|\\.)*)"')
TIMEOUT_SECONDS = 1.0
MEASURED_STEPS = 10


@dataclass
class RankReport:
    """The last report of one rank and how it moved; times in seconds, `bytes_reduced` since its process began."""

    uid: str
    node: str
    local_rank: int
    world_size: int = 1
    values: dict[str, float] = field(default_factory=dict)
    heard: float = 0.0  # when it last answered
    moved: float = 0.0  # when its step count last rose
    compute_share: float = 0.0  # of the time it computed or waited for data; a pause between steps spares this machine and is not counted
    bytes_fresh: float = 0.0  # reduced since last taken
    first_steps: list[float] = field(default_factory=list)  # durations it is measured against

    @property
    def step_seconds(self) -> float:
        """Duration of its last step."""
        return self.values.get("training_step_seconds", 0.0)

    @property
    def speed(self) -> float:
        """Its speed now against its first steps, at most 1."""
        if self.step_seconds <= 0 or len(self.first_steps) < MEASURED_STEPS:
            return 1.0
        return min(1.0, statistics.median(self.first_steps) / self.step_seconds)

    def stalled(self, now: float) -> bool:
        """Whether it trained and stands still now: waiting in a collective, or stopped itself."""
        return self.moved > 0 and now - self.moved > max(3.0, 3 * self.step_seconds)

    def take(self, values: dict[str, float], now: float) -> None:
        """Take one scrape."""
        before, self.values = self.values, values
        self.heard = now
        reduced = values.get("training_bytes_reduced_total", 0.0)
        self.bytes_fresh += max(0.0, reduced - before.get("training_bytes_reduced_total", 0.0)) if before else 0.0
        steps, known = values.get("training_steps_total", 0.0), before.get("training_steps_total", 0.0)
        if steps > known:
            self._move(before, now)
        elif steps < known:  # another process took its place
            self.moved, self.bytes_fresh, self.first_steps = 0.0, 0.0, []

    def _move(self, before: dict[str, float], now: float) -> None:
        computed, waited = (
            self.values.get(name, 0.0) - before.get(name, 0.0) for name in ("training_compute_seconds_total", "training_data_seconds_total")
        )
        self.compute_share = min(1.0, max(0.0, computed / (computed + waited))) if computed + waited > 0 else 0.0
        self.moved = now
        if self.step_seconds > 0 and len(self.first_steps) < MEASURED_STEPS:
            self.first_steps.append(self.step_seconds)


def parse(text: bytes) -> tuple[dict[str, float], dict[str, str]]:
    """Training metrics by name and the labels of the last one, from Prometheus text; what is no number is left out."""
    values: dict[str, float] = {}
    labels: dict[str, str] = {}
    for name, label_text, number in SAMPLE.findall(text):
        try:
            values[name.decode()] = float(number)
        except ValueError:
            continue
        labels = dict(LABEL.findall(label_text.decode("utf-8", "replace"))) or labels
    return values, labels


class RankReports:
    """Reports of all ranks, by pod uid and local rank."""

    def __init__(self) -> None:
        self.ranks: dict[tuple[str, int], RankReport] = {}
        self._session: aiohttp.ClientSession | None = None

    async def scrape(self, ports: Iterable[MetricsPort], ranks_of: dict[str, int]) -> None:
        """Ask every rank of these pods once; `ranks_of` is how many a pod is known to have (1 when not)."""
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=16, force_close=True)
            self._session = aiohttp.ClientSession(connector=connector, timeout=aiohttp.ClientTimeout(total=TIMEOUT_SECONDS))
        asked = [self._ask(self._session, one, k) for one in ports for k in range(min(ranks_of.get(one.uid, 1), METRICS_PORTS))]
        await asyncio.gather(*asked)

    def forget(self, living: set[str]) -> None:
        """Drop the ranks of pods that are gone."""
        for key in [key for key in self.ranks if key[0] not in living]:
            del self.ranks[key]

    async def close(self) -> None:
        """Close connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def _ask(self, session: aiohttp.ClientSession, port: MetricsPort, local_rank: int) -> None:
        try:
            async with session.get(f"http://127.0.0.1:{port.base + local_rank}/metrics") as response:
                values, labels = parse(await response.read())
        except (aiohttp.ClientError, TimeoutError):
            return
        report = self.ranks.setdefault((port.uid, local_rank), RankReport(port.uid, port.node, local_rank))
        world_size = labels.get("world_size", "")
        report.world_size = int(world_size) if world_size.isdigit() else report.world_size
        report.take(values, time.monotonic())

    def on(self, uid: str, local_rank: int) -> RankReport | None:
        """A rank's report; None when it never answered."""
        return self.ranks.get((uid, local_rank))
