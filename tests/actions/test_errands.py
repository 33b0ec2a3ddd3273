"""What is made for a while is taken back in every ending; the pods of nettest, debug and nccl-test, and what is read from them."""

from __future__ import annotations

import dataclasses
import json
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from actions.core import Change, Clients, Plan, Target, load, parse
from actions.core.apply import ApplyFailed
from actions.core.errands import creation, free_name, literal, until
from actions.core.facts import rfc3339
from actions.core.journal import Journal
from actions.core.nccl_table import to_row
from actions.core.passing import lasting
from actions.core.past import finishing, undoing
from actions.core.tcp_probe import told
from actions.nettest import PROBE, measured
from cockpit.errors import ActionFailed, BadInput, Conflict, Forbidden, NotFound, NotServed, Refused, TimedOut, Unreachable
from cockpit.model import Applied, Observed, Served
from cockpit.snapshot import Snapshot
from tests.actions.pictures import PYTORCHJOB, FakeKube, node, picture, pod

SEEN = picture(nodes=[node("n1"), node("n2")], pods=[pod("other", on="n1", job=None)], served=[PYTORCHJOB])
NCCL = (Path(__file__).parent / "texts" / "all_reduce_perf.txt").read_text()


def planned(action: str, seen: Any = SEEN, **given: Any) -> Plan:
    verb = load(action)
    assert verb.plan is not None
    return verb.plan(seen, parse(verb.params, given))


def pods(*names: str) -> Plan:
    return Plan(tuple(creation({"kind": "Pod", "metadata": {"name": name, "namespace": "default"}}, f"pod {name}") for name in names))


def held(plan: Plan, kube: FakeKube, book: Journal) -> Any:
    return lasting(plan, Clients(kube=kube), action="nettest", params=parse(load("cordon").params, {"node": "n1"}), journal=book)


def deleted(kube: FakeKube) -> list[str]:
    return [path.rpartition("/")[2] for method, path, _, _ in kube.calls if method == "DELETE"]


@pytest.mark.parametrize("ending", [None, ActionFailed("x"), KeyboardInterrupt()])
def test_every_ending_takes_back_the_last_first(ending: BaseException | None, tmp_path: Path) -> None:
    kube, book = FakeKube(), Journal(tmp_path / "journal")
    try:
        with held(pods("a", "b"), kube, book):
            assert [entry.state for entry in book.entries()] == ["begun"]
            if ending is not None:
                raise ending
    except (ActionFailed, KeyboardInterrupt) as error:
        assert error is ending
    assert deleted(kube) == ["b", "a"]
    assert [entry.state for entry in book.entries()] == ["undone"]


@pytest.mark.parametrize(("problem", "gone"), [(Conflict("taken"), ["a"]), (Unreachable("no answer"), ["b", "a"])])
def test_what_was_refused_is_not_deleted_and_what_may_have_been_made_is(problem: Exception, gone: list[str], tmp_path: Path) -> None:
    asked = []

    def answer(method: str, path: str) -> dict[str, Any]:
        asked.append(method)
        if asked == ["POST", "POST"]:
            raise problem
        return {}

    kube = FakeKube(answer)
    with pytest.raises((ApplyFailed, Unreachable)), held(pods("a", "b"), kube, Journal(tmp_path / "journal")):
        pytest.fail("the block must not be entered")
    assert deleted(kube) == gone


def test_what_cannot_be_removed_is_named(tmp_path: Path) -> None:
    def answer(method: str, path: str) -> dict[str, Any]:
        if method == "DELETE":
            raise Forbidden("no")
        return {}

    with pytest.raises(ActionFailed, match="pod/a -n default could not be removed: no"), held(pods("a"), FakeKube(answer), Journal(tmp_path / "j")):
        pass


def test_a_forbidden_step_is_told_before_anything_is_made(tmp_path: Path) -> None:
    kube, book = FakeKube(), Journal(tmp_path / "journal")
    plan = dataclasses.replace(pods("a"), denied=("you may not create pods in default: pod a",))
    with pytest.raises(Forbidden, match="you may not create pods"), held(plan, kube, book):
        pytest.fail("the block must not be entered")
    assert not kube.calls and not list(book.entries())


