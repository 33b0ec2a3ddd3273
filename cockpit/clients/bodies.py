"""The body of an answer as it comes in: its head at once, the whole unpacked in one go when all of it is there."""

from __future__ import annotations

import zlib

GZIP = 31
LARGEST_BYTES = 1 << 28
"""More room than this is not taken on the word of a gzip trailer."""


class Body:
    """Pieces as the wire brings them, packed or not; `head` holds the first `head_bytes` once `add` has said so."""

    def __init__(self, encoding: str, head_bytes: int) -> None:
        self.head = b""
        self._head_bytes = head_bytes
        self._pieces: list[bytes] = []
        self._unpacker = zlib.decompressobj(GZIP) if encoding == "gzip" else None

    def add(self, piece: bytes) -> bool:
        """Take a piece; True for the one that completes the head. ValueError when it is no gzip."""
        self._pieces.append(piece)
        missing = self._head_bytes - len(self.head)
        if missing <= 0:
            return False
        try:
            self.head += self._unpacker.decompress(piece, missing) if self._unpacker else piece[:missing]
        except zlib.error as problem:
            raise ValueError(f"a gzip body that cannot be unpacked: {problem}") from None
        return len(self.head) == self._head_bytes

    def whole(self) -> bytes:
        """The unpacked body; its trailer tells how much room it takes, so nothing is copied. ValueError when it is no gzip or cut short."""
        packed = b"".join(self._pieces)
        if self._unpacker is None or not packed:
            return packed
        room = int.from_bytes(packed[-4:], "little")
        try:
            return zlib.decompress(packed, GZIP, max(64, min(room, LARGEST_BYTES)))
        except zlib.error as problem:
            raise ValueError(f"a gzip body that cannot be unpacked: {problem}") from None
