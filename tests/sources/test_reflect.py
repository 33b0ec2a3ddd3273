"""List and watch: what a reflector does when the server ends, breaks, forgets, forbids, or talks nonsense."""

from __future__ import annotations

import json
from typing import Any

import pytest

from cockpit.errors import Forbidden, NotServed
from cockpit.model import State
from cockpit.sources import reflect
from cockpit.sources.events import KEPT
from cockpit.sources.reflect import Backoff
from tests.servers import until
from tests.sources.clusters import DROP, END, Collection, thing
from tests.sources.conftest import World

NODES = "/api/v1/nodes"


def names(world: World) -> set[str]:
    return set(world.store.snapshot().nodes)


def test_list_reads_every_page_and_says_synced(world: Any) -> None:
    nodes = Collection(NODES, *(f"n{i:03}" for i in range(25)), page=10)
    found = world("nodes", nodes, watch=False)
    found.source.list(found.kube, found.store)
    assert len(names(found)) == 25
    assert found.state() is State.LIVE
    assert [query.get("continue", "") for query in nodes.lists] == ["", "10", "20"]
    assert {query["limit"] for query in nodes.lists} == {"500"}


def test_events_arrive_and_bookmarks_move_on(world: Any) -> None:
    nodes = Collection(NODES, "n1", "n2")
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    nodes.say(nodes.event("ADDED", "n3", 11), nodes.event("MODIFIED", "n1", 12, spec={"unschedulable": True}), nodes.event("DELETED", "n2", 13))
    nodes.say(json.dumps({"type": "BOOKMARK", "object": {"kind": "Node", "metadata": {"resourceVersion": "99"}}}).encode() + b"\n", END)
    until(lambda: len(nodes.watches) == 2)
    assert names(found) == {"n1", "n3"}
    assert found.store.snapshot().nodes["n1"].cordoned
    assert [query["resourceVersion"] for query in nodes.watches] == ["10", "99"]
    assert all(query["allowWatchBookmarks"] == "true" and 300 <= int(query["timeoutSeconds"]) <= 600 for query in nodes.watches)
    assert len(nodes.lists) == 1


@pytest.mark.parametrize("how", [END, DROP])
def test_a_watch_that_ends_goes_on_where_it_was(world: Any, how: object) -> None:
    nodes = Collection(NODES, "n1")
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    nodes.say(nodes.event("ADDED", "n2", 20), b'{"type":"ADDED","object":{"metadata":{"na', how)
    until(lambda: len(nodes.watches) == 2)
    nodes.say(nodes.event("ADDED", "n3", 21))
    until(lambda: names(found) == {"n1", "n2", "n3"})
    assert nodes.watches[1]["resourceVersion"] == "20"
    assert len(nodes.lists) == 1
    assert found.state() is State.LIVE


@pytest.mark.parametrize("where", ["in the answer", "in an event"])
def test_after_a_410_it_lists_again_and_forgets_what_is_gone(world: Any, where: str) -> None:
    nodes = Collection(NODES, "n1", "n2")
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    del nodes.objects["n1"]
    nodes.objects["n9"] = thing("n9")
    if where == "in the answer":
        nodes.watch_errors.append((410, "Expired", "too old resource version"))
        nodes.say(END)
    else:
        error = {"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired", "message": "too old"}}
        nodes.say(json.dumps(error).encode() + b"\n")
    until(lambda: names(found) == {"n2", "n9"})
    until(lambda: found.state() is State.LIVE)


def test_pages_that_expire_half_way_are_read_in_one_piece(world: Any) -> None:
    nodes = Collection(NODES, *(f"n{i}" for i in range(20)), page=5)
    found = world("nodes", nodes, watch=False)
    real = nodes._list

    def expire(request: Any) -> None:
        if request.query.get("continue"):
            nodes.page = 500
            request.status(410, "Expired", "The provided continue parameter is too old")
        else:
            real(request)

    nodes._list = expire  # type: ignore[method-assign]
    found.source.list(found.kube, found.store)
    assert len(names(found)) == 20
    assert "limit" not in nodes.lists[-1]
    assert found.state() is State.LIVE


def test_a_dead_server_leaves_stale_rows_and_recovery_needs_no_new_list(world: Any) -> None:
    nodes = Collection(NODES, "n1")
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    nodes.watch_errors += [(503, "ServiceUnavailable", "etcd is electing")] * 3
    nodes.say(END)
    until(lambda: found.state() is State.STALE)
    assert names(found) == {"n1"}
    assert found.store.snapshot().health["nodes"].since is not None
    until(lambda: found.state() is State.LIVE)
    assert len(nodes.lists) == 1
    nodes.say(nodes.event("ADDED", "n2", 30))
    until(lambda: names(found) == {"n1", "n2"})


