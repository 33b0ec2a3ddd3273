"""A cluster in process with two GPU nodes and a kubelet whose pods are real processes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from cockpit.sim.exporters import Exporters
from cockpit.sim.kubelet import Kubelet
from cockpit.sim.store import Cluster
from tests.sim.kubelet.worlds import World, node


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    cluster = Cluster()
    if cluster.find("namespaces", None, "default") is None:
        cluster.create("namespaces", {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "default"}})
    for index in (1, 2):
        cluster.create("nodes", node(f"node-{index}", f"10.0.0.{index}"))
    exporters = Exporters(cluster)
    kubelet = Kubelet(cluster, tmp_path, exporters, pace=0.01)
    running = asyncio.create_task(kubelet.run())
    await asyncio.sleep(0)
    yield World(cluster, kubelet, exporters)
    running.cancel()
    await kubelet.stop()
    assert await asyncio.gather(running, return_exceptions=True)
