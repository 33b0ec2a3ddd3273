"""Size and cost against the official client, as ratios and bytes, on objects as large as real ones."""

from __future__ import annotations

import json
import time
import tracemalloc
from collections.abc import Callable
from typing import Any

from cockpit.sources import load
from cockpit.store import Store

PODS, NODES, PAGE = 50_000, 300, 500


def pod(number: int = 987654) -> dict[str, Any]:
    """A pod of about the size of a real one."""
    return {
        "metadata": {
            "name": f"llama-{number // 8:06}-node-0-1-x{number:06}",
            "namespace": "team-7",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "resourceVersion": f"1{number:06}",
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {
                "jobset.sigs.k8s.io/jobset-name": f"llama-{number // 8:06}",
                "jobset.sigs.k8s.io/replicatedjob-name": "node",
                "batch.kubernetes.io/job-completion-index": "5",
                "app.kubernetes.io/name": "llama",
            },
            "ownerReferences": [{"kind": "Job", "name": f"llama-{number // 8:06}-node-0", "controller": True}],
            "managedFields": [{"manager": "kubelet", "fieldsV1": {f"f:key-{n}": {} for n in range(40)}}],
        },
        "spec": {
            "nodeName": f"ip-10-{number // 8:06}",
            "containers": [
                {
                    "name": "node",
                    "image": "x",
                    "resources": {"limits": {"nvidia.com/gpu": "1", "cpu": "8", "memory": "64Gi"}},
                    "ports": [{"containerPort": 29500}],
                }
            ],
        },
        "status": {
            "phase": "Running",
            "podIP": f"10.0.{number:06}",
            "startTime": "2026-01-01T00:00:05Z",
            "conditions": [{"type": kind, "status": "True"} for kind in ("PodScheduled", "Initialized", "Ready")],
            "containerStatuses": [{"name": "node", "ready": True, "restartCount": 0, "state": {"running": {"startedAt": "2026-01-01T00:00:09Z"}}}],
        },
    }


class Pages:
    """A kube that lists made-up objects, page by page."""

    def __init__(self, make: Callable[[int], str], count: int) -> None:
        self._make, self._count = make, count

    def pages(self, path: str, **_: Any) -> Any:
        for start in range(0, self._count, PAGE):
            items = ",".join(self._make(number) for number in range(start, min(start + PAGE, self._count)))
            yield f'{{"metadata":{{"resourceVersion":"9"}},"items":[{items}]}}'.encode()


def varied(numbered: dict[str, Any]) -> Callable[[int], str]:
    """Objects that differ where `numbered`, made for number 987654, holds that number or its eighth."""
    text = json.dumps(numbered)
    return lambda number: text.replace("987654", f"{number:06}").replace("123456", f"{number // 8:06}")


def test_fifty_thousand_pods_are_kept_in_less_than_sixty_megabytes() -> None:
    store = Store()
    source = load("pods")
    tracemalloc.start()
    try:
        source.list(Pages(varied(pod()), PODS), store)
        kept, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert len(store.snapshot().pods) == PODS
    assert kept < 60e6, f"{kept / 1e6:.1f} MB"


def node(number: int) -> dict[str, Any]:
    """A node of about the size of a real GPU node."""
    return {
        "metadata": {
            "name": f"ip-10-0-{number // 256}-{number % 256}",
            "uid": f"00000000-0000-4000-8000-{number:012}",
            "resourceVersion": str(number),
            "creationTimestamp": "2026-01-01T00:00:00Z",
            "labels": {f"feature.node.kubernetes.io/cpu-{n}": "true" for n in range(60)} | {"node.kubernetes.io/instance-type": "p5.48xlarge"},
            "managedFields": [
                {
                    "manager": "kubelet",
                    "operation": "Update",
                    "apiVersion": "v1",
                    "time": "2026-01-01T00:00:00Z",
                    "fieldsType": "FieldsV1",
                    "fieldsV1": {f"f:key-{n}": {} for n in range(60)},
                }
            ],
        },
        "spec": {"providerID": f"aws:///a/i-{number}", "taints": [{"key": "nvidia.com/gpu", "value": "present", "effect": "NoSchedule"}]},
        "status": {
            "capacity": {"cpu": "192", "memory": "2000Gi", "nvidia.com/gpu": "8", "pods": "100"},
            "allocatable": {"cpu": "191", "memory": "1990Gi", "nvidia.com/gpu": "8", "vpc.amazonaws.com/efa": "32"},
            "addresses": [{"type": "InternalIP", "address": "10.0.0.1"}],
            "conditions": [condition(kind) for kind in ("Ready", "KernelReady", "StorageReady", "NetworkingReady")],
            "images": [image(n) for n in range(25)],
            "nodeInfo": dict.fromkeys(NODE_INFO, "x"),
        },
    }


NODE_INFO = (
    "architecture",
    "bootID",
    "containerRuntimeVersion",
    "kernelVersion",
    "kubeProxyVersion",
    "kubeletVersion",
    "machineID",
    "operatingSystem",
    "osImage",
    "systemUUID",
)


def condition(kind: str) -> dict[str, str]:
    """A condition as kubelets write it."""
    times = dict.fromkeys(("lastTransitionTime", "lastHeartbeatTime"), "2026-01-01T00:00:00Z")
    return {"type": kind, "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status", **times}


def image(number: int) -> dict[str, Any]:
    """An image a node holds."""
    name = f"registry.example/image-{number}"
    return {"names": [f"{name}@sha256:{number:064}", f"{name}:v1"], "sizeBytes": 10**9}


def test_nodes_are_read_at_least_ten_times_cheaper_than_by_the_official_models() -> None:
    from kubernetes.client import ApiClient

    pages = list(Pages(lambda number: json.dumps(node(number)), NODES).pages(""))
    client = ApiClient()

    class Answer:
        def __init__(self, body: bytes) -> None:
            self.data = body.decode()

    class Made:
        def pages(self, path: str, **_: Any) -> Any:
            return iter(pages)

    def official() -> None:
        for page in pages:
            assert len(client.deserialize(Answer(page), "V1NodeList").items) == NODES

    def ours() -> None:
        store = Store()
        load("nodes").list(Made(), store)
        assert len(store.snapshot().nodes) == NODES

    ours()
    ratio = _cpu_seconds(official) / min(_cpu_seconds(ours) for _ in range(3))
    assert ratio >= 10, f"only {ratio:.1f} times"


def _cpu_seconds(work: Callable[[], None]) -> float:
    began = time.process_time()
    work()
    return time.process_time() - began
