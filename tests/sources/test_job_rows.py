"""Training jobs to rows: PyTorchJobs, TrainJobs, and TrainJobs joined with their JobSets."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.model import JobKey
from cockpit.sources import jobs
from cockpit.sources.jobtemplates import strategy_of
from tests.sources.objects import meta, read


def template(command: list[str], gpus: int = 0, **env: str) -> dict[str, Any]:
    limits = {"nvidia.com/gpu": str(gpus)} if gpus else {}
    container = {
        "name": "pytorch",
        "command": command,
        "env": [{"name": name, "value": value} for name, value in env.items()],
        "resources": {"limits": limits},
    }
    return {"spec": {"containers": [{"name": "sidecar"}, container]}}


def pytorchjob(spec: dict[str, Any], status: Any = None, **metadata: Any) -> Any:
    return jobs.to_pytorchjob(read(jobs.RawPyTorchJob, {"metadata": meta("t5", **metadata), "spec": spec, "status": status}))


def replicas(workers: int, **kind: Any) -> dict[str, Any]:
    return {"Master": {"replicas": 1, "template": template(**kind)}, "Worker": {"replicas": workers, "template": template(**kind)}}


def test_a_pytorchjob() -> None:
    spec = {
        "pytorchReplicaSpecs": replicas(3, command=["torchrun", "-m", "training.fsdp"], gpus=8),
        "nprocPerNode": "8",
        "runPolicy": {"suspend": True},
    }
    status = {
        "conditions": [
            {"type": "Created", "status": "True"},
            {"type": "Failed", "status": "True", "reason": "PyTorchJobFailed", "lastTransitionTime": "1970-01-01T00:00:09Z"},
        ],
        "startTime": "1970-01-01T00:00:05Z",
    }
    labels = {"kueue.x-k8s.io/queue-name": "user-queue", "app.kubernetes.io/managed-by": "cockpit"}
    found = pytorchjob(spec, status, labels=labels, annotations={"cockpit.dev/steps": "500"})
    assert (found.key, found.pods_wanted, found.ranks_per_pod, found.ranks_wanted, found.gpus_per_pod) == (
        JobKey("ml", "PyTorchJob", "t5"),
        4,
        8,
        32,
        8,
    )
    assert (found.strategy, found.suspended, found.queue, found.steps_wanted, found.managed) == ("fsdp", True, "user-queue", 500, True)
    assert (found.started, found.finished, found.uid) == (5.0, 9.0, "uid-t5")
    assert found.condition("Failed").reason == "PyTorchJobFailed"


@pytest.mark.parametrize(
    ("nproc", "kind", "ranks"),
    [
        ("4", {"command": ["torchrun", "--nproc_per_node=2"], "gpus": 8}, 4),
        ("auto", {"command": ["torchrun", "--nproc_per_node=2"], "gpus": 8}, 2),
        (None, {"command": ["sh", "-c", "torchrun --nproc-per-node 3 x.py"]}, 3),
        (None, {"command": ["torchrun", "x.py"], "PET_NPROC_PER_NODE": "6"}, 6),
        ("gpu", {"command": ["torchrun", "x.py"], "gpus": 8}, 8),
        ("auto", {"command": ["torchrun", "x.py"]}, None),
        (None, {"command": ["torchrun", "--nproc_per_node=auto"]}, None),
    ],
)
def test_ranks_per_pod(nproc: str | None, kind: dict[str, Any], ranks: int | None) -> None:
    assert pytorchjob({"pytorchReplicaSpecs": replicas(1, **kind), "nprocPerNode": nproc}).ranks_per_pod == ranks


@pytest.mark.parametrize(
    ("line", "strategy"),
    [("torchrun -m training.ddp", "ddp"), ("torchrun train_fsdp.py", "fsdp"), ("deepspeed x.py", "deepspeed"),
     ("torchrun -m training.zero", "deepspeed"),
     ("torchrun -m training.amx", "amx"), ("torchrun x.py", "ddp"), ("python x.py", "")],
)  # fmt: skip
def test_strategies(line: str, strategy: str) -> None:
    assert strategy_of(line) == strategy


def trainjob(trainer: Any, **more: Any) -> Any:
    return read(jobs.RawTrainJob, {"metadata": meta("llama"), "spec": {"trainer": trainer, **more}, "status": {"conditions": None}})


def jobset(restarts: int) -> Any:
    node = {
        "name": "node",
        "replicas": 1,
        "template": {"spec": {"parallelism": 4, "template": template(["torchrun", "fsdp.py"], 8, PET_NPROC_PER_NODE="8")}},
    }
    owner = {"kind": "TrainJob", "name": "llama", "controller": True}
    return read(
        jobs.RawJobSet,
        {
            "metadata": meta("llama", ownerReferences=[owner], creationTimestamp="1970-01-01T00:00:03Z"),
            "spec": {"replicatedJobs": [{"name": "model-initializer"}, node]},
            "status": {"restarts": restarts},
        },
    )


def test_a_trainjob_learns_from_its_jobset_whichever_comes_first() -> None:
    for first in ("job", "jobset"):
        joined = jobs.TrainJobs()
        if first == "job":
            alone = joined.job(trainjob({}))
            assert (alone.pods_wanted, alone.ranks_per_pod, alone.restarts) == (None, None, 0)
            found = joined.jobset(jobset(2))
        else:
            assert joined.jobset(jobset(2)) is None
            found = joined.job(trainjob({}))
        assert (found.pods_wanted, found.ranks_per_pod, found.gpus_per_pod, found.restarts, found.strategy, found.started) == (
            4,
            8,
            8,
            2,
            "fsdp",
            3.0,
        )


def test_what_a_trainjob_says_itself_stands() -> None:
    joined = jobs.TrainJobs()
    joined.jobset(jobset(0))
    found = joined.job(trainjob({"numNodes": 2, "numProcPerNode": 4, "command": ["torchrun", "-m", "training.ddp"]}, suspend=True))
    assert (found.pods_wanted, found.ranks_per_pod, found.strategy, found.suspended) == (2, 4, "ddp", True)


def test_a_trainjob_that_is_gone_is_forgotten() -> None:
    joined = jobs.TrainJobs()
    joined.job(trainjob({}))
    joined.gone("ml", "llama")
    assert joined.jobset(jobset(1)) is None


def with_claim(command: list[str], path: str = "/mnt/fsx", sub_path: str = "") -> dict[str, Any]:
    found = template(command)
    found["spec"]["volumes"] = [{"name": "data", "persistentVolumeClaim": {"claimName": "fsx-pvc"}}, {"name": "shm", "emptyDir": {}}]
    found["spec"]["containers"][1]["volumeMounts"] = [
        {"name": "shm", "mountPath": "/dev/shm"},
        {"name": "data", "mountPath": path, "subPath": sub_path},
    ]
    return found


@pytest.mark.parametrize(
    ("words", "sub_path", "store"),
    [
        (["--checkpoint-dir", "/mnt/fsx/run7/"], "", "pvc:fsx-pvc/run7"),
        (["--checkpoint_dir=/mnt/fsx"], "", "pvc:fsx-pvc"),
        (["--checkpoint-dir=/mnt/fsx/run7"], "team/", "pvc:fsx-pvc/team/run7"),
        (["--checkpoint-dir=/mnt/fsx2/run7"], "", ""),
        (["--checkpoint-dir=s3://bucket/run7/"], "", "s3://bucket/run7"),
        (["--steps=5"], "", ""),
    ],
)
def test_where_a_foreign_job_keeps_its_checkpoints(words: list[str], sub_path: str, store: str) -> None:
    master = {"replicas": 1, "template": with_claim(["torchrun", "-m", "training.ddp", *words], sub_path=sub_path)}
    assert pytorchjob({"pytorchReplicaSpecs": {"Master": master}}).store == store
    trains = jobs.TrainJobs()
    trains.job(read(jobs.RawTrainJob, {"metadata": meta("t5"), "spec": {"trainer": {"args": words}}}))
    node = {"name": "node", "template": {"spec": {"template": with_claim(["torchrun"], sub_path=sub_path)}}}
    owner = {"kind": "TrainJob", "name": "t5", "controller": True}
    below = {"metadata": meta("t5", ownerReferences=[owner]), "spec": {"replicatedJobs": [node]}}
    found = trains.jobset(read(jobs.RawJobSet, below))
    assert found is not None
    assert found.store == store


def test_what_launch_wrote_on_a_job() -> None:
    found = pytorchjob({}, annotations={"cockpit.dev/checkpoints": "pvc:c/p", "cockpit.dev/restored-from": "t5", "cockpit.dev/launch": "{}"})
    assert (found.store, found.restored_from, found.launched) == ("pvc:c/p", "t5", "{}")


def test_what_suspend_scale_and_priority_need_of_a_pytorchjob() -> None:
    template = {"spec": {"priorityClassName": "urgent", "containers": [{"name": "pytorch"}]}}
    spec = {"pytorchReplicaSpecs": {"Worker": {"replicas": 3, "template": template}}, "elasticPolicy": {"maxReplicas": 5}}
    found = pytorchjob(spec, labels={"kueue.x-k8s.io/priority-class": "high"})
    assert (found.workers, found.elastic, found.priority, found.pod_priority) == (3, (1, 5), "high", "urgent")
    plain = pytorchjob({"pytorchReplicaSpecs": {"Master": {"replicas": 1}}, "elasticPolicy": {"minReplicas": 1}})
    assert (plain.workers, plain.elastic, plain.priority, plain.pod_priority) == (None, None, "", "")
