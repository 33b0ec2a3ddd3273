"""Exporter texts: exact names, labels and units, and values that follow the ranks."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from dataclasses import dataclass

from cockpit.sim.exporters import efa
from cockpit.sim.exporters.scraping import parse
from cockpit.sim.store import Loaded
from tests.sim.kubelet.worlds import World, node, pod, until

DEFAULT_ON = {
    *(
        f"DCGM_FI_DEV_{name}"
        for name in (
            "SM_CLOCK",
            "MEM_CLOCK",
            "MEMORY_TEMP",
            "GPU_TEMP",
            "POWER_USAGE",
            "TOTAL_ENERGY_CONSUMPTION",
            "PCIE_REPLAY_COUNTER",
            "GPU_UTIL",
            "MEM_COPY_UTIL",
            "ENC_UTIL",
            "DEC_UTIL",
            "XID_ERRORS",
            "FB_FREE",
            "FB_USED",
            "FB_RESERVED",
            "NVLINK_BANDWIDTH_TOTAL",
            "VGPU_LICENSE_STATUS",
            "UNCORRECTABLE_REMAPPED_ROWS",
            "CORRECTABLE_REMAPPED_ROWS",
            "ROW_REMAP_FAILURE",
        )
    ),
    *(f"DCGM_FI_PROF_{name}" for name in ("GR_ENGINE_ACTIVE", "PIPE_TENSOR_ACTIVE", "DRAM_ACTIVE", "PCIE_TX_BYTES", "PCIE_RX_BYTES")),
}
COUNTS = {"DCGM_EXP_XID_ERRORS_COUNT", "DCGM_EXP_CLOCK_EVENTS_COUNT"}
SAMPLE = re.compile(r"^([A-Za-z_]+)\{(.*)\} (\S+)$")

RANK = """
import http.server, os, time
local, world, began = int(os.environ.get("LOCAL_RANK", "0")), int(os.environ["WORLD"]), time.time()
class Metrics(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        steps = 1 + int((time.time() - began) * 20)
        values = {"training_step": steps, "training_steps_total": steps, "training_step_seconds": 0.05, "training_loss": 2.5,
                  "training_compute_seconds_total": steps * 0.045, "training_data_seconds_total": steps * 0.005,
                  "training_bytes_reduced_total": steps * 1000000}
        labels = f'rank="{local}",local_rank="{local}",world_size="{world}",train_job="j"'
        body = "".join(f'{k}{{{labels}}} {v}\\n' for k, v in values.items()).encode()
        self.send_response(200); self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ["TRAINING_METRICS_PORT"]) + local), Metrics)
