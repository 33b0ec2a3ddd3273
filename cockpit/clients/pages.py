"""A LIST page by page: the next page is asked for as soon as the head of this one has told how the list goes on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Future

import msgspec

AHEAD = 3
HEAD_BYTES = 1 << 14
LIST_METADATA = re.compile(rb'"metadata"\s*:\s*(\{[^{}]*\})')

Fetch = Callable[[str, Callable[[bytes], None]], bytes]
"""continue token, what to do with the head of the page -> the whole page."""


class ListMeta(msgspec.Struct, rename="camel"):
    """What a list says of itself."""

    continue_: str | None = msgspec.field(default=None, name="continue")
    resource_version: str | None = None


class _List(msgspec.Struct):
    metadata: ListMeta | None = None


def pages(fetch: Fetch) -> Iterator[bytes]:
    """The pages in order; the first is asked for at once, and while one is taken in the next AHEAD are on their way."""
    room = _Room(AHEAD)
    return _follow(_Coming(fetch, "", room), room)


def _follow(first: _Coming, room: _Room) -> Iterator[bytes]:
    coming: _Coming | None = first
    try:
        while coming is not None:
            page = coming.page.result()
            coming = coming.following.result()
            room.release()
            yield page
    finally:
        room.closed = True
        room.release()


class _Room(threading.Semaphore):
    """Room for pages nobody has taken yet; `closed` says that nobody will."""

    closed = False


class _Coming:
    """A page on its way, asked for as soon as there is room; `following`, None at the end, is there as soon as the head has named it."""

    def __init__(self, fetch: Fetch, token: str, room: _Room) -> None:
        self._fetch, self._token, self._room = fetch, token, room
        self.page: Future[bytes] = Future()
        self.following: Future[_Coming | None] = Future()
        threading.Thread(target=self._run, name="page", daemon=True).start()

    def _run(self) -> None:
        self._room.acquire()
        if self._room.closed:
            self._room.release()
            return
        try:
            page = self._fetch(self._token, self._head)
        except BaseException as problem:  # the edge of a thread: whoever takes the page gets it
            self.page.set_exception(problem)
        else:
            self._goes_on(list_meta(page))
            self.page.set_result(page)

    def _head(self, head: bytes) -> None:
        found = _head_meta(head)
        if found is not None:
            self._goes_on(found)

    def _goes_on(self, meta: ListMeta) -> None:
        if not self.following.done():
            self.following.set_result(_Coming(self._fetch, meta.continue_, self._room) if meta.continue_ else None)


def list_meta(page: bytes) -> ListMeta:
    """The metadata of a LIST page; read from its head, where API servers write it, else from the whole."""
    found = _head_meta(page[:HEAD_BYTES])
    if found is not None:
        return found
    try:
        return msgspec.json.decode(page, type=_List).metadata or ListMeta()
    except (msgspec.DecodeError, UnicodeDecodeError):
        return ListMeta()


def _head_meta(head: bytes) -> ListMeta | None:
    """The metadata that stands before the items; None when it does not."""
    items = head.find(b'"items"')
    found = LIST_METADATA.search(head, 0, items if items >= 0 else len(head))
    try:
        return msgspec.json.decode(found[1], type=ListMeta) if found else None
    except (msgspec.DecodeError, UnicodeDecodeError):
        return None
