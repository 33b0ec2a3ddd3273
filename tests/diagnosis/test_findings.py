"""One finding a job: each cause from the facts that tell it, the deeper cause before the shallower, and what can be gone back to."""

from __future__ import annotations

from typing import Any

import pytest

from cockpit.diagnosis import end_in_words, finding_of, offer_of
from cockpit.model import (
    Checkpoint,
    CheckpointKey,
    Condition,
    DeviceKey,
    Event,
    Finding,
    Gpu,
    Job,
    JobKey,
    LastWords,
    Node,
    NodeName,
    Phase,
    Pod,
    PodKey,
    Progress,
)
from cockpit.snapshot import Snapshot, store_of
from cockpit.store import Store, Upsert

KEY = JobKey("ml", "PyTorchJob", "t5")
N1, N2 = NodeName("ip-10-0-1-1.eu-west-1.compute.internal"), NodeName("ip-10-0-1-2.eu-west-1.compute.internal")
FAILED = (Condition("Failed", "True", "PyTorchJobFailed", "1 Worker replica(s) failed."),)


def job(**more: Any) -> Job:
    fields: dict[str, Any] = {"conditions": FAILED, "pods_wanted": 2, "ranks_per_pod": 1, "created": 100.0, "store": "pvc:fsx/t5"}
    return Job(KEY, "1", **(fields | more))


def pod(role: str, node: NodeName = N1, **more: Any) -> Pod:
    fields: dict[str, Any] = {
        "phase": "Failed",
        "state": "Error",
        "node": node,
        "job": KEY,
        "replica": role,
        "index": 0,
        "exit_code": 1,
        "ready": False,
    }
    return Pod(PodKey("ml", f"t5-{role}-0"), "1", **(fields | more))


def words(role: str, code: int | None, rank: int, **more: Any) -> LastWords:
    return LastWords(PodKey("ml", f"t5-{role}-0"), KEY, rank=rank, exit_code=code, step=41, **more)


def node(name: NodeName, ready: bool = True, *problems: Condition) -> Node:
    return Node(name, "1", ready=ready, problems=problems)


def event(kind: str, name: str, reason: str, message: str, at: float = 150.0) -> Event:
    space = "ml" if kind == "Pod" else ""
    return Event(PodKey("default", f"{name}.{reason}"), kind, space, name, reason, message, "Warning", 1, at)


def saved(step: int, state: str = "said", at: float | None = None, **more: Any) -> Checkpoint:
    return Checkpoint(CheckpointKey(store_of(job()), f"step_{step:08}"), step, state, at=at if at is not None else 100.0 + step, **more)


KINDS = {
    Job: "jobs",
    Pod: "pods",
    LastWords: "lastwords",
    Node: "nodes",
    Event: "events",
    Checkpoint: "checkpoints",
    Gpu: "gpus",
    Progress: "progress",
}


def picture(*rows: Any) -> Snapshot:
    store = Store()
    store.apply(*(Upsert("x", KINDS[type(row)], (row,)) for row in rows))
    return store.snapshot()


def found(*rows: Any, **more: Any) -> Finding:
    one = job(**more)
    finding = finding_of(picture(one, *rows), one)
    assert finding is not None
    return finding


BOTH = (pod("master", ended=202.0), pod("worker", N2, ended=200.0))


def test_the_rank_that_was_killed_is_named_not_the_peer_it_took_along() -> None:
    finding = found(*BOTH, words("master", 4, 0), words("worker", -9, 1), saved(40))
    assert (finding.id, finding.severity, finding.object) == ("rank-killed", "error", "PyTorchJob ml/t5")
    assert finding.message == "t5 failed: rank 1 was killed (SIGKILL) at step 41"
    assert finding.remedy == "checkpoint 40 was saved: restore --job t5 --namespace ml"
    assert finding.evidence == ("t5-worker-0: rank 1 ended with -9",)


@pytest.mark.parametrize(
    ("last", "id_", "sentence"),
    [
        (words("worker", 3, 1, event="failed", reason="the loss is nan at step 41"), "loss-not-finite", "the loss is nan at step 41"),
        (words("worker", 2, 1, error="batch 3 over 2 ranks"), "refused", "the program refused to start: batch 3 over 2 ranks"),
        (words("worker", 1, 1, error="ValueError: bad"), "rank-failed", "rank 1 failed at step 41: ValueError: bad"),
        (words("worker", 1, 1), "rank-failed", "rank 1 failed at step 41 with exit code 1"),
        (words("worker", -6, 1), "rank-killed", "rank 1 was killed (SIGABRT) at step 41"),
        (words("worker", 137, 1), "rank-killed", "rank 1 was killed (SIGKILL) at step 41"),
        (words("worker", -99, 1), "rank-killed", "rank 1 was killed (signal 99) at step 41"),
        (words("worker", 143, 1, event="stopped", checkpoint=41), "stopped", "rank 1 was asked to stop at step 41 and saved step 41"),
        (words("worker", 4, 1), "peer-lost", "rank 1 lost a peer at step 41 whose end was not seen"),
    ],
)
def test_what_a_rank_says_of_its_end(last: LastWords, id_: str, sentence: str) -> None:
    finding = found(*BOTH, last)
    assert (finding.id, finding.message) == (id_, f"t5 failed: {sentence}")


