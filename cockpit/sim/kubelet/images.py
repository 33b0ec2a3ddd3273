"""Image pulls: each node pulls an image once, in simulated time; names that contain `does-not-exist` cannot be pulled."""

from __future__ import annotations

import asyncio
import hashlib
import time
from dataclasses import dataclass

UNKNOWN = "does-not-exist"


class PullError(Exception):
    """The registry does not have the image; the text is the runtime's message."""


@dataclass(frozen=True)
class Pulled:
    """How an image came to a node."""

    seconds: float


def full_name(image: str) -> str:
    """Image reference with registry and tag, as the runtime reports it."""
    first, slash, _ = image.partition("/")
    registry = "." in first or ":" in first or first == "localhost"
    name = image if slash and registry else f"docker.io/{image}" if slash else f"docker.io/library/{image}"
    return name if ":" in name.rpartition("/")[2] or "@" in name else name + ":latest"


def _digest(image: str) -> str:
    return hashlib.sha256(full_name(image).encode()).hexdigest()


def image_id(image: str) -> str:
    """A stable made-up digest reference, in the form of a real imageID."""
    return f"{full_name(image).partition('@')[0].rpartition(':')[0]}@sha256:{_digest(image)}"


def size_bytes(image: str) -> int:
    """A stable made-up size: hundreds of MB, or gigabytes where the name tells of PyTorch or CUDA."""
    spread = int(_digest(image)[:8], 16)
    heavy = any(word in image for word in ("torch", "cuda", "nvidia", "deepspeed", "nemo"))
    return 3_000_000_000 + spread % 6_000_000_000 if heavy else 30_000_000 + spread % 300_000_000


class ImageStore:
    """What each node has pulled, and the pulls under way."""

    def __init__(self, pace: float) -> None:
        self.pace = pace
        self._present: set[tuple[str, str]] = set()
        self._pulling: dict[tuple[str, str], asyncio.Event] = {}

    def has(self, node: str, image: str) -> bool:
        """Whether the node holds the image."""
        return (node, image) in self._present

    async def pull(self, node: str, image: str) -> Pulled:
        """Pull an image to a node, or wait for the pull that is under way; 0.5-1 s at pace 1; PullError for unknown images."""
        started = time.monotonic()
        key = (node, image)
        while key in self._pulling:  # a pull that was given up leaves the image to the next who waits
            await self._pulling[key].wait()
            if key in self._present:
                return Pulled(time.monotonic() - started)
        if UNKNOWN in image:
            await asyncio.sleep(0.3 * self.pace)
            name = full_name(image)
            raise PullError(
                f'Failed to pull image "{image}": rpc error: code = NotFound desc = failed to pull and unpack image "{name}": '
                f'failed to resolve reference "{name}": {name}: not found'
            )
        await self._fetch(key)
        return Pulled(time.monotonic() - started)

    async def _fetch(self, key: tuple[str, str]) -> None:
        self._pulling[key] = asyncio.Event()
        seconds = 0.15 if key in self._present else 0.5 + int(_digest(key[1])[:4], 16) / 0xFFFF / 2
        try:
            await asyncio.sleep(seconds * self.pace)
            self._present.add(key)
        finally:
            self._pulling.pop(key).set()


def needs_pull(policy: str | None, image: str, present: bool) -> bool:
    """Whether imagePullPolicy asks for a pull (`:latest` and untagged default to Always)."""
    effective = policy or ("Always" if full_name(image).endswith(":latest") else "IfNotPresent")
    return effective == "Always" or (effective == "IfNotPresent" and not present)


def took(seconds: float) -> str:
    """A duration as Go prints it, to the millisecond: `812ms`, `1.204s`."""
    return f"{seconds * 1000:.0f}ms" if seconds < 1 else f"{seconds:.3f}".rstrip("0").rstrip(".") + "s"