def test_silence_is_taken_for_an_end(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(reflect, "SILENCE_SECONDS", 0.1)
    nodes = Collection(NODES, "n1")
    found = world("nodes", nodes)
    until(lambda: len(nodes.watches) >= 3)
    assert found.state() is State.LIVE
    assert len(nodes.lists) == 1


def test_a_missing_crd_is_absent_and_appears_when_it_is_installed(world: Any) -> None:
    pools = "/apis/karpenter.sh/v1/nodepools"
    found = world("nodepools")
    until(lambda: found.state() is State.ABSENT)
    assert isinstance(found.store.snapshot().health["nodepools"].error, NotServed)
    found.collections[pools] = Collection(pools, "gpu")
    until(lambda: found.state() is State.LIVE)
    assert set(found.store.snapshot().nodepools) == {"gpu"}


def test_forbidden_is_down_with_the_servers_words_and_recovers(world: Any) -> None:
    nodes = Collection(NODES, "n1")
    message = 'nodes is forbidden: User "ann" cannot list resource "nodes" in API group "" at the cluster scope'
    nodes.list_errors += [(403, "Forbidden", message)] * 2
    found = world("nodes", nodes)
    until(lambda: found.state() is State.DOWN)
    error = found.store.snapshot().health["nodes"].error
    assert isinstance(error, Forbidden)
    assert error.message == message
    until(lambda: found.state() is State.LIVE)


def test_a_watch_that_is_taken_up_again_makes_a_quiet_source_fresh(world: Any) -> None:
    """Not every API sends bookmarks while nothing happens; the age of stale rows counts from the last time they were known to be true."""
    nodes = Collection(NODES, "n1")
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    before = found.store.snapshot().health["nodes"].since
    nodes.say(END)
    until(lambda: len(nodes.watches) == 2)
    until(lambda: found.store.snapshot().health["nodes"].since > before)
    assert len(nodes.lists) == 1


def test_nonsense_in_a_list_or_watch_costs_only_itself(world: Any) -> None:
    nodes = Collection(NODES, "n1")
    nodes.objects |= {
        "bad-type": {"metadata": {"name": "bad-type"}, "status": {"conditions": "three"}},
        "no-meta": {"metadata": None},
        "no-name": {"metadata": {"labels": {"a": None}}},
        "nulls": {"metadata": {"name": "nulls", "labels": None}, "spec": None, "status": {"conditions": [None], "capacity": {"cpu": None}}},
    }
    nodes.objects["null"] = None  # type: ignore[assignment]
    found = world("nodes", nodes)
    until(lambda: nodes.watches)
    assert names(found) == {"n1", "nulls"}
    nodes.say(
        b"not json\n",
        b"[]\n",
        b"null\n",
        b"\xff\xfe\n",
        b'{"type":"ADDED"}\n',
        b'{"type":"ADDED","object":{"metadata":{"name":7}}}\n',
        b'{"type":"WHAT","object":{}}\n',
    )
    nodes.say(b'{"type":"ADDED","object":{"metadata":{"name":"bad","resourceVersion":"11"},"status":[]}}\n', nodes.event("ADDED", "n2", 12))
    until(lambda: "n2" in names(found))
    assert names(found) == {"n1", "n2", "nulls"}
    assert found.state() is State.LIVE


def test_a_null_list_is_an_empty_one(world: Any) -> None:
    found = world("nodes", Collection(NODES, "n1"), watch=False)
    found.source.list(found.kube, found.store)
    found.collections[NODES].answer = lambda request: request.json({"metadata": None, "items": None})
    found.source.list(found.kube, found.store)
    assert (names(found), found.state()) == (set(), State.LIVE)


PYTORCH, TRAIN, JOBSETS = (
    "/apis/kubeflow.org/v1/pytorchjobs",
    "/apis/trainer.kubeflow.org/v1alpha1/trainjobs",
    "/apis/jobset.x-k8s.io/v1alpha2/jobsets",
)


def test_jobs_are_live_when_one_of_their_kinds_is_served(world: Any) -> None:
    found = world("jobs", Collection(PYTORCH, "t5"), watch=False)
    found.source.list(found.kube, found.store)
    assert found.state() is State.LIVE
    assert [key.name for key in found.store.snapshot().jobs] == ["t5"]


def test_jobs_are_absent_when_none_is_served(world: Any) -> None:
    found = world("jobs", watch=False)
    found.source.list(found.kube, found.store)
    assert found.state() is State.ABSENT


def test_a_forbidden_kind_beside_others_is_told_and_comes_back(world: Any) -> None:
    trains = Collection(TRAIN)
    trains.list_errors += [(403, "Forbidden", "no trainjobs for you")] * 10_000
    pytorch = Collection(PYTORCH, "t5")
    found = world("jobs", pytorch, trains)
    until(lambda: found.state() is State.LIVE and pytorch.watches)
    pytorch.say(pytorch.event("ADDED", "t6", 11))
    until(lambda: len(found.store.snapshot().jobs) == 2)
    assert found.store.snapshot().limits("jobs") == "trainjobs.trainer.kubeflow.org may not be listed"
    assert not found.store.snapshot().sees("jobs", "default")
    trains.list_errors.clear()
    until(lambda: not found.store.snapshot().limits("jobs"))
    assert found.store.snapshot().sees("jobs")


def test_nothing_but_forbidden_kinds_is_forbidden(world: Any) -> None:
    trains, pytorch = Collection(TRAIN), Collection(PYTORCH)
    for one in (trains, pytorch):
        one.list_errors += [(403, "Forbidden", "none for you")] * 10_000
    found = world("jobs", pytorch, trains)
    until(lambda: found.store.snapshot().forbidden("jobs"))
    assert found.state() is State.DOWN


def test_where_listing_all_is_forbidden_the_own_namespace_is_followed(world: Any) -> None:
    whole, own = Collection("/api/v1/pods"), Collection("/api/v1/namespaces/default/pods", "mine")
    whole.list_errors += [(403, "Forbidden", "pods is forbidden at the cluster scope")] * 10_000
    found = world("pods", whole, own)
    until(lambda: found.state() is State.LIVE and own.watches)
    picture = found.store.snapshot()
    assert picture.limits("pods") == "only namespace default: listing all is forbidden"
    assert picture.sees("pods", "default") and not picture.sees("pods") and not picture.sees("pods", "other")
    assert picture.gpus_used("n1") is None, "pods of other namespaces may hold GPUs too"
    own.say(own.event("ADDED", "more", 11))
    until(lambda: [key.name for key in found.store.snapshot().pods] == ["mine", "more"])
    assert found.store.snapshot().limits("pods")
    whole.list_errors.clear()
    whole.objects["theirs"] = thing("theirs")
    own.watch_errors.append((410, "Expired", "old"))
    own.say(END)
    until(lambda: found.store.snapshot().sees("pods"))
    assert [key.name for key in found.store.snapshot().pods] == ["theirs"]


def test_a_relist_of_one_kind_leaves_the_other_alone(world: Any) -> None:
    pytorch, trains = Collection(PYTORCH, "t5"), Collection(TRAIN, "llama")
    found = world("jobs", pytorch, trains)
    until(lambda: len(found.store.snapshot().jobs) == 2 and pytorch.watches and trains.watches)
    pytorch.objects.clear()
    pytorch.watch_errors.append((410, "Expired", "old"))
    pytorch.say(END)
    until(lambda: [key.name for key in found.store.snapshot().jobs] == ["llama"])


def test_an_older_kueue_is_read_by_its_older_version(world: Any) -> None:
    old = "/apis/kueue.x-k8s.io/v1beta1/"
    found = world("queues", Collection(old + "clusterqueues", "cq"), Collection(old + "localqueues"), Collection(old + "workloads"), watch=False)
    found.source.list(found.kube, found.store)
    assert found.state() is State.LIVE
    assert [key.name for key in found.store.snapshot().queues] == ["cq"]


def test_events_outlive_their_deletion_and_are_bounded(world: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    path = "/api/v1/events"
    events = Collection(path, "e1")
    found = world("events", events)
    until(lambda: events.watches)
    events.say(events.event("DELETED", "e1", 11), events.event("ADDED", "e2", 12))
    until(lambda: len(found.store.snapshot().events) == 2)
    monkeypatch.setattr(reflect, "TRIM_ROWS", 1)
    listing = found.source._listings[0]
    assert listing.keep == KEPT
    listing.keep = 3
    for number in range(6):
        stamp = f"2026-01-01T00:00:0{number}Z"
        events.say(events.event("ADDED", f"f{number}", 20 + number, lastTimestamp=stamp))
    until(lambda: {key.name for key in found.store.snapshot().events} == {"f3", "f4", "f5"})


def test_waits_double_up_to_a_limit_and_never_line_up() -> None:
    backoff = Backoff()
    waits = [backoff.seconds() for _ in range(12)]
    least, most = reflect.BACKOFF_SECONDS
    assert least * 0.5 <= waits[0] <= least * 1.5
    assert all(most * 0.5 <= wait <= most * 1.5 for wait in waits[6:])
    assert len({round(wait, 6) for wait in waits[6:]}) > 1
    backoff.reset()
    assert backoff.seconds() <= least * 1.5


def test_something_unforeseen_is_told_and_listed_again(world: Any) -> None:
    nodes = Collection(NODES, "n1")
    found = world("nodes", nodes, watch=False)
    listing = found.source._listings[0]
    real = listing.to_row
    listing.to_row = lambda item: 1 / 0
    found.thread.start()
    until(lambda: found.state() is State.DOWN)
    assert "ZeroDivisionError" in str(found.store.snapshot().health["nodes"].error)
    listing.to_row = real
    until(lambda: found.state() is State.LIVE)
