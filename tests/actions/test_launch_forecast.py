"""What a launch says before it is done: memory, quota, zones, priorities, restarts, shared memory, NCCL, and what lint finds."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import pytest

from actions.core import Plan, Risk, load, parse
from actions.core.estimates import estimate_of
from actions.core.launch_params import Params
from actions.core.model_sizes import SIZES
from actions.core.nccl import NCCL
from cockpit.errors import BadInput, Refused
from cockpit.model import JobKey, PodKey, Queue, QueueKey, Quota, Runtime
from cockpit.snapshot import Snapshot
from tests.actions.pictures import PYTORCHJOB, claim, job, node, picture, pool, price, trainjob

LAUNCH = load("launch")
TORCH = Runtime(PodKey("", "torch-distributed"), "1", "torch")
GB = 1e9


def cluster(**rows: Any) -> Snapshot:
    given = {"served": [PYTORCHJOB], "nodes": [node("n1"), node("n2")], "prices": [price()], "volumeclaims": [claim()], "runtimes": [TORCH]}
    return picture(**(given | rows))


def planned(shown: Snapshot, **given: Any) -> Plan:
    assert LAUNCH.plan is not None
    return LAUNCH.plan(shown, parse(LAUNCH.params, given))


def pod_of(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = (plan.changes[1].body or {})["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    return found


# -- memory --------------------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", SIZES)
def test_the_sizes_are_those_of_the_training_programs(name: str) -> None:
    from training.model import PRESETS

    theirs = vars(PRESETS[name])
    assert {key: theirs[key] for key in vars(SIZES[name])} == vars(SIZES[name])


@pytest.mark.parametrize("name", ["tiny", "small"])
def test_the_parameters_are_those_of_the_built_model(name: str) -> None:
    from training.model import PRESETS, Decoder

    assert SIZES[name].parameters == sum(one.numel() for one in Decoder(PRESETS[name]).parameters())


def states(**given: Any) -> tuple[float, float, float]:
    found = estimate_of(dataclasses.replace(Params(model="8b", nproc=8), **given), 8)
    assert found is not None
    return found.parameters, found.gradients, found.optimizer


def test_each_strategy_splits_what_it_says() -> None:
    count = SIZES["8b"].parameters
    assert states(strategy="ddp") == (4 * count, 4 * count, 8 * count)
    assert states(strategy="deepspeed", zero=1) == (2 * count, 2 * count, 12 * count / 8)
    assert states(strategy="deepspeed", zero=2) == (2 * count, 2 * count / 8, 12 * count / 8)
    assert states(strategy="deepspeed", zero=2, offload="optimizer") == (2 * count, 0, 0)
    weights, gradients, optimizer = states(strategy="fsdp")
    assert (gradients, optimizer) == (4 * count / 8, 8 * count / 8)
    assert 4 * count / 8 < weights < 4 * count
    assert states(strategy="fsdp", sharding="grad-op")[0] == 4 * count
    assert states(strategy="fsdp", sharding="hybrid", nodes=4)[1] == 4 * count / 8
    assert states(strategy="fsdp", offload="cpu")[1:] == (0, 0)


def test_activations_grow_with_the_batch_and_shrink_when_they_are_computed_again() -> None:
    def activations(**given: Any) -> float:
        found = estimate_of(dataclasses.replace(Params(strategy="fsdp", model="1b", nproc=8), **given), 8)
        assert found is not None
        return found.activations

    assert activations(global_batch=64) == 2 * activations(global_batch=32)
    assert activations(global_batch=64, accumulate=2) == activations(global_batch=32)
    assert activations(activation_checkpointing=True) < activations()
    assert activations(precision="fp32") > activations()


def test_what_will_not_fit_is_a_warning_that_names_the_change() -> None:
    told = planned(cluster(), strategy="ddp", model="8b", nproc=8)
    assert any("--strategy fsdp" in one and "GiB a GPU" in one for one in told.warnings)
    fits = planned(cluster(), strategy="fsdp", model="8b", nproc=8)
    assert not [one for one in fits.warnings if "GiB a GPU" in one]
    assert any("of 80.0 GiB a GPU" in one for one in fits.notes) and any("x P" in one for one in fits.notes)
    unknown = planned(cluster(), model="hf:meta-llama/Llama-3.2-1B").notes
    assert not [one for one in unknown if "GiB a GPU" in one], "unknown is not said"
    assert any("a gated model needs --hf-secret" in one for one in unknown)


# -- quota, zones, priority, restarts --------------------------------------------------------------------------------------------------------


def queued(used: float) -> Snapshot:
    quotas = (Quota("gpu", "nvidia.com/gpu", 16, used), Quota("gpu", "cpu", 100, 1))
    return cluster(queues=[Queue(QueueKey("default", "train"), "1", "all"), Queue(QueueKey("", "all"), "1", quotas=quotas)])


@pytest.mark.parametrize(("used", "then"), [(8, "8 left, 8 asked for: it is admitted at once"), (12, "4 left, 8 asked for: it waits")])
def test_the_quota_left_in_the_queue_is_told(used: float, then: str) -> None:
    assert any(then in one for one in planned(queued(used), nproc=8, queue="train").notes)


def test_pods_over_efa_are_placed_in_a_zone_that_holds_them_all() -> None:
    apart = [node("a1", zone="2a"), node("b1", zone="2b"), node("b2", zone="2b")]
    plan = planned(cluster(nodes=apart), nodes=2, nproc=8)
    assert "b1 (1), b2 (1)" in plan.notes[1]
    (term,) = pod_of(plan)["affinity"]["podAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]
    assert (term["topologyKey"], term["labelSelector"]["matchLabels"]) == ("topology.kubernetes.io/zone", {"cockpit.dev/job": "ddp-1"})
    assert "affinity" not in pod_of(planned(cluster(nodes=apart), nodes=2, nproc=8, efa=0))
    assert "affinity" not in pod_of(planned(cluster(nodes=apart), nodes=2, nproc=8, zone="2b"))
    split = planned(cluster(nodes=apart[:2]), nodes=2, nproc=8)
    assert any("no zone has room for all 2 pods" in one for one in split.warnings)


def test_a_priority_is_the_queues_or_the_pods() -> None:
    held = planned(queued(0), queue="train", priority="high")
    assert (held.changes[1].body or {})["metadata"]["labels"]["kueue.x-k8s.io/priority-class"] == "high"
    assert "priorityClassName" not in pod_of(held)
    assert pod_of(planned(cluster(), priority="high"))["priorityClassName"] == "high"
    with pytest.raises(BadInput, match="needs --queue"):
        planned(cluster(served=[trainjob("runtimePatches")]), priority="high")


def test_restarts_of_torchrun_and_of_the_pods_are_told_apart() -> None:
    body = planned(cluster(), max_restarts=3, max_job_restarts=1).changes[1].body or {}
    assert body["spec"]["runPolicy"]["backoffLimit"] == 1
    none = planned(cluster(), max_restarts=3, max_job_restarts=0).changes[1].body or {}
    assert "backoffLimit" not in none["spec"]["runPolicy"]
    assert "--max-restarts=3" in str(none)
    with pytest.raises(BadInput, match="from its runtime"):
        planned(cluster(served=[trainjob("runtimePatches")]), max_job_restarts=2)


def shm(**given: Any) -> str:
    found: str = next(one["emptyDir"]["sizeLimit"] for one in pod_of(planned(cluster(), **given))["volumes"] if one["name"] == "dshm")
    return found


def test_shared_memory_holds_what_the_loaders_keep_ready() -> None:
    assert shm(nproc=2) == "2Gi"
    assert shm(nproc=2, workers=4, prefetch=2, batch_mib=256) == "6Gi", "2 x (1 GiB + 4 x 2 x 256 MiB)"
    assert shm(nproc=2, shm="16Gi") == "16Gi"
    with pytest.raises(BadInput, match="--shm"):
        planned(cluster(), shm="lots")


@pytest.mark.parametrize("profile", [name for name in NCCL if NCCL[name]])
def test_a_profile_is_set_and_every_variable_explained(profile: str) -> None:
    plan = planned(cluster(), nodes=2, nproc=8, nccl=profile)
    env = {one["name"]: one.get("value") for one in pod_of(plan)["containers"][0]["env"]}
    for name, (value, why) in NCCL[profile].items():
        assert env[name] == value
        assert f"{name}={value}: {why}" in plan.notes


@pytest.mark.parametrize(("layers", "told"), [(("nn-1", "nn-1"), False), (("nn-1", "nn-2"), True)])
def test_ranks_on_both_sides_of_a_switch_are_offered_a_tree(layers: tuple[str, str], told: bool) -> None:
    nodes = [node(f"n{index}", topology=("nn-0", layer, f"nn-9{index}")) for index, layer in enumerate(layers)]
    notes = planned(cluster(nodes=nodes), nodes=2, nproc=8).notes
    assert any("--nccl tree" in one for one in notes) == told
    assert not any("--nccl tree" in one for one in planned(cluster(nodes=nodes), nodes=2, nproc=8, nccl="tree").notes)


# -- lint, and manifests as files ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["PyTorchJob", "podTemplateOverrides", "runtimePatches"])
def test_lint_finds_nothing_in_what_is_launched(kind: str) -> None:
    shown = cluster(served=[PYTORCHJOB if kind == "PyTorchJob" else trainjob(kind)], nodepools=[pool()])
    for given in (
        {"nproc": 1},
        {"nodes": 2, "nproc": 8},
        {"strategy": "amx", "nodes": 2},
        {"nodes": 2, "nproc": 8, "hf_secret": "hf", "nccl": "tree"},
    ):
        assert [one for one in planned(shown, **given).warnings if one.endswith("]")] == [], given


THEIRS = """\
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: theirs}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      restartPolicy: Never
      template:
        metadata:
          annotations: {karpenter.sh/do-not-disrupt: "true"}
        spec:
          tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
          containers:
            - name: pytorch
              image: pytorch/pytorch:2.8.0-cuda12.9-cudnn9-runtime
              command: [torchrun, --nproc-per-node=8, train.py]
              resources:
                requests: {cpu: "8", memory: 64Gi, nvidia.com/gpu: "8"}
                limits: {cpu: "8", memory: 64Gi, nvidia.com/gpu: "8"}
              volumeMounts: [{name: dshm, mountPath: /dev/shm}]
          volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}]
