"""Named priorities: Kueue's WorkloadPriorityClasses and the scheduler's PriorityClasses."""

from __future__ import annotations

from collections.abc import Callable

import msgspec

from cockpit.model import PriorityClass
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta
from cockpit.sources.reflect import Reflector


class RawPriorityClass(msgspec.Struct, rename="camel"):
    """A kueue.x-k8s.io WorkloadPriorityClass or a scheduling.k8s.io/v1 PriorityClass."""

    metadata: Meta | None = None
    value: int | None = None
    global_default: bool | None = None


def to_priority(raw: RawPriorityClass, queue: bool) -> PriorityClass:
    """A priority class -> PriorityClass; `queue` for Kueue's."""
    meta = raw.metadata or Meta()
    return PriorityClass((queue, meta.name or ""), meta.resource_version or "", raw.value or 0, bool(raw.global_default))


def _of(queue: bool) -> Callable[[RawPriorityClass], PriorityClass]:
    return lambda raw: to_priority(raw, queue)


def source() -> Reflector:
    """Every priority class of either kind."""
    kueue = tuple(f"/apis/kueue.x-k8s.io/{version}/workloadpriorityclasses" for version in ("v1beta2", "v1beta1"))
    pods = ("/apis/scheduling.k8s.io/v1/priorityclasses",)
    return Reflector(
        "priorities",
        Listing("priorities", kueue, RawPriorityClass, _of(True), lambda space, name: (True, name), lambda key: key[0]),
        Listing("priorities", pods, RawPriorityClass, _of(False), lambda space, name: (False, name), lambda key: not key[0]),
    )
