"""What the parts of one pod share while it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from cockpit.sim.kubelet.devices import Devices
from cockpit.sim.kubelet.images import ImageStore
from cockpit.sim.kubelet.loopback import LoopbackPorts
from cockpit.sim.kubelet.rendezvous import JobKey, Rendezvous

T = TypeVar("T")
METRICS_PORTS = 16  # consecutive loopback ports behind one `metrics` container port: base + local rank
COMPONENT = "kubelet"


class Stopped(Exception):
    """The pod is being stopped; whatever it waited for does not matter any more."""


@dataclass
class Machine:
    """What all pods of the practice cluster share."""

    cluster: Any  # cockpit.sim.store.Cluster
    folder: Path
    pace: float
    images: ImageStore
    devices: Devices
    ports: LoopbackPorts
    rendezvous: Rendezvous

    @property
    def records(self) -> Path:
        """Folder of pid records."""
        return self.folder / "records"

    @property
    def claims(self) -> Path:
        """Folder of persistent volume claims."""
        return self.folder / "claims"

    @property
    def shims(self) -> Path:
        """Folder of commands every pod finds on its PATH."""
        return self.folder / "bin"

    @property
    def names(self) -> Path:
        """Folder of the names that cluster DNS resolves, one file per namespace."""
        return self.folder / "names"


@dataclass
class PodContext:
    """One pod's identity, folders and signals."""

    machine: Machine
    pod: dict[str, Any]
    folder: Path
    address: Mapping[str, str]
    publish: Callable[[], None]
    stopping: asyncio.Event = field(default_factory=asyncio.Event)
    node_up: asyncio.Event = field(default_factory=asyncio.Event)
    volumes: dict[str, Path] = field(default_factory=dict)
    metrics: dict[int, int] = field(default_factory=dict)  # container port -> first loopback port
    job: JobKey | None = None
    rendezvous_port: int | None = None

    @property
    def uid(self) -> str:
        """The pod's uid, which begins the mark of all its processes."""
        return str(self.pod["metadata"]["uid"])

    @property
    def node(self) -> str:
        """Node the pod is bound to."""
        return str(self.pod["spec"]["nodeName"])

    @property
    def full_name(self) -> str:
        """The kubelet's name of a pod in messages: `name_namespace(uid)`."""
        metadata = self.pod["metadata"]
        return f"{metadata['name']}_{metadata['namespace']}({metadata['uid']})"

    def event(self, reason: str, message: str, warning: bool = False, container: str | None = None) -> None:
        """Record an event on the pod, or on one of its containers."""
        metadata = self.pod["metadata"]
        involved = {"apiVersion": "v1", "kind": "Pod"}
        involved |= {key: metadata[key] for key in ("namespace", "name", "uid", "resourceVersion")}
        if container:
            kind = "initContainers" if any(c["name"] == container for c in self.pod["spec"].get("initContainers") or []) else "containers"
            involved["fieldPath"] = f"spec.{kind}{{{container}}}"
        self.machine.cluster.event(involved, reason, message, type="Warning" if warning else "Normal", component=COMPONENT)

    def log_path(self, container: str, attempt: int) -> Path:
        """Log file of one attempt of a container."""
        return self.folder / "logs" / container / f"{attempt}.log"

    async def unless_stopping(self, work: Awaitable[T]) -> T:
        """Wait for something, or raise Stopped as soon as the pod is being stopped."""
        task = asyncio.ensure_future(work)
        stop = asyncio.ensure_future(self.stopping.wait())
        try:
            await asyncio.wait({task, stop}, return_when=asyncio.FIRST_COMPLETED)
            if self.stopping.is_set():
                raise Stopped
            return task.result()
        finally:
            stop.cancel()
            if not task.done():
                task.cancel()
            elif not task.cancelled():
                task.exception()  # seen, even when nobody wants the result any more

    async def pause(self, seconds: float) -> None:
        """Sleep, or raise Stopped."""
        await self.unless_stopping(asyncio.sleep(seconds))
