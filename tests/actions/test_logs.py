"""logs: all ranks by time, filtered before the tail counts, hostile bytes and endless lines bounded, followed across restarts to the end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from actions.core import Clients, load, parse
from actions.core.log_follow import Follow
from actions.core.log_lines import CUT, Line, Speaker, lines, merged, parsed, record, speaker
from actions.logs import span_seconds
from cockpit.errors import BadInput, Invalid, NotFound
from cockpit.model import Pod
from tests.actions.pictures import FakeKube, job, picture, pod

LOGS = load("logs")


def at(second: float, text: str) -> bytes:
    return f"2026-01-02T03:04:{second:012.9f}Z {text}".encode()


def two_pods() -> list[Pod]:
    return [pod("t5-master-0", replica="master"), pod("t5-worker-0", "n2")]


def read(kube: FakeKube, **given: Any) -> list[dict[str, Any]]:
    assert LOGS.records is not None
    shown = picture(jobs=[job()], pods=two_pods())
    return [dict(one) for one in LOGS.records(Clients(kube=kube), shown, parse(LOGS.params, {"job": "t5"} | given), threading.Event())]


def test_ranks_are_merged_by_time_whatever_the_digits() -> None:
    kube = FakeKube(logs={"t5-master-0": [at(1, "a"), at(3, "c")], "t5-worker-0": [b"2026-01-02T03:04:02.5Z b", b"2026-01-02T12:04:04+09:00 d"]})
    found = read(kube)
    assert [one["line"] for one in found] == ["a", "b", "c", "d"]
    assert [one["who"] for one in found] == ["0-1/t5-master-0", "2-3/t5-worker-0", "0-1/t5-master-0", "2-3/t5-worker-0"]


def test_grep_comes_before_tail() -> None:
    wanted = [at(second, f"loss {second}") for second in (1, 2, 3)]
    noise = [at(10 + second / 100, "noise") for second in range(50)]
    kube = FakeKube(logs={"t5-master-0": wanted + noise, "t5-worker-0": noise})
    assert [one["line"] for one in read(kube, grep="loss", tail=2)] == ["loss 2", "loss 3"]
    assert "tailLines" not in kube.params[0]
    assert len(read(kube, tail=4)) == 4
    assert kube.params[-1]["tailLines"] == "4"
    with pytest.raises(BadInput, match="no regular expression"):
        read(kube, grep="(")


def test_invalid_utf8_and_a_line_without_end_are_kept_apart_and_marked() -> None:
    cut = f"{'x' * 100} {CUT}".encode()
    raw = [at(1, "bad \udcff".encode("utf-8", "surrogateescape").decode("latin-1")), at(2, "") + cut, b"tail of it", at(3, "next")]
    found = list(lines(raw))
    assert [one.text[-len(CUT) :] == CUT for one in found] == [False, True, False, False]
    assert found[1].at == found[2].at < found[3].at
    assert parsed(b"2026-01-02T03:04:05Z \xff\x1b[31m").text == "\ufffd\x1b[31m"
    assert parsed(b"no time at all") == Line(0, "", "no time at all")


def test_a_line_that_names_its_rank_is_believed() -> None:
    who = Speaker("default", "t5-worker-0", first=2, count=2)
    said = {
        text: record(who, Line(1, "", text))["rank"]
        for text in ('{"rank": 3, "step": 1}', "[rank2]: Traceback", "torchrun: hello", '{"event": "end", "rank": 2}')
    }
    assert list(said.values()) == [3, 2, None, 2]
    assert record(Speaker("default", "p", first=5, count=1), Line(1, "", "x"))["rank"] == 5
    assert [
        one["line"] for one in read(FakeKube(logs={"t5-master-0": [at(1, "[rank0] a"), at(2, "[rank1] b")], "t5-worker-0": [at(3, "c")]}), rank=1)
    ] == ["[rank1] b"]


def test_ranks_of_a_pod_follow_from_its_place() -> None:
    shown = picture(jobs=[job()], pods=two_pods())
    assert [speaker(shown, one).label for one in two_pods()] == ["0-1/t5-master-0", "2-3/t5-worker-0"]
    assert speaker(shown, pod("stray", job=None)).label == "stray"


def test_a_pod_that_has_no_log_yet_is_a_note_and_not_a_failure() -> None:
    kube = FakeKube(logs={"t5-master-0": [at(1, "a")], "t5-worker-0": Invalid("container is waiting to start")})
    found = read(kube)
    assert [one["line"] for one in found if "note" not in one] == ["a"]
    assert [one["note"] for one in found if "note" in one] == ["t5-worker-0: container is waiting to start"]


def test_which_log_must_be_said_and_be_there() -> None:
    for given in ({"job": ""}, {"pod": "t5-master-0"}, {"job": "t6"}, {"job": "", "pod": "t5-mastr-0"}, {"rank": 4}):
        with pytest.raises(BadInput):
            read(FakeKube(), **given)


@pytest.mark.parametrize(("text", "seconds"), [("", None), ("10s", 10), ("5m", 300), ("1h30m", 5400), ("2d", 172800), ("90", 90)])
def test_spans_of_time(text: str, seconds: float | None) -> None:
    assert span_seconds(text) == seconds


def test_a_span_that_is_none_is_bad_input() -> None:
    for text in ("5x", "m", "1h ago", "-3s"):
        with pytest.raises(BadInput):
            span_seconds(text)


def test_merging_holds_one_line_of_each_stream() -> None:
    read_so_far: list[int] = []

    def endless(first: int) -> Iterator[Line]:
        for second in range(first, 1 << 30, 2):
            read_so_far.append(second)
            yield Line(second, "", str(second))

    pairs = merged([(Speaker("d", "a"), endless(0)), (Speaker("d", "b"), endless(1))])
    assert [next(pairs)[1].text for _ in range(100)] == [str(second) for second in range(100)]
    assert len(read_so_far) <= 102


class Restarting(FakeKube):
    """A job whose master restarts once and whose end comes when everything has been read."""

    def __init__(self) -> None:
        first = [at(1, "one"), at(2, "two")]
        super().__init__(logs={"t5-master-0": [first, [*first, at(3, "after the restart")]], "t5-worker-0": [[at(2.5, "beside")]]})
        self.streams = 0

    def lines(self, path: str, **more: Any) -> Iterator[bytes]:
        self.streams += "master" in path
        return super().lines(path, **more)

    def request(self, method: str, path: str, **more: Any) -> dict[str, Any]:
        if path.endswith("/pytorchjobs/t5"):
            return {"status": {"conditions": [{"type": "Succeeded", "status": "True" if self.streams >= 3 else "False"}]}}
        if path.endswith("/pods"):
            labels = {"training.kubeflow.org/replica-index": "0"}
            names = {"t5-master-0": "master", "t5-worker-0": "worker"}
            return {
                "items": [
                    {"metadata": {"name": name, "labels": labels | {"training.kubeflow.org/replica-type": role}}, "spec": {"nodeName": "n"}}
                    for name, role in names.items()
                ]
            }
        return {"status": {"phase": "Succeeded" if "worker" in path or self.streams >= 3 else "Running"}}


def test_following_goes_across_a_restart_says_each_line_once_and_ends_with_the_job() -> None:
    kube = Restarting()
    found = [(one["who"], one["line"]) for one in read(kube, follow=True)]
    assert found == [
        ("0-1/t5-master-0", "one"),
        ("0-1/t5-master-0", "two"),
        ("2-3/t5-worker-0", "beside"),
        ("0-1/t5-master-0", "after the restart"),
    ]


def test_following_ends_when_it_is_told_to() -> None:
    stop = threading.Event()
    kube = FakeKube(lambda method, path: {"status": {"phase": "Running"}}, logs={"p": [at(1, "x")]})
    follow = Follow(kube, {}, lambda: ([Speaker("default", "p")], False), stop)
    pairs = follow.pairs()
    assert next(pairs)[1].text == "x"
    stop.set()
    assert list(pairs) == []


def test_a_pod_that_disappears_ends_its_stream() -> None:
    kube = FakeKube(logs={"p": NotFound("gone")})
    assert list(Follow(kube, {}, lambda: ([Speaker("default", "p")], True), threading.Event()).pairs()) == []


def test_a_defect_in_a_reader_is_not_swallowed() -> None:
    class Broken(FakeKube):
        def lines(self, path: str, **more: Any) -> Iterator[bytes]:
            raise ZeroDivisionError("a defect")

    with pytest.raises(ZeroDivisionError):
        list(Follow(Broken(), {}, lambda: ([Speaker("default", "p")], True), threading.Event()).pairs())
