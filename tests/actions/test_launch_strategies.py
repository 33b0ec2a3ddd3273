"""launch --strategy: the program and the options of each, where it saves, a user's own script, and the batch's arithmetic."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from cockpit.errors import BadInput, Refused
from cockpit.flags import read
from cockpit.model import Condition, JobKey
from tests.actions.pictures import claim, job, trainjob
from tests.actions.test_launch import TORCH, body_of, cluster, container, planned
from tests.actions.test_launch_unseen import hidden


def words(**given: Any) -> list[str]:
    found: list[str] = container(body_of(planned(cluster(), **given)))["args"]
    return found


@pytest.mark.parametrize(
    ("given", "program", "flags"),
    [
        ({"strategy": "fsdp"}, "training.fsdp", []),
        (
            {"strategy": "fsdp", "sharding": "grad-op", "activation_checkpointing": True, "offload": "cpu"},
            "training.fsdp",
            ["--sharding=grad-op", "--activation-checkpointing", "--offload=cpu"],
        ),
        ({"strategy": "deepspeed"}, "training.zero", ["--stage=2"]),
        ({"strategy": "deepspeed", "zero": 3, "offload": "cpu"}, "training.zero", ["--stage=3", "--offload=all"]),
        ({"strategy": "deepspeed", "zero": 1, "offload": "cpu"}, "training.zero", ["--stage=1", "--offload=optimizer"]),
        ({"strategy": "amx", "precision": "bf16"}, "training.amx", ["--precision=bf16"]),
    ],
)
def test_each_strategy_runs_its_program_with_its_own_options(given: dict[str, Any], program: str, flags: list[str]) -> None:
    found = words(**given)
    assert found[found.index("-m") + 1] == program
    assert [flag for flag in flags if flag not in found] == []


def test_the_command_line_spells_it_as_the_workshop_does() -> None:
    asked = read(["--action", "launch", "--strategy", "deepspeed", "--zero", "3", "--offload", "cpu"])
    assert asked.given == {"strategy": "deepspeed", "zero": "3", "offload": "cpu"}
    assert "--stage=3" in words(**asked.given)


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ({"zero": 3}, "--zero is not for ddp"),
        ({"strategy": "deepspeed", "sharding": "full"}, "--sharding is not for deepspeed"),
        ({"strategy": "fsdp", "offload": "optimizer"}, "--offload optimizer is not for fsdp"),
        ({"strategy": "deepspeed", "offload": "all"}, "needs --zero 3"),
        ({"strategy": "deepspeed", "zero": 4}, "--zero is '4'|--zero is 4"),
        ({"strategy": "amx", "gpus": 2}, "amx trains on CPUs"),
        ({"model": "../secret model"}, "--model"),
        ({"resume": "last"}, "--resume"),
        ({"global_batch": 12, "nproc": 2, "accumulate": 4}, "2 ranks x 4 accumulations = 8 parts leaves 4 over"),
    ],
)
def test_what_does_not_go_together_is_bad_input(given: dict[str, Any], why: str) -> None:
    with pytest.raises(BadInput, match=why) as raised:
        planned(cluster(), **given)
    assert raised.value.exit_code == 2


def test_amx_is_placed_on_cpus_though_the_cluster_has_gpus() -> None:
    pod = body_of(planned(cluster(), strategy="amx", nproc=2))["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    assert pod["nodeSelector"] == {"kubernetes.io/arch": "amd64"}
    assert "nvidia.com/gpu" not in json.dumps(pod)


def test_a_job_saves_to_the_shared_claim_in_a_folder_of_its_name() -> None:
    plan = planned(cluster(), checkpoint_every=7, name="mine")
    body = body_of(plan)
    pod = body["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    assert {"name": "checkpoints", "persistentVolumeClaim": {"claimName": "fsx-pvc"}} in pod["volumes"]
    assert {"name": "checkpoints", "mountPath": "/checkpoints"} in pod["containers"][0]["volumeMounts"]
    assert {"--checkpoint-dir=/checkpoints/mine", "--checkpoint-every=7", "--resume=auto"} <= set(pod["containers"][0]["args"])
    assert body["metadata"]["annotations"]["cockpit.dev/checkpoints"] == "pvc:fsx-pvc/mine"
    assert pod["terminationGracePeriodSeconds"] > 60 and "--grace=60" in pod["containers"][0]["args"]
    assert any("saves to pvc:fsx-pvc/mine every 7 steps" in note for note in plan.notes)


@pytest.mark.parametrize("field", ["podSpecOverrides", "podTemplateOverrides", "runtimePatches"])
def test_a_trainjob_saves_too_in_all_its_shapes(field: str) -> None:
    plan = planned(cluster(served=[trainjob(field)], runtimes=[TORCH]), strategy="fsdp", grace=90)
    body = body_of(plan)
    text = json.dumps(body["spec"][field])
    assert '"claimName": "fsx-pvc"' in text and '"mountPath": "/checkpoints"' in text
    assert "--grace=20" in body["spec"]["trainer"]["args"]
    assert any("--grace is cut to 20" in warning for warning in plan.warnings)


def test_without_a_shared_claim_it_is_said_that_nothing_is_saved() -> None:
    for claims in ([], [claim(mode="ReadWriteOnce")], [claim(namespace="other")], [claim("a"), claim("b")]):
        plan = planned(cluster(volumeclaims=claims))
        assert any("no checkpoint will be saved" in warning for warning in plan.warnings)
        assert not [word for word in container(body_of(plan))["args"] if word.startswith("--checkpoint")]
    unseen = hidden(cluster(volumeclaims=[]), "volumeclaims")
    assert any("may not be listed" in warning for warning in planned(unseen).warnings)
    assert planned(cluster(volumeclaims=[claim("a"), claim("shared")])).params.checkpoints == "pvc:shared/ddp-1"
    assert not planned(cluster(), checkpoints="none").warnings


@pytest.mark.parametrize(
    ("asked", "where", "directory"),
    [
        ("pvc:fsx-pvc", "pvc:fsx-pvc/ddp-1", "/checkpoints/ddp-1"),
        ("pvc:fsx-pvc/team/run", "pvc:fsx-pvc/team/run", "/checkpoints/team/run"),
        ("s3://bucket", "s3://bucket/ddp-1", "s3://bucket/ddp-1"),
        ("s3://bucket/a/b/", "s3://bucket/a/b", "s3://bucket/a/b"),
    ],
)
def test_where_checkpoints_go_can_be_said(asked: str, where: str, directory: str) -> None:
    plan = planned(cluster(), checkpoints=asked)
    assert plan.params.checkpoints == where
    assert f"--checkpoint-dir={directory}" in container(body_of(plan))["args"]


@pytest.mark.parametrize("asked", ["fsx-pvc", "pvc:", "pvc:fsx-pvc/../x", "s3://", "s3://B_x/y", "pvc:absent", "/mnt/x", "pvc:a/\x1b[2J"])
def test_a_place_that_is_none_is_bad_input(asked: str) -> None:
    with pytest.raises(BadInput):
        planned(cluster(), checkpoints=asked)


def test_one_place_takes_one_writer_and_a_claim_of_one_node_one_node() -> None:
    other = job(key=JobKey("default", "PyTorchJob", "other"), store="pvc:fsx-pvc/run")
    with pytest.raises(Refused, match="other keeps its checkpoints"):
        planned(cluster(jobs=[other]), checkpoints="pvc:fsx-pvc/run")
    over = job(key=other.key, store=other.store, conditions=(Condition("Failed", "True"),))
    assert planned(cluster(jobs=[over]), checkpoints="pvc:fsx-pvc/run").changes
    with pytest.raises(Refused, match="ReadWriteOnce"):
        planned(cluster(volumeclaims=[claim(mode="ReadWriteOnce")]), checkpoints="pvc:fsx-pvc", nodes=2)


def test_the_parameters_stay_on_the_job_and_make_the_same_job_again() -> None:
    plan = planned(cluster(), strategy="fsdp", steps=70, nproc=2, offload="cpu")
    kept = json.loads(body_of(plan)["metadata"]["annotations"]["cockpit.dev/launch"])
    assert kept["steps"] == 70 and "name" not in kept and "namespace" not in kept
    assert body_of(planned(cluster(), **kept, name=plan.params.name)) == body_of(plan)


def test_a_script_is_delivered_beside_the_training_programs(tmp_path: Path) -> None:
    script = tmp_path / "mine.py"
    script.write_text("print('hello')\n")
    asked = read(["--action", "launch", "--script", str(script), "--nproc", "2", "--", "--epochs", "3", "--name=a b,c"])
    plan = planned(cluster(), **asked.given)
    args = container(body_of(plan))["args"]
    assert args == ["--nproc-per-node=2", "/opt/cockpit/script/mine.py", "--epochs", "3", "--name=a b,c"]
    assert (plan.changes[0].body or {})["data"]["script.mine.py"] == "print('hello')\n"
    env = {one["name"]: one["value"] for one in container(body_of(plan))["env"]}
    assert env["CHECKPOINT_DIR"] == "/checkpoints/ddp-1"
    assert {"key": "script.mine.py", "path": "script/mine.py"} in json.loads(json.dumps(body_of(plan)))["spec"]["pytorchReplicaSpecs"]["Master"][
        "template"
    ]["spec"]["volumes"][0]["configMap"]["items"]


def test_a_script_that_cannot_be_delivered_is_bad_input(tmp_path: Path) -> None:
    large, binary = tmp_path / "large.py", tmp_path / "binary.py"
    large.write_text("#" * (1 << 20))
    binary.write_bytes(b"\xff\xfe\x00")
    for path, why in ((large, "a ConfigMap holds 1,048,576"), (binary, "not text"), (tmp_path / "absent.py", "No such file")):
        with pytest.raises(BadInput, match=why):
            planned(cluster(), script=str(path))
    with pytest.raises(BadInput, match="without --script"):
        planned(cluster(), script_args="--x")


@pytest.mark.parametrize(
    ("model", "flag"),
    [
        ("small", "small"),
        ("t5-small", "hf:t5-small"),
        ("meta-llama/Llama-3.2-1B", "hf:meta-llama/Llama-3.2-1B"),
        ("hf:t5-small", "hf:t5-small"),
        ("/mnt/fsx/m", "/mnt/fsx/m"),
    ],
)
def test_a_model_is_a_preset_a_folder_or_a_name_on_the_hub(model: str, flag: str) -> None:
    found = words(strategy="fsdp", model=model, pretrained=model != "small")
    assert f"--model={flag}" in found
    assert ("--pretrained" in found) is (model != "small")


def test_a_preset_has_no_weights_to_begin_with() -> None:
    with pytest.raises(BadInput, match="shape without weights"):
        words(model="tiny", pretrained=True)
