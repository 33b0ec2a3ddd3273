"""checkpoints: what a reader pod or a bucket's program says becomes rows, hostile lines do not, and no pod outlives its reading."""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping
from typing import Any

import pytest

from actions.core import Clients, load, parse
from actions.core.looking import remove
from cockpit.errors import ActionFailed, CockpitError, Conflict
from cockpit.model import Checkpoint, CheckpointKey, Job, JobKey, StoreKey
from cockpit.snapshot import Snapshot
from cockpit.store import Store, Upsert
from tests.actions.pictures import FakeKube, claim, job, picture, pod

CHECKPOINTS = load("checkpoints")
KEY = StoreKey("default", "pvc:fsx-pvc/t5")


def line(step: int, state: str = "whole", /, **more: Any) -> str:
    known = {"place": 0, "entry": f"step_{step:08}", "step": step, "state": state, "why": "", "strategy": "zero", "stage": 3, "world_size": 4}
    return json.dumps(known | {"size_bytes": 9, "time": 1.0, "model": "tiny", "sequence": 1, "global_batch": 8, "seed": 0} | more)


def head(place: int = 0, writing: bool = False, error: str = "") -> str:
    return json.dumps({"place": place, "writing": writing, "error": error})


class Pods(FakeKube):
    """An API whose pods end at once in a phase and leave these lines."""

    def __init__(self, lines: list[str], phase: str = "Succeeded", waiting: str = "", may: bool = True, job: Mapping[str, Any] | None = None) -> None:
        super().__init__(self._answer)
        self.said, self.phase, self.waiting, self.allowed, self.job = lines, phase, waiting, may, dict(job or {})

    def _answer(self, method: str, path: str) -> dict[str, Any]:
        if "/pytorchjobs/" in path:
            return self.job
        if method == "GET":
            waits = [{"state": {"waiting": {"reason": self.waiting, "message": "no such image"}}}] if self.waiting else []
            return {"status": {"phase": self.phase, "containerStatuses": waits}}
        return {}

    def may(self, verb: str, group: str, resource: str, namespace: str = "") -> bool:
        return self.allowed

    def read(self, path: str, **more: Any) -> bytes:
        return "\n".join(self.said).encode()

    @property
    def made(self) -> list[dict[str, Any]]:
        return [body for method, _, _, body in self.calls if method == "POST"]

    @property
    def deleted(self) -> list[str]:
        return [path.rsplit("/", 1)[1] for method, path, _, _ in self.calls if method == "DELETE"]


class Buckets:
    """A program that says these lines of buckets."""

    def __init__(self, *lines: str) -> None:
        self.lines, self.asked = lines, []

    def run(self, program: str, places: list[str], words: list[str]) -> Any:
        self.asked.append((program, places, words))
        return iter(self.lines)


def t5(store: str = "pvc:fsx-pvc/t5", **more: Any) -> Job:
    return job(**({"store": store, "created": 1.0} | more))


def looked(snapshot: Snapshot, clients: Clients, **given: Any) -> tuple[Snapshot, list[Mapping[str, Any]]]:
    params, store, stop = parse(CHECKPOINTS.params, given), Store(), threading.Event()
    for kind in ("jobs", "checkpoints", "volumeclaims", "pods"):
        store.apply(Upsert(kind, kind, tuple(getattr(snapshot, kind).values())))
    assert CHECKPOINTS.look is not None and CHECKPOINTS.records is not None
    for fact in CHECKPOINTS.look(clients, snapshot, params, stop):
        store.apply(fact)
    return store.snapshot(), list(CHECKPOINTS.records(clients, store.snapshot(), params, stop))


def said(step: int, **more: Any) -> Checkpoint:
    return Checkpoint(CheckpointKey(KEY, f"step_{step:08}"), step, "said", **({"job": t5().key} | more))