def test_what_a_killed_cockpit_left_behind_can_be_taken_away_and_not_gone_on_with(tmp_path: Path) -> None:
    book = Journal(tmp_path / "journal")
    with held(pods("a"), FakeKube(), book):
        (entry,) = book.entries()
    left = dataclasses.replace(entry, process={})
    assert left.cut_short
    row = Applied(left.id, left.at, left, True)
    seen = Snapshot(observed={"/api/v1/namespaces/default/pods/a": Observed("", {"metadata": {"creationTimestamp": rfc3339(left.at + 1)}})})
    assert [(change.verb, change.target.name) for change in undoing(seen, row).changes] == [("delete", "a")]
    with pytest.raises(Refused, match="only while somebody looked") as refused:
        finishing(seen, row)
    assert f"--action undo --id {left.id}" in refused.value.hint


def test_a_name_is_free_and_says_what_it_is_about() -> None:
    first = free_name(SEEN, "default", "debug", "ip-10-0-1-2.ec2.internal")
    assert first.startswith("debug-ip-10-0-1-2-") and first.endswith("-1") and len(first) < 60
    taken = picture(pods=[pod(first, job=None)])
    assert free_name(taken, "default", "debug", "ip-10-0-1-2.ec2.internal") == first[:-1] + "2"


def test_a_pod_that_cannot_start_says_why() -> None:
    stop = threading.Event()
    waiting = {"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}}]}}
    with pytest.raises(ActionFailed, match="the pod cannot start: ErrImagePull not found"):
        until(FakeKube(lambda *_: waiting), "/p", ("Running",), stop, "the pod")
    unplaced = {"status": {"conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable", "message": "0/3 nodes"}]}}
    with pytest.raises(TimedOut, match="0/3 nodes"):
        until(FakeKube(lambda *_: unplaced), "/p", ("Running",), stop, "the pod", pending_seconds=0)
    stop.set()
    with pytest.raises(Refused):
        until(FakeKube(lambda *_: {}), "/p", ("Running",), stop, "the pod")


def test_nettest_puts_its_pods_on_the_nodes_named() -> None:
    plan = planned("nettest", node="n1,n2", seconds=3, host_network=True)
    service, server, client = (change.body or {} for change in plan.changes)
    assert [one["spec"]["nodeSelector"]["kubernetes.io/hostname"] for one in (server, client)] == ["n2", "n1"]
    assert service["spec"]["selector"].items() <= server["metadata"]["labels"].items()
    assert server["spec"]["hostNetwork"] is True and server["spec"]["tolerations"] == [{"operator": "Exists"}]
    assert all(one["metadata"]["labels"]["app.kubernetes.io/managed-by"] == "cockpit" for one in (service, server, client))
    assert all(change.inverse is not None and change.inverse.verb == "delete" for change in plan.changes)
    assert plan.params.name == service["metadata"]["name"]


@pytest.mark.parametrize(
    ("given", "match"), [({"node": "n1"}, "names 1"), ({"node": "n1,n1"}, "names 2|names 1"), ({"node": "n1,n3"}, "no node 'n3'")]
)
def test_nettest_needs_two_nodes_that_are_there(given: dict[str, Any], match: str) -> None:
    with pytest.raises(BadInput, match=match):
        planned("nettest", **given)


def test_iperf3_is_read_both_ways_and_failed_tries_are_not() -> None:
    failed = json.dumps({"start": {}, "end": {}, "error": "unable to connect"})
    text = failed + "\nnoise {\n" + json.dumps(told(0, 2, {"bytes": 10**9, "seconds": 1.0, "retransmits": 7}, {"bytes": 10**9, "seconds": 2.0}))
    (one,) = measured(text)
    assert one["end"]["sum_received"]["bits_per_second"] == 4e9 and one["end"]["sum_sent"]["retransmits"] == 7


def test_the_probe_measures_a_real_connection_both_ways(tmp_path: Path) -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    server = subprocess.Popen([sys.executable, str(PROBE), "serve", str(port)])
    try:
        said = subprocess.run(
            [sys.executable, str(PROBE), "measure", "127.0.0.1", str(port), "0.2"], capture_output=True, text=True, timeout=60, check=True
        )
    finally:
        server.kill()
        server.wait()
    forth, back = measured(said.stdout)
    assert [one["start"]["test_start"]["reverse"] for one in (forth, back)] == [0, 1]
    assert all(one["end"]["sum_received"]["bits_per_second"] > 1e6 for one in (forth, back))


def test_what_a_person_typed_reaches_the_container_as_it_is() -> None:
    assert literal("echo $(hostname) $$") == "echo $$(hostname) $$$$"
    body = planned("debug", node="n1", command="echo $(hostname)").changes[0].body or {}
    assert body["spec"]["containers"][0]["env"] == [{"name": "COMMAND", "value": "echo $$(hostname)"}]


