"""Suspend, resume, scale and priority: which object is patched, what undoes it, and why not."""

from __future__ import annotations

from typing import Any

import pytest

from actions.core import Plan, load, parse
from cockpit.errors import BadInput, Disabled
from cockpit.model import Condition, JobKey, PodKey, PriorityClass, Served, Workload
from tests.actions.pictures import job, picture, pod, trainjob

TRAIN = JobKey("default", "TrainJob", "t5")
WORKLOADS = Served("workloads.kueue.x-k8s.io", "kueue.x-k8s.io", "v1beta1", "Workload")
CLASSES = (PriorityClass((True, "high"), "1", 1000), PriorityClass((False, "urgent"), "1", 5))


def planned(action: str, seen: Any, **given: Any) -> Plan:
    verb = load(action)
    assert verb.plan is not None
    return verb.plan(seen, parse(verb.params, {"job": "t5"} | given))


def queued(**more: Any) -> Workload:
    return Workload(PodKey("default", "pytorchjob-t5-1"), "9", job_uid="u1", queue="q", **more)


def test_suspend_sets_the_flag_of_each_kind_and_resume_is_its_inverse() -> None:
    plan = planned("suspend", picture(jobs=[job()], pods=[pod("t5-worker-0")]))
    (change,) = plan.changes
    assert change.body == {"spec": {"runPolicy": {"suspend": True}}} and change.resource_version == "7"
    assert change.inverse is not None and change.inverse.body == {"spec": {"runPolicy": {"suspend": False}}}
    assert "t5-worker-0" in plan.notes[0] and "no checkpoint of t5 is known" in plan.warnings[0]
    (change,) = planned("suspend", picture(jobs=[job(key=TRAIN)])).changes
    assert change.target.path() == "/apis/trainer.kubeflow.org/v1alpha1/namespaces/default/trainjobs/t5" and change.body == {
        "spec": {"suspend": True}
    }
    (change,) = planned("resume", picture(jobs=[job(suspended=True)])).changes
    assert change.body == {"spec": {"runPolicy": {"suspend": False}}}
    assert planned("suspend", picture(jobs=[job(suspended=True)])).already == "t5 already suspended"


def test_what_kueue_queues_is_held_by_its_workload() -> None:
    seen = picture(jobs=[job(queue="q")], workloads=[queued(admitted=True)], served=[WORKLOADS])
    (change,) = planned("suspend", seen).changes
    assert change.target.path() == "/apis/kueue.x-k8s.io/v1beta1/namespaces/default/workloads/pytorchjob-t5-1"
    assert change.body == {"spec": {"active": False}} and change.inverse is not None and change.inverse.body == {"spec": {"active": True}}
    off = picture(jobs=[job(queue="q", suspended=True)], workloads=[queued(active=False)], served=[WORKLOADS])
    assert planned("resume", off).changes[0].body == {"spec": {"active": True}}


def test_a_job_that_waits_for_quota_cannot_be_let_go() -> None:
    waiting = picture(jobs=[job(queue="q", suspended=True)], workloads=[queued(message="8 more needed")])
    with pytest.raises(Disabled, match="waits in the queue q: 8 more needed"):
        planned("resume", waiting)
    with pytest.raises(Disabled, match="no Workload"):
        planned("suspend", picture(jobs=[job(queue="q")]))


@pytest.mark.parametrize("action", ["suspend", "resume"])
def test_what_is_over_or_not_there_is_refused(action: str) -> None:
    over = picture(jobs=[job(conditions=(Condition("Succeeded", "True"),))])
    with pytest.raises(Disabled, match="succeeded"):
        planned(action, over)
    with pytest.raises(BadInput, match="no job 't6'"):
        planned(action, over, job="t6")


def test_an_elastic_job_scales_within_its_bounds() -> None:
    seen = picture(jobs=[job(workers=2, elastic=(1, 4))], pods=[pod("t5-worker-0")])
    (change,) = planned("scale", seen, workers=3).changes
    assert change.body == {"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 3}}}}
    assert change.inverse is not None and change.inverse.body == {"spec": {"pytorchReplicaSpecs": {"Worker": {"replicas": 2}}}}
    with pytest.raises(BadInput, match="1 to 4"):
        planned("scale", seen, workers=5)
    assert planned("scale", seen, workers=2).already


def test_why_other_jobs_cannot_be_scaled() -> None:
    running = picture(jobs=[job(workers=1)], pods=[pod("t5-worker-0")])
    with pytest.raises(Disabled, match="fixed world size"):
        planned("scale", running, workers=3)
    assert planned("scale", picture(jobs=[job(workers=1, suspended=True)]), workers=3).changes
    with pytest.raises(Disabled, match="quota"):
        planned("scale", picture(jobs=[job(queue="q", workers=1)]), workers=3)
    with pytest.raises(Disabled, match="immutable in the version"):
        planned("scale", picture(jobs=[job(key=TRAIN, suspended=True)], served=[trainjob("runtimePatches")]), workers=3)
    older = picture(jobs=[job(key=TRAIN, suspended=True)], served=[trainjob("podTemplateOverrides")])
    assert planned("scale", older, workers=3).changes[0].body == {"spec": {"trainer": {"numNodes": 3}}}


def test_priority_of_a_queued_job_is_its_label_and_its_workload() -> None:
    seen = picture(jobs=[job(queue="q", suspended=True)], workloads=[queued(priority=0)], served=[WORKLOADS], priorities=CLASSES)
    label, number = planned("priority", seen, priority="high").changes
    assert label.body == {"metadata": {"labels": {"kueue.x-k8s.io/priority-class": "high"}}}
    assert number.body == {"spec": {"priority": 1000}} and number.inverse is not None and number.inverse.body == {"spec": {"priority": 0}}
    with pytest.raises(BadInput, match="no WorkloadPriorityClass 'urgent'"):
        planned("priority", seen, priority="urgent")
    running = picture(jobs=[job(queue="q")], workloads=[queued(admitted=True)], priorities=CLASSES)
    with pytest.raises(Disabled, match="admitted"):
        planned("priority", running, priority="high")


def test_priority_without_a_queue_needs_a_job_without_pods() -> None:
    held = picture(jobs=[job(suspended=True, workers=1, pods_wanted=2)], priorities=CLASSES)
    body = planned("priority", held, priority="urgent").changes[0].body
    assert body is not None and set(body["spec"]["pytorchReplicaSpecs"]) == {"Master", "Worker"}
    with pytest.raises(Disabled, match="keep the priority they were made with"):
        planned("priority", picture(jobs=[job(workers=1)], pods=[pod("t5-worker-0")], priorities=CLASSES), priority="urgent")
    with pytest.raises(Disabled, match="runtime"):
        planned("priority", picture(jobs=[job(key=TRAIN, suspended=True)], priorities=CLASSES), priority="urgent")
