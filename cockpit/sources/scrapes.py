"""Exporter pods, read through the API's pod proxy: found by their labels, a few at a time, round and round."""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, NamedTuple

import msgspec

from cockpit.errors import CockpitError, Forbidden, NotServed, TimedOut
from cockpit.sources.pods import RawPod
from cockpit.sources.raw import Meta
from cockpit.sources.reflect import ABSENT_SECONDS
from cockpit.store import Delete, Failed, Store, Synced, Upsert

ROUND_SECONDS = 2.0
FIND_SECONDS = 30.0
SCRAPES_PER_SECOND = 20.0
AT_A_TIME = 8
ANSWER_SECONDS = 5.0
TEXT_BYTES = 8 << 20
LIST_SECONDS = 30.0
FORGET_AFTER = 3
MOST = 256
"""Exporters read through the API server at most: more is a load on it, and the work of a Prometheus."""


class Exporter(NamedTuple):
    """An exporter pod, its metrics port, and the node it speaks for."""

    namespace: str
    pod: str
    port: int
    node: str

    @property
    def path(self) -> str:
        """Its metrics through the API."""
        return f"/api/v1/namespaces/{self.namespace}/pods/{self.pod}:{self.port}/proxy/metrics"


@dataclass(frozen=True)
class Kind:
    """A kind of exporter: label selectors that find its pods, the port when the pod names none, what to install where there is none."""

    name: str
    title: str
    selectors: tuple[str, ...]
    port: int
    install: str


class _Page(msgspec.Struct):
    items: list[RawPod | None] | None = None


class Pace:
    """Lets pass so many a second, all threads together, after a first few at once."""

    def __init__(self, per_second: float) -> None:
        self._lock = threading.Lock()
        self._per_second = per_second
        self._allowance = per_second
        self._at = time.monotonic()

    def wait_seconds(self) -> float:
        """Take one; how long to wait before using it."""
        with self._lock:
            now = time.monotonic()
            self._allowance = min(self._per_second, self._allowance + (now - self._at) * self._per_second) - 1.0
            self._at = now
            return max(0.0, -self._allowance / self._per_second)


PACE = Pace(SCRAPES_PER_SECOND)

ToRows = Callable[[bytes, str, float, Mapping[Any, Any]], Sequence[Any]]


