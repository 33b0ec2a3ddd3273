"""Every fault really acts, and its end heals."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from cockpit.sim import faults as faults_room
from cockpit.sim.faults import Faults, capacity_blocked, node_down
from cockpit.sim.kubelet import processes, ranks
from tests.sim.kubelet.test_exporters import samples
from tests.sim.kubelet.worlds import World, pod, until

CRD = Path(faults_room.__file__).parents[1] / "crds" / "fault.yaml"
CRDS = "customresourcedefinitions.apiextensions.k8s.io"

COUNTING = """
import json, os, subprocess, sys, time
if "LOCAL_RANK" not in os.environ:
    rank = {"LOCAL_RANK": "0", "RANK": os.environ["POD_RANK"]}
    sys.exit(subprocess.run([sys.executable, "-c", sys.argv[1]], env=os.environ | rank).returncode)
"""
SPIN = """
import sys, time
print("up", flush=True)
while True:
    began, cpu = time.monotonic(), time.process_time()
    while time.process_time() - cpu < 0.01:
        pass
    sys.stdout.write(f"{time.monotonic():.3f}\\n")
    sys.stdout.flush()
    time.sleep(0.02)
"""


class Hooks:
    """Notes what faults ask of the API server."""

    def __init__(self) -> None:
        self.paused: list[float] = []
        self.expired = 0

    def pause(self, seconds: float) -> None:
        self.paused.append(seconds)

    def expire_watches(self) -> None:
        self.expired += 1


@pytest.fixture
async def hooks(world: World) -> AsyncIterator[Hooks]:
    """Faults at work on the world."""
    world.cluster.install_crd(yaml.safe_load(CRD.read_text()))
    hooks = Hooks()
    running = asyncio.create_task(Faults(world.cluster, world.kubelet, hooks).run())
    await asyncio.sleep(0)
    yield hooks
    running.cancel()
    assert await asyncio.gather(running, return_exceptions=True)


def inject(world: World, fault: str, seconds: float | None = None, **more: Any) -> str:
    """Create a Fault; its name. Whatever is not xid or factor belongs to the target."""
    spec = {"fault": fault, "target": {k: v for k, v in more.items() if k not in ("xid", "factor")}}
    spec |= {k: v for k, v in more.items() if k in ("xid", "factor")} | ({"seconds": seconds} if seconds is not None else {})
    body = {"apiVersion": "sim.cockpit.dev/v1alpha1", "kind": "Fault", "metadata": {"generateName": f"{fault}-"}, "spec": spec}
    return str(world.cluster.create(faults_room.RESOURCE, body)["metadata"]["name"])


async def reached(world: World, name: str, phase: str) -> dict[str, Any]:
    """Wait for a fault's phase; its status."""

    def status() -> dict[str, Any]:
        return world.cluster.get(faults_room.RESOURCE, None, name).get("status") or {}

    await until(lambda: status().get("phase"), f"{name} has a phase")
    assert status()["phase"] == phase, status()
    return status()


def heal(world: World, name: str) -> None:
    world.cluster.delete(faults_room.RESOURCE, None, name)


async def training(world: World, rank: int = 1) -> str:
    """A job `j` with one rank that holds GPU 0 of node-1; the pod's uid."""
    one = pod(
        f"j-worker-{rank}", "python", "-c", COUNTING, args=[SPIN], labels={"training.kubeflow.org/job-name": "j"},
        env=[{"name": "POD_RANK", "value": str(rank)}], resources={"limits": {"nvidia.com/gpu": "1"}},
    )  # fmt: skip
    uid = world.create(one)
    await until(lambda: world.log(f"j-worker-{rank}"), "the rank is up")
    return uid


def rank_pid(world: World, rank: int = 1) -> int:
    return ranks.rank_pids(world.kubelet, "default", "j", rank)[0]


def health(world: World) -> dict[str, Any]:
    conditions = world.cluster.get("nodes", None, "node-1")["status"].get("conditions") or []
    return next((c for c in conditions if c["type"] == "AcceleratedHardwareReady"), {})


def xid(world: World, gpu: int) -> float:
    return samples(world.exporters.dcgm_text("node-1"))["DCGM_FI_DEV_XID_ERRORS"][gpu].value


