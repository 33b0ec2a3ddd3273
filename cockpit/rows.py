"""A mapping that gives away immutable versions of itself cheaply: a version shares every bucket that has not changed since."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Generic, TypeVar

Key = TypeVar("Key")
Row = TypeVar("Row")

BUCKET_ROWS = 64


class Rows(Mapping[Key, Row]):
    """One immutable version of a table; `get`, `in` and iteration as of a dict, in no particular order."""

    __slots__ = ("_buckets", "_mask", "_size")

    def __init__(self, buckets: tuple[dict[Key, Row], ...] = ({},), size: int = 0) -> None:
        self._buckets = buckets
        self._mask = len(buckets) - 1
        self._size = size

    @classmethod
    def of(cls, rows: Mapping[Key, Row]) -> Rows[Key, Row]:
        """The given mapping as one version."""
        return cls((dict(rows),), len(rows))

    def __getitem__(self, key: Key) -> Row:
        return self._buckets[hash(key) & self._mask][key]

    def get(self, key: Any, default: Any = None) -> Any:
        """The row, or `default`."""
        return self._buckets[hash(key) & self._mask].get(key, default)

    def __contains__(self, key: object) -> bool:
        return key in self._buckets[hash(key) & self._mask]

    def __iter__(self) -> Iterator[Key]:
        for bucket in self._buckets:
            yield from bucket

    def __len__(self) -> int:
        return self._size


class Table(Generic[Key, Row]):
    """The writable side: a write after a version was given away copies one bucket, not the table."""

    def __init__(self) -> None:
        self._buckets: list[dict[Key, Row]] = [{}]
        self._shared = bytearray(1)
        self._size = 0
        self._version: Rows[Key, Row] | None = None

    def get(self, key: Key) -> Row | None:
        """The row as of now."""
        return self._buckets[hash(key) & (len(self._buckets) - 1)].get(key)

    def put(self, key: Key, row: Row) -> Row | None:
        """Store the row; returns the one it replaces."""
        bucket = self._writable(key)
        old = bucket.get(key)
        bucket[key] = row
        if old is None:
            self._size += 1
            if self._size > BUCKET_ROWS * len(self._buckets):
                self._grow()
        return old

    def drop(self, key: Key) -> Row | None:
        """Remove the row; returns it, or None when there was none."""
        if self.get(key) is None:
            return None
        self._size -= 1
        return self._writable(key).pop(key)

    def known(self) -> list[Key]:
        """All keys as of now."""
        return [key for bucket in self._buckets for key in bucket]

    def version(self) -> Rows[Key, Row]:
        """The immutable version of now; the same object until the next write."""
        if self._version is None:
            self._version = Rows(tuple(self._buckets), self._size)
            self._shared = bytearray(b"\x01" * len(self._buckets))
        return self._version

    def _writable(self, key: Key) -> dict[Key, Row]:
        self._version = None
        index = hash(key) & (len(self._buckets) - 1)
        if self._shared[index]:
            self._buckets[index] = dict(self._buckets[index])
            self._shared[index] = 0
        return self._buckets[index]

    def _grow(self) -> None:
        old = self._buckets
        count = len(old) * 4
        self._buckets = [{} for _ in range(count)]
        self._shared = bytearray(count)
        for bucket in old:
            for key, row in bucket.items():
                self._buckets[hash(key) & (count - 1)][key] = row
