"""What one pod of a job asks for, from where it will run: its share of the node's CPU and memory, its EFA devices, its shared memory."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from actions.core.capacity import Room, Want, arithmetic, left_out, on_nodes, on_pools, placed
from cockpit.errors import BadInput, Refused
from cockpit.instance_types import InstanceType, instance_types
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

GIB = 2**30
USABLE = 0.9
"""Share of a node's CPU and memory that pods of a job may take: the rest is for the daemons beside them."""
CPU_PER_GPU, MEMORY_PER_GPU_BYTES = 4.0, 16 * GIB
CPU_PER_RANK, MEMORY_PER_RANK_BYTES = 1.0, 2 * GIB
"""Where no node is known yet to take a share of, and for ranks that run on CPUs."""
SHM_PER_RANK_BYTES = GIB


@dataclass(frozen=True)
class Size:
    """One pod's requests, which are its limits too, and the places all pods would take."""

    want: Want
    places: tuple[tuple[Room, int], ...]
    cpu: float
    memory_bytes: int
    efa: int
    shm_bytes: int
    threads: int
    simulated: bool
    warnings: tuple[str, ...] = ()
    one_zone: bool = False

    def resources(self) -> dict[str, str]:
        """Requests and limits as Kubernetes writes them."""
        found = {"cpu": f"{max(1, math.floor(self.cpu))}", "memory": gibibytes(self.memory_bytes)}
        gpus = {"nvidia.com/gpu": str(self.want.gpus)} if self.want.gpus else {}
        return found | gpus | ({"vpc.amazonaws.com/efa": str(self.efa)} if self.efa else {})

    @property
    def zone(self) -> str:
        """The zone all pods would be in; empty when they would be in several, or it is not known."""
        found = {room.zone for room, _ in self.places}
        return next(iter(found)) if len(found) == 1 else ""

    @property
    def whole(self) -> bool:
        """True when a place is known for every pod."""
        return sum(pods for _, pods in self.places) >= self.want.pods

    def where(self) -> str:
        """Where the pods go, in words."""
        if not self.want.gpus:
            return "runs on CPUs, wherever the scheduler finds room"
        if not self.whole:
            return f"where {self.want.pods - sum(pods for _, pods in self.places)} of {self.want.pods} pods find room cannot be seen from here"
        now = [f"{room.name} ({pods})" for room, pods in self.places if not room.new]
        later = [_added(room, pods, self.want) for room, pods in self.places if room.new]
        said = [f"fits now on {', '.join(now)}"] if now else []
        return "; ".join([*said, *([f"waits until {' and '.join(later)}"] if later else [])])


