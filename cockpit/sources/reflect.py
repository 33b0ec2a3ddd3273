"""List, then watch: pages to rows, bookmarks, resuming, 410, back-off with jitter; every watching source is one of these.

What a source says of its health follows from its listings: live when each is listed or not served, absent when none is served, and
failed while one of them is. Where listing a namespaced kind in all namespaces is forbidden, the context's namespace is listed instead and
the source is live within that scope; a kind that may not be listed at all leaves the source live without it, unless it is all there is.
"""

from __future__ import annotations

import gc
import random
import threading
import time
from typing import Any

import msgspec

from cockpit.errors import ActionFailed, CockpitError, Forbidden, Gone, NotServed, Unreachable
from cockpit.memory import give_back
from cockpit.sources.listings import Listing, in_namespace
from cockpit.sources.raw import Meta
from cockpit.sources.voice import Voice
from cockpit.store import Store

SILENCE_SECONDS = 90.0
WATCH_SECONDS = (300, 600)
ABSENT_SECONDS = (30.0, 60.0)
BACKOFF_SECONDS = (0.5, 5.0)
EVENT_BYTES = 8 << 20
FREEZE_ROWS = 5000
TRIM_ROWS = 500


class _Object(msgspec.Struct):
    metadata: Meta | None = None


class _Event(msgspec.Struct):
    type: str = ""
    object: msgspec.Raw = msgspec.Raw(b"null")


_event, _object = msgspec.json.Decoder(_Event), msgspec.json.Decoder(_Object)


class Backoff:
    """Waits that double from half a second to five, each stretched or shrunk by up to half."""

    def __init__(self) -> None:
        self._next = BACKOFF_SECONDS[0]

    def reset(self) -> None:
        """Begin again with short waits."""
        self._next = BACKOFF_SECONDS[0]

    def seconds(self) -> float:
        """The next wait."""
        wait, self._next = self._next, min(self._next * 2, BACKOFF_SECONDS[1])
        return wait * random.uniform(0.5, 1.5)


class Reflector:
    """A source made of listings."""

    def __init__(self, name: str, *listings: Listing) -> None:
        self.name = name
        self._listings = listings

    def list(self, kube: Any, store: Store) -> None:
        """Every listing once."""
        voice = Voice(self.name, store, *(one.resource for one in self._listings))
        for part, listing in enumerate(self._listings):
            try:
                Follow(listing, part, kube, voice).read_all()
            except CockpitError as error:
                voice.failed(part, error)

    def watch(self, kube: Any, store: Store, stop: threading.Event) -> None:
        """Follow every listing until `stop`; the last in this thread, the others in their own."""
        voice = Voice(self.name, store, *(one.resource for one in self._listings))
        follows = [Follow(listing, part, kube, voice) for part, listing in enumerate(self._listings)]
        threads = [threading.Thread(target=one.run, args=(stop,), name=f"{self.name}-{one.part}", daemon=True) for one in follows[:-1]]
        for thread in threads:
            thread.start()
        follows[-1].run(stop)
        for thread in threads:
            thread.join()


