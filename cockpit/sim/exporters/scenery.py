"""Loads of scenery: the nodes and rank pods of scenario `big` have no processes, so what their devices do is invented. SIMULATED."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from cockpit.sim.exporters.gpus import Load
from cockpit.sim.kubelet.devices import EFA, GPU, Holder, limit

JOB = "training.kubeflow.org/job-name"
SENT_BYTES_PER_SECOND = 3.1e9  # of one EFA device of a multi-node job, a quarter of its line rate


@dataclass(frozen=True)
class Scene:
    """The rank pod that is painted on a node: which devices it holds and how hard it works."""

    namespace: str
    pod: str
    container: str
    uid: str
    gpus: int
    efa_devices: int
    compute: float
    sent_bytes_per_second: float

    def holder(self, index: int) -> Holder | None:
        """Who holds GPU `index`."""
        return Holder(self.namespace, self.pod, self.container, self.uid, index) if index < self.gpus else None

    def load(self, index: int, throttle: float) -> Load:
        """What GPU `index` does."""
        return Load(held=True, compute=self.compute, throttle=throttle) if index < self.gpus else Load(throttle=throttle)


class Scenery:
    """Finds the scene of a node; knows nothing until it is asked about a painted node."""

    def __init__(self, cluster: Any) -> None:
        self._cluster = cluster
        self._ranks: dict[str, Any] | None = None  # node -> record of the rank pod on it
        self._sizes: dict[str, int] = {}  # job -> pods
        self._scenes: dict[str, Scene | None] = {}

    def on(self, node: str) -> Scene | None:
        """The scene of a painted node, None for real ones and for idle ones."""
        if node not in self._scenes:
            known = self._cluster.find("nodes", None, node) is not None
            if not known or not self._cluster.require("nodes", None, node).static:
                return None
            self._scenes[node] = self._scene(node)
        return self._scenes[node]

    def _scene(self, node: str) -> Scene | None:
        if self._ranks is None:
            self._ranks = {}
            for record in self._cluster.shelf("pods").ordered():
                job = record.labels.get(JOB)
                if record.static and job:
                    self._ranks[record.fields["spec.nodeName"]] = record
                    self._sizes[job] = self._sizes.get(job, 0) + 1
        record = self._ranks.get(node)
        if record is None:
            return None
        container = record.object["spec"]["containers"][0]
        job = record.labels[JOB]
        efa_devices = limit(container, EFA)
        compute = _compute(job)
        sent = SENT_BYTES_PER_SECOND * compute if self._sizes[job] > 1 and efa_devices else 0.0
        return Scene(record.namespace, record.name, container["name"], record.uid, limit(container, GPU), efa_devices, compute, sent)


def _compute(job: str) -> float:
    """A share of compute for a job, the same for all its ranks: most work well, some wait for data."""
    number = hashlib.sha256(job.encode()).digest()[0] / 255
    return 0.35 + 0.3 * number if number < 0.15 else 0.88 + 0.11 * number
