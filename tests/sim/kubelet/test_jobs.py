"""Pods of one job meet on loopback, each job at its own port; their metrics ports are reached through the proxy."""

from __future__ import annotations

import json
from typing import Any

from cockpit.sim.kubelet.rendezvous import job_key, meet, meet_words
from tests.sim.kubelet.worlds import World, pod, until

GLOO = """
import os, torch, torch.distributed as dist
dist.init_process_group("gloo")
total = torch.ones(1) * (dist.get_rank() + 1)
dist.all_reduce(total)
print("rank", dist.get_rank(), "of", dist.get_world_size(), "sum", int(total), flush=True)
dist.destroy_process_group()
os._exit(0)
"""


def _worker(job: str, index: int, **extra: Any) -> dict[str, Any]:
    """A pod as the trainer's JobSet makes it, with the environment of a two-node torchrun."""
    env = {
        "PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_NODE_RANK": str(index), "PET_MASTER_ADDR": f"{job}-node-0-0.{job}",
        "PET_MASTER_PORT": "29500",
    }  # fmt: skip
    labels = {f"jobset.sigs.k8s.io/{k}": v for k, v in (("jobset-name", job), ("jobset-uid", f"uid-of-{job}"), ("restart-attempt", "0"))}
    return pod(f"{job}-node-0-{index}-abcde", **extra, labels=labels, env=[{"name": k, "value": v} for k, v in env.items()])


async def test_two_pods_rendezvous_with_torchrun(world: World) -> None:
    world.config_map("code", {"hello.py": GLOO})
    for index in (0, 1):
        mounts = [{"name": "code", "mountPath": "/opt/code"}]
        worker = _worker("hello", index, volumeMounts=mounts, command=["torchrun", "/opt/code/hello.py"])
        worker["spec"]["volumes"] = [{"name": "code", "configMap": {"name": "code"}}]
        worker["spec"]["nodeName"] = f"node-{index + 1}"
        world.create(worker)
    names = [f"hello-node-0-{index}-abcde" for index in (0, 1)]
    await until(lambda: all(world.status(name).get("phase") in ("Succeeded", "Failed") for name in names), "both end", seconds=90)
    said = [line for name in names for line in world.log(name) if line.startswith("rank")]
    assert sorted(said) == ["rank 0 of 2 sum 3", "rank 1 of 2 sum 3"], [world.log(name) for name in names]


async def test_each_job_has_its_own_port_and_gives_it_back(world: World) -> None:
    script = "echo $PET_MASTER_ADDR:$PET_MASTER_PORT; sleep 100"
    for job in ("one", "two"):
        for index in (0, 1):
            world.create(_worker(job, index, command=["sh", "-c", script]))
    names = [f"{job}-node-0-{index}-abcde" for job in ("one", "two") for index in (0, 1)]
    await until(lambda: all(world.log(name) for name in names), "all print")
    first, second, third, fourth = (world.log(name)[0] for name in names)
    assert first == second != third == fourth
    assert first.startswith("127.0.0.1:") and "29500" not in first
    for name in names:
        world.cluster.delete("pods", "default", name, grace_seconds=0)
    await until(lambda: not world.kubelet.runs and not world.kubelet.machine.ports.in_use, "ports are free again")


def test_other_addresses_stay() -> None:
    env = {"PET_MASTER_ADDR": "elsewhere.example.com", "PET_RDZV_ENDPOINT": "j-worker-0:23456", "POD": "j-worker-0", "MASTER_PORT": "23456"}
    met = meet(env, "j", 5)
    assert met["PET_MASTER_ADDR"] == "elsewhere.example.com" and met["POD"] == "j-worker-0"
    assert met["PET_RDZV_ENDPOINT"] == "127.0.0.1:5" and met["MASTER_PORT"] == "5"


def test_written_out_rendezvous() -> None:
    words = ["--rdzv_endpoint=j-worker-0:23456", "--master-port", "29500", "--master_port=29500", "--master_addr", "j-node-0-0.j", "j.py"]
    expected = ["--rdzv_endpoint=127.0.0.1:5", "--master-port", "5", "--master_port=5", "--master_addr", "127.0.0.1", "j.py"]
    assert meet_words(words, "j", 5) == expected
    others = ["xj-worker-0:1", "k-worker-0:1", "nslookup j-master-0"]
    assert meet_words(others, "j", 5) == others
    shell = "torchrun --master_addr j-master-0 --master_port=1 x.py"
    assert meet_words([shell], "j", 5) == ["torchrun --master_addr 127.0.0.1 --master_port=5 x.py"]


def test_a_restarted_jobset_is_another_key() -> None:
    first, again = _worker("j", 0), _worker("j", 0)
    again["metadata"]["labels"]["jobset.sigs.k8s.io/restart-attempt"] = "1"
    assert job_key(first) == job_key(_worker("j", 1)) != job_key(again)
    assert job_key(pod("plain", "true")) is None


SERVER = """
import http.server, os, sys
class Echo(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        body = (os.environ["WHO"] + " " + self.path).encode()
        self.send_response(200); self.send_header("Content-Type", "text/plain"); self.send_header("Content-Length", str(len(body)))
        self.end_headers(); self.wfile.write(body)
    def log_message(self, *args): pass
server = http.server.HTTPServer(("127.0.0.1", int(os.environ.get("TRAINING_METRICS_PORT", "0")) + int(os.environ.get("LOCAL", "0"))), Echo)
print(server.server_address[1], flush=True)
server.serve_forever()
"""


async def test_metrics_ports_are_mapped_and_proxied(world: World) -> None:
    ports = [{"name": "metrics", "containerPort": 9500}]
    for who in ("a", "b"):
        env = [{"name": "WHO", "value": who}, {"name": "TRAINING_METRICS_PORT", "value": "9500"}, {"name": "LOCAL", "value": "1"}]
        world.create(pod(who, "python", "-c", SERVER, ports=ports, env=env))
    await until(lambda: world.log("a") and world.log("b"), "both listen")
    for who in ("a", "b"):
        status, headers, body = await world.kubelet.proxy("default", who, 9501, "GET", "metrics?x=1", b"")
        assert (status, headers["Content-Type"], body) == (200, "text/plain", f"{who} /metrics?x=1".encode())
    status, _, body = await world.kubelet.proxy("default", "a", "metrics", "GET", "/", b"")
    assert status == 503 and json.loads(body)["kind"] == "Status"
    assert json.loads(body)["message"].endswith(":9500: connect: connection refused")


async def test_other_ports_reach_only_the_pod_that_listens(world: World) -> None:
    world.create(pod("web", "python", "-c", SERVER, env=[{"name": "WHO", "value": "web"}]))
    world.create(pod("other", "sleep", "100"))
    await until(lambda: world.log("web") and world.state("other").get("running"), "both run")
    port = int(world.log("web")[0])
    assert (await world.kubelet.proxy("default", "web", port, "GET", "/", b""))[0] == 200
    assert (await world.kubelet.proxy("default", "other", port, "GET", "/", b""))[0] == 503