def _added(room: Room, pods: int, want: Want) -> str:
    nodes = math.ceil(pods / max(1, room.gpus_per_node // want.gpus)) if room.gpus_per_node else pods
    return f"{room.name} has added {nodes} x {room.instance_type or 'a node'}"


def gibibytes(amount: int) -> str:
    """Whole GiB, or MiB below one: what a person would write in a manifest."""
    return f"{amount // GIB}Gi" if amount >= GIB else f"{max(1, amount // 2**20)}Mi"


def sized(
    snapshot: Snapshot, want: Want, nproc: int, efa: int | None, types: Mapping[str, InstanceType] | None = None, shm_bytes: int | None = None
) -> Size:
    """The size of a job's pods; Refused with the arithmetic when the pods cannot all be had, as far as nodes and NodePools may be listed."""
    types = instance_types() if types is None else types
    simulated = bool(len(snapshot.nodes)) and all(node.simulated for node in snapshot.nodes.values())
    if not want.gpus:
        cpu, memory = CPU_PER_RANK * nproc, MEMORY_PER_RANK_BYTES * nproc
        return Size(want, (), cpu, memory, efa or 0, _shm(nproc, memory, shm_bytes), 1, simulated)
    if nproc > want.gpus:
        raise BadInput(f"{nproc} ranks cannot share {want.gpus} GPUs: each takes one", f"--nproc {want.gpus}, or --gpus {nproc}")
    rooms = [*on_nodes(snapshot, want), *on_pools(snapshot, want, types)]
    places = placed(want, rooms)
    near = _in_one_zone(snapshot, want, rooms, places, efa, types)
    places = near or places
    if sum(pods for _, pods in places) < want.pods and not (snapshot.forbidden("nodes") or snapshot.forbidden("nodepools")):
        raise Refused("; ".join(filter(None, (_too_much(want, rooms), left_out(snapshot, want)))), _what_fits(want, places))
    shares = [_share(snapshot, room, pods, want, types) for room, pods in places] or [(CPU_PER_GPU * want.gpus, MEMORY_PER_GPU_BYTES * want.gpus)]
    cpu, memory = min(share[0] for share in shares), min(share[1] for share in shares)
    devices, warnings = _devices(snapshot, places, want, efa, types)
    one_zone = bool(devices) and want.pods > 1
    if one_zone and not near and not want.zone and _zones(places):
        warnings = (
            *warnings,
            f"no zone has room for all {want.pods} pods now, and EFA does not reach across: the last wait; --efa 0 lets them spread",
        )
    return Size(want, tuple(places), cpu, memory, devices, _shm(nproc, memory, shm_bytes), 1, simulated, warnings, one_zone)


def _zones(places: Iterable[tuple[Room, int]]) -> list[str]:
    """The zones of these places, as far as they are known, each once."""
    return list(dict.fromkeys(room.zone for room, _ in places if room.zone))


def _in_one_zone(
    snapshot: Snapshot, want: Want, rooms: list[Room], places: list[tuple[Room, int]], efa: int | None, types: Mapping[str, InstanceType]
) -> list[tuple[Room, int]]:
    """Places in one zone for all pods of a job that talks over EFA, the first zone that has them; empty when none has, or none is needed."""
    if want.pods < 2 or want.zone or efa == 0 or not any(_efa_of(snapshot, room, types) for room, _ in places):
        return []
    named = [zone for pool in snapshot.nodepools.values() for zone in pool.zones]
    for zone in dict.fromkeys([*_zones((room, 0) for room in rooms), *named]):
        there = replace(want, zone=zone)
        found = placed(there, [*on_nodes(snapshot, there), *on_pools(snapshot, there, types)])
        if sum(pods for _, pods in found) >= want.pods:
            return found
    return []


def _shm(nproc: int, memory_bytes: int, wanted: int | None) -> int:
    """What is wanted, else a GiB a rank; at most half of the pod's memory, in which it counts."""
    return min(SHM_PER_RANK_BYTES * nproc if wanted is None else wanted, memory_bytes // 2)


def _too_much(want: Want, rooms: list[Room]) -> str:
    most = max((room.gpus_per_node for room in rooms), default=0)
    if rooms and want.gpus > most:
        types = ", ".join(sorted({room.instance_type or room.name for room in rooms if room.gpus_per_node == most}))
        return f"no node and no instance type here has {want.gpus} GPUs for one pod; the most is {most} ({types})"
    return arithmetic(want, rooms)


def _what_fits(want: Want, places: list[tuple[Room, int]]) -> str:
    fits = sum(pods for _, pods in places)
    if fits:
        return f"--nodes {fits} fits now; --queue lets it wait for more"
    return "ask for fewer GPUs per pod, drop a selector, or raise the limits of a NodePool"


def _share(snapshot: Snapshot, room: Room, pods: int, want: Want, types: Mapping[str, InstanceType]) -> tuple[float, int]:
    """CPU cores and bytes of one pod in a room: its GPUs' share, and no more than is free there."""
    node, one = snapshot.nodes.get(room.name), types.get(room.instance_type)
    cpu = node.cpu_allocatable if node else float(one.vcpu) if one else None
    memory = node.memory_allocatable_bytes if node else one.memory_bytes if one else None
    part = want.gpus / room.gpus_per_node if room.gpus_per_node else 1.0
    busy = [pod for pod in snapshot.pods_on(room.name) if pod.phase in OCCUPYING_PHASES] if node else []
    cores = CPU_PER_GPU * want.gpus if cpu is None else min(cpu * part * USABLE, (cpu - sum(pod.cpu for pod in busy)) / pods)
    if memory is None:
        return max(1.0, cores), MEMORY_PER_GPU_BYTES * want.gpus
    free = (memory - sum(pod.memory_bytes for pod in busy)) // pods
    return max(1.0, cores), max(GIB, min(int(memory * part * USABLE), free))


def _devices(
    snapshot: Snapshot, places: list[tuple[Room, int]], want: Want, asked: int | None, types: Mapping[str, InstanceType]
) -> tuple[int, tuple[str, ...]]:
    """EFA devices per pod: those asked for; else its GPUs' share of the node's when the job has several pods, since one pod has nobody to talk to."""
    counts = [_efa_of(snapshot, room, types) for room, _ in places]
    known = [count for count in counts if count is not None]
    if asked is not None:
        if known and asked > max(known):
            raise Refused(f"{asked} EFA devices per pod asked for; the nodes it would run on have {max(known)}", f"--efa {max(known)}")
        return asked, ()
    if want.pods < 2 or len(known) < len(counts) or not known:
        return 0, ()
    shares = [_efa_share(snapshot, room, pods, want, count) for (room, pods), count in zip(places, known, strict=True)]
    if len(set(known)) > 1:
        return min(shares), (f"nodes with {min(known)} and {max(known)} EFA devices may be mixed; --instance-type pins one kind",)
    return min(shares), ()


def _efa_share(snapshot: Snapshot, room: Room, pods: int, want: Want, count: int) -> int:
    """A pod's EFA devices in a room: as large a part as its GPUs are, and no more than is free there."""
    fair = count * want.gpus // room.gpus_per_node if room.gpus_per_node else 0
    if room.name not in snapshot.nodes or want.waits:
        return fair
    taken = sum(pod.efa for pod in snapshot.pods_on(room.name) if pod.phase in OCCUPYING_PHASES)
    return min(fair, max(0, count - taken) // pods)


def _efa_of(snapshot: Snapshot, room: Room, types: Mapping[str, InstanceType]) -> int | None:
    node, one = snapshot.nodes.get(room.name), types.get(room.instance_type)
    if node is not None:
        return node.efa_allocatable
    return one.efa if one else None