print("up", flush=True)
server.serve_forever()
"""


@dataclass(frozen=True)
class Sample:
    labels: dict[str, str]
    value: float


def samples(text: bytes) -> dict[str, list[Sample]]:
    """Series by name."""
    found = defaultdict(list)
    for line in text.decode().splitlines():
        match = SAMPLE.match(line)
        if match:
            found[match.group(1)].append(Sample(dict(re.findall(r'(\w+)="([^"]*)"', match.group(2))), float(match.group(3))))
    return found


def rank_pod(name: str, node: str, world_size: int, gpus: int = 1) -> dict[str, object]:
    """A pod whose process reports as a rank does."""
    one = pod(
        name, "python", "-c", RANK,
        labels={"training.kubeflow.org/job-name": "j"},
        ports=[{"name": "metrics", "containerPort": 9500}],
        env=[{"name": "TRAINING_METRICS_PORT", "value": "9500"}, {"name": "WORLD", "value": str(world_size)}],
        resources={"limits": {"nvidia.com/gpu": str(gpus), "vpc.amazonaws.com/efa": "4"}},
    )  # fmt: skip
    one["spec"]["nodeName"] = node
    return one


def test_ring_arithmetic() -> None:
    assert efa.wire_bytes(1000, 1) == 0
    assert efa.wire_bytes(1000, 2) == 1000
    assert efa.wire_bytes(1000, 4) == 1500


def test_device_names() -> None:
    names = efa.device_names(32)
    assert len(set(names)) == 32 and "rdmap113s0" in names and all(re.fullmatch(r"rdmap\d+s0", name) for name in names)
    assert len(set(efa.device_names(4))) == 4 and efa.device_names(0) == [] and len(set(efa.device_names(40))) == 40


def test_parse_takes_hostile_text() -> None:
    values, labels = parse(b'# HELP x\ntraining_step{rank="0",world_size="4"} 7\ntraining_loss nan?\nother 1\n\xff\xfe\n')
    assert values == {"training_step": 7.0} and labels["world_size"] == "4"


async def test_dcgm_names_and_labels(world: World) -> None:
    text = world.exporters.dcgm_text("node-1")
    assert text.startswith(b"# SIMULATED")
    found = samples(text)
    assert found.keys() == DEFAULT_ON | COUNTS
    assert {len(found[name]) for name in DEFAULT_ON} == {8}
    first = found["DCGM_FI_DEV_GPU_UTIL"][0].labels
    assert set(first) == {"gpu", "UUID", "pci_bus_id", "device", "modelName", "Hostname", "DCGM_FI_DRIVER_VERSION"}
    assert first["gpu"] == "0" and first["device"] == "nvidia0" and first["Hostname"] == "node-1"
    assert first["modelName"] == "NVIDIA H100 80GB HBM3 SIMULATED"
    assert len({sample.labels["UUID"] for sample in found["DCGM_FI_DEV_GPU_UTIL"]}) == 8
    again = samples(world.exporters.dcgm_text("node-1"))
    assert again["DCGM_FI_DEV_GPU_UTIL"][0].labels["UUID"] == first["UUID"]
    for index in range(8):
        total = sum(found[f"DCGM_FI_DEV_FB_{part}"][index].value for part in ("FREE", "USED", "RESERVED"))
        assert total == 81559
        assert found["DCGM_FI_DEV_GPU_UTIL"][index].value == 0 and 50 < found["DCGM_FI_DEV_POWER_USAGE"][index].value < 90


async def test_gpu_pages_of_nodes_without_gpus(world: World) -> None:
    assert not samples(world.exporters.dcgm_text("no-such-node"))["DCGM_FI_DEV_GPU_UTIL"]


async def test_efa_names_and_labels(world: World) -> None:
    text = world.exporters.efa_text("node-1")
    assert text.startswith(b"# SIMULATED")
    found = samples(text)
    assert found.keys() == {f"node_amazonefa_{name}" for name in (*efa.COUNTERS, "info")}
    assert len(efa.COUNTERS) == 35 and not any(name.endswith("_total") for name in found)
    assert set(found["node_amazonefa_tx_bytes"][0].labels) == {"device", "port"}
    assert len(found["node_amazonefa_tx_bytes"]) == 32 and found["node_amazonefa_tx_bytes"][0].labels["port"] == "1"
    assert set(found["node_amazonefa_info"][0].labels) == {"device"}


async def test_values_follow_the_ranks(world: World) -> None:
    for index in (1, 2):
        world.create(rank_pod(f"j-worker-{index}", f"node-{index}", world_size=2))
    await until(lambda: all(world.log(f"j-worker-{index}") for index in (1, 2)), "both ranks are up")

    def trained() -> dict[str, list[Sample]] | None:
        found = samples(world.exporters.dcgm_text("node-1"))
        return found if found["DCGM_FI_DEV_GPU_UTIL"][0].value > 60 else None

    found = await until(trained, "the GPU is busy")
    busy, idle = (found["DCGM_FI_PROF_PIPE_TENSOR_ACTIVE"][index] for index in (0, 1))
    assert busy.labels["pod"] == "j-worker-1" and busy.labels["namespace"] == "default" and busy.labels["container"] == "main"
    assert 0.1 < busy.value < 0.6 and idle.value == 0 and "pod" not in idle.labels
    assert found["DCGM_FI_DEV_FB_USED"][0].value > 1000 > found["DCGM_FI_DEV_FB_USED"][1].value
    assert found["DCGM_FI_DEV_POWER_USAGE"][0].value > 100 > found["DCGM_FI_DEV_POWER_USAGE"][1].value
    assert found["DCGM_FI_DEV_SM_CLOCK"][0].value == 1980
    sent = [sample.value for sample in samples(world.exporters.efa_text("node-1"))["node_amazonefa_tx_bytes"]]
    assert len([value for value in sent if value > 0]) == 4 and len(set(sent[:4])) == 1

    def moved() -> bool:
        return samples(world.exporters.efa_text("node-1"))["node_amazonefa_tx_bytes"][0].value > sent[0]

    await until(moved, "the EFA counters rise")
    energy = samples(world.exporters.dcgm_text("node-1"))["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"][0].value
    assert energy > found["DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"][0].value


async def test_a_job_on_one_node_sends_nothing_over_efa(world: World) -> None:
    world.create(rank_pod("j-worker-1", "node-1", world_size=1))
    await until(lambda: samples(world.exporters.dcgm_text("node-1"))["DCGM_FI_DEV_GPU_UTIL"][0].value > 60, "the GPU is busy")
    assert {sample.value for sample in samples(world.exporters.efa_text("node-1"))["node_amazonefa_tx_bytes"]} == {0}


async def test_painted_nodes_of_big_look_busy(world: World) -> None:
    painted = pod("big-worker-0", resources={"limits": {"nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32"}})
    loaded = []
    for name in ("painted-1", "painted-2", "painted-idle"):
        body = {"metadata": {"name": name, "uid": f"uid-{name}"}, **{k: node(name, "10.1.0.1")[k] for k in ("spec", "status")}}
        loaded.append(Loaded(None, name, f"uid-{name}", json.dumps(body, separators=(",", ":")).encode()))
    world.cluster.load("nodes", loaded)
    labels = {"training.kubeflow.org/job-name": "big"}
    body = {"metadata": {"name": "x", "namespace": "default", "uid": "x", "labels": labels}, "spec": painted["spec"], "status": {}}
    world.cluster.load("pods", [
        Loaded("default", f"big-worker-{index}", f"uid-{index}", json.dumps(body, separators=(",", ":")).encode(), labels,
               {"spec.nodeName": f"painted-{index}"})
        for index in (1, 2)
    ])  # fmt: skip
    found = samples(world.exporters.dcgm_text("painted-1"))["DCGM_FI_DEV_GPU_UTIL"]
    assert len(found) == 8 and all(sample.value > 30 and sample.labels["pod"] == "big-worker-1" for sample in found)
    assert {sample.value for sample in samples(world.exporters.dcgm_text("painted-idle"))["DCGM_FI_DEV_GPU_UTIL"]} == {0}
    before = samples(world.exporters.efa_text("painted-1"))["node_amazonefa_tx_bytes"]

    def rises() -> bool:
        after = samples(world.exporters.efa_text("painted-1"))["node_amazonefa_tx_bytes"]
        return all(later.value > earlier.value for later, earlier in zip(after, before, strict=True))

    await until(rises, "bytes are sent")


async def test_karpenter_text(world: World) -> None:
    @dataclass(frozen=True)
    class Offering:
        instance_type: str
        zone: str
        capacity_type: str
        price_per_hour: float

    world.exporters.offerings = (Offering("p5.48xlarge", "z-a", "spot", 23.1168), Offering("p5.48xlarge", "z-b", "on-demand", 55.04))
    text = world.exporters.karpenter_text()
    assert text.startswith(b"# SIMULATED")
    found = samples(text)
    available = found["karpenter_cloudprovider_instance_type_offering_available"]
    assert [(sample.labels["zone"], sample.value) for sample in available] == [("z-a", 1), ("z-b", 1)]
    price = found["karpenter_cloudprovider_instance_type_offering_price_estimate"][1]
    assert price == Sample({"instance_type": "p5.48xlarge", "zone": "z-b", "capacity_type": "on-demand"}, 55.04)


async def test_exporter_pods_answer_through_the_proxy(world: World) -> None:
    servers = {"dcgm": "dcgm-exporter", "efa": "efa-node-exporter", "karpenter": "karpenter", "plugin": "device-plugin"}
    for name, server in servers.items():
        one = pod(name, ports=[{"name": "metrics", "containerPort": 9400}])
        one["metadata"]["annotations"] = {"sim.cockpit.dev/served-by": server}
        world.create(one)
    await world.cluster.settled()
    for name, port, word in (("dcgm", "metrics", b"DCGM_FI"), ("efa", 9810, b"node_amazonefa"), ("karpenter", 8080, b"_nodepools_")):
        status, headers, body = await world.kubelet.proxy("default", name, port, "GET", "metrics", b"")
        assert status == 200 and headers["Content-Type"].startswith("text/plain") and word in body
    assert (await world.kubelet.proxy("default", "dcgm", 9400, "GET", "/", b""))[0] == 404
    assert (await world.kubelet.proxy("default", "dcgm", 9401, "GET", "/metrics", b""))[0] == 503
    assert (await world.kubelet.proxy("default", "plugin", 9400, "GET", "/metrics", b""))[0] == 503
    assert (await world.kubelet.proxy("default", "dcgm", "http", "GET", "/metrics", b""))[0] == 400
