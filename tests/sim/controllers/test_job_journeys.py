"""Jobs of every kind on an in-process cluster: PyTorchJob, batch Job, JobSet, TrainJob."""

from __future__ import annotations

from typing import Any

import pytest
from conftest import World, node

from cockpit.sim.controllers import Options
from cockpit.sim.store import ApiError

PYTORCH = "pytorchjobs.kubeflow.org"
TRAIN = "trainjobs.trainer.kubeflow.org"
JOBSET = "jobsets.jobset.x-k8s.io"


def furnish(world: World) -> None:
    """Start the controllers and give the cluster its namespaces and two nodes."""
    world.start()
    for name in ("default", "kube-node-lease"):
        world.cluster.create("namespaces", {"metadata": {"name": name}})
    for name in ("n1", "n2"):
        world.cluster.create("nodes", node(name))


def pytorchjob(name: str = "job", workers: int = 1, policy: str = "OnFailure", **spec: Any) -> dict[str, Any]:
    template = {"spec": {"containers": [{"name": "pytorch", "image": "torch", "resources": {"requests": {"cpu": "1"}}}]}}
    roles = {"Master": {"replicas": 1, "restartPolicy": policy, "template": template}}
    if workers:
        roles["Worker"] = {"replicas": workers, "restartPolicy": policy, "template": template}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "kubeflow.org/v1", "kind": "PyTorchJob", "metadata": metadata, "spec": {"pytorchReplicaSpecs": roles, **spec}}


def trainjob(name: str = "train", **spec: Any) -> dict[str, Any]:
    trainer = {"numNodes": 2, "command": ["torchrun", "x.py"], "resourcesPerNode": {"requests": {"cpu": "2"}}}
    body = {"runtimeRef": {"name": "torch-distributed"}, "trainer": trainer, **spec}
    metadata = {"name": name, "namespace": "default"}
    return {"apiVersion": "trainer.kubeflow.org/v1alpha1", "kind": "TrainJob", "metadata": metadata, "spec": body}


def phase(world: World, name: str) -> str:
    return str(world.cluster.get("pods", "default", name)["status"]["phase"])


def types(world: World, resource: str, name: str) -> list[tuple[str, str]]:
    return [(one["type"], one["status"]) for one in world.cluster.get(resource, "default", name).get("status", {}).get("conditions") or []]


async def test_a_pytorchjob_runs_and_succeeds(world: World) -> None:
    furnish(world)
    world.cluster.create(PYTORCH, pytorchjob(runPolicy={"cleanPodPolicy": "Running"}))
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Running", "True"))
    await world.until(lambda: world.cluster.get(PYTORCH, "default", "job")["status"]["replicaStatuses"]["Worker"].get("active") == 1)
    assert {one["metadata"]["name"] for one in world.cluster.list("services", "default")} == {"job-master-0", "job-worker-0"}
    world.finish("default", "job-master-0")
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Succeeded", "True"))
    assert types(world, PYTORCH, "job") == [("Created", "True"), ("Running", "False"), ("Succeeded", "True")]
    await world.until(lambda: world.cluster.find("pods", "default", "job-worker-0") is None)
    assert phase(world, "job-master-0") == "Succeeded"
    assert world.cluster.get(PYTORCH, "default", "job")["status"]["completionTime"]


@pytest.mark.parametrize(("code", "last"), [(1, ("Failed", "True")), (137, ("Running", "True"))])
async def test_exit_code_policy_retries_signals_only(world: World, code: int, last: tuple[str, str]) -> None:
    furnish(world)
    world.cluster.create(PYTORCH, pytorchjob(policy="ExitCode"))
    await world.until(lambda: phase(world, "job-worker-0") == "Running")
    first = world.cluster.get("pods", "default", "job-worker-0")["metadata"]["uid"]
    world.finish("default", "job-worker-0", code)
    del world.exits["job-worker-0"]
    again = lambda: world.cluster.get("pods", "default", "job-worker-0")["metadata"]["uid"] != first  # noqa: E731
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == last and (code == 1 or again()))
    said = {reason for reason, _ in world.events("job")}
    assert ({"ExitedWithCode", "PyTorchJobRestarting"} <= said) == (code == 137)
    assert ("PyTorchJobFailed" in said) == (code == 1)


