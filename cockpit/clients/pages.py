"""A LIST page by page: the next page is asked for as soon as the head of this one has told how the list goes on."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Iterator
from typing import Generic, TypeVar

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


T = TypeVar("T")


class _Promise(Generic[T]):
    """A value that another thread brings; not concurrent.futures, which loads the logging of the standard library."""

    def __init__(self) -> None:
        self._kept = threading.Event()
        self._value: T | None = None
        self._problem: BaseException | None = None

    def keep(self, value: T | None, problem: BaseException | None = None) -> None:
        """Bring it, or what went wrong; the first word counts."""
        if not self._kept.is_set():
            self._value, self._problem = value, problem
            self._kept.set()

    def result(self) -> T | None:
        """The value once it is there, or what went wrong."""
        self._kept.wait()
        if self._problem is not None:
            raise self._problem
        return self._value


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
            page = coming.page.result() or b""
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
        self._fetch, self._token, self._room, self._told = fetch, token, room, False
        self.page: _Promise[bytes] = _Promise()
        self.following: _Promise[_Coming] = _Promise()
        threading.Thread(target=self._run, name="page", daemon=True).start()

    def _run(self) -> None:
        self._room.acquire()
        if self._room.closed:
            self._room.release()
            return
        try:
            page = self._fetch(self._token, self._head)
        except BaseException as problem:  # the edge of a thread: whoever takes the page gets it
            self.page.keep(None, problem)
        else:
            self._goes_on(list_meta(page))
            self.page.keep(page)

    def _head(self, head: bytes) -> None:
        found = _head_meta(head)
        if found is not None:
            self._goes_on(found)

    def _goes_on(self, meta: ListMeta) -> None:
        if not self._told:
            self._told = True
            self.following.keep(_Coming(self._fetch, meta.continue_, self._room) if meta.continue_ else None)


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