"""


def from_file(tmp_path: Path, text: str, shown: Snapshot | None = None, **given: Any) -> Plan:
    file = tmp_path / "job.yaml"
    file.write_text(text)
    return planned(shown or cluster(), file=str(file), **given)


def test_a_manifest_of_another_is_planned_priced_and_confirmed_by_name(tmp_path: Path) -> None:
    plan = from_file(tmp_path, THEIRS, namespace="research")
    (change,) = plan.changes
    assert (change.verb, str(change.target)) == ("create", "pytorchjob/theirs -n research")
    assert (plan.confirm, plan.dollars_per_hour, plan.params.kind) == ("theirs", pytest.approx(55.04), "PyTorchJob")


def test_what_lint_calls_an_error_is_refused_with_path_and_mended_text(tmp_path: Path) -> None:
    with pytest.raises(Refused) as raised:
        from_file(tmp_path, THEIRS.replace("nvidia.com/gpu:", "nvidia.com/gpus:"))
    assert "limits[nvidia.com/gpus]" in raised.value.message
    assert "nvidia.com/gpu: 8" in raised.value.hint


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a: b\n c: d\n", "job.yaml:2: this is not YAML"),
        (f"{THEIRS}---\n{THEIRS}", "job.yaml:26: metadata.name: PyTorchJob theirs stands twice"),
        (THEIRS.replace("kind: PyTorchJob", "kind: PyTorchJobb"), "job.yaml:2: kind: this cluster serves no PyTorchJobb"),
        (THEIRS.replace("{name: theirs}", "{}"), "job.yaml:3: metadata: this PyTorchJob has no name"),
        ("- 1\n", "this is no Kubernetes object"),
    ],
)
def test_a_bad_manifest_is_told_with_line_and_reason(tmp_path: Path, text: str, said: str) -> None:
    with pytest.raises(BadInput) as raised:
        from_file(tmp_path, text)
    assert said in raised.value.message


def test_flags_that_the_manifest_decides_and_names_that_are_taken_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="--nodes with --file"):
        from_file(tmp_path, THEIRS, nodes=2)
    taken = cluster(jobs=[job(key=JobKey("default", "PyTorchJob", "theirs"))])
    with pytest.raises(Refused, match="exists"):
        from_file(tmp_path, THEIRS, taken)


def test_saving_changes_nothing_but_the_file_and_the_file_gives_the_same_job(tmp_path: Path) -> None:
    from actions.core import Clients
    from actions.core.apply import apply
    from actions.core.journal import Journal

    shown, file = cluster(), tmp_path / "mine.yaml"
    core = {"resource": "configmaps", "group": "", "version": "v1", "kind": "ConfigMap"}
    shown = cluster(served=[PYTORCHJOB, type(PYTORCHJOB)(**core)])
    plan = planned(shown, nproc=2, save=str(file))
    assert LAUNCH.risk_of(plan) is Risk.CHANGE and [change.via for change in plan.changes] == ["file"]
    apply(plan, Clients(), action="launch", params=plan.params, journal=Journal(tmp_path / "journal"))
    straight = planned(shown, nproc=2)
    read = planned(shown, file=str(file))
    assert [change.body for change in read.changes] == [change.body for change in straight.changes]
    assert LAUNCH.follow is not None and LAUNCH.follow(shown, plan.params).result == {"saved": str(file)}
