"""The store: versions are immutable, joins hold in any order of arrival, a change is told once per read."""

from __future__ import annotations

from cockpit.errors import NotServed, Unreachable
from cockpit.model import Condition, Job, JobKey, Node, NodeClaim, NodeName, Phase, Pod, PodKey, Progress, State, Workload
from cockpit.store import Delete, Failed, Store, Synced, Upsert

JOB = JobKey("default", "PyTorchJob", "t5")


def pod(name: str, node: str | None = "n1", phase: str = "Running", **more: object) -> Pod:
    fields = {"gpus": 2, "job": JOB, "state": phase, "ready": phase == "Running"} | more
    return Pod(PodKey("default", name), "1", phase, node=NodeName(node) if node else None, **fields)  # type: ignore[arg-type]


def job(**more: object) -> Job:
    return Job(JOB, "1", uid="u1", pods_wanted=2, ranks_per_pod=2, **more)  # type: ignore[arg-type]


def test_a_snapshot_does_not_change_under_its_reader() -> None:
    store = Store()
    store.apply(Upsert("pods", "pods", tuple(pod(f"p{i}") for i in range(1000))))
    before = store.snapshot()
    store.apply(Upsert("pods", "pods", (pod("p7", phase="Failed"),)), Delete("pods", "pods", (PodKey("default", "p8"),)))
    after = store.snapshot()
    assert before.pods[PodKey("default", "p7")].phase == "Running"
    assert after.pods[PodKey("default", "p7")].phase == "Failed"
    assert (len(before.pods), len(after.pods)) == (1000, 999)
    assert len(list(after.pods)) == 999


def test_joins_hold_in_any_order_of_arrival() -> None:
    facts = [
        Upsert("pods", "pods", (pod("a"), pod("b", "n2"))),
        Upsert("nodes", "nodes", (Node(NodeName("n1"), "1", gpu_allocatable=8),)),
        Upsert("jobs", "jobs", (job(),)),
        Synced("pods"),
    ]
    for order in (facts, facts[::-1]):
        store = Store()
        store.apply(*order)
        picture = store.snapshot()
        assert picture.gpus_used("n1") == 2
        assert picture.jobs_on("n1") == (JOB,)
        assert picture.ranks_up(picture.jobs[JOB]) == 4


def test_a_moved_pod_leaves_its_old_node() -> None:
    store = Store()
    store.apply(Upsert("pods", "pods", (pod("a", None, "Pending"),)))
    store.apply(Upsert("pods", "pods", (pod("a", "n1"),)))
    store.apply(Upsert("pods", "pods", (pod("a", "n2"),)))
    assert [p.key.name for p in store.snapshot().pods_on("n1")] == []
    assert [p.key.name for p in store.snapshot().pods_on("n2")] == ["a"]


def test_gpus_used_is_unknown_until_pods_are_known() -> None:
    store = Store()
    store.apply(Upsert("nodes", "nodes", (Node(NodeName("n1"), "1"),)))
    assert store.snapshot().gpus_used("n1") is None


def test_drain_names_what_changed_since_the_last_one() -> None:
    store = Store()
    store.apply(Upsert("pods", "pods", (pod("a"),)))
    store.drain()
    store.apply(Upsert("pods", "pods", (pod("a", "n2"),)))
    _, changes = store.drain()
    assert changes["pods"] == {PodKey("default", "a")}
    assert changes["pods_by_node"] == {"n1", "n2"}
    assert "pods" not in store.drain()[1]


def test_synced_drops_what_is_no_longer_listed_within_its_share() -> None:
    store = Store()
    train = JobKey("default", "TrainJob", "x")
    store.apply(Upsert("jobs", "jobs", (job(), Job(train, "1"))))
    store.apply(Synced("jobs", "jobs", frozenset(), within=lambda key: key.kind == "TrainJob"))
    assert list(store.snapshot().jobs) == [JOB]


def test_failures_keep_the_rows_and_say_how_far_to_trust_them() -> None:
    store = Store(clock=lambda: 100.0)
    store.expect("nodes", "jobs", "pods")
    assert store.snapshot().health["nodes"].state is State.STARTING
    store.apply(Failed("nodes", Unreachable("no answer")))
    assert store.snapshot().health["nodes"].state is State.DOWN
    store.apply(Failed("jobs", NotServed("no CRD")))
    assert store.snapshot().absent("jobs")
    store.apply(Upsert("pods", "pods", (pod("a"),)), Synced("pods"))
    store.apply(Failed("pods", Unreachable("lost")))
    health = store.snapshot().health["pods"]
    assert (health.state, health.since) == (State.STALE, 100.0)
    assert len(store.snapshot().pods) == 1


