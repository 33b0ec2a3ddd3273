"""Memory as the allocator of the C library keeps it: few arenas, and what is free given back. Does nothing where that library is not glibc."""

from __future__ import annotations

import contextlib

ARENAS = 2
M_ARENA_MAX = -8


def few_arenas() -> None:
    """Let all threads share two arenas: each of a dozen that read lists at the start would keep the largest page it ever held."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(M_ARENA_MAX, ARENAS)


def give_back() -> None:
    """Return free memory to the system; a few milliseconds, so once after something large."""
    import ctypes

    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)
