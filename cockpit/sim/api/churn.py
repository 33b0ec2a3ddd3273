"""A steady stream of cheap changes, for seeing how a client fares under load."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

Edit = Callable[[bytes], bytes]
TICK_SECONDS = 0.01
_COUNT = re.compile(rb'"restartCount":(\d+)')


def count_restart(rest: bytes) -> bytes:
    """One restart more for the first container of a pod."""
    return _COUNT.sub(lambda found: b'"restartCount":%d' % (int(found[1]) + 1), rest, count=1)


async def churn(cluster: Cluster, resource: str, per_second: float, edit: Edit = count_restart) -> None:
    """Change `per_second` objects of a resource every second, one after another in key order, until cancelled."""
    loop = asyncio.get_running_loop()
    shelf = cluster.shelf(resource)
    due, position, last = 0.0, 0, loop.time()
    while True:
        await asyncio.sleep(TICK_SECONDS)
        now = loop.time()
        due += min(now - last, 0.25) * per_second
        last = now
        for _ in range(int(due) if shelf.keys else 0):
            position = (position + 1) % len(shelf.keys)
            cluster.rewrite(shelf.by_key[shelf.keys[position]], edit)
        due -= int(due)
