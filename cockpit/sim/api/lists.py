"""GET of one object and of lists: selectors, limit and continue over a consistent snapshot, plain, Table or metadata only."""

from __future__ import annotations

import base64
import json
import time
from bisect import bisect_right
from collections import OrderedDict
from typing import TYPE_CHECKING

from aiohttp import web

from cockpit.sim.api import errors, forms
from cockpit.sim.api.errors import ApiError, bad_request
from cockpit.sim.api.records import Record, encode
from cockpit.sim.api.requests import Call, Target, accepted_form
from cockpit.sim.api.responses import big_response, bytes_response
from cockpit.sim.api.selectors import Match, matcher, single_name

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

SNAPSHOTS_KEPT = 64
SNAPSHOT_SECONDS = 300.0
CONTINUE_EXPIRED = (
    "The provided continue parameter is too old to display a consistent list result. You can start a new list without the continue "
    "parameter, or use the continue token in this response to retrieve the remainder of the results. Continuing with the provided "
    "token results in an inconsistent list - objects that were created, modified, or deleted between the time the first chunk was "
    "returned and now may show up in the list."
)


class Snapshots:
    """What paged lists were begun on, so that later pages are of the same moment; bounded in number and age."""

    def __init__(self) -> None:
        self._kept: OrderedDict[tuple[str, int], tuple[list[Record], float]] = OrderedDict()

    def keep(self, resource: str, rv: int, records: list[Record]) -> None:
        self._kept[(resource, rv)] = (records, time.monotonic())
        while len(self._kept) > SNAPSHOTS_KEPT:
            self._kept.popitem(last=False)

    def find(self, resource: str, rv: int) -> list[Record] | None:
        records, since = self._kept.get((resource, rv), (None, 0.0))
        return records if records is not None and time.monotonic() - since < SNAPSHOT_SECONDS else None

    def forget(self) -> None:
        self._kept.clear()


class Page:
    """The records of one list answer, its resourceVersion, and where it goes on."""

    def __init__(self, records: list[Record], rv: int, token: str = "", remaining: int | None = None) -> None:
        self.records = records
        self.rv = rv
        self.token = token
        self.remaining = remaining

    def metadata(self) -> dict[str, str | int]:
        meta: dict[str, str | int] = {"resourceVersion": str(self.rv)}
        if self.token:
            meta["continue"] = self.token
        if self.token and self.remaining is not None:
            meta["remainingItemCount"] = self.remaining
        return meta


def _token(rv: int, start: str) -> str:
    return base64.urlsafe_b64encode(encode({"v": "meta.k8s.io/v1", "rv": rv, "start": start + "\x00"})).decode().rstrip("=")


def _parsed(token: str) -> tuple[int, str]:
    try:
        written = json.loads(base64.urlsafe_b64decode(token + "=" * (-len(token) % 4)))
        return int(written["rv"]), str(written["start"]).removesuffix("\x00")
    except (ValueError, KeyError, TypeError) as problem:
        raise bad_request(f"continue key is not valid: {problem}") from problem


def page(cluster: Cluster, snapshots: Snapshots, call: Call) -> Page:
    """The records a list request asks for; ApiError 400 for bad parameters, 410 for what is no longer kept."""
    target = call.where
    shelf = cluster.shelf(target.kind.resource)
    _check_version(cluster, call)
    limit = call.number("limit") or 0
    if call.query.get("resourceVersion") == "0" and not call.query.get("continue"):
        limit = 0
    rv, start, records = cluster.rv, "", shelf.ordered()
    token = call.query.get("continue", "")
    if token:
        rv, start = _parsed(token)
        records, rv = _continued(cluster, snapshots, target, rv, start)
    narrowed = _narrowed(target, records, start)
    matches = matcher(target.kind, call.query.get("labelSelector", ""), call.query.get("fieldSelector", ""))
    return _cut(snapshots, target, records, narrowed, matches, limit, rv)


def _continued(cluster: Cluster, snapshots: Snapshots, target: Target, rv: int, start: str) -> tuple[list[Record], int]:
    shelf = cluster.shelf(target.kind.resource)
    if rv < 0:
        return shelf.ordered(), cluster.rv
    records = snapshots.find(target.kind.shelf, rv)
    if records is None:
        error = errors.expired(CONTINUE_EXPIRED)
        error.continue_token = _token(-1, start)
        raise error
    return records, rv


