"""Last words: torchrun's report, the program's own last line, hostile bytes, and which pods are asked when."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients.kube import Kube
from cockpit.model import Condition, Job, JobKey, LastWords, NodeName, Pod, PodKey, State
from cockpit.sources.lastwords import PODS_READ, Ends, to_last_words
from cockpit.store import Delete, Store, Synced, Upsert
from tests.servers import Request, Server, kubeconfig

JOB = JobKey("ml", "PyTorchJob", "t5")
POD = PodKey("ml", "t5-worker-0")
KILLED_TEXT = """\
E1124 11:37:11.481000 23573 api.py:1002] failed (exitcode: -9) local_rank: 0 (pid: 23610) of binary: python3
torch.distributed.elastic.multiprocessing.errors.ChildFailedError:
======================================================
training.ddp FAILED
Failures:
  <NO_OTHER_FAILURES>
------------------------------------------------------
Root Cause (first observed failure):
[0]:
  time      : 2026-11-24_11:37:11
  host      : localhost
  rank      : 1 (local_rank: 0)
  exitcode  : -9 (pid: 23610)  (SIGKILL)
  error_file: <N/A>
  traceback : Signal 9 (SIGKILL) received by PID 23610
"""
KILLED = KILLED_TEXT.splitlines()


def step(number: int, rank: int = 1) -> str:
    return json.dumps({"rank": rank, "step": number, "loss": 1.0})


def said(*lines: str) -> LastWords:
    return to_last_words(JOB, POD, lines)


def test_torchrun_names_the_rank_and_its_signal() -> None:
    assert said(step(40), step(41), *KILLED) == LastWords(POD, JOB, rank=1, exit_code=-9, step=41)


def test_only_the_root_cause_counts_not_the_failures_listed_before_it() -> None:
    other = ["Failures:", "[1]:", "  rank      : 7 (local_rank: 7)", "  exitcode  : 4 (pid: 9)"]
    words = said(*other, *KILLED, "  rank      : 8 (local_rank: 8)", "  exitcode  : 4 (pid: 10)")
    assert (words.rank, words.exit_code) == (1, -9)


def test_the_programs_own_end_is_taken_with_its_checkpoint() -> None:
    event = {"event": "stopped", "rank": 0, "step": 168, "exit_code": 143, "checkpoint": 168, "time": 5.0}
    assert said(json.dumps(event)) == LastWords(POD, JOB, event="stopped", code=143, step=168, checkpoint=168, at=5.0)
    event |= {"event": "failed", "exit_code": 3, "checkpoint": None, "reason": "the loss is nan at step 169"}
    assert said(json.dumps(event)) == LastWords(POD, JOB, event="failed", code=3, step=168, reason="the loss is nan at step 169", at=5.0)
    assert not said(json.dumps(event | {"event": "checkpoint"})).event


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried", "[rank3]: torch.OutOfMemoryError: CUDA out of memory. Tried"),
        ("error: --global-batch 3 over 2 ranks leaves 1 over", "--global-batch 3 over 2 ranks leaves 1 over"),
        ("ValueError: bad", "ValueError: bad"),
        ("torch.distributed.elastic.multiprocessing.errors.ChildFailedError: x", ""),
        ("    raise ValueError: indented", ""),
        ("Error: ", ""),
    ],
)
def test_the_last_error_that_was_raised(line: str, error: str) -> None:
    assert said("RuntimeError: earlier" if error else "", line).error == error


HOSTILE = ('{"step": 1e400}', "{" * 5000, '{"event": 7}', "[1]", '{"step": -1}', "\x1b[31m", '{"event": "stopped", "checkpoint": "x"}')


@pytest.mark.parametrize("line", HOSTILE)
def test_what_a_log_may_hold_breaks_nothing(line: str) -> None:
    words = said(line, step(3))
    assert (words.step, words.checkpoint, words.exit_code) == (3, None, None)


def test_a_long_line_and_a_long_reason_are_cut() -> None:
    assert len(said("ValueError: " + "x" * 100_000).error) == 300
    assert len(said(json.dumps({"event": "failed", "reason": "y" * 9000})).reason) == 300


class Cluster:
    """One job and its pods' logs behind an API."""

    def __init__(self, folder: Path) -> None:
        self.asked: list[tuple[str, dict[str, str]]] = []
        self.error: tuple[int, str, str] | None = None
        self.server = Server(self.answer)
        self.kube = Kube.connect(kubeconfig=kubeconfig(folder, self.server.url), timeout_seconds=5.0)
        self.store, self.source = Store(), Ends()

    def answer(self, request: Request) -> None:
        self.asked.append((request.path.split("/")[-2], request.query))
        if self.error:
            request.status(*self.error)
        else:
            request.bytes("\n".join(KILLED).encode() + b"\xff\n")

    def look(self, *pods: Pod, **job: Any) -> list[str]:
        """One look at these pods; the pods that were asked for."""
        self.asked.clear()
        self.store.apply(
            Upsert("jobs", "jobs", (Job(JOB, "1", pods_wanted=2, ranks_per_pod=1, **job),)),
            Upsert("pods", "pods", pods),
            Synced("jobs"),
            Synced("pods"),
        )
        self.source.list(self.kube, self.store)
        return [name for name, _ in self.asked]


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[Cluster]:
    one = Cluster(tmp_path)
    yield one
    one.kube.close()
    one.server.close()


