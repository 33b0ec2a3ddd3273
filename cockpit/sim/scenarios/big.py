"""Scenario `big`: thousands of nodes, their claims and pods, and jobs of many sizes, as scenery."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from cockpit.sim.controllers.karpenter_pools import pool_conditions
from cockpit.sim.controllers.machines import Machine, capacity_of
from cockpit.sim.controllers.quantities import amounts, times, written_amounts
from cockpit.sim.instance_types import INSTANCE_TYPES
from cockpit.sim.scenarios.crowds import POOL, Crowd, jobs_for, unique_suffix
from cockpit.sim.scenarios.scenery import claim_template, node_template
from cockpit.sim.scenarios.templates import filled, template_of
from cockpit.sim.store import Loaded

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

MODELS = (
    ("p5.48xlarge", "ap-northeast-2a", "on-demand"),
    ("p5.48xlarge", "ap-northeast-2c", "spot"),
    ("p5en.48xlarge", "ap-northeast-2a", "spot"),
)
RATE = "practice-changes"


async def fill(big: Mapping[str, Any], cluster: Cluster) -> None:
    """Load the counted objects; yields to the event loop between kinds, so that the API answers meanwhile."""
    from cockpit.sim.scenarios import Scenario, load
    from cockpit.sim.scenarios.creation import create_all

    system = load("empty").sections
    kept = {name: entries for name, entries in system.items() if name in ("namespaces", "nodeclasses", "nodepools", "queues")}
    create_all(Scenario("big", kept), cluster)
    source = random.Random(int(big.get("seed", 0)))
    hosts = list(hosts_of(int(big["nodes"]), source))
    _pool_status(cluster, hosts)
    await asyncio.sleep(0)
    pool = cluster.get("nodepools.karpenter.sh", None, POOL)
    cluster.load("nodes", _nodes(hosts, pool))
    cluster.load("nodeclaims.karpenter.sh", _claims(hosts, pool))
    await asyncio.sleep(0)
    crowd = Crowd(hosts, source, exporters=bool(big.get("exporters", True)))
    jobs = list(jobs_for(len(hosts) * 92 // 100, source))
    wanted = max(0, int(big["pods"]))
    cluster.load("pods", crowd.pods(jobs, wanted))
    await asyncio.sleep(0)
    for job in crowd.job_objects(jobs):
        cluster.create("pytorchjobs.kubeflow.org", job)
    note = {"name": RATE, "namespace": "kube-system", "annotations": {"cockpit.dev/simulated": "true"}}
    rate = {"changesPerSecond": str(big.get("changesPerSecond", 0))}
    cluster.create("configmaps", {"apiVersion": "v1", "kind": "ConfigMap", "metadata": note, "data": rate})


def hosts_of(count: int, source: random.Random) -> Iterator[dict[str, str]]:
    """What is different about each node: name, uid, address, claim, health."""
    for index in range(count):
        address = f"10.{index // 60_000}.{index // 250 % 240}.{index % 250 + 4}"
        name = f"ip-{address.replace('.', '-')}.ap-northeast-2.compute.internal"
        model = MODELS[index % 10 // 4] if index % 10 < 8 else MODELS[2]
        down, sick = index % 500 == 77, index % 311 == 200
        yield {
            "name": name,
            "uid": _uid(source),
            "address": address,
            "layer": f"{index // 64:05d}",
            "claim": f"{POOL}-{unique_suffix(index)}",
            "claim_uid": _uid(source),
            "provider_id": f"aws:///{model[1]}/i-0{source.getrandbits(64):016x}",
            "model": str(MODELS.index(model)),
            "ready": "Unknown" if down else "True",
            "ready_reason": "NodeStatusUnknown" if down else "KubeletReady",
            "ready_message": "Kubelet stopped posting node status." if down else "kubelet is posting ready status",
            "gpu_health": "False" if sick else "True",
            "gpu_reason": "NvidiaXID79Error" if sick else "NvidiaAcceleratedHardwareIsReady",
        }


def _uid(source: random.Random) -> str:
    bits = f"{source.getrandbits(128):032x}"
    return f"{bits[:8]}-{bits[8:12]}-4{bits[13:16]}-a{bits[17:20]}-{bits[20:]}"


def _machine(number: int) -> Machine:
    instance_type, zone, capacity_type = MODELS[number]
    return Machine(instance_type, zone, capacity_type, POOL, "10.0.0.1")


def _nodes(hosts: list[dict[str, str]], pool: Mapping[str, Any]) -> Iterator[Loaded]:
    objects = [node_template(_machine(number), pool["spec"]["template"]["spec"].get("taints") or []) for number in range(len(MODELS))]
    templates = [template_of(obj) for obj in objects]
    for host in hosts:
        number = int(host["model"])
        labels = objects[number]["metadata"]["labels"] | {"kubernetes.io/hostname": host["name"]}
        labels |= {f"topology.k8s.aws/network-node-layer-{layer}": f"nn-0{layer}simulated{host['layer']}" for layer in (1, 2, 3)}
        fields = {"metadata.name": host["name"], "spec.unschedulable": "false"}
        yield Loaded(None, host["name"], host["uid"], filled(templates[number], host), labels, fields)


def _claims(hosts: list[dict[str, str]], pool: Mapping[str, Any]) -> Iterator[Loaded]:
    objects = [claim_template(_machine(number), pool) for number in range(len(MODELS))]
    templates = [template_of(obj) for obj in objects]
    for host in hosts:
        number = int(host["model"])
        labels = objects[number]["metadata"]["labels"]
        yield Loaded(None, host["claim"], host["claim_uid"], filled(templates[number], host), labels, {"metadata.name": host["claim"]})


def _pool_status(cluster: Cluster, hosts: list[dict[str, str]]) -> None:
    """Status of the pools and their class: no controller keeps it here."""
    now = cluster.now()
    conditions = [{"type": "Ready", "status": "True", "reason": "Ready", "message": "", "lastTransitionTime": now}]
    ready = cluster.patch("ec2nodeclasses.karpenter.k8s.aws", None, "default", {"status": {"conditions": conditions}}, "status")
    for pool in cluster.list("nodepools.karpenter.sh"):
        count = len(hosts) if pool["metadata"]["name"] == POOL else 0
        used = written_amounts(times(amounts(capacity_of(INSTANCE_TYPES["p5.48xlarge"])), count)) if count else {}
        status = {"resources": used | {"nodes": str(count)}, "nodes": count, "conditions": pool_conditions(pool, [], ready, now)}
        cluster.patch("nodepools.karpenter.sh", None, pool["metadata"]["name"], {"status": status}, "status")
