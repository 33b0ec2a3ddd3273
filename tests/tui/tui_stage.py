"""A cluster to look at without one: facts for a real Store, and a session that answers from it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from actions.core import Action, Change, Clients, Plan, Risk, Target, param
from cockpit.errors import BadInput, NotFound, Refused
from cockpit.model import (
    Condition,
    DeviceKey,
    EfaDevice,
    Event,
    Gpu,
    Job,
    JobKey,
    Node,
    NodeClaim,
    NodeName,
    NodePool,
    Pod,
    PodKey,
    Price,
    Progress,
)
from cockpit.snapshot import Snapshot
from cockpit.store import Store, Synced, Upsert
from cockpit.tui.app import CockpitApp
from cockpit.tui.verbs import Verbs

NOW = time.time()
T5 = JobKey("default", "PyTorchJob", "t5-large")
LLAMA = JobKey("default", "PyTorchJob", "llama-3-8b")
MNIST = JobKey("default", "PyTorchJob", "mnist")
BERT = JobKey("research", "TrainJob", "bert-base")
TYPES = {"p5.48xlarge": (8, 55.04, "NVIDIA H100 80GB HBM3", 80), "g6e.12xlarge": (4, 10.49, "NVIDIA L40S", 48), "c7i.2xlarge": (0, 0.36, "", 0)}
FLEET = (
    ("ip-10-0-4-210.us-west-2.compute.internal", "p5.48xlarge", "us-west-2a", "on-demand", "gpu-efa"),
    ("ip-10-0-4-89.us-west-2.compute.internal", "p5.48xlarge", "us-west-2a", "spot", "gpu-efa"),
    ("ip-10-0-6-164.us-west-2.compute.internal", "g6e.12xlarge", "us-west-2b", "on-demand", "gpu"),
    ("ip-10-0-7-27.us-west-2.compute.internal", "g6e.12xlarge", "us-west-2b", "on-demand", "gpu"),
    ("ip-10-0-4-115.us-west-2.compute.internal", "c7i.2xlarge", "us-west-2c", "on-demand", "system"),
    ("ip-10-0-5-16.us-west-2.compute.internal", "c7i.2xlarge", "us-west-2a", "on-demand", "system"),
)


def node(name: str, kind: str, zone: str, capacity: str, pool: str, **more: Any) -> Node:
    gpus = TYPES[kind][0]
    fields: dict[str, Any] = {
        "instance_type": kind,
        "zone": zone,
        "region": "us-west-2",
        "capacity_type": capacity,
        "pool": pool,
        "gpu_capacity": gpus or None,
        "gpu_allocatable": gpus or None,
        "efa_allocatable": 32 if kind.startswith("p5") else None,
        "cpu_allocatable": 191.4,
        "memory_allocatable_bytes": 2 * 2**40,
        "ready": True,
        "created": NOW - 7300,
        "simulated": True,
        "internal_ip": "10.0.4.210",
        "topology": ("nn-c79", "nn-6ff"),
    }
    return Node(NodeName(name), "1", **(fields | more))


def pod(job: JobKey, index: int, name: str, gpus: int, on: str | None, **more: Any) -> Pod:
    fields: dict[str, Any] = {"node": NodeName(on) if on else None, "job": job, "gpus": gpus, "ready": True, "started": NOW - 600, "index": index}
    phase = more.pop("phase", "Running")
    return Pod(
        PodKey(job.namespace, name), "1", phase, more.pop("state", phase), **(fields | {"replica": "master" if "master" in name else "worker"} | more)
    )


def gpu(on: str, index: int, percent: float | None, kind: str, **more: Any) -> Gpu:
    memory = TYPES[kind][3] * 2**30
    fields: dict[str, Any] = {
        "uuid": f"GPU-{index:04d}",
        "model": TYPES[kind][2] + " SIMULATED",
        "utilisation_percent": percent,
        "tensor_active_ratio": None if percent is None else percent / 190,
        "memory_used_bytes": int(memory * 0.6),
        "memory_total_bytes": memory,
        "temperature_celsius": 40 + (percent or 0) / 4,
        "power_watts": 80 + (percent or 0) * 6,
        "simulated": True,
    }
    return Gpu(DeviceKey(NodeName(on), str(index)), index, **(fields | more))


def facts() -> list[Any]:
    """Six nodes, three pools, four jobs, and something of everything."""
    names = [one[0] for one in FLEET]
    nodes = [node(*one) for one in FLEET]
    nodes[3] = node(*FLEET[3], cordoned=True)
    jobs = (
        Job(T5, "1", "u1", "fsdp", 2, 8, 8, steps_wanted=2000, created=NOW - 900, started=NOW - 800, managed=True),
        Job(LLAMA, "1", "u2", "deepspeed", 2, 8, 8, created=NOW - 372, managed=True),
        Job(MNIST, "1", "u3", "ddp", 2, 2, 0, created=NOW - 86400, conditions=(Condition("Succeeded", "True"),)),
        Job(
            BERT,
            "1",
            "u4",
            "ddp",
            2,
            2,
            0,
            created=NOW - 4000,
            conditions=(Condition("Failed", "True", "BackoffLimit", "rank 3 exited 137 (OOMKilled)"),),
        ),
    )
    pods = (
        pod(T5, 0, "t5-large-master-0", 8, names[0]),
        pod(T5, 0, "t5-large-worker-0", 8, names[1]),
        pod(LLAMA, 0, "llama-3-8b-master-0", 8, None, phase="Pending", ready=False, message="0/6 nodes have 8 free GPUs"),
        pod(LLAMA, 0, "llama-3-8b-worker-0", 8, None, phase="Pending", ready=False, message="0/6 nodes have 8 free GPUs"),
        Pod(PodKey("kube-system", "coredns-7d9"), "1", "Running", "Running", node=NodeName(names[4]), ready=True, created=NOW - 90000),
    )
    gpus = [gpu(names[0], i, 88 + i, "p5.48xlarge", pod=pods[0].key) for i in range(8)]
    gpus += [gpu(names[1], i, 60 + 5 * i, "p5.48xlarge", pod=pods[1].key, **({"xid": 79, "xid_count": 1} if i == 3 else {})) for i in range(8)]
    gpus += [gpu(names[2], i, 0, "g6e.12xlarge") for i in range(4)]
    gpus += [gpu(names[3], i, 47 + 9 * i, "g6e.12xlarge", **({"throttle": "sw_thermal"} if i == 2 else {})) for i in range(4)]
    line = 3200e9 / 32
    efa = [
        EfaDevice(DeviceKey(NodeName(name), f"rdmap{47 + i}s0"), 1, 1, rate, rate * 0.97, ratio, 0, bad, 0, line, NOW, True)
        for name, rate, ratio, bad in ((names[0], 46e9, 0.0, 0), (names[1], 21e9, 0.0041, 3))
        for i in range(32)
    ]
    pools = (
        NodePool("gpu", "1", True, limits={"nvidia.com/gpu": 40.0}, usage={"nvidia.com/gpu": 8.0}, instance_families=("g6e",), zones=("us-west-2b",)),
        NodePool("gpu-efa", "1", True, limits={"nvidia.com/gpu": 64.0}, usage={"nvidia.com/gpu": 16.0}, instance_types=("p5.48xlarge",)),
        NodePool("system", "1", True, limits={"cpu": 64.0}, usage={"cpu": 16.0}),
    )
    claims = (
        NodeClaim("gpu-efa-v278f", "1", "gpu-efa", None, "p5.48xlarge", "us-west-2a", "on-demand", (), "Launched", 8, NOW - 372),
        NodeClaim("gpu-efa-7xk2p", "1", "gpu-efa", NodeName(names[0]), "p5.48xlarge", "us-west-2a", "on-demand", (), "", 8, NOW - 7300),
    )
    losses = tuple(4.2 - 2.3 * i / 60 + 0.1 * (i % 3) for i in range(60))
    progress = (
        Progress(T5, 1204, 2000, 1.873, 4.2, losses, 182_400.0, 0.7, NOW),
        Progress(MNIST, 9380, 9380, 0.021, 2.3, (2.3, 1.1, 0.4, 0.1, 0.05, 0.021), None, None, NOW - 80000),
    )
    prices = tuple(
        Price(kind, "", capacity, cost * (0.4 if capacity == "spot" else 1), True, "built-in list")
        for kind, (_, cost, _, _) in TYPES.items()
        for capacity in ("on-demand", "spot")
    )
    seen = (
        Event(
            PodKey("default", "e1"),
            "Pod",
            "default",
            "llama-3-8b-master-0",
            "Nominated",
            "Pod should schedule on: nodeclaim/gpu-efa-v278f",
            at=NOW - 300,
        ),
        Event(PodKey("default", "e2"), "Node", "", names[1], "XidError", "XID 79: GPU has fallen off the bus", "Warning", 2, NOW - 100),
    )
    return [
        Upsert("nodes", "nodes", tuple(nodes)),
        Upsert("pods", "pods", pods),
        Upsert("jobs", "jobs", jobs),
        Upsert("nodepools", "nodepools", pools),
        Upsert("nodeclaims", "nodeclaims", claims),
        Upsert("gpus", "gpus", tuple(gpus)),
        Upsert("efa", "efa", tuple(efa)),
        Upsert("progress", "progress", progress),
        Upsert("prices", "prices", prices),
        Upsert("events", "events", seen),
        *(
            Synced(name)
            for name in (
                "api",
                "nodes",
                "pods",
                "jobs",
                "nodepools",
                "nodeclaims",
                "gpus",
                "efa",
                "progress",
                "lastwords",
                "volumeclaims",
                "prices",
                "events",
                "queues",
                "served",
            )
        ),
    ]


@dataclass(frozen=True)
class Options:
    """What the command line gave."""

    kubeconfig: str | None = None
    context: str | None = None
    namespace: str | None = None
    impersonate: str | None = None
    readonly: bool = False
    sim: bool = False


@dataclass
class FakeKube:
    """Answers GETs from a table and writes down every other request."""

    cluster: str = "training-on-eks"
    context: str = "training"
    namespace: str = "default"
    simulated: bool | None = True
    server: str = "https://training"
    user: str = "ada"
    forbidden: frozenset[str] = frozenset()
    objects: dict[str, dict[str, Any]] = field(default_factory=dict)
    asked: list[tuple[str, str, Any]] = field(default_factory=list)
    refuse: BaseException | None = None

    def may(self, verb: str, group: str, resource: str, namespace: str = "", name: str = "", subresource: str = "") -> bool:
        return f"{verb} {resource}" not in self.forbidden

    def request(self, method: str, path: str, *, params: Any = None, body: Any = None, **more: Any) -> dict[str, Any]:
        self.asked.append((method, path, body))
        if method == "GET":
            if path not in self.objects:
                raise NotFound(f"{path} was not found", "it may be gone")
            return self.objects[path]
        if self.refuse is not None:
            raise self.refuse
        return {}


class FakeSession:
    """A session over a real store that the test fills."""

    def __init__(self, on_change: Callable[[], None] | None = None, given: list[Any] | None = None, clock: Callable[[], float] = lambda: NOW) -> None:
        self.store = Store(on_change, clock)
        self.kube = FakeKube()
        self.clients = Clients(kube=self.kube)
        self.watched: tuple[str, ...] = ()
        self.closed = False
        self._given = facts() if given is None else given

    def watch(self, names: tuple[str, ...]) -> None:
        self.watched = tuple(names)
        if self._given:
            self.store.apply(*self._given)

    def close(self) -> None:
        self.closed = True


# -- actions of the same shapes as the real ones --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class CloseParams:
    node: tuple[str, ...] = param("nodes: a,b,c", picks="nodes")
    reason: str = param("why", "")


def close_plan(snapshot: Snapshot, params: CloseParams) -> Plan:
    missing = [name for name in params.node if name not in snapshot.nodes]
    if missing:
        raise BadInput(f"--node {missing[0]!r} is not here", "valid: " + ", ".join(sorted(snapshot.nodes)[:2]))
    open_nodes = [name for name in params.node if not snapshot.nodes[NodeName(name)].cordoned]
    if not open_nodes:
        return Plan(already="already cordoned")
    return Plan(
        tuple(
            Change(
                "kube", "patch", Target("Node", name, plural="nodes"), f"cordon {name}", f"kubectl cordon {name}", {"spec": {"unschedulable": True}}
            )
            for name in open_nodes
        )
    )


@dataclass(frozen=True)
class StopParams:
    job: str = param("the job", picks="jobs")
    namespace: str = param("its namespace", "default", picks="namespaces")


def stop_plan(snapshot: Snapshot, params: StopParams) -> Plan:
    target = Target("PyTorchJob", params.job, params.namespace, "kubeflow.org", "v1", "pytorchjobs")
    return Plan((Change("kube", "delete", target, f"delete {target}", f"kubectl delete pytorchjob {params.job} -n {params.namespace}"),))


@dataclass(frozen=True)
class LaunchParams:
    name: str = param("what the job is called")
    nodes: int = param("how many nodes", 2, minimum=1)
    strategy: str = param("how it is distributed", "ddp", choices=("ddp", "fsdp"))


def launch_plan(snapshot: Snapshot, params: LaunchParams) -> Plan:
    if params.nodes > 8:
        raise Refused(f"--nodes {params.nodes} needs {params.nodes * 8} GPUs, all pools together have 64 left", "ask for 8 or fewer")
    target = Target("PyTorchJob", params.name, "default", "kubeflow.org", "v1", "pytorchjobs")
    change = Change("kube", "create", target, f"create {target}: {params.nodes} pods", "kubectl create -f -", {"kind": "PyTorchJob"})
    return Plan((change,), dollars_per_hour=55.04 * params.nodes, confirm=params.name)


@dataclass(frozen=True)
class ReadParams:
    job: str = param("its ranks", "", picks="jobs")
    pod: str = param("one pod", "", picks="pods")
    since: str = param("how far back", "")
    follow: bool = param("go on", False)


def read_records(clients: Clients, snapshot: Snapshot, params: ReadParams, stop: threading.Event) -> Iterator[dict[str, Any]]:
    for step in range(200):
        yield {
            "time": f"2026-01-01T00:00:{step % 60:02d}.000Z",
            "rank": step % 2,
            "pod": params.pod,
            "line": f"step {step} loss {4 - step / 100:.3f} \x1b[31mred",
        }


CLOSE = Action("close", "Close", CloseParams, Risk.CHANGE, "c", ("cluster",), plan=close_plan, fills={"node": "node"})
STOP = Action("halt", "Halt", StopParams, Risk.DESTROY, "ctrl+d", ("jobs",), plan=stop_plan, fills={"job": "job"})
LAUNCH = Action("fly", "Fly", LaunchParams, Risk.SPEND, "l", (), plan=launch_plan)
READ = Action("tail", "Tail", ReadParams, key="L", panes=("jobs",), records=read_records, streams=True, fills={"job": "job", "pod": "pod"})
ACTIONS = (CLOSE, LAUNCH, STOP, READ)


def verbs(readonly: bool = False) -> Verbs:
    return Verbs(ACTIONS, readonly)


# -- looking at the screen -----------------------------------------------------------------------------------------------------------------


def shown(app: Any) -> list[str]:
    """The screen as lines of text."""
    return [strip.text for strip in app.screen._compositor.render_strips()]


def text_of(app: Any) -> str:
    """The screen as one text."""
    return "\n".join(shown(app))


async def until(pilot: Any, happened: Callable[[], bool], seconds: float = 5.0) -> None:
    """Wait for a state, never for a time; fails with the screen when it does not come."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, "not seen:\n" + text_of(pilot.app)
        await pilot.pause(0.02)


async def opened(pilot: Any) -> None:
    """Wait until the panes show the cluster."""
    await until(pilot, lambda: pilot.app.scene.connected and "nodes ·" in text_of(pilot.app))


def make_app(given: list[Any] | None = None, readonly: bool = False, namespace: str | None = None, **more: Any) -> CockpitApp:
    """The real screen over a FakeSession; `app.fakes` are the sessions it opened."""
    fakes: list[FakeSession] = []

    def open_session(options: Any, on_change: Callable[[], None]) -> FakeSession:
        fakes.append(FakeSession(on_change, given))
        return fakes[-1]

    app = CockpitApp(more.get("open_session", open_session), Options(readonly=readonly, namespace=namespace), verbs(readonly))
    app.fakes = fakes  # type: ignore[attr-defined]
    return app