@pytest.mark.parametrize(
    ("last", "said"),
    [
        (words("worker", -9, 1), "rank 1: SIGKILL"),
        (words("master", 4, 0), "rank 0: lost a peer"),
        (words("worker", 1, 1, error="ValueError: bad"), "rank 1: exit code 1: ValueError: bad"),
        (words("worker", 143, 1, event="stopped", checkpoint=41), "rank 1: SIGTERM"),
        (LastWords(PodKey("ml", "a"), KEY), ""),
    ],
)
def test_how_a_pod_ended_in_few_words(last: LastWords, said: str) -> None:
    assert end_in_words(last) == said


def test_without_a_log_the_exit_code_speaks() -> None:
    assert found(*BOTH).message == "t5 failed: t5-worker-0 ended with exit code 1"
    killed = (pod("master"), pod("worker", exit_code=137, ended=1.0))
    assert found(*killed, Progress(KEY, 7)).message == "t5 failed: rank 1 was killed (SIGKILL) at step 7"


def test_out_of_memory_is_said_before_the_signal_it_came_by() -> None:
    starved = pod("worker", exit_code=137, message="OOMKilled: exit code 137")
    finding = found(pod("master"), starved, words("worker", -9, 1))
    assert (finding.id, finding.message) == ("out-of-memory", "t5 failed: rank 1 ran out of memory at step 41 (OOMKilled)")


def test_without_pods_the_job_says_what_it_knows() -> None:
    finding = found()
    assert (finding.id, finding.message) == ("job-failed", "t5 failed: 1 Worker replica(s) failed.")


SCHEDULED = event("Pod", "t5-worker-0", "Scheduled", f"Successfully assigned ml/t5-worker-0 to {N2}", 110.0)


def test_a_spot_node_explains_its_ranks_end_though_pod_and_node_are_gone() -> None:
    notice = event("Node", N2, "SpotInterrupted", "Spot interruption warning was triggered")
    finding = found(pod("master"), words("master", 143, 0, event="stopped", checkpoint=41), SCHEDULED, notice)
    assert (finding.id, finding.message) == ("spot-interruption", "t5 failed: spot node ip-10-0-1-2 under rank 1 was taken back")
    assert finding.evidence == ("SpotInterrupted: Spot interruption warning was triggered",)


def test_a_notice_from_before_the_job_was_made_is_none_of_its_trouble() -> None:
    notice = event("Node", N2, "SpotInterrupted", "Spot interruption warning was triggered", 90.0)
    assert found(*BOTH, words("worker", -9, 1), SCHEDULED, notice).id == "rank-killed"