def test_a_reader_pod_tells_what_is_whole_and_is_deleted() -> None:
    template = {
        "containers": [{"name": "pytorch", "image": "mine:1"}],
        "tolerations": [{"key": "team", "operator": "Exists"}],
        "imagePullSecrets": [{"name": "pull"}],
    }
    kube = Pods(
        [head(), line(20, loss=None), line(10, "torn", why="a.pt is missing")],
        job={"spec": {"pytorchReplicaSpecs": {"Master": {"template": {"spec": template}}}}},
    )
    shown = picture(jobs=[t5()], checkpoints=[said(20, loss=2.5), said(5)], volumeclaims=[claim()])
    after, rows = looked(shown, Clients(kube=kube), verify="full")
    assert [(row["step"], row["state"], row["why"], row["loss"], row["verified"]) for row in rows] == [
        (20, "whole", None, 2.5, "full"),
        (10, "torn", "a.pt is missing", None, "full"),
    ], "what the log told and nobody finds is gone"
    assert (rows[0]["strategy"], rows[0]["zero"], rows[0]["world_size"], rows[0]["checkpoints"]) == ("deepspeed", 3, 4, "pvc:fsx-pvc/t5")
    (made,) = kube.made
    spec, (container,) = made["spec"], made["spec"]["containers"]
    assert (container["image"], spec["tolerations"], spec["imagePullSecrets"]) == ("mine:1", template["tolerations"], [{"name": "pull"}])
    assert container["volumeMounts"] == [{"name": "checkpoints", "mountPath": "/checkpoints", "readOnly": True}]
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "fsx-pvc", "readOnly": True}
    assert spec["activeDeadlineSeconds"] and spec["restartPolicy"] == "Never" and "nodeSelector" not in spec
    assert container["args"][-3:] == ["/checkpoints/t5", "--verify", "full"]
    assert kube.deleted == [made["metadata"]["name"]]
    assert after.stores[KEY].writing is False


def test_one_pod_reads_all_places_of_a_claim() -> None:
    other = t5("pvc:fsx-pvc/t6", key=JobKey("default", "PyTorchJob", "t6"), created=2.0)
    kube = Pods([head(0), line(1), head(1, writing=True), line(2, place=1)])
    after, rows = looked(picture(jobs=[t5(), other], volumeclaims=[claim()]), Clients(kube=kube))
    assert len(kube.made) == 1
    assert {(row["job"], row["step"]) for row in rows} == {("t5", 1), ("t6", 2)}
    assert after.stores[StoreKey("default", "pvc:fsx-pvc/t6")].writing is True


@pytest.mark.parametrize(
    "clients",
    [Clients(kube=Pods([]), readonly=True), Clients(kube=Pods([], may=False))],
    ids=["readonly", "forbidden"],
)
def test_without_the_right_to_a_pod_what_the_logs_said_is_shown_with_a_warning(clients: Clients) -> None:
    _, rows = looked(picture(jobs=[t5()], checkpoints=[said(20)], volumeclaims=[claim()]), clients)
    note, row = rows
    assert "what is shown is what the logs said" in note["note"]
    assert (row["step"], row["state"], row["verified"]) == (20, "said", None)
    assert clients.kube.made == []


@pytest.mark.parametrize(
    ("kube", "why"),
    [
        (Pods(["Traceback", "error: /checkpoints/t5: Input/output error"], "Failed"), "Input/output error"),
        (Pods([], "Pending", "ErrImagePull"), "ErrImagePull no such image"),
        (Pods(["not json", "[" * 9999, "{}", '{"place": "0"}']), "the reader did not answer"),
        (Pods([head(error="Permission denied")]), "Permission denied"),
    ],
)
def test_a_reading_that_fails_is_told_and_leaves_no_pod(kube: Pods, why: str) -> None:
    _, rows = looked(picture(jobs=[t5()], checkpoints=[said(20)], volumeclaims=[claim()]), Clients(kube=kube))
    assert why in rows[0]["note"] and rows[1]["state"] == "said"
    assert kube.deleted == [one["metadata"]["name"] for one in kube.made] != []


def test_an_interrupt_deletes_the_pod() -> None:
    class Interrupted(Pods):
        def read(self, path: str, **more: Any) -> bytes:
            raise KeyboardInterrupt

    kube = Interrupted([])
    with pytest.raises(KeyboardInterrupt):
        looked(picture(jobs=[t5()], volumeclaims=[claim()]), Clients(kube=kube))
    assert len(kube.deleted) == 1


