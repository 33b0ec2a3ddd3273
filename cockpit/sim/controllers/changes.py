"""Keeps the scenery of scenario `big` moving: so many status changes a second, as a ConfigMap says."""

from __future__ import annotations

import asyncio
import random
import re
from typing import Any

from cockpit.sim.controllers.objects import Object

CONFIG = ("kube-system", "practice-changes")
TICK_SECONDS = 0.05
RESTARTS = re.compile(rb'"restartCount":(\d+)')
READY = (b'"ready":true', b'"ready":false')
BEAT = re.compile(rb'"lastHeartbeatTime":"[^"]*"')


class Changes:
    """Changes random static pods and nodes; data.changesPerSecond of the ConfigMap may be patched at any time."""

    name = "practice-changes"

    def __init__(self, cluster: Any, options: Any) -> None:
        self.cluster = cluster
        self._random = random.Random(options.seed)

    async def run(self) -> None:
        """Make changes until cancelled."""
        owed = 0.0
        last = asyncio.get_running_loop().time()
        while True:
            await asyncio.sleep(TICK_SECONDS)
            now = asyncio.get_running_loop().time()
            rate = rate_of(self.cluster.find("configmaps", *CONFIG))
            owed = min(owed + (now - last) * rate, max(1.0, rate))
            last = now
            for _ in range(int(owed)):
                self.change_one()
            owed -= int(owed)

    def change_one(self) -> None:
        """One change of one random object: nine of ten are pods."""
        resource = "pods" if self._random.random() < 0.9 else "nodes"
        shelf = self.cluster.shelf(resource)
        if shelf.keys:
            record = shelf.by_key[shelf.keys[self._random.randrange(len(shelf.keys))]]
            self.cluster.rewrite(record, changed_pod if resource == "pods" else self._changed_node)

    def _changed_node(self, body: bytes) -> bytes:
        return BEAT.sub(b'"lastHeartbeatTime":"%s"' % self.cluster.now().encode(), body)


def rate_of(config: Object | None) -> float:
    """Changes a second that the ConfigMap asks for; 0 when it is missing or no number."""
    text = str(((config or {}).get("data") or {}).get("changesPerSecond", "0"))
    try:
        return max(0.0, float(text))
    except ValueError:
        return 0.0


def changed_pod(body: bytes) -> bytes:
    """A pod whose container has restarted, or is ready again."""
    if READY[0] in body:
        worse = RESTARTS.sub(lambda match: b'"restartCount":%d' % (int(match[1]) + 1), body)
        return worse.replace(*READY)
    return body.replace(READY[1], READY[0])
