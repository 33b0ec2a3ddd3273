"""restore and prune: which checkpoint, on what, what is lost, and every refusal before a rank starts."""

from __future__ import annotations

import json
from typing import Any

import pytest

from actions.core import Clients, Plan, Risk, load, parse, performing
from actions.core import apply as applying
from actions.core.journal import Journal
from actions.core.predecessors import launches
from cockpit.errors import BadInput, Refused
from cockpit.model import Checkpoint, CheckpointKey, CheckpointStore, Condition, DeviceKey, Gpu, Job, JobKey, Launch, NodeName, Progress, StoreKey
from cockpit.snapshot import Snapshot
from tests.actions.pictures import PYTORCHJOB, FakeKube, claim, job, node, picture, pod, price
from tests.actions.test_launch import planned

RESTORE, PRUNE = load("restore"), load("prune")
KEY = StoreKey("default", "pvc:fsx-pvc/t5")
FAILED = Condition("Failed", "True", message="rank 3 died")
MADE = {"strategy": "fsdp", "nodes": 2, "nproc": 2, "steps": 100, "checkpoints": "pvc:fsx-pvc/t5", "kind": "PyTorchJob"}


def saved(step: int, state: str = "whole", **more: Any) -> Checkpoint:
    known: dict[str, Any] = {"at": 1000.0 + step, "world_size": 4, "strategy": "fsdp", "model": "tiny", "global_batch": 16, "seed": 0}
    known |= {"sequence": step, "verified": "sampled", "stage": 0, "size_bytes": 1 << 20}
    return Checkpoint(CheckpointKey(KEY, f"step_{step:08}"), step, state, **(known | more))


def t5(made: dict[str, Any] | None = None, **more: Any) -> Job:
    kept = json.dumps(MADE | (made or {}))
    return job(**({"store": "pvc:fsx-pvc/t5", "launched": kept, "strategy": "fsdp", "conditions": (FAILED,)} | more))


def shown(*checkpoints: Checkpoint, **rows: Any) -> Snapshot:
    base = {
        "served": [PYTORCHJOB],
        "nodes": [node("n1"), node("n2")],
        "prices": [price()],
        "volumeclaims": [claim()],
        "jobs": [t5()],
        "checkpoints": checkpoints,
        "stores": [CheckpointStore(KEY, 2000.0, "sampled", False)],
    }
    return picture(**(base | rows))


def restored(snapshot: Snapshot, **given: Any) -> Plan:
    assert RESTORE.plan is not None
    return RESTORE.plan(snapshot, parse(RESTORE.params, {"job": "t5"} | given))


def created(plan: Plan) -> dict[str, Any]:
    return json.loads(json.dumps(dict(next(one for one in plan.changes if one.verb == "create").body or {})))


