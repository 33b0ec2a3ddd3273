"""Log tails to progress: our lines, others' lines, hostile bytes, and which jobs are read when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.model import Checkpoint, CheckpointKey, Condition, Job, JobKey, NodeName, Pod, PodKey, Progress, State, StoreKey
from cockpit.sources.progress import Logs
from cockpit.sources.steplines import LOSSES_KEPT, Steps
from cockpit.store import Delete, Store, Synced, Upsert
from tests.servers import Request, Server, kubeconfig

JOB = JobKey("ml", "PyTorchJob", "t5")


def stamp(second: int, text: str) -> str:
    return f"2026-01-01T00:00:{second:02}.5Z {text}"


def ours(step: int, loss: float | None, rank: int = 0, **more: Any) -> str:
    return json.dumps(
        {"rank": rank, "restart": 0, "step": step, "steps": 500, "loss": loss, "tokens_per_second": 1000.0, "step_seconds": 0.5, **more}
    )


def fed(*lines: str) -> Steps:
    steps = Steps()
    for line in lines:
        steps.feed(line)
    return steps


def test_our_own_lines() -> None:
    found = fed(stamp(1, ours(1, 6.0)), stamp(2, "noise"), stamp(3, "[rank0]: " + ours(2, 5.5))).progress(JOB)
    assert found == Progress(JOB, 2, 500, 5.5, 6.0, (6.0, 5.5), 1000.0, 0.5, 1767225603.5)


def test_the_lowest_rank_of_a_pod_speaks() -> None:
    found = fed(stamp(1, ours(1, 6.0, rank=1)), stamp(2, ours(2, 5.0, rank=0)), stamp(3, ours(9, 1.0, rank=3))).progress(JOB)
    assert found is not None
    assert (found.step, found.loss) == (2, 5.0)


def test_start_and_end_lines_tell_the_steps_and_the_first_loss() -> None:
    start = json.dumps({"event": "start", "rank": 0, "steps": 50})
    end = json.dumps({"event": "end", "rank": 0, "step": 50, "loss_first": 7.5, "loss_last": 1.0})
    assert fed(stamp(1, start)).progress(JOB) is None
    found = fed(stamp(1, start), stamp(2, ours(49, 1.1)), stamp(3, end)).progress(JOB)
    assert found is not None
    assert (found.step, found.loss_first, found.loss) == (49, 7.5, 1.1)


@pytest.mark.parametrize(
    ("lines", "step", "steps", "loss"),
    [
        (["Epoch 1 | Step 40 | Loss: 2.5 | Strategy: FULL_SHARD"], 40, None, 2.5),
        (["step 7/100 loss=0.25"], 7, 100, 0.25),
        (["iteration: 12, train_loss: 1.5e-2"], 12, None, 0.015),
        (["Train Epoch: 1 [640/60000 (1%)]\tLoss: 0.875"], 1, None, 0.875),
        ([" 10%|#    | 50/500 [00:10<01:30,  5.00it/s]", "{'loss': 3.25, 'learning_rate': 5e-05, 'epoch': 0.1}"], 50, 500, 3.25),
        (["{'loss': 4.0, 'epoch': 0.1}", "{'loss': 3.0, 'epoch': 0.2}"], 2, None, 3.0),
        (["step=3 loss: nan"], 3, None, None),
    ],
)
def test_the_usual_formats(lines: list[str], step: int, steps: int | None, loss: float | None) -> None:
    found = fed(*(stamp(second, line) for second, line in enumerate(lines))).progress(JOB)
    assert found is not None
    assert (found.step, found.steps, found.loss) == (step, steps, loss)


def test_lines_read_twice_count_once() -> None:
    lines = [stamp(1, ours(1, 6.0)), stamp(2, ours(2, 5.0))]
    assert fed(*lines, *lines, stamp(3, ours(3, 4.0))).losses == fed(*lines, stamp(3, ours(3, 4.0))).losses


def test_only_the_last_losses_are_kept() -> None:
    found = fed(*(stamp(step % 60, ours(step, float(step))).replace(":00:", f":{step // 60:02}:") for step in range(1, 100))).progress(JOB)
    assert found is not None
    assert (len(found.losses), found.losses[-1], found.loss_first) == (LOSSES_KEPT, 99.0, 1.0)


@pytest.mark.parametrize(
    "line",
    [
        "",
        "x" * 1_000_000,
        "{" * 10_000,
        '{"step":' + "[" * 50_000,
        '{"step": true, "loss": 1}',
        '{"step": -4, "loss": 2}',
        '{"step": 1e400}',
        "\x1b[31mred",
        "loss loss loss step step",
    ],
)
def test_hostile_lines_are_no_steps(line: str) -> None:
    assert fed(stamp(1, line)).progress(JOB) is None


# -- through the API ---------------------------------------------------------------------------------------------------------------------


class Cluster:
    """One job and its log behind an API."""

    def __init__(self, folder: Path) -> None:
        self.log: list[str] = []
        self.asked: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.error: tuple[int, str, str] | None = None
        self.server = Server(self.answer)
        self.kube = Kube.connect(kubeconfig=kubeconfig(folder, self.server.url), timeout_seconds=5.0)
        self.store = Store()
        self.source = Logs()

    def answer(self, request: Request) -> None:
        self.asked.append(request.query)
        self.paths.append(request.path)
        if self.error:
            request.status(*self.error)
        elif "container" in request.query and self.log[:1] == ["single"]:
            request.status(400, "BadRequest", "container pytorch is not valid for pod t5-master-0")
        else:
            tail = int(request.query.get("tailLines") or len(self.log))
            request.bytes("\n".join(self.log[-tail:]).encode("utf-8", "surrogateescape") + b"\n\xff\xfe\n")

    def run(self, pods: tuple[Pod, ...], **job: Any) -> None:
        self.store.apply(
            Upsert("jobs", "jobs", (Job(JOB, "1", pods_wanted=2, ranks_per_pod=1, **job),)),
            Upsert("pods", "pods", pods),
            Synced("jobs"),
            Synced("pods"),
        )

    def read(self) -> Progress | None:
        self.source.list(self.kube, self.store)
        found: Progress | None = self.store.snapshot().progress.get(JOB)
        return found


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    found = Cluster(tmp_path)
    yield found
    found.server.close()


def pod(replica: str, index: int, phase: str = "Running") -> Pod:
    name = f"t5-{replica}-{index}"
    return Pod(PodKey("ml", name), "1", phase, state=phase, node=NodeName("n1"), job=JOB, replica=replica, index=index, ready=phase == "Running")


def test_the_master_is_read_and_the_first_loss_is_that_of_the_head(cluster: Cluster) -> None:
    cluster.log = [stamp(second, ours(second, 9.0 - second / 10)) for second in range(1, 50)]
    cluster.run((pod("worker", 0), pod("master", 0), pod("dataset-initializer", 0, "Succeeded")))
    found = cluster.read()
    assert found is not None
    assert (found.step, found.loss_first) == (49, 8.9)
    assert set(cluster.paths) == {"/api/v1/namespaces/ml/pods/t5-master-0/log"}
    assert [("limitBytes" in query, "tailLines" in query, query["container"], query["timestamps"]) for query in cluster.asked] == [
        (True, False, "pytorch", "true"),
        (False, True, "pytorch", "true"),
    ]
    cluster.log.append(stamp(55, ours(50, 1.0)))
    found = cluster.read()
    assert found is not None
    assert found.step == 50
    assert int(cluster.asked[-1]["sinceSeconds"]) >= 1
    assert cluster.store.snapshot().health["progress"].state is State.LIVE


def test_a_job_that_ends_is_read_once_more_and_then_left_alone(cluster: Cluster) -> None:
    cluster.log = [stamp(1, ours(1, 9.0))]
    cluster.run((pod("master", 0),))
    cluster.read()
    cluster.log.append(stamp(2, ours(2, 8.0)))
    cluster.run((pod("master", 0, "Succeeded"),), conditions=(Condition("Succeeded", "True"),), finished=5.0)
    found = cluster.read()
    assert found is not None
    assert found.step == 2
    before = len(cluster.asked)
    cluster.read()
    assert len(cluster.asked) == before


def test_a_job_that_had_ended_before_is_read_once(cluster: Cluster) -> None:
    cluster.log = [stamp(1, ours(7, 2.0))]
    cluster.run((pod("master", 0, "Succeeded"),), conditions=(Condition("Succeeded", "True"),), finished=5.0)
    found = cluster.read()
    assert found is not None
    assert found.step == 7
    before = len(cluster.asked)
    cluster.read()
    assert len(cluster.asked) == before


@pytest.mark.parametrize("code", [400, 404])
def test_a_log_that_is_gone_is_not_asked_for_again(cluster: Cluster, code: int) -> None:
    cluster.error = (code, "NotFound" if code == 404 else "BadRequest", "no such log")
    cluster.run((pod("master", 0, "Succeeded"),), conditions=(Condition("Succeeded", "True"),), finished=5.0)
    assert cluster.read() is None
    before = len(cluster.asked)
    cluster.read()
    assert len(cluster.asked) == before
    assert cluster.store.snapshot().health["progress"].state is State.LIVE


def test_a_waiting_pod_is_not_read(cluster: Cluster) -> None:
    cluster.run((pod("master", 0, "Pending"),))
    cluster.read()
    assert cluster.asked == []


def test_a_container_of_another_name_is_read_too(cluster: Cluster) -> None:
    cluster.log = ["single", stamp(1, ours(3, 2.0))]
    cluster.run((pod("master", 0),))
    found = cluster.read()
    assert found is not None
    assert found.step == 3


def test_logs_that_may_not_be_read_are_told(cluster: Cluster) -> None:
    cluster.error = (403, "Forbidden", "cannot get pods/log")
    cluster.run((pod("master", 0),))
    assert cluster.read() is None
    assert cluster.store.snapshot().health["progress"].state is State.DOWN


def test_a_job_that_is_gone_takes_its_progress_along(cluster: Cluster) -> None:
    cluster.log = [stamp(1, ours(1, 9.0))]
    cluster.run((pod("master", 0),))
    assert cluster.read() is not None
    cluster.store.apply(Delete("jobs", "jobs", (JOB,)))
    assert cluster.read() is None


# -- checkpoints ---------------------------------------------------------------------------------------------------------------------------


def saved(step: int, state: str = "whole", **more: Any) -> str:
    return json.dumps({"event": "checkpoint", "rank": 0, "world_size": 2, "strategy": "zero", "step": step, "state": state, **more})


def test_checkpoints_are_told_by_the_log_with_the_loss_of_their_step(cluster: Cluster) -> None:
    cluster.log = [
        *(stamp(second, ours(second, 9.0 - second)) for second in (1, 2, 3)),
        stamp(4, saved(2, size_bytes=77, time=1767225602.0)),
        stamp(5, saved(3, "failed", reason="disk full\x1b[2J")),
    ]
    cluster.run((pod("master", 0),), store="pvc:fsx-pvc/t5")
    cluster.read()
    picture = cluster.store.snapshot()
    failed, told = picture.checkpoints_of(picture.jobs[JOB])
    assert told.key == CheckpointKey(StoreKey("ml", "pvc:fsx-pvc/t5"), "step_00000002")
    assert (told.state, told.loss, told.size_bytes, told.world_size, told.strategy, told.job) == ("said", 7.0, 77, 2, "deepspeed", JOB)
    assert (told.at, told.verified) == (1767225602.0, "")
    assert (failed.state, failed.why) == ("failed", "disk full\x1b[2J")


def test_a_checkpoint_that_was_looked_at_is_not_unsaid_by_the_log(cluster: Cluster) -> None:
    cluster.log = [stamp(1, ours(1, 9.0)), stamp(2, saved(1, time=1000.0))]
    cluster.run((pod("master", 0),), store="s3://bucket/t5")
    key = CheckpointKey(StoreKey("", "s3://bucket/t5"), "step_00000001")
    cluster.store.apply(Upsert("look", "checkpoints", (Checkpoint(key, 1, "torn", "a.pt is missing", at=1000.0, verified="sizes"),)))
    cluster.read()
    assert cluster.store.snapshot().checkpoints[key].state == "torn"
    cluster.log += [stamp(3, saved(1, time=2000.0))]
    cluster.read()
    assert cluster.store.snapshot().checkpoints[key].state == "said", "the step was saved anew since it was looked at"


def test_checkpoints_of_a_job_without_a_known_place_go_with_it(cluster: Cluster) -> None:
    cluster.log = [stamp(1, ours(1, 9.0)), stamp(2, saved(1))]
    cluster.run((pod("master", 0),))
    cluster.read()
    picture = cluster.store.snapshot()
    assert [one.store for one in picture.checkpoints_of(picture.jobs[JOB])] == ["log:PyTorchJob/t5"]
    cluster.store.apply(Delete("jobs", "jobs", (JOB,)))
    cluster.read()
    assert not len(cluster.store.snapshot().checkpoints)


@pytest.mark.parametrize("step", [-1, True, "4", None, 1 << 60])
def test_a_hostile_checkpoint_line_tells_nothing(step: Any) -> None:
    assert fed(stamp(1, saved(step))).checkpoints(StoreKey("", ""), JOB) == ()