@pytest.mark.parametrize(("policy", "last"), [("OnFailure", ("Running", "True")), ("Always", ("Running", "True")), ("Never", ("Failed", "True"))])
async def test_an_evicted_pod_is_made_anew_unless_its_role_says_never(world: World, policy: str, last: tuple[str, str]) -> None:
    """A drain leaves a pod Failed while it is being deleted; the operator restarts the job where the policy lets it."""
    furnish(world)
    world.cluster.create(PYTORCH, pytorchjob(policy=policy))
    await world.until(lambda: phase(world, "job-worker-0") == "Running" and types(world, PYTORCH, "job")[-1] == ("Running", "True"))
    first = world.cluster.get("pods", "default", "job-worker-0")["metadata"]["uid"]
    world.cluster.patch("pods", "default", "job-worker-0", {"metadata": {"finalizers": ["test/still-going"]}})
    world.cluster.delete("pods", "default", "job-worker-0", grace_seconds=30)
    world.cluster.patch("pods", "default", "job-worker-0", {"status": {"phase": "Failed"}}, subresource="status")
    said = "PyTorchJobFailed" if policy == "Never" else "PyTorchJobRestarting"
    await world.until(lambda: said in {reason for reason, _ in world.events("job")})
    world.cluster.patch("pods", "default", "job-worker-0", {"metadata": {"finalizers": None}})
    if policy != "Never":
        await world.until(lambda: world.cluster.get("pods", "default", "job-worker-0")["metadata"]["uid"] != first)
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == last)


async def test_a_suspended_pytorchjob_gives_its_pods_back(world: World) -> None:
    furnish(world)
    world.cluster.create(PYTORCH, pytorchjob())
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Running", "True"))
    world.cluster.patch(PYTORCH, "default", "job", {"spec": {"runPolicy": {"suspend": True}}})
    await world.until(lambda: not world.cluster.list("pods", "default"))
    assert types(world, PYTORCH, "job") == [("Created", "True"), ("Running", "False"), ("Suspended", "True")]
    world.cluster.patch(PYTORCH, "default", "job", {"spec": {"runPolicy": {"suspend": False}}})
    await world.until(lambda: types(world, PYTORCH, "job")[-1] == ("Running", "True"))
    assert world.condition(PYTORCH, "default", "job", "Suspended")["reason"] == "PyTorchJobResumed"


async def test_pytorchjob_webhook_says_every_fault(world: World) -> None:
    furnish(world)
    broken = pytorchjob("Bad_Name", elasticPolicy={"nProcPerNode": 2}, nprocPerNode="2")
    broken["spec"]["pytorchReplicaSpecs"]["Master"]["replicas"] = 2
    del broken["spec"]["pytorchReplicaSpecs"]["Worker"]
    broken["metadata"]["name"] = "1bad"
    with pytest.raises(ApiError) as refused:
        world.cluster.create(PYTORCH, broken)
    assert refused.value.code == 403
    for part in ("DNS-1035", "must be 1", "needs a Worker", "nprocPerNode"):
        assert part in refused.value.message
    nameless = pytorchjob()
    nameless["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["name"] = "main"
    with pytest.raises(ApiError, match="must have at least one container with name pytorch"):
        world.cluster.create(PYTORCH, nameless)


async def test_an_indexed_job_names_its_indexes_and_retries(world: World) -> None:
    furnish(world)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"completions": 2, "parallelism": 2, "completionMode": "Indexed", "backoffLimit": 1, "template": template}
    world.cluster.create("jobs.batch", {"metadata": {"name": "sweep", "namespace": "default"}, "spec": spec})
    pods = await world.until(lambda: _running(world, 2))
    index = "batch.kubernetes.io/job-completion-index"
    assert sorted(one["metadata"]["annotations"][index] for one in pods) == ["0", "1"]
    assert {one["spec"]["hostname"] for one in pods} == {"sweep-0", "sweep-1"}
    assert any(one["name"] == "JOB_COMPLETION_INDEX" for one in pods[0]["spec"]["containers"][0]["env"])
    world.finish("default", pods[0]["metadata"]["name"], 1)
    retried = await world.until(lambda: [one for one in _running(world, 2) or [] if one["metadata"]["name"] != pods[1]["metadata"]["name"]])
    assert retried[0]["metadata"]["annotations"][index] == pods[0]["metadata"]["annotations"][index]
    for one in (retried[0], pods[1]):
        world.finish("default", one["metadata"]["name"])
    await world.until(lambda: world.condition("jobs.batch", "default", "sweep", "Complete").get("status") == "True")
    status = world.cluster.get("jobs.batch", "default", "sweep")["status"]
    assert (status["succeeded"], status["failed"], status["completedIndexes"]) == (2, 1, "0-1")