class Scrapes:
    """A source that scrapes; `to_rows(text, node, at, nodes)` makes rows of `kind.name` from one exporter's text.

    `readings` is how many times a list scrapes, a second apart: rates need two.
    """

    def __init__(self, kind: Kind, to_rows: ToRows, readings: int = 1) -> None:
        self.name = kind.name
        self._kind, self._to_rows, self._readings = kind, to_rows, readings
        self._missed: dict[str, int] = {}
        self._part = ""

    def list(self, kube: Any, store: Store) -> None:
        """Every exporter once; TimedOut when there are too many to read in half a minute."""
        stop = threading.Event()
        try:
            exporters = self._find(kube)
        except CockpitError as error:
            store.apply(Failed(self.name, error))
            return
        deadline = time.monotonic() + LIST_SECONDS
        for reading in range(self._readings):
            if reading:
                stop.wait(1.0)
            if self._round(kube, store, exporters, stop, deadline) and reading == self._readings - 1:
                self._drop_others(store, exporters)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """Rounds of at least two seconds; the pods are looked for again every half minute."""
        exporters: Sequence[Exporter] = []
        found_at = 0.0
        while not stop.is_set():
            began = time.monotonic()
            try:
                if not exporters or began - found_at > FIND_SECONDS:
                    exporters, found_at = self._find(kube), began
                    self._drop_others(store, exporters)
            except CockpitError as error:
                exporters = []
                store.apply(Failed(self.name, error))
                stop.wait(random.uniform(*ABSENT_SECONDS) if isinstance(error, (NotServed, Forbidden)) else ROUND_SECONDS * 2)
                continue
            self._round(kube, store, exporters, stop, None)
            stop.wait(max(0.05, ROUND_SECONDS - (time.monotonic() - began)))

    def _find(self, kube: Any) -> Sequence[Exporter]:
        """The running exporter pods, the first MOST by node; NotServed when there is none."""
        found: dict[str, Exporter] = {}
        decoder = msgspec.json.Decoder(_Page)
        for selector in self._kind.selectors:
            for page in kube.pages("/api/v1/pods", params={"labelSelector": selector}):
                try:
                    items = decoder.decode(page).items or ()
                except msgspec.DecodeError:
                    continue
                for exporter in exporters_in(items, self._kind.port):
                    found.setdefault(exporter.node, exporter)
        if not found:
            raise NotServed(f"no {self._kind.title} pod runs in this cluster", self._kind.install)
        chosen = sorted(found.values(), key=lambda exporter: [(len(piece), piece) for piece in exporter.node.split("-")])[:MOST]
        self._part = f"{len(chosen):,} of {len(found):,} nodes read" if len(chosen) < len(found) else ""
        return chosen

    def _round(self, kube: Any, store: Store, exporters: Sequence[Exporter], stop: threading.Event, deadline: float | None) -> bool:
        """Scrape each once; True when every one was asked. Health: live when any answered."""
        nodes = store.snapshot().nodes

        def scrape(exporter: Exporter) -> CockpitError | None:
            if stop.wait(PACE.wait_seconds()) or (deadline is not None and time.monotonic() > deadline):
                return _Unasked("")
            try:
                text = kube.read(exporter.path, timeout_seconds=ANSWER_SECONDS, limit_bytes=TEXT_BYTES)
            except CockpitError as error:
                return error
            rows = tuple(self._to_rows(text, exporter.node, time.time(), nodes))
            store.apply(Upsert(self.name, self.name, rows))
            return None

        with ThreadPoolExecutor(AT_A_TIME, thread_name_prefix=self.name) as pool:
            errors = tuple(pool.map(scrape, exporters))
        if stop.is_set():
            return False
        unasked = sum(isinstance(error, _Unasked) for error in errors)
        if unasked:
            many = f"{len(errors) - unasked} of {len(errors)} {self._kind.title} pods read in {LIST_SECONDS:.0f} s"
            store.apply(Failed(self.name, TimedOut(many, "the screen reads them round and round; or ask Prometheus")))
            return False
        failed = {exporter.node: error for exporter, error in zip(exporters, errors, strict=True) if error is not None}
        if len(failed) == len(errors):
            store.apply(Failed(self.name, next(iter(failed.values()))))
            return True
        self._miss(store, failed)
        store.apply(Synced(self.name, part=self._part))
        return True

    def _miss(self, store: Store, failed: Mapping[str, CockpitError]) -> None:
        """Rows of an exporter that keeps silent while others answer are forgotten: old readings are no readings."""
        self._missed = {node: self._missed.get(node, 0) + 1 for node in failed}
        silent = {node for node, times in self._missed.items() if times == FORGET_AFTER}
        if silent:
            self._drop(store, silent.__contains__)

    def _drop_others(self, store: Store, exporters: Sequence[Exporter]) -> None:
        known = {exporter.node for exporter in exporters}
        self._drop(store, lambda node: node not in known)

    def _drop(self, store: Store, unwanted: Callable[[str], bool]) -> None:
        gone = tuple(key for key in getattr(store.snapshot(), self.name) if unwanted(key.node))
        if gone:
            store.apply(Delete(self.name, self.name, gone))


class _Unasked(CockpitError):
    """Not asked: the time was up."""


def exporters_in(items: Sequence[RawPod | None], default_port: int) -> Iterator[Exporter]:
    """The running pods among these, each with its metrics port."""
    for item in items:
        if item is None or item.spec is None or not item.spec.node_name or item.status is None or item.status.phase != "Running":
            continue
        meta = item.metadata or Meta()
        ports = [port for one in item.spec.containers or () if one for port in one.ports or () if port and port.container_port]
        named = next((port.container_port for port in ports if port.name in ("metrics", "http-metrics")), None)
        only = ports[0].container_port if len(ports) == 1 else None
        yield Exporter(meta.namespace or "", meta.name or "", named or only or default_port, item.spec.node_name)
