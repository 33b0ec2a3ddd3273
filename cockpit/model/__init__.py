"""The nouns, frozen: what the cockpit knows of a cluster. Joins are methods of `Snapshot` (snapshot.py); unknown is None, never 0.

Rows are msgspec Structs: 50,000 of them are made and kept at a fraction of what dataclasses cost, and so is the class itself at the start.
Bytes, seconds and watts are plain numbers whose unit is in the name; times are seconds since the epoch. Text that came from a cluster is kept as
it came and is made inert where it is shown.
"""

from cockpit.model.health import Answer, Applied, Event, Finding, Health, Observed, Runtime, Served, State
from cockpit.model.jobs import (
    Checkpoint,
    CheckpointStore,
    Job,
    LastWords,
    Launch,
    Phase,
    Pod,
    PriorityClass,
    Progress,
    Queue,
    Quota,
    VolumeClaim,
    Workload,
)
from cockpit.model.keys import CheckpointKey, ClaimName, Condition, DeviceKey, JobKey, NodeName, PodKey, PoolName, QueueKey, StoreKey
from cockpit.model.nodes import DevicePlugin, EfaDevice, Gpu, Node, NodeClaim, NodeClass, NodePool, Occupant, Price

__all__ = [
    "Answer",
    "Applied",
    "Checkpoint",
    "CheckpointKey",
    "CheckpointStore",
    "ClaimName",
    "Condition",
    "DeviceKey",
    "DevicePlugin",
    "EfaDevice",
    "Event",
    "Finding",
    "Gpu",
    "Health",
    "Job",
    "JobKey",
    "LastWords",
    "Launch",
    "Node",
    "NodeClaim",
    "NodeClass",
    "NodeName",
    "NodePool",
    "Observed",
    "Occupant",
    "Phase",
    "Pod",
    "PodKey",
    "PoolName",
    "Price",
    "PriorityClass",
    "Progress",
    "Queue",
    "QueueKey",
    "Quota",
    "Runtime",
    "Served",
    "State",
    "StoreKey",
    "VolumeClaim",
    "Workload",
]
