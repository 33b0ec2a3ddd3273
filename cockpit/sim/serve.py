"""Wires store, API server, controllers, kubelet, faults and scenario, and runs them in one event loop."""

from __future__ import annotations

import asyncio
import gc
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from cockpit.sim.api.bootstrap import bootstrap
from cockpit.sim.apiserver import ApiServer, PodRunner
from cockpit.sim.certificates import tls_context
from cockpit.sim.state import State
from cockpit.sim.store import Cluster

RVS_PER_EPOCH = 1_000_000_000
LAST_RETRY_SECONDS = 30.0
log = logging.getLogger("cockpit.sim")


@dataclass(frozen=True)
class Settings:
    """What `start` was asked for; None leaves a count of the scenario as it is."""

    scenario: str = "small"
    trainer: str = "2.3"
    port: int | None = None
    changes_per_second: float | None = None
    nodes: int | None = None
    pods: int | None = None
    pace: float = 1.0


@dataclass
class Loop:
    """Something that runs as long as the practice cluster; restarted when it fails."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass
class Parts:
    """What joins store and API server: loops, the kubelet, how the scenario is applied and how all is stopped."""

    loops: list[Loop] = field(default_factory=list)
    kubelet: PodRunner | None = None
    populate: Callable[[], Awaitable[None]] | None = None
    stop: Callable[[], Awaitable[None]] | None = None


Maker = Callable[[Cluster, ApiServer, State, Settings], Parts]


def no_parts(cluster: Cluster, api: ApiServer, state: State, settings: Settings) -> Parts:
    """Store and API server alone."""
    return Parts()


def whole(cluster: Cluster, api: ApiServer, state: State, settings: Settings) -> Parts:
    """The whole practice cluster: controllers, kubelet, exporters, faults, scenario."""
    from cockpit.sim import scenarios
    from cockpit.sim.controllers import Options, controllers
    from cockpit.sim.exporters import Exporters
    from cockpit.sim.faults import Faults
    from cockpit.sim.instance_types import offerings
    from cockpit.sim.kubelet import Kubelet

    scenario = scenarios.load(settings.scenario, settings.nodes, settings.pods, settings.changes_per_second)
    options = Options(trainer=settings.trainer, pace=settings.pace, static=scenario.static)
    kubelet = Kubelet(cluster, state.folder, Exporters(cluster, offerings()), settings.pace)
    faults = Faults(cluster, kubelet, api)
    loops = [Loop(one.name, one.run) for one in controllers(cluster, options)]

    async def populate() -> None:
        await scenarios.apply(scenario, cluster)
    return Parts([Loop("kubelet", kubelet.run), Loop("faults", faults.run), *loops], kubelet, populate, kubelet.stop)


class Sim:
    """One practice cluster in this process."""

    def __init__(self, state: State, settings: Settings, make: Maker = whole) -> None:
        self.state = state
        self.settings = settings
        state.prepare()
        self.cluster = Cluster(first_rv=state.next_epoch() * RVS_PER_EPOCH)
        self.api = ApiServer(self.cluster, state.token(), tls_context(state), self._port())
        bootstrap(self.cluster)
        self.parts = make(self.cluster, self.api, state, settings)
        self.api.kubelet = self.parts.kubelet
        self._tasks: list[asyncio.Task[None]] = []

    def _port(self) -> int:
        if self.settings.port is not None:
            return self.settings.port
        return int(self.state.facts().get("port") or 0)

    async def start(self) -> None:
        """Listen, apply the scenario, run every loop; /readyz is ok afterwards."""
        try:
            await self.api.start()
        except OSError:
            if self.settings.port is not None:
                raise
            log.warning("port %d is taken, choosing another", self.api.port)
            self.api.port = 0
            await self.api.start()
        self.state.claim(self.api.port, self.settings.scenario)
        self.state.write_kubeconfig(self.api.port)
        if self.parts.populate:
            await self.parts.populate()
        self._tasks = [asyncio.create_task(forever(one), name=one.name) for one in self.parts.loops]
        calm_collector()
        self.api.ready = True

    async def stop(self) -> None:
        """End every loop, kill every pod process, close the API."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self.parts.stop:
            await self.parts.stop()
        await self.api.stop()
        self.state.release()


def calm_collector() -> None:
    """Keep Python's cycle collector from walking all objects again and again: they are trees, freed without it."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(100_000, 50, 1000)


async def forever(loop: Loop) -> None:
    """Run a loop until cancelled; one that fails is logged and run again, later and later."""
    wait_seconds = 0.2
    while True:
        await _once(loop, wait_seconds)
        await asyncio.sleep(wait_seconds)
        wait_seconds = min(wait_seconds * 2, LAST_RETRY_SECONDS)


async def _once(loop: Loop, wait_seconds: float) -> None:
    task = asyncio.ensure_future(loop.run())
    try:
        await asyncio.wait({task})
    finally:
        if not task.done():
            task.cancel()
            await asyncio.wait({task})
    failure = None if task.cancelled() else task.exception()
    log.error("%s ended, running it again in %.1f s", loop.name, wait_seconds, exc_info=failure)


async def serve(state: State, settings: Settings, make: Maker = whole) -> None:
    """Run a practice cluster until SIGTERM or SIGINT."""
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    sim = Sim(state, settings, make)
    try:
        await sim.start()
        log.info("serving %s on port %d, pid %d", settings.scenario, sim.api.port, os.getpid())
        await stopping.wait()
    finally:
        await sim.stop()