async def test_fatal_xid_makes_the_node_unhealthy_and_heals(world: World, hooks: Hooks) -> None:
    name = inject(world, "xid", node="node-1", gpu=3, xid=48)
    status = await reached(world, name, "Active")
    assert (status["node"], status["gpu"]) == ("node-1", 3)
    assert (health(world)["status"], health(world)["reason"]) == ("False", "NvidiaXID48Error")
    assert [xid(world, gpu) for gpu in (2, 3)] == [0, 48]
    count = next(s for s in samples(world.exporters.dcgm_text("node-1"))["DCGM_EXP_XID_ERRORS_COUNT"] if s.labels["xid"] == "48")
    assert count.value == 1 and count.labels["gpu"] == "3" and count.labels["window_size_in_ms"] == "300000"
    assert "SIMULATED" in world.events("node-1", "Node")["NvidiaXID48Error"]
    heal(world, name)
    await until(lambda: health(world)["status"] == "True", "healthy again")
    assert xid(world, 3) == 0


async def test_harmless_xid_is_only_an_event(world: World, hooks: Hooks) -> None:
    await reached(world, inject(world, "xid", node="node-1", gpu=0, xid=13), "Active")
    assert not health(world) and "NvidiaXID13Warning" in world.events("node-1", "Node") and xid(world, 0) == 13


async def test_two_fatal_xids_heal_only_together(world: World, hooks: Hooks) -> None:
    first, second = inject(world, "xid", node="node-1", gpu=0, xid=48), inject(world, "xid", node="node-1", gpu=1, xid=74)
    await reached(world, first, "Active")
    await reached(world, second, "Active")
    heal(world, first)
    await world.cluster.settled()
    assert health(world)["status"] == "False"
    heal(world, second)
    await until(lambda: health(world)["status"] == "True", "healthy again")


async def test_xid_79_kills_what_holds_the_gpu(world: World, hooks: Hooks) -> None:
    await training(world)
    status = await reached(world, inject(world, "xid", job="j", rank=1, xid=79), "Active")
    assert (status["node"], status["gpu"]) == ("node-1", 0)
    await world.phase("j-worker-1", "Failed")
    assert any("CUDA error" in line and line.startswith("[rank1]") for line in world.log("j-worker-1"))


async def test_kill_rank(world: World, hooks: Hooks) -> None:
    await training(world)
    status = await reached(world, inject(world, "kill-rank", job="j", rank=1), "Done")
    assert status["message"] == "killed rank 1 of job default/j"
    await world.phase("j-worker-1", "Failed")


async def test_hang_rank_until_deleted(world: World, hooks: Hooks) -> None:
    await training(world)
    pid = rank_pid(world)
    name = inject(world, "hang-rank", job="j", rank=1)
    await reached(world, name, "Active")
    await until(lambda: processes.state_of(pid) == "T", "it is stopped")
    heal(world, name)
    await until(lambda: processes.state_of(pid) != "T", "it runs again")
    before = len(world.log("j-worker-1"))
    await until(lambda: len(world.log("j-worker-1")) > before, "it works again")


async def test_a_fault_ends_after_its_seconds(world: World, hooks: Hooks) -> None:
    await training(world)
    pid = rank_pid(world)
    name = inject(world, "hang-rank", seconds=0.3, job="j", rank=1)
    await reached(world, name, "Active")
    await until(lambda: world.cluster.get(faults_room.RESOURCE, None, name)["status"]["phase"] == "Done", "it is over")
    assert world.cluster.get(faults_room.RESOURCE, None, name)["status"]["conditions"][0]["status"] == "False"
    await until(lambda: processes.state_of(pid) != "T", "it runs again")


@pytest.mark.parametrize(
    ("fault", "where"),
    [("slow-rank", {"job": "j", "rank": 1}), ("throttle", {"node": "node-1", "gpu": 0}), ("efa-retransmit", {"node": "node-1"})],
)
async def test_slowed_ranks_are_stopped_and_continued(world: World, hooks: Hooks, fault: str, where: dict[str, Any]) -> None:
    await training(world)
    pid = rank_pid(world)
    name = inject(world, fault, factor=0.3, **where)
    await reached(world, name, "Active")
    for _ in range(3):
        await until(lambda: processes.state_of(pid) == "T", "it stands")
        await until(lambda: processes.state_of(pid) != "T", "it goes on")
    heal(world, name)
    await world.cluster.settled()
    assert processes.state_of(pid) != "T"


async def test_throttle_shows_in_dcgm(world: World, hooks: Hooks) -> None:
    name = inject(world, "throttle", node="node-1", gpu=2, factor=0.4)
    await reached(world, name, "Active")

    def events(gpu: str) -> set[str]:
        found = samples(world.exporters.dcgm_text("node-1"))["DCGM_EXP_CLOCK_EVENTS_COUNT"]
        return {s.labels["clock_event"] for s in found if s.labels["gpu"] == gpu and s.value > 0}

    assert "hw_thermal" in events("2") and "hw_thermal" not in events("1")
    heal(world, name)
    await until(lambda: "hw_thermal" not in events("2"), "cool again")