def test_what_befell_the_node_long_after_the_job_is_none_of_its_trouble() -> None:
    later = event("Node", N2, "NvidiaXID79Error", "NVRM: Xid 79 on GPU 3", 400.0)
    quiet = node(N2, False, Condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped", 400.0))
    assert found(*BOTH, words("worker", -9, 1), later, quiet, finished=205.0).id == "rank-killed"
    soon = event("Node", N2, "NvidiaXID79Error", "NVRM: Xid 79 on GPU 3", 208.0)
    assert found(*BOTH, words("worker", -9, 1), soon, finished=205.0).id == "gpu-fault"


XID = event("Node", N2, "NvidiaXID79Error", "NVRM: Xid 79 on GPU 3 (SIMULATED)")


def test_a_gpu_off_the_bus_is_deeper_than_the_rank_it_killed() -> None:
    finding = found(*BOTH, words("worker", -9, 1), XID)
    assert (finding.id, finding.message) == ("gpu-fault", "t5 failed: GPU 3 of ip-10-0-1-2 fell off the bus (XID 79)")


def test_the_condition_tells_where_the_event_is_gone_and_the_exporter_tells_the_gpu() -> None:
    bad = Condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error", "GPU has fallen off the bus", 150.0)
    gpu = Gpu(DeviceKey(N2, "5"), 5, xid=79)
    assert found(*BOTH, node(N2, True, bad), gpu).message == "t5 failed: GPU 5 of ip-10-0-1-2 fell off the bus (XID 79)"
    old = Condition("AcceleratedHardwareReady", "False", "NvidiaXID79Error", "GPU has fallen off the bus", 50.0)
    assert found(*BOTH, node(N2, True, old), gpu).id == "rank-failed", "it was so before this job"


def test_an_xid_of_the_programs_own_doing_is_no_hardware_fault() -> None:
    assert found(*BOTH, words("worker", 1, 1), event("Node", N2, "NvidiaXID31Warning", "NVRM: Xid 31 on GPU 3")).id == "rank-failed"


RUNS: dict[str, Any] = {"phase": "Running", "state": "Running", "exit_code": None, "ready": True}
SILENT = node(N2, False, Condition("Ready", "Unknown", "NodeStatusUnknown", "Kubelet stopped posting node status.", 150.0))


def test_a_job_on_a_silent_node_stands_still_before_anything_fails() -> None:
    rows = (pod("master", **RUNS), pod("worker", N2, **RUNS), Progress(KEY, 43), saved(40, "whole"))
    one = job(conditions=())
    assert finding_of(picture(one, *rows, node(N1), node(N2)), one) is None
    finding = found(*rows, node(N1), SILENT, conditions=())
    assert (finding.id, finding.severity) == ("node-not-ready", "error")
    assert finding.message == "t5 stands still: node ip-10-0-1-2 under rank 1 does not answer"
    assert finding.remedy.startswith("checkpoint 40 is whole: ")


def test_pods_driven_off_a_silent_node_tell_of_it_afterwards() -> None:
    driven = event("Pod", "t5-worker-0", "TaintManagerEviction", "Marking for deletion Pod ml/t5-worker-0")
    finding = found(pod("master"), words("master", 4, 0), SCHEDULED, driven)
    assert finding.message == "t5 failed: node ip-10-0-1-2 under rank 1 did not answer"


def test_a_restart_says_why_offers_nothing_and_is_over_when_it_trains() -> None:
    down = (pod("master", **RUNS), pod("worker", N2, phase="Running", state="CrashLoopBackOff"), words("worker", -9, 1), saved(40))
    finding = found(*down, conditions=())
    assert (finding.severity, finding.message, finding.remedy) == ("warning", "t5 restarts by itself: rank 1 was killed (SIGKILL) at step 41", "")
    back = (pod("master", **RUNS), pod("worker", N2, **(RUNS | {"exit_code": 1, "restarts": 1, "started": 300.0})), words("worker", -9, 1))
    one = job(conditions=())
    assert finding_of(picture(one, *back, Progress(KEY, 41, at=200.0)), one) is not None, "back, but not yet training"
    assert finding_of(picture(one, *back, Progress(KEY, 42, at=301.0)), one) is None


@pytest.mark.parametrize("phase", [Phase.SUCCEEDED, Phase.PENDING])
def test_jobs_without_trouble_have_no_finding(phase: Phase) -> None:
    one = job(conditions=(Condition("Succeeded", "True"),) if phase is Phase.SUCCEEDED else ())
    snapshot = picture(one)
    assert snapshot.phase_of(one) is phase and finding_of(snapshot, one) is None


@pytest.mark.parametrize(
    ("rows", "offer"),
    [
        ((), ""),
        ((saved(30), saved(40)), "checkpoint 40 was saved"),
        ((saved(30, "whole"), saved(40, "torn")), "checkpoint 30 is whole"),
        ((saved(40, "torn"), saved(50, "failed"), saved(60, "in progress")), ""),
        ((saved(40, at=100.0), saved(25, "whole", at=200.0)), "checkpoint 25 is whole"),
    ],
)
def test_the_checkpoint_committed_last_is_offered_of_those_that_may_be_whole(rows: tuple[Checkpoint, ...], offer: str) -> None:
    assert offer_of(picture(job(), *rows), job()) == offer


def test_what_another_job_goes_on_from_is_quiet_and_not_offered_again() -> None:
    again = Job(JobKey("ml", "PyTorchJob", "t5-r2"), "1", created=300.0, restored_from="t5", store="pvc:fsx/t5")
    finding = found(*BOTH, words("worker", -9, 1), saved(40), again)
    assert (finding.severity, finding.remedy) == ("info", "")
    assert finding.message == "t5 failed: rank 1 was killed (SIGKILL) at step 41; t5-r2 goes on from it"
    other = Job(JobKey("other", "PyTorchJob", "t5-r2"), "1", created=300.0, restored_from="t5")
    assert found(*BOTH, saved(40), other).severity == "error"


def test_many_ranks_are_told_in_short() -> None:
    key = JobKey("ml", "PyTorchJob", "t5")
    lost = [Pod(PodKey("ml", f"t5-worker-{index}"), "1", "Running", "Running", node=N2, job=key, replica="worker", index=index) for index in range(4)]
    wide = job(conditions=(), ranks_per_pod=8, pods_wanted=5)
    finding = finding_of(picture(wide, *lost, SILENT), wide)
    assert finding is not None and finding.message == "t5 stands still: node ip-10-0-1-2 under ranks 8-39 does not answer"


def test_pods_of_a_trainjob_that_are_gone_are_found_by_their_names() -> None:
    key = JobKey("ml", "TrainJob", "t5")
    assigned = event("Pod", "t5-node-0-1-x7k2p", "Scheduled", f"Successfully assigned ml/t5-node-0-1-x7k2p to {N2}", 110.0)
    notice = event("Node", N2, "SpotInterrupted", "Spot interruption warning was triggered")
    one = Job(key, "1", conditions=(Condition("Failed", "True", "FailedJobs", "x"),), pods_wanted=2, ranks_per_pod=1, created=100.0)
    finding = finding_of(picture(one, assigned, notice), one)
    assert finding is not None and finding.message == "t5 failed: spot node ip-10-0-1-2 under t5-node-0-1-x7k2p was taken back"
