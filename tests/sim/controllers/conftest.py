"""An in-process cluster with every controller, and a kubelet that only flips phases."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from typing import Any

import pytest

from cockpit.sim.controllers import Options, controllers
from cockpit.sim.store import ApiError, Cluster

PACE = 0.02


class World:
    """A cluster under test: waits for states, never for time."""

    def __init__(self, options: Options) -> None:
        self.cluster = Cluster()
        self.options = options
        self.running = True
        """Whether the fake kubelet starts pods."""
        self.exits: dict[str, int] = {}
        """Pod name to the exit code its containers end with."""
        self.tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Run every controller and the fake kubelet."""
        self.tasks = [asyncio.create_task(one.run(), name=one.name) for one in controllers(self.cluster, self.options)]
        self.tasks.append(asyncio.create_task(self._kubelet(), name="kubelet"))

    async def stop(self) -> None:
        """Cancel everything; a task that crashed fails the test."""
        crashed = [task for task in self.tasks if task.done()]
        for task in self.tasks:
            task.cancel()
        _, left = await asyncio.wait(self.tasks, timeout=10) if self.tasks else ((), ())
        assert not left, f"not ended by cancelling: {[task.get_name() for task in left]}"
        for task in crashed:
            raise AssertionError(f"{task.get_name()} ended: {task.exception()!r}")

    async def until(self, holds: Callable[[], Any], seconds: float = 10.0) -> Any:
        """The first true value of holds; AssertionError after the deadline."""
        deadline = asyncio.get_running_loop().time() + seconds
        while True:
            with suppress(ApiError, LookupError, StopIteration):
                value = holds()
                if value:
                    return value
            if asyncio.get_running_loop().time() > deadline:
                dead = [(task.get_name(), task.exception()) for task in self.tasks if task.done()]
                raise AssertionError(f"not within {seconds} s; ended tasks: {dead}")
            await asyncio.sleep(0.01)

    def events(self, name: str) -> list[tuple[str, str]]:
        """(reason, message) of the events about an object, oldest first."""
        return [(one["reason"], one["message"]) for one in self.cluster.list("events") if one["involvedObject"]["name"] == name]

    def condition(self, resource: str, namespace: str | None, name: str, kind: str) -> dict[str, Any]:
        """A status condition, {} when absent."""
        held = self.cluster.get(resource, namespace, name).get("status", {}).get("conditions") or []
        return next((one for one in held if one["type"] == kind), {})

    async def _kubelet(self) -> None:
        subscription = self.cluster.subscribe("pods")
        async for event in subscription:
            pod = self.cluster.find("pods", event.namespace, event.name)
            if pod is not None and pod["spec"].get("nodeName"):
                self._advance(pod)

    def _advance(self, pod: dict[str, Any]) -> None:
        metadata, phase = pod["metadata"], pod.get("status", {}).get("phase")
        if metadata.get("deletionTimestamp"):
            self.cluster.delete("pods", metadata["namespace"], metadata["name"], grace_seconds=0)
        elif metadata["name"] in self.exits and phase == "Running":
            self._set(pod, "Succeeded" if self.exits[metadata["name"]] == 0 else "Failed")
        elif phase in (None, "Pending") and self.running:
            self._set(pod, "Running")

    def finish(self, namespace: str, name: str, code: int = 0) -> None:
        """End a running pod."""
        self.exits[name] = code
        self._advance(self.cluster.get("pods", namespace, name))

    def _set(self, pod: dict[str, Any], phase: str) -> None:
        metadata, now = pod["metadata"], self.cluster.now()
        code = self.exits.get(metadata["name"], 0)
        state = {"running": {"startedAt": now}} if phase == "Running" else {"terminated": {"exitCode": code, "finishedAt": now}}
        ready = "True" if phase == "Running" else "False"
        others = [one for one in pod.get("status", {}).get("conditions") or [] if one["type"] != "Ready"]
        status = {
            "phase": phase,
            "podIP": "10.0.1.1",
            "conditions": [*others, {"type": "Ready", "status": ready, "lastTransitionTime": now}],
            "containerStatuses": [{"name": one["name"], "state": state, "ready": phase == "Running"} for one in pod["spec"]["containers"]],
        }
        self.cluster.patch("pods", metadata["namespace"], metadata["name"], {"status": status}, subresource="status")


@pytest.fixture
async def world() -> AsyncIterator[World]:
    """An empty cluster whose controllers run fast."""
    one = World(Options(pace=PACE, seed=7))
    yield one
    await one.stop()


def pod(name: str, node: str | None = None, labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A pod in namespace default."""
    container = {"name": "main", "image": "busybox", "resources": {"requests": spec.pop("requests", {"cpu": "1"})}}
    more = {"nodeName": node} if node else {}
    metadata = {"name": name, "namespace": "default", "uid": f"uid-{name}", "labels": labels or {}}
    return {"apiVersion": "v1", "kind": "Pod", "metadata": metadata, "spec": {"containers": [container], **more, **spec}}


def node(name: str, labels: dict[str, str] | None = None, taints: list[dict[str, str]] | None = None, **allocatable: str) -> dict[str, Any]:
    """A node with so much allocatable."""
    held = {"cpu": "8", "memory": "32Gi", "pods": "58"} | {
        key.replace("__", "/").replace("_", "."): value for key, value in allocatable.items()
    }
    metadata = {"name": name, "labels": {"kubernetes.io/hostname": name} | (labels or {})}
    return {"metadata": metadata, "spec": {"taints": taints or []}, "status": {"allocatable": held}}