def _running(world: World, count: int) -> list[dict[str, Any]] | None:
    pods = [one for one in world.cluster.list("pods", "default") if one["status"]["phase"] == "Running"]
    return pods if len(pods) == count else None


async def test_a_job_beyond_its_backoff_limit_fails(world: World) -> None:
    furnish(world)
    template = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}
    spec = {"backoffLimit": 0, "template": template}
    world.cluster.create("jobs.batch", {"metadata": {"name": "once", "namespace": "default"}, "spec": spec})
    (pod,) = await world.until(lambda: _running(world, 1))
    world.finish("default", pod["metadata"]["name"], 2)
    await world.until(lambda: world.condition("jobs.batch", "default", "once", "Failed").get("reason") == "BackoffLimitExceeded")
    assert world.condition("jobs.batch", "default", "once", "FailureTarget")["status"] == "True"


async def test_a_trainjob_becomes_a_jobset_a_job_and_pods(world: World) -> None:
    furnish(world)
    world.cluster.create(TRAIN, trainjob())
    pods = await world.until(lambda: _running(world, 2))
    assert all(one["metadata"]["name"].startswith(f"train-node-0-{index}-") for index, one in enumerate(pods))
    env = {one["name"]: one for one in pods[0]["spec"]["containers"][0]["env"]}
    assert env["PET_NNODES"]["value"] == "2"
    assert env["PET_MASTER_ADDR"]["value"] == "train-node-0-0.train"
    assert env["PET_MASTER_PORT"]["value"] == "29500"
    assert env["PET_NPROC_PER_NODE"]["value"] == "2"
    assert "job-completion-index" in env["PET_NODE_RANK"]["valueFrom"]["fieldRef"]["fieldPath"]
    assert pods[0]["spec"]["subdomain"] == "train"
    assert pods[0]["metadata"]["labels"]["jobset.sigs.k8s.io/replicatedjob-name"] == "node"
    status = await world.until(lambda: _jobs_status(world, "ready", 1))
    assert status[0] == {"name": "node", "ready": 1, "succeeded": 0, "failed": 0, "active": 1, "suspended": 0}
    assert types(world, TRAIN, "train") == []
    for one in pods:
        world.finish("default", one["metadata"]["name"])
    await world.until(lambda: types(world, TRAIN, "train") == [("Complete", "True")])
    assert world.condition(TRAIN, "default", "train", "Complete")["reason"] == "AllJobsCompleted"
    assert world.cluster.get(JOBSET, "default", "train")["status"]["terminalState"] == "Completed"


def _jobs_status(world: World, field: str, count: int) -> list[dict[str, Any]] | None:
    status = world.cluster.get(TRAIN, "default", "train").get("status", {}).get("jobsStatus") or []
    return status if status and status[0][field] == count else None