def test_on_change_is_told_once_per_read() -> None:
    told: list[int] = []
    store = Store(on_change=lambda: told.append(1))
    for _ in range(5):
        store.apply(Upsert("pods", "pods", (pod("a"),)))
    assert len(told) == 1
    store.snapshot()
    store.apply(Upsert("pods", "pods", (pod("a"),)))
    assert len(told) == 2


def test_phases_of_a_job() -> None:
    store = Store()
    store.apply(Upsert("jobs", "jobs", (job(queue="q"),)), Synced("pods"))
    key = PodKey("default", "w")
    store.apply(Upsert("workloads", "workloads", (Workload(key, "1", job_uid="u1", message="8 more needed"),)))
    picture = store.snapshot()
    assert picture.phase_of(picture.jobs[JOB]) is Phase.QUEUED
    assert picture.reason_of(picture.jobs[JOB]) == "8 more needed"
    store.apply(Upsert("workloads", "workloads", (Workload(key, "2", job_uid="u1", admitted=True),)))
    assert phase(store) is Phase.PENDING
    store.apply(Upsert("pods", "pods", (pod("a"), pod("b", phase="Pending", state="ContainerCreating"))))
    assert phase(store) is Phase.PULLING
    store.apply(Upsert("pods", "pods", (pod("b", started=50.0),)))
    assert phase(store) is Phase.RENDEZVOUS
    store.apply(Upsert("progress", "progress", (Progress(JOB, 3, at=60.0),)))
    assert phase(store) is Phase.TRAINING
    store.apply(Upsert("pods", "pods", (pod("b", state="CrashLoopBackOff"),)))
    assert phase(store) is Phase.RESTARTING
    store.apply(Upsert("jobs", "jobs", (job(conditions=(Condition("Succeeded", "True"),)),)))
    assert phase(store) is Phase.SUCCEEDED


def test_a_pod_nominated_to_a_claim_is_provisioning() -> None:
    from cockpit.model import Event

    store = Store()
    store.apply(
        Upsert("jobs", "jobs", (job(),)),
        Upsert("pods", "pods", (pod("a", None, "Pending"),)),
        Upsert("nodeclaims", "nodeclaims", (NodeClaim("c1", "1", waits_for="Registered"),)),  # type: ignore[arg-type]
        Upsert(
            "events",
            "events",
            (Event(PodKey("default", "e"), "Pod", "default", "a", "Nominated", "Pod should schedule on: nodeclaim/c1"),),
        ),
    )
    picture = store.snapshot()
    assert phase(store) is Phase.PROVISIONING
    assert picture.reason_of(picture.jobs[JOB]) == "c1 waits for Registered"


def phase(store: Store) -> Phase:
    picture = store.snapshot()
    return picture.phase_of(picture.jobs[JOB])


def test_a_shortage_outlives_its_claim_and_not_karpenters_memory() -> None:
    from cockpit.model import Event

    store = Store()
    said = Event(PodKey("default", "e"), "NodeClaim", "", "gpu-efa-x7k2p", "InsufficientCapacityError", "no p5 in 2a", at=1000.0)
    store.apply(Upsert("events", "events", (said,)))
    picture = store.snapshot()
    assert picture.shortage_in("gpu-efa", 1100.0) == said
    assert picture.shortage_in("gpu", 1100.0) is None
    assert picture.shortage_in("gpu-efa", 1200.0) is None


def test_a_pending_job_says_what_karpenter_says() -> None:
    from cockpit.model import Event

    store = Store()
    store.apply(
        Upsert("jobs", "jobs", (job(),)),
        Upsert("pods", "pods", (pod("a", None, "Pending", message="0/6 nodes are available"),)),
    )
    picture = store.snapshot()
    assert picture.reason_of(picture.jobs[JOB]) == "0/6 nodes are available"
    said = Event(PodKey("default", "e"), "Pod", "default", "a", "FailedScheduling", "no instance type has the offering", source="karpenter", at=9.0)
    store.apply(Upsert("events", "events", (said,)))
    picture = store.snapshot()
    assert picture.reason_of(picture.jobs[JOB]) == "no instance type has the offering"
