"""What rows are known by, and the conditions that Kubernetes writes on objects."""

from __future__ import annotations

from typing import NamedTuple, NewType

from msgspec import Struct

NodeName = NewType("NodeName", str)
PoolName = NewType("PoolName", str)
ClaimName = NewType("ClaimName", str)


class PodKey(NamedTuple):
    """A pod, by namespace and name."""

    namespace: str
    name: str


class JobKey(NamedTuple):
    """A training job, by namespace, kind (PyTorchJob | TrainJob) and name."""

    namespace: str
    kind: str
    name: str


class QueueKey(NamedTuple):
    """A Kueue LocalQueue (namespace set) or ClusterQueue (namespace empty)."""

    namespace: str
    name: str


class StoreKey(NamedTuple):
    """A place of checkpoints: `pvc:CLAIM/PATH` (namespace set), `s3://BUCKET/PREFIX` (namespace empty), `log:KIND/JOB` while only a log is known."""

    namespace: str
    where: str


class CheckpointKey(NamedTuple):
    """A checkpoint, by its place and the name of its entry there (step_00000100)."""

    store: StoreKey
    entry: str


class DeviceKey(NamedTuple):
    """A GPU (by index) or EFA device (by name) of one node."""

    node: NodeName
    device: str


class Condition(Struct, frozen=True, gc=False):
    """One Kubernetes condition; status True | False | Unknown as the API writes it."""

    type: str
    status: str
    reason: str = ""
    message: str = ""
    since: float | None = None