def _check_version(cluster: Cluster, call: Call) -> None:
    match, rv = call.query.get("resourceVersionMatch", ""), call.query.get("resourceVersion", "")
    if match and not rv:
        raise bad_request("resourceVersionMatch: Forbidden: resourceVersionMatch is forbidden unless resourceVersion is provided")
    if rv and not rv.isdigit():
        raise bad_request(f'resourceVersion: Invalid value: "{rv}": strconv.ParseUint: parsing "{rv}": invalid syntax')
    if rv and int(rv) > cluster.rv:
        details = {"causes": [{"reason": "ResourceVersionTooLarge", "message": "Too large resource version"}], "retryAfterSeconds": 1}
        raise ApiError(504, "Timeout", f"Timeout: Too large resource version: {rv}, current: {cluster.rv}", details)
    history = cluster.shelf(call.where.kind.resource).history
    if match == "Exact" and history.after(int(rv)) != history.end:
        raise errors.expired("The resourceVersion for the provided list is too old.")


def _narrowed(target: Target, records: list[Record], start: str) -> list[Record]:
    """The part of a snapshot in the target's namespace and after the key a page ended with."""
    if not start and target.namespace is None:
        return records
    low = bisect_right(records, start, key=lambda record: record.key) if start else 0
    if target.namespace is None:
        return records[low:]
    low = max(low, bisect_right(records, f"{target.namespace}/", key=lambda record: record.key))
    return records[low : bisect_right(records, f"{target.namespace}0", key=lambda record: record.key)]


def _cut(snapshots: Snapshots, target: Target, whole: list[Record], narrowed: list[Record], matches: Match | None, limit: int, rv: int) -> Page:
    if not limit:
        return Page(narrowed if matches is None else [one for one in narrowed if matches(one)], rv)
    taken: list[Record] = []
    seen = 0
    for record in narrowed:
        if len(taken) == limit:
            break
        seen += 1
        if matches is None or matches(record):
            taken.append(record)
    else:
        return Page(taken, rv)
    snapshots.keep(target.kind.shelf, rv, whole)
    remaining = len(narrowed) - seen if matches is None else None
    return Page(taken, rv, _token(rv, narrowed[seen - 1].key), remaining)


async def answer_list(cluster: Cluster, snapshots: Snapshots, call: Call, request: web.BaseRequest) -> web.StreamResponse:
    """A list in the form the client accepts."""
    target = call.where
    form = accepted_form(call.headers.get("Accept", ""), ("Table", "PartialObjectMetadataList"))
    chosen = page(cluster, snapshots, call)
    if form.name:
        body = await forms.list_body(form, target, chosen.records, chosen.metadata(), call.query)
        return await big_response(request, [body], {})
    return await big_response(request, plain_list(target, chosen), {})


def plain_list(target: Target, chosen: Page) -> list[bytes]:
    """The pieces of a list's JSON: stored bytes with commas between."""
    kind = target.kind
    head = {"kind": kind.list_kind, "apiVersion": target.api_version, "metadata": chosen.metadata()}
    opening = encode(head)[:-1] + b',"items":['
    if kind.store:
        bodies = [forms.plain(target, record) for record in chosen.records]
        return [opening, b",".join(bodies), b"]}"]
    first = b"{" if kind.builtin else b"{" + kind.head(target.version)
    between = b"," + first
    pieces = [opening]
    for record in chosen.records:
        pieces.append(between)
        pieces.append(record.body)
    if chosen.records:
        pieces[1] = first
    return [*pieces, b"]}"]


def answer_get(cluster: Cluster, call: Call) -> web.Response:
    """One object in the form the client accepts; ApiError 404."""
    target = call.where
    record = cluster.require(target.kind.resource, target.namespace, target.name)
    form = accepted_form(call.headers.get("Accept", ""), ("Table", "PartialObjectMetadata"))
    if form.name:
        return bytes_response(forms.object_body(form, target, record, call.query))
    return bytes_response(forms.plain(target, record))


def watched_name(call: Call) -> str:
    """The field selector of a watch of one named object."""
    return call.where.name or single_name(call.where.kind, call.query.get("fieldSelector", "")) or ""