def pod(name: str, **more: Any) -> Pod:
    fields: dict[str, Any] = {"phase": "Failed", "state": "Error", "node": NodeName("n1"), "job": JOB, "exit_code": 1, "created": 5.0}
    return Pod(PodKey("ml", name), "1", **(fields | more))


FAILED = {"conditions": (Condition("Failed", "True"),), "finished": 90.0}


def test_each_end_is_read_once_the_first_to_end_first(cluster: Cluster) -> None:
    ended = [pod(f"t5-worker-{index}", index=index, replica="worker", ended=100.0 - index) for index in range(8)]
    asked = cluster.look(*ended, **FAILED)
    assert sorted(asked) == [f"t5-worker-{index}" for index in range(8 - PODS_READ, 8)]
    assert cluster.look(*ended, **FAILED) == []
    words = cluster.store.snapshot().words_of(JOB)
    assert {one.pod.name for one in words} == set(asked) and all((one.rank, one.exit_code) == (1, -9) for one in words)
    assert cluster.store.snapshot().health["lastwords"].state is State.LIVE


def test_a_restarted_container_is_asked_for_the_run_before(cluster: Cluster) -> None:
    back = pod("t5-worker-0", phase="Running", state="Running", restarts=1)
    assert cluster.look(back) == ["t5-worker-0"] and cluster.asked[0][1]["previous"] == "true"
    waits = pod("t5-worker-0", phase="Running", state="CrashLoopBackOff", restarts=2)
    assert cluster.look(waits) == ["t5-worker-0"] and "previous" not in cluster.asked[0][1]
    assert cluster.look(waits) == []


def test_pods_that_run_or_ended_well_are_not_asked(cluster: Cluster) -> None:
    assert cluster.look(pod("t5-master-0", phase="Running", state="Running", exit_code=None), pod("t5-worker-0", exit_code=0)) == []
    assert cluster.look(pod("t5-worker-0"), conditions=(Condition("Succeeded", "True"),)) == []


def test_a_pod_that_is_gone_is_not_asked_again_and_a_refusal_is(cluster: Cluster) -> None:
    cluster.error = (404, "NotFound", "gone")
    assert cluster.look(pod("t5-worker-0"), **FAILED) == ["t5-worker-0"]
    assert cluster.look(pod("t5-worker-0"), **FAILED) == []
    cluster.error = (403, "Forbidden", "no")
    assert cluster.look(pod("t5-worker-0", created=6.0), **FAILED) == ["t5-worker-0"]
    assert cluster.store.snapshot().health["lastwords"].error is not None
    cluster.error = None
    assert cluster.look(pod("t5-worker-0", created=6.0), **FAILED) == ["t5-worker-0"]


def test_words_go_with_their_job(cluster: Cluster) -> None:
    cluster.look(pod("t5-worker-0"), **FAILED)
    assert cluster.store.snapshot().words_of(JOB)
    cluster.store.apply(Delete("jobs", "jobs", (JOB,)), Synced("jobs"))
    cluster.source.list(cluster.kube, cluster.store)
    assert not len(cluster.store.snapshot().lastwords)