async def test_efa_retransmit_raises_the_counters(world: World, hooks: Hooks) -> None:
    device = samples(world.exporters.efa_text("node-1"))["node_amazonefa_info"][5].labels["device"]
    await reached(world, inject(world, "efa-retransmit", node="node-1", device=device), "Active")

    def retransmitted() -> dict[str, float]:
        return {s.labels["device"]: s.value for s in samples(world.exporters.efa_text("node-1"))["node_amazonefa_retrans_pkts"]}

    await until(lambda: retransmitted()[device] > 100, "packets are sent again")
    assert sum(value > 0 for value in retransmitted().values()) == 1


async def test_node_notready_freezes_its_pods(world: World, hooks: Hooks) -> None:
    uid = await training(world)
    name = inject(world, "node-notready", node="node-1")
    await reached(world, name, "Active")
    assert node_down(world.cluster, "node-1") and not node_down(world.cluster, "node-2")
    await until(lambda: {processes.state_of(pid) for pid in world.pids(uid)} == {"T"}, "all stand still")
    world.create(pod("new", "true"))
    world.cluster.delete("pods", "default", "j-worker-1", grace_seconds=1)
    await world.cluster.settled()
    assert world.status("j-worker-1") and world.status("new")["phase"] == "Pending"
    heal(world, name)
    await until(lambda: not world.status("j-worker-1"), "the kubelet does what it missed")
    await world.phase("new", "Succeeded")
    assert not world.pids(uid)


async def test_insufficient_capacity(world: World, hooks: Hooks) -> None:
    name = inject(world, "insufficient-capacity", instanceType="p5.48xlarge", capacityType="spot")
    await reached(world, name, "Active")
    assert capacity_blocked(world.cluster, "p5.48xlarge", "any-zone", "spot")
    assert not capacity_blocked(world.cluster, "p5.48xlarge", "any-zone", "on-demand")
    assert not capacity_blocked(world.cluster, "g6.xlarge", "any-zone", "spot")
    heal(world, name)
    await until(lambda: not capacity_blocked(world.cluster, "p5.48xlarge", "any-zone", "spot"), "capacity is back")


async def test_spot_interruption_gives_notice_and_takes_the_node(world: World, hooks: Hooks) -> None:
    uid = await training(world)
    name = inject(world, "spot-interruption", node="node-1")
    await reached(world, name, "Active")
    assert world.events("node-1", "Node")["SpotInterrupted"] == "Spot interruption warning was triggered"
    await until(lambda: world.cluster.find("nodes", None, "node-1") is None, "the node is gone")
    assert not world.pids(uid)
    assert world.cluster.get(faults_room.RESOURCE, None, name)["status"]["message"] == "node node-1 is gone"


async def test_a_spot_notice_can_be_taken_back(world: World, hooks: Hooks) -> None:
    uid = await training(world)
    name = inject(world, "spot-interruption", seconds=0.1, node="node-1")
    await until(lambda: world.cluster.get(faults_room.RESOURCE, None, name).get("status", {}).get("phase") == "Done", "taken back")
    assert world.cluster.find("nodes", None, "node-1") and world.pids(uid)


async def test_api_faults_call_the_hooks(world: World, hooks: Hooks) -> None:
    await reached(world, inject(world, "api-down", seconds=0.2), "Active")
    await reached(world, inject(world, "watch-expire"), "Done")
    assert (hooks.paused, hooks.expired) == ([0.2], 1)


@pytest.mark.parametrize(
    ("fault", "where", "message"),
    [
        ("xid", {"node": "nowhere"}, 'node "nowhere" not found'),
        ("xid", {"node": "node-1", "gpu": 8}, "node node-1 has GPUs 0-7, not 8"),
        ("throttle", {}, "throttle needs target.node"),
        ("kill-rank", {"job": "j"}, "kill-rank needs target.rank"),
        ("kill-rank", {"job": "nobody", "rank": 0}, "job default/nobody has no running pods"),
        ("slow-rank", {"job": "j", "rank": 5}, "rank 5 of job default/j does not run; running ranks: 1"),
    ],
)
async def test_unknown_targets_fail_clearly(world: World, hooks: Hooks, fault: str, where: dict[str, Any], message: str) -> None:
    if where.get("rank") == 5:
        await training(world)
    name = inject(world, fault, **where)
    status = await reached(world, name, "Failed")
    assert status["message"] == message
    assert world.events(name, "Fault")["FaultFailed"] == message


async def test_the_crd_refuses_unknown_faults(world: World, hooks: Hooks) -> None:
    with pytest.raises(Exception, match="fault"):
        inject(world, "earthquake")
    assert json.dumps(world.cluster.list(faults_room.RESOURCE)) == "[]"
