"""WATCH: initial events, changes, bookmarks, time-outs and 410, written from the shared history."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from aiohttp import web

from cockpit.sim.api import errors, forms
from cockpit.sim.api.errors import ApiError, status_of
from cockpit.sim.api.history import Change, History
from cockpit.sim.api.lists import watched_name
from cockpit.sim.api.records import Record, encode
from cockpit.sim.api.requests import Call, Form, accepted_form
from cockpit.sim.api.responses import JSON, SIMULATED, slices
from cockpit.sim.api.selectors import matcher

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

BOOKMARK_SECONDS = 5.0
INITIAL_END = "k8s.io/initial-events-end"


class Watches:
    """All open watches; `expire` ends every one of them with a 410."""

    def __init__(self, cluster: Cluster) -> None:
        self.cluster = cluster
        self.era = 0
        self.open = 0

    def expire(self) -> None:
        """Compact every history and tell every watcher that its resourceVersion is gone."""
        self.era += 1
        rv = self.cluster.next_rv()
        for history in self.cluster.histories():
            history.compact(rv)


class Watch:
    """One watch request."""

    def __init__(self, watches: Watches, call: Call) -> None:
        self._watches = watches
        self._era = watches.era
        self._call = call
        self._target = call.where
        self._cluster = watches.cluster
        self._history: History = self._cluster.shelf(self._target.kind.resource).history
        self._form: Form = accepted_form(call.headers.get("Accept", "").replace(";stream=watch", ""), ("Table", "PartialObjectMetadata"))
        self._name = watched_name(call)
        self._matches = matcher(self._target.kind, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
        self._bookmarks = call.flag("allowWatchBookmarks")
        self._initial = self._wants_initial()
        self._columns_sent = False
        self._seen_rv = 0

    def _wants_initial(self) -> bool:
        query = self._call.query
        rv, match = query.get("resourceVersion", ""), query.get("resourceVersionMatch", "")
        if rv and not rv.isdigit():
            raise errors.bad_request(f'resourceVersion: Invalid value: "{rv}": strconv.ParseUint: parsing "{rv}": invalid syntax')
        if "sendInitialEvents" in query:
            if match != "NotOlderThan":
                raise _options_invalid("sendInitialEvents requires setting resourceVersionMatch to NotOlderThan")
            return self._call.flag("sendInitialEvents")
        if match:
            raise _options_invalid("resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided")
        return rv in ("", "0")

    async def run(self, request: web.BaseRequest) -> web.StreamResponse:
        """Stream until the time-out, the client's leaving, or a 410."""
        response = web.StreamResponse(headers={**SIMULATED, "Content-Type": JSON, "Cache-Control": "no-cache, private"})
        response.enable_chunked_encoding()
        await response.prepare(request)
        await response.write(b"")
        if response._payload_writer is not None:
            response._payload_writer.send_headers()
        self._watches.open += 1
        try:
            await self._stream(response)
        finally:
            self._watches.open -= 1
        await response.write_eof()
        return response

    async def _stream(self, response: web.StreamResponse) -> None:
        cursor = self._start()
        if cursor is None:
            asked = int(self._call.query.get("resourceVersion") or 0)
            await response.write(_error(errors.too_old(asked, self._history.compacted_rv)))
            return
        if self._initial:
            for piece in slices(self._initial_frames()):
                await response.write(piece)
        loop = asyncio.get_running_loop()
        ends = loop.time() + (self._call.number("timeoutSeconds") or random.uniform(1800, 3600))
        next_bookmark = loop.time() + BOOKMARK_SECONDS
        while True:
            if self._era != self._watches.era:
                await response.write(_error(errors.too_old(self._seen_rv, self._history.compacted_rv)))
                return
            changes = self._history.read(cursor)
            if changes is None:
                await response.write(_error(errors.too_old(self._seen_rv, self._history.compacted_rv)))
                return
            if changes:
                cursor += len(changes)
                self._seen_rv = changes[-1].rv
                frames = b"".join(self._frames(changes))
                if frames:
                    await response.write(frames)
                else:
                    await asyncio.sleep(0)
                continue
            now = loop.time()
            if self._bookmarks and (now >= next_bookmark or now >= ends):
                next_bookmark = now + BOOKMARK_SECONDS
                await self._bookmark(response)
            if now >= ends:
                return
            await self._history.wait(min(ends, next_bookmark if self._bookmarks else ends) - now)

    def _start(self) -> int | None:
        """The first change to send; None when it is no longer kept."""
        if self._initial:
            self._seen_rv = self._cluster.rv
            return self._history.end
        self._seen_rv = int(self._call.query.get("resourceVersion") or self._cluster.rv)
        return self._history.after(self._seen_rv)

    def _selected(self, record: Record | None) -> bool:
        if record is None:
            return False
        target = self._target
        if target.namespace is not None and record.namespace != target.namespace:
            return False
        if self._name and record.name != self._name:
            return False
        return self._matches is None or self._matches(record)

    def _initial_frames(self) -> Iterator[bytes]:
        shelf = self._cluster.shelf(self._target.kind.resource)
        for record in list(shelf.within(self._target.namespace)):
            if self._selected(record):
                yield self._frame("ADDED", record)
        if self._bookmarks and self._call.flag("sendInitialEvents"):
            yield self._bookmark_frame(self._seen_rv, {INITIAL_END: "true"})

    def _frames(self, changes: Iterable[Change]) -> Iterator[bytes]:
        for change in changes:
            type_ = self._type(change)
            if type_:
                yield self._frame(type_, change.record)

    def _type(self, change: Change) -> str:
        """What this watcher, with its selectors, sees of a change; '' for nothing."""
        before = self._selected(change.old)
        if change.type == "DELETED":
            return "DELETED" if before else ""
        after = self._selected(change.record)
        if after:
            return "MODIFIED" if before else "ADDED"
        return "DELETED" if before else ""

    def _frame(self, type_: str, record: Record) -> bytes:
        if self._form.name:
            body = forms.object_body(self._form, self._target, record, self._call.query, not self._columns_sent)
            self._columns_sent = True
        else:
            body = forms.plain(self._target, record)
        return b'{"type":"%s","object":%s}\n' % (type_.encode(), body)

    async def _bookmark(self, response: web.StreamResponse) -> None:
        if self._cluster.rv != self._seen_rv:
            self._seen_rv = self._cluster.rv
            await response.write(self._bookmark_frame(self._seen_rv, {}))

    def _bookmark_frame(self, rv: int, annotations: dict[str, str]) -> bytes:
        metadata: dict[str, Any] = {"resourceVersion": str(rv), "creationTimestamp": None}
        if annotations:
            metadata["annotations"] = annotations
        obj = {"kind": self._target.kind.kind, "apiVersion": self._target.api_version, "metadata": metadata}
        if self._form.name == "Table":
            obj = {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(rv)}, "columnDefinitions": [], "rows": []}
        elif self._form.name:
            obj = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": metadata}
        return encode({"type": "BOOKMARK", "object": obj}) + b"\n"


def _error(error: ApiError) -> bytes:
    return encode({"type": "ERROR", "object": status_of(error)}) + b"\n"


def _options_invalid(why: str) -> ApiError:
    return ApiError(422, "Invalid", f'ListOptions.meta.k8s.io "" is invalid: resourceVersionMatch: Forbidden: {why}', {})
