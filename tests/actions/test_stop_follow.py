"""stop names what dies and takes what launch made; a wait ends with the truth about the job."""

from __future__ import annotations

from actions.core import Clients, load, parse
from actions.core.following import last_words, to_the_end, until_gone
from cockpit.errors import Unreachable
from cockpit.model import Condition, JobKey, Progress
from tests.actions.pictures import JOB, FakeKube, job, picture, pod

STOP = load("stop")
SUCCEEDED = (Condition("Succeeded", "True"),)


def test_stop_names_the_pods_that_die_and_takes_the_delivery_with_it() -> None:
    shown = picture(jobs=[job()], pods=[pod("t5-master-0", replica="master"), pod("t5-worker-0", "n2")])
    plan = STOP.plan(shown, parse(STOP.params, {"job": "t5"}))
    assert "4 ranks in 2 pods die: t5-master-0, t5-worker-0" in plan.notes[0]
    gone, delivery = plan.changes
    assert gone.target.path() == "/apis/kubeflow.org/v1/namespaces/default/pytorchjobs/t5"
    assert (delivery.target.path(with_name=False), delivery.selector) == ("/api/v1/namespaces/default/configmaps", "cockpit.dev/job=t5")
    assert plan.params.kind == "PyTorchJob"


def test_a_job_of_others_loses_only_itself() -> None:
    plan = STOP.plan(picture(jobs=[job(managed=False)]), parse(STOP.params, {"job": "t5"}))
    assert [change.target.kind for change in plan.changes] == ["PyTorchJob"]


def test_a_job_that_is_gone_is_stopped_already_and_a_slip_is_hinted_at() -> None:
    shown = picture(jobs=[job()])
    plan = STOP.plan(shown, parse(STOP.params, {"job": "t55"}))
    assert plan.already == "t55 already gone"
    assert "did you mean t5?" in plan.warnings[0]
    assert STOP.plan(shown, parse(STOP.params, {"job": "t5", "namespace": "other"})).already


def test_the_end_is_told_with_ranks_steps_losses_and_seconds() -> None:
    steps = Progress(JOB, 50, 50, loss=1.25, loss_first=6.5)
    done = job(conditions=SUCCEEDED, created=100.0, finished=121.5)
    outcome = to_the_end(picture(jobs=[done], progress=[steps]), "default", "t5", "PyTorchJob")
    assert (outcome.done, outcome.ok) == (True, True)
    wanted = {"job": "t5", "kind": "PyTorchJob", "phase": "succeeded", "ranks": 4, "steps": 50, "loss_first": 6.5, "loss_last": 1.25, "seconds": 21.5}
    assert {key: outcome.result[key] for key in wanted} == wanted


def test_what_is_not_known_at_the_end_is_none() -> None:
    outcome = to_the_end(picture(jobs=[job(conditions=SUCCEEDED)]), "default", "t5", "")
    assert [outcome.result[key] for key in ("steps", "loss_first", "loss_last", "seconds")] == [None] * 4


def test_a_job_on_its_way_says_what_it_waits_for() -> None:
    assert not to_the_end(picture(), "default", "t5", "").done
    pending = picture(jobs=[job()], pods=[pod("t5-worker-0", None, phase="Pending", ready=False, message="0/2 nodes: Insufficient nvidia.com/gpu")])
    outcome = to_the_end(pending, "default", "t5", "")
    assert (outcome.done, outcome.line) == (False, "t5: pending, 0/4 ranks up: 0/2 nodes: Insufficient nvidia.com/gpu")
    lost = picture({"jobs": Unreachable("gone")}, jobs=[job()])
    assert "does not answer" in to_the_end(lost, "default", "t5", "").line


def test_a_failed_job_is_not_ok_and_its_pod_is_asked_why() -> None:
    failed = job(conditions=(Condition("Failed", "True", message="it broke"),))
    shown = picture(jobs=[failed], pods=[pod("t5-master-0", replica="master"), pod("t5-worker-0", "n2", phase="Failed", exit_code=3)])
    outcome = to_the_end(shown, "default", "t5", "")
    assert (outcome.done, outcome.ok, outcome.line) == (True, False, "t5: failed: it broke")
    kube = FakeKube(logs={"t5-worker-0": [b"loss is nan", b"bye \xff"]})
    words = last_words(Clients(kube=kube), shown, "default", "t5", "")
    assert words == "last lines of t5-worker-0, exit code 3:\nloss is nan\nbye \ufffd"


def test_gone_means_the_job_and_every_pod_of_it() -> None:
    shown = picture(pods=[pod("t5-worker-0")])
    assert until_gone(shown, "default", "t5", "PyTorchJob").result["left"] == ["pod t5-worker-0"]
    other = picture(jobs=[job(key=JobKey("default", "TrainJob", "t5"))])
    assert until_gone(other, "default", "t5", "PyTorchJob").done