@pytest.mark.parametrize(
    "hostile",
    [
        line(1, entry="../../etc"),
        line(1, entry="step_00000001\x1b[2J"),
        line(1, state="wonderful"),
        line(-1, entry="step_00000001"),
        line(1, step="1"),
        line(1, step=True),
        line(1, place=7),
    ],
)
def test_a_hostile_line_is_no_checkpoint(hostile: str) -> None:
    _, rows = looked(picture(jobs=[t5()], volumeclaims=[claim()]), Clients(kube=Pods([head(), hostile])))
    assert rows == []


def test_hostile_values_are_unknown_and_long_ones_cut() -> None:
    odd = line(1, size_bytes="9", world_size=-4, strategy=["x"], time=1e400, model="m" * 9999, seed=True, global_batch=2.5, stage=None)
    _, (row,) = looked(picture(jobs=[t5()], volumeclaims=[claim()]), Clients(kube=Pods([head(), odd])))
    assert [row[name] for name in ("size_bytes", "world_size", "strategy", "saved", "seed", "global_batch", "zero")] == [None] * 7
    assert len(row["model"]) == 2000


def test_a_claim_of_one_node_is_read_on_the_node_that_has_it() -> None:
    kube = Pods([head()])
    shown = picture(jobs=[t5()], pods=[pod("a", "n2")], volumeclaims=[claim(mode="ReadWriteOnce")])
    looked(shown, Clients(kube=kube))
    assert kube.made[0]["spec"]["nodeSelector"] == {"kubernetes.io/hostname": "n2"}


def test_buckets_are_read_from_here_all_by_one_program() -> None:
    buckets = Buckets(head(), line(3), head(1, error="AccessDenied"))
    jobs = [t5("s3://bucket/t5", created=1.0), t5("s3://bucket/t6", key=JobKey("ml", "TrainJob", "t6"), created=2.0)]
    _, rows = looked(picture(jobs=jobs), Clients(kube=Pods([]), buckets=buckets, readonly=True))
    assert buckets.asked == [("inventory", ["s3://bucket/t5", "s3://bucket/t6"], ["--verify", "sizes"])]
    assert [row.get("note") or (row["job"], row["step"]) for row in rows] == [("t5", 3), "s3://bucket/t6: AccessDenied"]


def test_a_place_is_named_for_a_job_that_is_gone() -> None:
    kube = Pods([head(), line(3)])
    _, (row,) = looked(picture(volumeclaims=[claim()]), Clients(kube=kube), checkpoints="pvc:fsx-pvc/old")
    assert (row["job"], row["checkpoints"], row["step"]) == (None, "pvc:fsx-pvc/old", 3)
    assert kube.made[0]["spec"]["containers"][0]["image"].startswith("python:")


def test_deleting_mounts_to_write_and_a_spared_one_is_a_conflict() -> None:
    body = {"checkpoints": KEY.where, "entries": ["step_00000001"], "job": None}
    kube = Pods([json.dumps({"place": 0, "entry": "step_00000001", "removed": True, "why": ""})])
    remove(Clients(kube=kube), Snapshot(), "default", body)
    container = kube.made[0]["spec"]["containers"][0]
    assert container["args"][-3:] == ["/checkpoints/t5", "--remove", "step_00000001"]
    assert container["volumeMounts"][0]["readOnly"] is False
    spared = Pods([json.dumps({"place": 0, "entry": "step_00000001", "removed": False, "why": "it is the last whole one"})])
    with pytest.raises(Conflict, match="last whole"):
        remove(Clients(kube=spared), Snapshot(), "default", body)
    locked = Pods(["error: /checkpoints/t5: another job writes checkpoints"], "Failed")
    with pytest.raises(ActionFailed, match="another job writes"):
        remove(Clients(kube=locked), Snapshot(), "default", body)
    assert issubclass(ActionFailed, CockpitError) and locked.deleted


def test_a_place_that_is_none_does_not_hide_the_others() -> None:
    odd = t5("pvc:fsx-pvc/../../etc", key=JobKey("default", "PyTorchJob", "odd"))
    _, rows = looked(picture(jobs=[t5(), odd], volumeclaims=[claim()]), Clients(kube=Pods([head(), line(3)])))
    assert [row.get("step") or row["note"].split(":")[0] for row in rows] in ([3, "pvc"], ["pvc", 3])