def pod_spec(plan: Plan) -> dict[str, Any]:
    found: dict[str, Any] = created(plan)["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]
    return found


def test_a_failed_job_stays_and_a_new_one_goes_on_with_the_same_configuration() -> None:
    progress = Progress(t5().key, 47, at=1100.0)
    plan = restored(shown(saved(20), saved(40, loss=2.5), progress=[progress]))
    assert [one.verb for one in plan.changes] == ["apply", "create"]
    body = created(plan)
    assert body["metadata"]["name"] == "t5-r2"
    assert body["metadata"]["annotations"]["cockpit.dev/restored-from"] == "t5"
    assert body["metadata"]["annotations"]["cockpit.dev/checkpoints"] == "pvc:fsx-pvc/t5"
    args = pod_spec(plan)["containers"][0]["args"]
    assert {"training.fsdp", "--steps=100", "--checkpoint-dir=/checkpoints/t5", "--resume=auto", "--nproc-per-node=2"} <= set(args)
    assert "trains on from step 40 of pvc:fsx-pvc/t5 (fsdp, saved by 4 ranks, loss 2.5000, sampled verified)" in plan.notes
    assert "lost: 7 steps, 1.0 minutes (it had come to step 47)" in plan.notes
    assert plan.dollars_per_hour == pytest.approx(55.04 * 4 / 8)
    assert RESTORE.risk_of(plan) is Risk.SPEND


@pytest.mark.parametrize(
    ("wanted", "step", "resume"), [("latest", 40, "auto"), ("20", 20, "20"), ("best", 20, "20"), ("40", 40, "40")], ids=lambda value: str(value)
)
def test_which_checkpoint(wanted: str, step: int, resume: str) -> None:
    plan = restored(shown(saved(20, loss=1.0), saved(40, loss=2.0), saved(60, "torn", why="a.pt is missing", loss=0.5)), step=wanted)
    assert any(note.startswith(f"trains on from step {step} of") for note in plan.notes)
    assert f"--resume={resume}" in pod_spec(plan)["containers"][0]["args"]


def test_the_last_committed_is_the_latest_whatever_its_step() -> None:
    plan = restored(shown(saved(20, sequence=9), saved(40, sequence=3)))
    assert any(note.startswith("trains on from step 20 of") for note in plan.notes)


def test_other_ranks_and_strategies_settle_what_only_fitted_the_old_shape() -> None:
    old = t5({"gpus": 2, "offload": "cpu", "sharding": "hybrid"})
    plan = restored(shown(saved(40), jobs=[old]), nodes=1, nproc=4, strategy="ddp", steps=80)
    args = pod_spec(plan)["containers"][0]["args"]
    assert "training.ddp" in args and not [word for word in args if "sharding" in word or "offload" in word]
    assert pod_spec(plan)["containers"][0]["resources"]["limits"]["nvidia.com/gpu"] == "4"
    assert plan.params.name == "t5-r2"


def test_a_running_job_is_stopped_first_and_its_gpus_and_place_count_as_free() -> None:
    running = shown(saved(40), jobs=[t5({"nproc": 8}, conditions=())], pods=[pod("a", "n1"), pod("b", "n2")])
    plan = restored(running, nproc=8)
    assert [one.verb for one in plan.changes] == ["delete", "delete", "wait", "apply", "create"]
    assert RESTORE.risk_of(plan) is Risk.DESTROY
    assert any("pods die" in note for note in plan.notes)
    assert plan.changes[2].selector == "training.kubeflow.org/job-name=t5"


def test_pods_on_a_node_that_does_not_answer_are_given_up_before_they_are_waited_for() -> None:
    nodes = [node("n1"), node("n2", ready=False)]
    plan = restored(shown(saved(40), jobs=[t5({"nproc": 8}, conditions=())], pods=[pod("a", "n1"), pod("b", "n2")], nodes=nodes), nproc=8, nodes=1)
    assert [one.verb for one in plan.changes[:4]] == ["delete", "delete", "delete", "wait"]
    given_up = plan.changes[2]
    assert (given_up.target.name, given_up.grace_seconds) == ("b", 0) and "n2 does not answer" in given_up.summary


def test_names_count_on() -> None:
    second = t5(key=JobKey("default", "PyTorchJob", "t5-r2"))
    assert created(restored(shown(saved(40), jobs=[t5(), second])))["metadata"]["name"] == "t5-r3"
    assert created(restored(shown(saved(40), jobs=[t5(), second]), job="t5-r2"))["metadata"]["name"] == "t5-r3"
    long = t5(key=JobKey("default", "PyTorchJob", "x" * 50))
    assert created(restored(shown(saved(40), jobs=[long]), job="x" * 50))["metadata"]["name"] == "x" * 47 + "-r2"


def test_faulty_and_cordoned_nodes_are_sat_out() -> None:
    gpu = Gpu(DeviceKey(NodeName("n2"), "3"), 3, xid=79)
    harmless = Gpu(DeviceKey(NodeName("n1"), "0"), 0, xid=13)
    plan = restored(shown(saved(40), gpus=[gpu, harmless], nodes=[node("n1"), node("n2"), node("n3", cordoned=True)]))
    terms = pod_spec(plan)["affinity"]["nodeAffinity"]["requiredDuringSchedulingIgnoredDuringExecution"]["nodeSelectorTerms"]
    assert terms == [{"matchExpressions": [{"key": "kubernetes.io/hostname", "operator": "NotIn", "values": ["n2", "n3"]}]}]
    assert any("XID 79 on GPU 3" in note and "n3 (cordoned" in note for note in plan.notes)
    with pytest.raises(Refused, match="1 avoided for its fault"):
        restored(shown(saved(40), gpus=[gpu], jobs=[t5({"nproc": 8})]))


@pytest.mark.parametrize(
    ("checkpoints", "given", "error", "why"),
    [
        ([saved(40, strategy="deepspeed")], {}, Refused, "in the format deepspeed: fsdp cannot load it"),
        ([saved(40)], {"strategy": "deepspeed"}, Refused, "in the format dcp: deepspeed cannot load it"),
        ([saved(40, model="small")], {}, Refused, "of another model, small: this run is of tiny"),
        ([saved(40, seed=7)], {}, Refused, "of seed 7"),
        ([saved(40)], {"nodes": 3, "nproc": 1}, BadInput, "global batch of 16 over 3 ranks leaves 1 over"),
        ([saved(40)], {"global_batch": 6}, BadInput, "--global-batch 6 over 4 ranks leaves 2 over"),
        ([saved(40)], {"steps": 40}, BadInput, "nothing left to train"),
        ([saved(40, "torn", why="a.pt has 3 bytes, 9 were written")], {}, Refused, "none|no checkpoint in .* is whole .*a.pt has 3 bytes"),
        ([saved(40, "torn", why="a.pt is missing"), saved(20)], {"step": "40"}, Refused, "step 40 is torn: a.pt is missing"),
        ([saved(40, "in progress", why="it is not committed yet")], {"step": "40"}, Refused, "in progress"),
        ([saved(40)], {"step": "30"}, BadInput, "no checkpoint of step 30"),
        ([saved(40)], {"step": "newest"}, BadInput, "--step 'newest'"),
        ([saved(40)], {"step": "best"}, Refused, "no log tells the loss"),
        ([], {}, Refused, "it holds none"),
        ([saved(40)], {"job": "t6"}, BadInput, "no job 't6'"),
    ],
)
def test_what_cannot_be_loaded_says_why(checkpoints: list[Checkpoint], given: dict[str, Any], error: type[Exception], why: str) -> None:
    with pytest.raises(error, match=why):
        restored(shown(*checkpoints), **given)


@pytest.mark.parametrize(("saved_in", "runs_in", "fits"), [(3, 3, True), (3, 2, False), (1, 2, True), (2, 3, False)])
def test_only_stage_3_splits_the_weights(saved_in: int, runs_in: int, fits: bool) -> None:
    made = {"strategy": "deepspeed", "zero": runs_in}
    picture = shown(saved(40, strategy="deepspeed", stage=saved_in), jobs=[t5(made)])
    if fits:
        assert f"--stage={runs_in}" in pod_spec(restored(picture))["containers"][0]["args"]
    else:
        with pytest.raises(Refused, match="only stage 3 splits the weights"):
            restored(picture)


def test_a_place_that_was_not_or_could_not_be_looked_at_is_refused() -> None:
    with pytest.raises(Refused, match="has not been looked at"):
        restored(shown(saved(40, "said"), stores=[]))
    with pytest.raises(Refused, match="no pod is made"):
        restored(shown(saved(40, "said"), stores=[CheckpointStore(KEY, 1.0, why="no pod is made")]))
    with pytest.raises(Refused, match="writes to pvc:fsx-pvc/t5 now"):
        restored(shown(saved(40), stores=[CheckpointStore(KEY, 1.0, "sizes", True)]))


@pytest.mark.parametrize("launched", ["", "[]", "{", '{"stepz": 4}'])
def test_a_job_whose_configuration_is_not_known_is_refused(launched: str) -> None:
    with pytest.raises((Refused, BadInput)):
        restored(shown(saved(40), jobs=[t5(launched=launched)]))


def test_a_job_that_is_gone_is_restored_from_the_journal(tmp_path: Any) -> None:
    plan = restored(shown(saved(40)))
    journal = Journal(tmp_path / "journal.jsonl")
    journal.begin("launch", "fake", {}, plan.changes)
    (found,) = launches("fake", "t5-r2", "default", journal)
    assert found.key == JobKey("default", "PyTorchJob", "t5-r2")
    assert list(launches("other", "t5-r2", "default", journal)) == []
    gone = shown(saved(40), jobs=[], launches=[Launch(found.key, found.params, 5.0)])
    again = restored(gone, job="t5-r2")
    assert created(again)["metadata"]["name"] == "t5-r3"
    assert "--steps=100" in pod_spec(again)["containers"][0]["args"]
    assert "how many steps are lost is not known: no log tells the last one" in again.notes


def test_the_same_picture_gives_the_same_plan() -> None:
    assert restored(shown(saved(40))) == restored(shown(saved(40)))


# -- prune ---------------------------------------------------------------------------------------------------------------------------------


def pruned(snapshot: Snapshot, **given: Any) -> Plan:
    assert PRUNE.plan is not None
    return PRUNE.plan(snapshot, parse(PRUNE.params, {"job": "t5"} | given))


def test_prune_lists_what_goes_and_keeps_the_last_and_every_so_many() -> None:
    many = [saved(step) for step in (10, 20, 30, 40, 50)]
    plan = pruned(shown(*many, saved(60, "torn", why="x", size_bytes=None)), keep_last=2, keep_every=20)
    (change,) = plan.changes
    assert (change.body or {})["entries"] == ["step_00000060", "step_00000030", "step_00000010"]
    assert plan.notes == ("goes: step_00000060, size unknown, torn: x", "goes: step_00000030, 1Mi", "goes: step_00000010, 1Mi", "stay: 50, 40, 20")
    assert PRUNE.risk is Risk.DESTROY


def test_prune_never_takes_the_last_whole_one_nor_what_is_in_progress() -> None:
    plan = pruned(shown(saved(10), saved(20, "torn", why="x"), saved(30, "in progress", why="y")), keep_last=1)
    assert (plan.changes[0].body or {})["entries"] == ["step_00000020"]
    assert pruned(shown(saved(10)), keep_last=1).already
    with pytest.raises(BadInput):
        parse(PRUNE.params, {"job": "t5", "keep_last": 0})


@pytest.mark.parametrize("writing", [True, None])
def test_prune_is_refused_while_a_job_writes(writing: bool | None) -> None:
    with pytest.raises(Refused, match="writes"):
        pruned(shown(saved(10), stores=[CheckpointStore(KEY, 1.0, "sizes", writing)]))


def test_a_wait_is_over_when_the_last_pod_is_gone_and_a_dry_run_does_not_wait(tmp_path: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan = restored(shown(saved(40), jobs=[t5(conditions=())], pods=[pod("a", "n1")]))
    waits = Plan((plan.changes[2],))
    left = [{"items": [{"metadata": {"name": "a"}}]}, {"items": []}]
    kube = FakeKube(lambda method, path: left.pop(0))
    monkeypatch.setattr(performing, "GONE_POLL_SECONDS", 0.01)
    applied = applying.apply(waits, Clients(kube=kube), action="restore", params=plan.params, journal=Journal(tmp_path / "j"))
    assert applied.ok and left == []
    assert kube.calls[0][2]["labelSelector"] == "training.kubeflow.org/job-name=t5"
    applying.apply(waits, Clients(kube=kube), action="restore", params=plan.params, dry_run=True)
    stuck = FakeKube(lambda method, path: {"items": [{"metadata": {"name": "a"}}]})
    monkeypatch.setattr(performing, "GONE_SECONDS", -100.0)
    with pytest.raises(applying.ApplyFailed, match="pod a does not go"):
        applying.apply(waits, Clients(kube=stuck), action="restore", params=plan.params, journal=Journal(tmp_path / "j"))


def test_a_script_is_delivered_again_and_it_is_told_when_it_has_changed(tmp_path: Any) -> None:
    script = tmp_path / "mine.py"
    script.write_text("one\n")
    first = planned(shown(jobs=[]), script=str(script), script_args="--x 1", name="t5")
    kept = created(first)["metadata"]["annotations"]["cockpit.dev/launch"]
    assert json.loads(kept)["script"] == str(script)
    old = t5(launched=kept)
    plan = restored(shown(saved(400, global_batch=7), jobs=[old]), step="400")
    container = pod_spec(plan)["containers"][0]
    assert container["args"][-3:] == ["/opt/cockpit/script/mine.py", "--x", "1"]
    assert {"name": "CHECKPOINT_RESUME", "value": "400"} in container["env"]
    assert not any("is not what it was" in warning for warning in plan.warnings)
    script.write_text("two\n")
    assert any("is not what it was" in warning for warning in restored(shown(saved(400), jobs=[old])).warnings)