def test_debug_opens_a_shell_or_runs_a_command() -> None:
    shell, command = planned("debug", node="n1"), planned("debug", node="n1", command="ls", privileged=True)
    assert shell.attaches and not command.attaches
    spec = (command.changes[0].body or {})["spec"]
    assert spec["hostPID"] is True and spec["containers"][0]["securityContext"] == {"privileged": True}
    assert "hostPID" not in (shell.changes[0].body or {})["spec"]
    with pytest.raises(BadInput, match="bind-utils;reboot"):
        planned("debug", node="n1", packages="bind-utils;reboot")
    with pytest.raises(BadInput, match="no node"):
        planned("debug", node="n9")


class NoKubectl:
    def which(self, name: str) -> str | None:
        return None


class Kubectl(NoKubectl):
    def which(self, name: str) -> str | None:
        return "/bin/" + name


def test_a_shell_that_cannot_be_opened_is_refused_before_anything_is_made() -> None:
    look, params = load("debug").look, parse(load("debug").params, {"node": "n1"})
    assert look is not None
    kube: Any = FakeKube()
    kube.may = lambda *words, **more: False
    with pytest.raises(NotFound, match="kubectl is not installed"):
        list(look(Clients(kube=kube, shell=NoKubectl()), SEEN, params, threading.Event()))
    with pytest.raises(Forbidden, match="pods/exec"):
        list(look(Clients(kube=kube, shell=Kubectl()), SEEN, params, threading.Event()))
    assert kube.calls == []


def test_the_table_of_nccl_tests_is_read_line_by_line() -> None:
    rows = [row for line in NCCL.splitlines() if (row := to_row(line))]
    assert [row["size_bytes"] for row in rows] == [8, 1048576, 1073741824]
    assert rows[2]["busbw_gigabytes_per_second"] == 480.12 and rows[2]["in_place_busbw_gigabytes_per_second"] == 481.03
    assert rows[1]["wrong"] == 0 and rows[0]["in_place_wrong"] is None


def test_mpirun_may_tag_lines_and_the_in_place_columns_may_be_left_out() -> None:
    row = to_row("[1,0]<stdout>:     8388608       2097152     float     sum      -1  4390.92    1.91    1.92       1")
    assert row is not None and (row["size_bytes"], row["busbw_gigabytes_per_second"], row["wrong"]) == (8388608, 1.92, 1)
    assert row["in_place_time_us"] is None


@pytest.mark.parametrize("line", ["", "# 8 2 float", "8 2 float sum -1 a b c d e f g h", "8 2 float sum -1 1 2 3", "NCCL WARN 8 2"])
def test_other_lines_are_no_rows(line: str) -> None:
    assert to_row(line) is None


def test_nccl_test_runs_what_is_served() -> None:
    torch = planned("nccl-test", gpus=1, max_bytes="1M").changes
    assert [change.target.kind for change in torch] == ["ConfigMap", "PyTorchJob"]
    words = (torch[1].body or {})["spec"]["pytorchReplicaSpecs"]["Master"]["template"]["spec"]["containers"][0]["args"]
    assert "training.allreduce" in words and "--max-bytes=1M" in words
    seen = picture(nodes=[node("n1"), node("n2")], served=[PYTORCHJOB, Served("mpijobs.kubeflow.org", "kubeflow.org", "v2beta1", "MPIJob")])
    (job,) = planned("nccl-test", seen, max_bytes="1G").changes
    spec = (job.body or {})["spec"]
    assert spec["slotsPerWorker"] == 8 and spec["mpiReplicaSpecs"]["Worker"]["replicas"] == 2
    assert spec["mpiReplicaSpecs"]["Launcher"]["template"]["spec"]["containers"][0]["args"][-8:] == ["-e", "1G", "-f", "2", "-n", "20", "-g", "1"]
    assert job.inverse is not None and job.inverse.target == Target("MPIJob", plan_name(job), "default", "kubeflow.org", "v2beta1", "mpijobs")
    with pytest.raises(NotServed):
        planned("nccl-test", kind="MPIJob")
    with pytest.raises(BadInput, match="max-bytes"):
        planned("nccl-test", max_bytes="1T")


def plan_name(change: Change) -> str:
    return str((change.body or {})["metadata"]["name"])


def test_wrong_sums_are_a_bad_verdict() -> None:
    verdict = load("nccl-test").verdict
    assert verdict is not None
    assert verdict([{"wrong": 0, "in_place_wrong": None}]) == "" and "3 elements" in verdict([{"wrong": 1, "in_place_wrong": 2}])