class Follow:
    """One listing, followed: where it stands (`version`), and the next thing to do."""

    def __init__(self, listing: Listing, part: int, kube: Any, voice: Voice) -> None:
        self.part = part
        self._listing, self._kube, self._voice = listing, kube, voice
        self._path, self._scope = listing.paths[0], ""
        self._version: str | None = None
        self._frozen = self._many = False
        self._since_trim = 0

    def run(self, stop: threading.Event) -> None:
        """List and watch until `stop`, whatever goes wrong."""
        backoff = Backoff()
        while not stop.is_set():
            try:
                wait = self._step(stop, backoff)
            except Exception as problem:  # the edge of a thread: it lists again
                self._version = None
                self._voice.failed(self.part, ActionFailed(f"{self._path} holds something that was not foreseen: {type(problem).__name__}"))
                wait = backoff.seconds()
            stop.wait(wait)

    def _step(self, stop: threading.Event, backoff: Backoff) -> float:
        """One list or watch; returns how long to wait before the next."""
        began = time.monotonic()
        try:
            if self._version is None:
                self.read_all()
                self._settle()
            self._watch(stop)
        except Gone:
            self._version = None
            return backoff.seconds() if time.monotonic() - began < 1.0 else 0.0
        except (NotServed, Forbidden) as error:
            self._version = None
            self._voice.failed(self.part, error)
            return random.uniform(*ABSENT_SECONDS)
        except CockpitError as error:
            self._voice.failed(self.part, error)
            return backoff.seconds()
        if time.monotonic() - began < 1.0:
            return backoff.seconds()
        backoff.reset()
        return 0.0

    def _settle(self) -> None:
        """Once after the first long list: what will be kept is no longer looked through for garbage, and what was needed to read it is given back."""
        if self._many and not self._frozen:
            self._frozen = True
            gc.freeze()
            give_back()

    def read_all(self) -> None:
        """The whole collection; that of the context's namespace where the whole is forbidden."""
        self._scope = ""
        try:
            self._read_collection()
        except Forbidden as error:
            self._read_scoped(error)

    def _read_scoped(self, error: Forbidden) -> None:
        if not self._listing.namespaced or not self._kube.namespace:
            raise self._judged(error)
        self._scope = self._kube.namespace
        try:
            self._read_collection()
        except (Forbidden, NotServed):
            raise self._judged(error) from None

    def _judged(self, error: Forbidden) -> CockpitError:
        """Forbidden, unless the cluster does not even serve it: an API server asks who you are before it looks what there is."""
        try:
            served = self._kube.served()
        except CockpitError:
            return error
        resource = self._listing.resource
        return error if resource in served else NotServed(f"{resource} is not served by this cluster", "install its controller and CRDs")

    def _read_collection(self) -> None:
        """Page by page; once more in one piece when the pages expired half-way."""
        try:
            self._read_pages(500)
        except Gone:
            self._read_pages(0)

    def _read_pages(self, limit: int) -> None:
        keys: set[Any] = set()
        version = ""
        for page in self._pages(limit):
            rows, version = self._listing.page(page)
            keys.update(self._rows(rows))
            del page, rows
        self._version = version
        self._many = len(keys) >= FREEZE_ROWS
        self._voice.listed(self.part, self._listing.kind, keys, self._listing.within, self._scope)

    def _pages(self, limit: int) -> Any:
        *others, last = (in_namespace(path, self._scope) for path in self._listing.paths)
        for path in others:
            try:
                pages = self._kube.pages(path, params=self._listing.params, limit=limit)
                first = next(pages)
            except NotServed:
                continue
            self._path = path
            yield first
            yield from pages
            return
        self._path = last
        yield from self._kube.pages(self._path, params=self._listing.params, limit=limit)

    def _rows(self, rows: list[Any]) -> list[Any]:
        listing = self._listing
        self._since_trim += len(rows)
        keys = self._voice.rows(self.part, listing.kind, rows)
        if listing.keep and self._since_trim >= TRIM_ROWS:
            self._since_trim = 0
            self._voice.trim(self.part, listing.kind, listing.keep, listing.age)
        return keys

    def _watch(self, stop: threading.Event) -> None:
        """Events from where we stand until the server ends the watch; silence for too long ends it too."""
        params = dict(self._listing.params) | {
            "watch": "1",
            "allowWatchBookmarks": "true",
            "resourceVersion": self._version or "",
            "timeoutSeconds": str(random.randint(*WATCH_SECONDS)),
        }
        opened: list[bool] = []

        def on_open() -> None:
            opened.append(True)
            self._voice.recovered(self.part)

        lines = self._kube.lines(self._path, params=params, stop=stop, timeout_seconds=SILENCE_SECONDS, piece_bytes=EVENT_BYTES, on_open=on_open)
        try:
            for line in lines:
                self._take(line)
        except Unreachable as error:
            if isinstance(error, Gone) or not opened:
                raise

    def _take(self, line: bytes) -> None:
        try:
            event = _event.decode(line)
            if event.type == "ERROR":
                raise _error(event.object)
            found = _object.decode(event.object).metadata or Meta()
        except (msgspec.DecodeError, UnicodeDecodeError):
            return
        self._version = found.resource_version or self._version
        if event.type == "DELETED":
            self._listing.on_gone(found.namespace or "", found.name or "")
            self._voice.gone(self.part, self._listing.kind, self._listing.key(found.namespace or "", found.name or ""))
        elif event.type in ("ADDED", "MODIFIED"):
            row = self._listing.one(event.object)
            self._rows([row] if row is not None else [])
        elif event.type == "BOOKMARK":
            self._rows([])


def _error(body: msgspec.Raw) -> CockpitError:
    """The error of an ERROR event."""
    status = msgspec.json.decode(body)
    code, message = (status.get("code"), str(status.get("message") or "the watch failed")) if isinstance(status, dict) else (None, "the watch failed")
    if code == 410 or (isinstance(status, dict) and status.get("reason") in ("Expired", "Gone")):
        return Gone(message)
    return Forbidden(message) if code == 403 else Unreachable(message[:500])
