"""Small clusters to plan against, and a Kube that answers from a script and remembers what it was asked."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cockpit.errors import CockpitError
from cockpit.model import Job, JobKey, Node, NodeName, NodePool, Pod, PodKey, PoolName, Price, Served, VolumeClaim
from cockpit.snapshot import Snapshot
from cockpit.store import Failed, Store, Synced, Upsert

JOB = JobKey("default", "PyTorchJob", "t5")
TYPE = "p5.48xlarge"
PYTORCHJOB = Served("pytorchjobs.kubeflow.org", "kubeflow.org", "v1", "PyTorchJob")
GIB = 1 << 30
LOOKED = ("occupants", "deviceplugins", "applied")
"""Sources that only a look fills."""


def trainjob(field: str) -> Served:
    """A served TrainJob whose schema has that override field."""
    return Served("trainjobs.trainer.kubeflow.org", "trainer.kubeflow.org", "v1alpha1", "TrainJob", fields={f"spec.{field}": "array"})


def node(name: str, gpus: int | None = 8, **more: Any) -> Node:
    """A ready p5-like node."""
    facts: dict[str, Any] = {
        "instance_type": TYPE,
        "zone": "2a",
        "capacity_type": "on-demand",
        "pool": "gpu",
        "gpu_allocatable": gpus,
        "efa_allocatable": 32 if gpus else None,
        "cpu_allocatable": 190.0,
        "memory_allocatable_bytes": 2000 * GIB,
        "ready": True,
    }
    return Node(NodeName(name), "7", **(facts | more))


def pod(name: str, on: str | None = "n1", **more: Any) -> Pod:
    """A running pod of the job t5 with eight GPUs."""
    facts: dict[str, Any] = {"gpus": 8, "job": JOB, "ready": True, "replica": "worker", "index": 0}
    phase = more.pop("phase", "Running")
    return Pod(PodKey("default", name), "7", phase, phase, node=NodeName(on) if on else None, **(facts | more))


def job(**more: Any) -> Job:
    """The job t5: two pods of two ranks."""
    return Job(more.pop("key", JOB), "7", **({"uid": "u1", "pods_wanted": 2, "ranks_per_pod": 2, "managed": True} | more))


def pool(limit: int | None = 64, used: int = 0, **more: Any) -> NodePool:
    """A NodePool of p5 nodes with a limit on GPUs."""
    limits = {} if limit is None else {"nvidia.com/gpu": float(limit)}
    facts: dict[str, Any] = {"ready": True, "limits": limits, "usage": {"nvidia.com/gpu": float(used)}, "instance_types": (TYPE,)}
    return NodePool(PoolName(more.pop("name", "gpu")), "7", **(facts | more))


def price(dollars: float | None = 55.04, **more: Any) -> Price:
    """The list price of a p5."""
    return Price(TYPE, "", "on-demand", dollars, **more)


def claim(name: str = "fsx-pvc", mode: str = "ReadWriteMany", namespace: str = "default", **more: Any) -> VolumeClaim:
    """A bound claim that every node can mount."""
    return VolumeClaim(PodKey(namespace, name), "7", **({"phase": "Bound", "access_modes": (mode,)} | more))


def picture(absent: Mapping[str, CockpitError] | None = None, **rows: Any) -> Snapshot:
    """A snapshot in which every source is live and holds these rows; `absent` are the sources that failed, with why."""
    store = Store()
    kinds = {"observed": "applied", "runtimes": "served", "workloads": "queues"}
    for kind, found in rows.items():
        store.apply(Upsert(kinds.get(kind, kind), kind, tuple(found)))
    for source in (
        "served",
        "nodes",
        "pods",
        "jobs",
        "nodepools",
        "nodeclaims",
        "queues",
        "events",
        "prices",
        "progress",
        "gpus",
        "efa",
        "volumeclaims",
        *LOOKED,
    ):
        store.apply(Synced(source))
    for source, error in (absent or {}).items():
        store.apply(Failed(source, error))
    return store.snapshot()


class FakeKube:
    """Answers `request` by a function, logs by lists of raw lines; `calls` holds what was asked."""

    cluster, context, namespace, simulated = "fake", "fake", "default", False
    server, user = "https://fake", "ada"
    forbidden: frozenset[str] = frozenset()
    """Verbs on resources that are not allowed: `patch nodes`."""

    def __init__(self, answer: Callable[[str, str], dict[str, Any]] = lambda method, path: {}, logs: Mapping[str, Any] | None = None) -> None:
        self.answer, self.logs = answer, dict(logs or {})
        self.calls: list[tuple[str, str, Any, Any]] = []
        self.params: list[Mapping[str, str]] = []

    def request(self, method: str, path: str, *, params: Any = None, body: Any = None, content_type: str = "", **more: Any) -> dict[str, Any]:
        """What the script answers."""
        self.calls.append((method, path, params, body))
        return self.answer(method, path)

    def may(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "", subresource: str = "") -> bool:
        """Whether it is allowed."""
        return f"{verb} {resource}{'/' + subresource if subresource else ''}" not in self.forbidden

    def read(self, path: str, *, params: Any = None, **more: Any) -> bytes:
        """A whole log."""
        return b"\n".join(self._log(path))

    def lines(self, path: str, *, params: Any = None, stop: threading.Event, **more: Any) -> Iterator[bytes]:
        """A log, line by line; a list of lists gives the next list at each call."""
        self.params.append(dict(params or {}))
        for line in self._log(path):
            if stop.is_set():
                return
            yield line

    def _log(self, path: str) -> list[bytes]:
        found = self.logs[path.split("/pods/")[1].split("/")[0]]
        if isinstance(found, CockpitError):
            raise found
        if found and isinstance(found[0], list):
            return found.pop(0) if len(found) > 1 else found[0]
        return found
