"""launch: the job in the shape the cluster serves, sized by where it runs, priced, and refused with the arithmetic."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actions.core import Plan, Risk, load, parse
from actions.core.training_jobs import override_of
from cockpit.errors import BadInput, NotServed, Refused
from cockpit.model import JobKey, PodKey, Queue, QueueKey, Runtime
from cockpit.snapshot import Snapshot
from tests.actions.pictures import JOB, PYTORCHJOB, TYPE, claim, job, node, picture, pod, pool, price, trainjob

LAUNCH = load("launch")
TORCH = Runtime(PodKey("", "torch-distributed"), "1", "torch")


def cluster(**rows: Any) -> Snapshot:
    return picture(**({"served": [PYTORCHJOB], "nodes": [node("n1"), node("n2")], "prices": [price()], "volumeclaims": [claim()]} | rows))


def planned(shown: Snapshot, **given: Any) -> Plan:
    assert LAUNCH.plan is not None
    return LAUNCH.plan(shown, parse(LAUNCH.params, given))


def body_of(plan: Plan) -> dict[str, Any]:
    return dict(plan.changes[1].body or {})


def container(body: dict[str, Any], replica: str = "Master") -> dict[str, Any]:
    found: dict[str, Any] = body["spec"]["pytorchReplicaSpecs"][replica]["template"]["spec"]["containers"][0]
    return found


def test_a_pytorchjob_has_one_master_and_workers_and_runs_the_delivered_training() -> None:
    plan = planned(cluster(), nodes=2, nproc=2, steps=50)
    body = body_of(plan)
    replicas = body["spec"]["pytorchReplicaSpecs"]
    assert (replicas["Master"]["replicas"], replicas["Worker"]["replicas"], body["spec"]["nprocPerNode"]) == (1, 1, "2")
    main = container(body)
    assert main["name"] == "pytorch"
    assert main["command"] + main["args"] == [
        *("torchrun", "--nproc-per-node=2", "-m", "training.ddp", "--model=tiny", "--steps=50", "--seed=0"),
        *("--checkpoint-dir=/checkpoints/ddp-1", "--resume=auto", "--grace=60"),
    ]
    env = {one["name"]: one["value"] for one in main["env"]}
    assert env["PYTHONPATH"] == "/opt/cockpit"
    assert (env["TRAINING_METRICS_PORT"], env["TRAIN_JOB"], env["TORCH_DISABLE_SHARE_RDZV_TCP_STORE"]) == ("9500", "ddp-1", "1")
    assert not [name for name in env if name.startswith("PET_")]
    assert main["ports"] == [{"name": "metrics", "containerPort": 9500}]
    assert container(body, "Worker") == main


def test_the_training_programs_are_delivered_whole_before_the_job() -> None:
    delivery, created = planned(cluster()).changes
    assert (delivery.verb, delivery.target.kind, created.verb, created.target.kind) == ("apply", "ConfigMap", "create", "PyTorchJob")
    files = (delivery.body or {})["data"]
    volume = body_of(planned(cluster()))["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["volumes"][0]["configMap"]
    assert volume["name"] == delivery.target.name
    assert {item["key"]: item["path"] for item in volume["items"]} == {name: f"training/{name}" for name in files}
    assert "__init__.py" in files
    assert "data" not in delivery.to_dict()["after"]


def test_one_node_has_no_workers() -> None:
    assert list(body_of(planned(cluster(), nodes=1, nproc=2))["spec"]["pytorchReplicaSpecs"]) == ["Master"]


def test_requests_equal_limits_and_shared_memory_counts_within() -> None:
    main = container(body_of(planned(cluster(), nodes=2, nproc=2)))
    assert main["resources"]["requests"] == main["resources"]["limits"]
    assert main["resources"]["limits"]["nvidia.com/gpu"] == "2"
    assert int(main["resources"]["limits"]["cpu"]) <= 190 * 2 / 8


def efa_of(plan: Plan) -> str | None:
    found: str | None = container(body_of(plan))["resources"]["limits"].get("vpc.amazonaws.com/efa")
    return found


def test_pods_of_a_job_that_spans_nodes_get_their_gpus_share_of_the_efa_devices() -> None:
    assert efa_of(planned(cluster(), nodes=2, nproc=8)) == "32"
    assert efa_of(planned(cluster(), nodes=2, nproc=2)) == "8"
    assert efa_of(planned(cluster(), nodes=1, nproc=2)) is None, "one pod has nobody to talk to"
    with pytest.raises(Refused, match="33 EFA"):
        planned(cluster(), nodes=2, nproc=8, efa=33)


def test_the_share_is_no_more_than_the_efa_devices_that_are_free() -> None:
    greedy = cluster(nodes=[node("n1")], pods=[pod("a", "n1", gpus=2, efa=26)])
    assert efa_of(planned(greedy, nodes=2, nproc=2)) == "3"
    queued = cluster(nodes=[node("n1")], pods=[pod("a", "n1", gpus=2, efa=26)], queues=[Queue(QueueKey("default", "train"), "1")])
    assert efa_of(planned(queued, nodes=2, nproc=2, queue="train")) == "8"


def test_a_cluster_without_gpus_trains_on_cpus() -> None:
    plan = planned(cluster(nodes=[node("c1", None)], prices=[]), nodes=2, nproc=2)
    limits = container(body_of(plan))["resources"]["limits"]
    assert limits == {"cpu": "2", "memory": "4Gi"}
    assert "no GPU" in plan.notes[0]


@pytest.mark.parametrize("field", ["podSpecOverrides", "podTemplateOverrides", "runtimePatches"])
def test_a_trainjob_takes_the_shape_its_crd_serves(field: str) -> None:
    served = trainjob(field)
    body = body_of(planned(cluster(served=[served], runtimes=[TORCH]), nodes=2, nproc=2, instance_type=TYPE))
    assert override_of(served) == field
    others = {"podSpecOverrides", "podTemplateOverrides", "runtimePatches"} - {field}
    assert not others & set(body["spec"])
    assert body["spec"]["runtimeRef"] == {"apiGroup": "trainer.kubeflow.org", "kind": "ClusterTrainingRuntime", "name": "torch-distributed"}
    trainer = body["spec"]["trainer"]
    assert (trainer["numNodes"], trainer["numProcPerNode"]) == (2, 2)
    assert "PYTHONPATH" in {one["name"] for one in trainer["env"]}
    text = json.dumps(body["spec"][field])
    assert '"mountPath": "/opt/cockpit"' in text
    assert '"env"' not in text
    assert TYPE in text
    assert ("do-not-disrupt" in text) == (field != "podSpecOverrides")


def test_pytorchjob_comes_first_and_a_kind_can_be_asked_for() -> None:
    both = cluster(served=[PYTORCHJOB, trainjob("runtimePatches")], runtimes=[TORCH])
    assert planned(both).changes[1].target.kind == "PyTorchJob"
    assert planned(both, kind="TrainJob").changes[1].target.kind == "TrainJob"
    with pytest.raises(NotServed) as raised:
        planned(cluster(), kind="TrainJob")
    assert "--kind PyTorchJob" in raised.value.hint


def test_a_cluster_without_an_operator_says_how_to_mend_it() -> None:
    bare = cluster(served=[])
    assert LAUNCH.disabled(bare, None)
    with pytest.raises(NotServed, match="neither") as raised:
        planned(bare)
    assert "install" in raised.value.hint
    assert LAUNCH.disabled(Snapshot(), None) is None


def test_a_trainjob_without_a_torch_runtime_is_refused() -> None:
    other = Runtime(PodKey("", "mpi"), "1", "mpi")
    with pytest.raises(NotServed, match="runs torch"):
        planned(cluster(served=[trainjob("runtimePatches")], runtimes=[other]))


def test_more_gpus_than_can_be_had_are_refused_with_the_arithmetic() -> None:
    shown = cluster(pods=[pod("a", "n1")], nodepools=[pool(limit=32, used=16)])
    with pytest.raises(Refused) as raised:
        planned(shown, nodes=9, nproc=8)
    said = raised.value.message
    assert "9 pods x 8 GPUs = 72 GPUs" in said
    assert "3 such pods fit" in said
    assert "2 nodes have 8 GPUs free" in said
    assert "pool gpu may add 16 GPUs (nvidia.com/gpu 16 of 32 used)" in said
    assert (raised.value.exit_code, raised.value.hint) == (4, "--nodes 3 fits now; --queue lets it wait for more")
    assert planned(shown, nodes=3, nproc=8).changes


def test_more_gpus_in_one_pod_than_any_node_has_are_refused() -> None:
    with pytest.raises(Refused, match=r"has 16 GPUs for one pod; the most is 8 \(p5.48xlarge\)"):
        planned(cluster(nodepools=[pool()]), nodes=1, nproc=16)


@pytest.mark.parametrize(
    ("unusable", "why"),
    [({"cordoned": True}, "cordoned"), ({"ready": False}, "not ready"), ({"taints": ("team=other:NoSchedule",)}, "tainted team=other:NoSchedule")],
    ids=["cordoned", "not ready", "tainted"],
)
def test_gpus_of_a_node_that_takes_no_pods_do_not_count(unusable: dict[str, Any], why: str) -> None:
    with pytest.raises(Refused, match=f"GPU nodes that do not count: 1 {why}"):
        planned(cluster(nodes=[node("n1"), node("n2", **unusable)]), nodes=2, nproc=8)


def test_a_gpu_taint_and_a_soft_taint_are_tolerated() -> None:
    taints = ("nvidia.com/gpu=present:NoSchedule", "x=y:PreferNoSchedule")
    assert planned(cluster(nodes=[node("n1", taints=taints)]), nodes=1, nproc=8).changes


def test_a_pool_is_bound_by_the_scarcest_of_its_limits() -> None:
    tight = pool(limit=None, limits={"cpu": 400.0}, usage={"cpu": 8.0})
    with pytest.raises(Refused, match="2 such pods fit"):
        planned(cluster(nodes=[], nodepools=[tight]), nodes=3, nproc=8)
    unbound = pool(limit=None)
    assert planned(cluster(nodes=[], nodepools=[unbound]), nodes=300, nproc=8).changes


@pytest.mark.parametrize(
    ("requirements", "fits"),
    [
        ({"instance_families": ("c7i",)}, False),
        ({"instance_categories": ("g", "p")}, True),
        ({"instance_families": ("p5",), "instance_sizes": ("4xlarge",)}, False),
        ({"instance_types": ("c5.large", "m5.large")}, False),
        ({"instance_types": ("p9.96xlarge",)}, True),
        ({"ready": False}, False),
    ],
)
def test_what_a_pool_may_launch_follows_from_its_requirements(requirements: dict[str, Any], fits: bool) -> None:
    shown = cluster(nodes=[], nodepools=[pool(limit=None, **({"instance_types": ()} | requirements))])
    if fits:
        assert "waits until pool gpu has added" in planned(shown, nodes=1, nproc=8, gpus=8).notes[1]
    else:
        with pytest.raises(Refused):
            planned(shown, nodes=1, nproc=8, gpus=8)


def test_a_queue_holds_a_job_until_gpus_are_free() -> None:
    busy = cluster(pods=[pod("a", "n1"), pod("b", "n2")], queues=[Queue(QueueKey("default", "train"), "1")])
    with pytest.raises(Refused):
        planned(busy, nodes=2, nproc=8)
    plan = planned(busy, nodes=2, nproc=8, queue="train")
    assert body_of(plan)["metadata"]["labels"]["kueue.x-k8s.io/queue-name"] == "train"
    with pytest.raises(BadInput) as raised:
        planned(busy, queue="tran")
    assert "train" in raised.value.hint


def test_the_price_is_the_share_of_standing_nodes_and_the_whole_of_added_ones() -> None:
    assert planned(cluster(), nodes=2, nproc=2).dollars_per_hour == pytest.approx(55.04 * 4 / 8)
    added = planned(cluster(nodes=[], nodepools=[pool(capacity_types=("on-demand",))]), nodes=1, nproc=2)
    assert added.dollars_per_hour == pytest.approx(55.04)
    unknown = planned(cluster(prices=[price(None)]))
    assert unknown.dollars_per_hour is None
    assert "unknown price" in unknown.notes[2]


def test_spending_on_a_simulated_cluster_is_simulated_and_real_spending_is_not() -> None:
    assert LAUNCH.risk is Risk.SPEND
    real = planned(cluster())
    assert (real.simulated, real.confirm) == (False, "ddp-1")
    invented = planned(cluster(nodes=[node("n1", simulated=True)], prices=[price(simulated=True)]))
    assert (invented.simulated, invented.confirm) == (True, "")
    assert "SIMULATED" in invented.notes[0]
    assert "SIMULATED" in invented.notes[2]
    mixed = planned(cluster(nodes=[node("n1", simulated=True), node("n2")]))
    assert not mixed.simulated


def test_the_name_is_the_next_free_one_and_a_taken_one_is_refused() -> None:
    taken = cluster(jobs=[job(key=JobKey("default", "PyTorchJob", "ddp-1")), job(key=JobKey("other", "PyTorchJob", "ddp-2")), job()])
    assert planned(taken).changes[1].target.name == "ddp-2"
    assert planned(taken).params.name == "ddp-2"
    with pytest.raises(Refused, match="exists"):
        planned(taken, name=JOB.name)


@pytest.mark.parametrize("name", ["Bad", "1st", "a_b", "end-", "x" * 51, "a\x1b[31m"])
def test_a_name_kubernetes_will_not_take_is_bad_input(name: str) -> None:
    with pytest.raises(BadInput, match="cannot name"):
        planned(cluster(), name=name)


def test_a_batch_that_does_not_divide_and_ranks_that_share_a_gpu_are_bad_input() -> None:
    with pytest.raises(BadInput, match="leaves 1 over"):
        planned(cluster(), nodes=2, nproc=2, global_batch=9)
    with pytest.raises(BadInput, match="cannot share"):
        planned(cluster(), nproc=4, gpus=2)


def test_restarts_are_told_to_torchrun_and_to_the_operator() -> None:
    body = body_of(planned(cluster(), max_restarts=3))
    assert "--max-restarts=3" in container(body)["args"]
    assert body["spec"]["runPolicy"]["backoffLimit"] == 3
    assert body["spec"]["pytorchReplicaSpecs"]["Master"]["restartPolicy"] == "OnFailure"
    plain = body_of(planned(cluster()))
    assert "backoffLimit" not in plain["spec"]["runPolicy"]


def test_the_same_picture_gives_the_same_plan() -> None:
    assert planned(cluster(), nodes=2) == planned(cluster(), nodes=2)


def test_nodes_of_two_kinds_warn_about_their_efa_devices() -> None:
    plan = planned(cluster(nodes=[node("n1"), node("n2", efa_allocatable=4)]), nodes=2, nproc=8)
    assert container(body_of(plan))["resources"]["limits"]["vpc.amazonaws.com/efa"] == "4"
    assert "may be mixed" in plan.warnings[0]
