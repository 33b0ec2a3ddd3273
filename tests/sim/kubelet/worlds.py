"""What the kubelet's tests share: pods and nodes to make, and states to wait for."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeVar

from cockpit.sim.exporters import Exporters
from cockpit.sim.kubelet import Kubelet, processes
from cockpit.sim.store import Cluster

T = TypeVar("T")


async def until(probe: Callable[[], T | None], what: str, seconds: float = 20.0) -> T:
    """Wait until `probe` gives something true; fail with `what` after a deadline."""
    deadline = time.monotonic() + seconds
    while True:
        found = probe()
        if found:
            return found
        if time.monotonic() > deadline:
            raise AssertionError(f"did not happen in {seconds} s: {what}")
        await asyncio.sleep(0.02)


def node(name: str, address: str) -> dict[str, Any]:
    """A p5-like node."""
    resources = {"cpu": "192", "memory": "2Ti", "nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32"}
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": {"name": name, "labels": {"node.kubernetes.io/instance-type": "p5.48xlarge"}},
        "spec": {},
        "status": {"capacity": resources, "allocatable": resources, "addresses": [{"type": "InternalIP", "address": address}]},
    }


def pod(name: str, *command: str, spec: dict[str, Any] | None = None, labels: dict[str, str] | None = None, **container: Any) -> dict[str, Any]:
    """A pod with one container `main` on node-1 that never restarts, unless `spec` says otherwise."""
    main: dict[str, Any] = {"name": "main", "image": "registry.example/trainer:1"}
    main |= ({"command": list(command)} if command else {}) | container
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "default", "labels": labels or {}},
        "spec": {"nodeName": "node-1", "restartPolicy": "Never", "containers": [main]} | (spec or {}),
    }


@dataclass
class World:
    """Cluster, kubelet and exporters, with the questions tests ask."""

    cluster: Cluster
    kubelet: Kubelet
    exporters: Exporters

    def create(self, obj: dict[str, Any]) -> str:
        """Create a pod; its uid."""
        return str(self.cluster.create("pods", obj)["metadata"]["uid"])

    def status(self, name: str) -> dict[str, Any]:
        """A pod's status, empty when it is gone."""
        found = self.cluster.find("pods", "default", name)
        return (found or {}).get("status") or {}

    def state(self, name: str, container: str = "main") -> dict[str, Any]:
        """A container's state."""
        entries = [*self.status(name).get("containerStatuses", []), *self.status(name).get("initContainerStatuses", [])]
        return next((entry["state"] for entry in entries if entry["name"] == container), {})

    def entry(self, name: str) -> dict[str, Any]:
        """The status entry of the first container."""
        return (self.status(name).get("containerStatuses") or [{}])[0]

    def condition(self, name: str, kind: str) -> dict[str, Any]:
        """A condition of a pod."""
        return next((c for c in self.status(name).get("conditions", []) if c["type"] == kind), {})

    async def phase(self, name: str, *phases: str) -> dict[str, Any]:
        """Wait for a phase; the status."""
        await until(lambda: self.status(name).get("phase") in phases, f"{name} {phases}: {self.status(name)}")
        return self.status(name)

    def log(self, name: str, container: str = "main", previous: bool = False) -> list[str]:
        """The text of a container's log lines."""
        path = self.kubelet.log_path("default", name, container, previous)
        lines = path.read_text().splitlines() if path and path.exists() else []
        return [line.split(" ", 3)[3] for line in lines]

    def events(self, name: str, kind: str = "Pod") -> dict[str, str]:
        """Reason -> last message of the events about an object."""
        about = {"kind": kind, "name": name}.items()
        return {event["reason"]: event["message"] for event in self.cluster.list("events") if about <= event["involvedObject"].items()}

    def config_map(self, name: str, data: dict[str, str]) -> None:
        """Create a ConfigMap."""
        metadata = {"name": name, "namespace": "default"}
        self.cluster.create("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": metadata, "data": data})

    def pids(self, uid: str) -> list[int]:
        """Live processes of a pod."""
        return [process.pid for process in processes.find(uid)]
