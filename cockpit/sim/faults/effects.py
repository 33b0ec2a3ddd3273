"""What every fault has in common: a target, a start and an end."""

from __future__ import annotations

from typing import Any, Protocol

from cockpit.sim.kubelet import Kubelet, ranks


class ApiserverHooks(Protocol):
    """What the API server lets faults do to it."""

    def pause(self, seconds: float) -> None: ...
    def expire_watches(self) -> None: ...


class TargetError(Exception):
    """The fault's target does not exist or is not told."""


class Effect:
    """One fault at work. `instant` faults are over once started; `place` is the node and GPU they act on."""

    instant = False

    def __init__(self, cluster: Any, kubelet: Kubelet, apiserver: Any, fault: dict[str, Any]) -> None:
        self.cluster = cluster
        self.kubelet = kubelet
        self.apiserver = apiserver
        self.spec: dict[str, Any] = fault["spec"]
        self.target: dict[str, Any] = self.spec.get("target") or {}
        self.name = f"fault/{fault['metadata']['uid']}"
        self.factor = float(self.spec.get("factor", 0.5))
        self.place: dict[str, Any] = {}

    @property
    def seconds(self) -> float | None:
        """When it ends by itself."""
        return float(self.spec["seconds"]) if "seconds" in self.spec else None

    def start(self) -> str:
        """Make it happen; what happened, in words. TargetError when there is nothing to hit."""
        raise TargetError(f"fault {self.spec['fault']} has no effect")

    def end(self) -> None:
        """Heal."""

    def expire(self) -> str:
        """Its time is over; what that means, in words."""
        self.end()
        return f"ended after {self.seconds:g} s"

    def node(self) -> dict[str, Any]:
        """The target node."""
        name = self.target.get("node")
        if not name:
            raise TargetError(f"{self.spec['fault']} needs target.node")
        node: dict[str, Any] | None = self.cluster.find("nodes", None, name)
        if node is None:
            raise TargetError(f'node "{name}" not found')
        self.place["node"] = name
        return node

    def job_rank(self) -> tuple[str, str, int]:
        """Namespace, job and rank of the target; the rank must run."""
        missing = [f"target.{field}" for field in ("job", "rank") if self.target.get(field) is None]
        if missing:
            raise TargetError(f"{self.spec['fault']} needs {' and '.join(missing)}")
        namespace, job, rank = self.target.get("namespace") or "default", self.target["job"], int(self.target["rank"])
        if not ranks.job_runs(self.kubelet, namespace, job):
            raise TargetError(f"job {namespace}/{job} has no running pods")
        running = ranks.job_ranks(self.kubelet, namespace, job)
        if rank not in running:
            listed = ", ".join(map(str, sorted(running))) or "none"
            raise TargetError(f"rank {rank} of job {namespace}/{job} does not run; running ranks: {listed}")
        place = ranks.rank_place(self.kubelet, namespace, job, rank)
        if place is not None:
            self.place |= {"node": place[0]} | ({"gpu": place[1]} if place[1] is not None else {})
        return namespace, job, rank