async def test_a_jobset_restarts_until_its_restarts_are_used_up(world: World) -> None:
    furnish(world)
    pod = {"spec": {"restartPolicy": "Never", "containers": [{"name": "main", "image": "busybox"}]}}
    job = {"spec": {"parallelism": 1, "completions": 1, "backoffLimit": 0, "template": pod}}
    spec = {"failurePolicy": {"maxRestarts": 1}, "replicatedJobs": [{"name": "node", "replicas": 1, "template": job}]}
    world.cluster.create(JOBSET, {"metadata": {"name": "set", "namespace": "default"}, "spec": spec})
    attempt = "jobset.sigs.k8s.io/restart-attempt"
    (first,) = await world.until(lambda: _running(world, 1))
    assert first["metadata"]["labels"][attempt] == "0"
    world.finish("default", first["metadata"]["name"], 1)
    (second,) = await world.until(lambda: [one for one in _running(world, 1) or [] if one["metadata"]["labels"][attempt] == "1"])
    world.finish("default", second["metadata"]["name"], 1)
    await world.until(lambda: types(world, JOBSET, "set") == [("Failed", "True")])
    condition = world.condition(JOBSET, "default", "set", "Failed")
    assert condition["reason"] == "ReachedMaxRestarts"
    assert world.cluster.get(JOBSET, "default", "set")["status"]["restarts"] == 1


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"trainer": {"env": [{"name": "PET_NNODES", "value": "9"}]}}, "must not have reserved envs"),
        ({"runtimeRef": {"name": "absent"}}, "must be created before the TrainJob is created"),
        ({"runtimePatches": [{"manager": "me"}]}, "domain-prefixed path"),
        ({"runtimePatches": "node-env"}, "must not have envs for the node"),
        ({"runtimePatches": "unknown-job"}, "doesn't exist in the runtime job template"),
    ],
)
async def test_trainjob_webhook_refuses(world: World, change: dict[str, Any], said: str) -> None:
    furnish(world)
    if isinstance(change.get("runtimePatches"), str):
        node_env = [{"name": "node", "env": [{"name": "A", "value": "1"}]}]
        job = {"name": "node" if change["runtimePatches"] == "node-env" else "nodes"}
        job |= {"template": {"spec": {"template": {"spec": {"containers": node_env}}}}}
        change = {"runtimePatches": [{"manager": "acme.io/me", "trainingRuntimeSpec": {"template": {"spec": {"replicatedJobs": [job]}}}}]}
    with pytest.raises(ApiError, match=said):
        world.cluster.create(TRAIN, trainjob(**change))


async def test_trainer_is_immutable_and_patches_need_suspension(world: World) -> None:
    furnish(world)
    world.cluster.create(TRAIN, trainjob())
    with pytest.raises(ApiError, match=r"spec.trainer: Invalid value: field is immutable"):
        world.cluster.patch(TRAIN, "default", "train", {"spec": {"trainer": {"numNodes": 3}}})
    with pytest.raises(ApiError, match="can only be modified when the TrainJob is suspended"):
        world.cluster.patch(TRAIN, "default", "train", {"spec": {"runtimePatches": [{"manager": "acme.io/me"}]}})


async def test_trainer_21_takes_overrides_and_drops_what_it_does_not_know() -> None:
    world = World(Options(trainer="2.1", pace=0.02, seed=7))
    furnish(world)
    override = {"targetJobs": [{"name": "node"}], "spec": {"nodeSelector": {"kubernetes.io/hostname": "n2"}}}
    job = trainjob(podTemplateOverrides=[override], runtimePatches=[{"manager": "acme.io/me"}], labels={"team": "a"})
    job["spec"]["trainer"]["numProcPerNode"] = "auto"
    held = world.cluster.create(TRAIN, job)
    assert "runtimePatches" not in held["spec"]
    pods = await world.until(lambda: _running(world, 2))
    assert {one["spec"]["nodeName"] for one in pods} == {"n2"}
    assert world.cluster.get(JOBSET, "default", "train")["metadata"]["labels"] == {"team": "a"}
    await world.stop()


async def test_without_a_trainer_there_is_no_rendezvous(world: World) -> None:
    furnish(world)
    world.cluster.create(TRAIN, trainjob(trainer=None))
    (pod,) = await world.until(lambda: _running(world, 1))
    assert not [one for one in pod["spec"]["containers"][0].get("env") or [] if one["name"].startswith("PET_")]
