"""Words on the command line: what they mean, and the nearest right one for a wrong one."""

from __future__ import annotations

import pytest

from cockpit.errors import BadInput
from cockpit.flags import peek, read, usage


def given(*words: str) -> dict[str, object]:
    return dict(read(["--action", *words]).given)


def test_every_kind_of_parameter() -> None:
    assert given("cordon", "--node", "a,b", "--node", "c", "--reason", "hot") == {"node": "a,b,c", "reason": "hot"}
    assert given("cordon", "a", "b", "--reason", "hot", "c") == {"node": "a,b,c", "reason": "hot"}
    assert given("logs", "--job", "j", "--follow", "--tail", "5") == {"job": "j", "follow": True, "tail": "5"}
    assert given("nodes", "--used=true") == {"used": True}
    assert given("nodes", "--no-used") == {"used": False}
    assert given("nodes", "--used=no") == {"used": False}
    assert given("launch", "--lr=1e-3", "--seed", "-1") == {"lr": "1e-3", "seed": "-1"}


def test_flags_of_every_action_are_those_of_kubectl() -> None:
    asked = read(["--action", "jobs", "-n", "ns", "--context", "c", "--kubeconfig", "k", "--as", "me", "-ojson", "--readonly", "--timeout", "5"])
    assert (asked.namespace, asked.context, asked.kubeconfig, asked.impersonate) == ("ns", "c", "k", "me")
    assert (asked.output, asked.readonly, asked.timeout_seconds, asked.given) == ("json", True, 5.0, {})


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["--action", "cordn"], "did you mean cordon?"),
        (["--action", "launch", "--nods", "2"], "did you mean --nodes?"),
        (["--action", "jobs", "--reedonly"], "did you mean --readonly?"),
        (["--action", "nodes", "-o", "jsn"], "did you mean json?"),
        (["--nodes", "2"], "--action"),
        (["--action", "launch", "--nodes"], "--help"),
        (["--action"], "--help"),
        (["--describe"], "--actions"),
        (["--action", "jobs", "--timeout", "soon"], "--help"),
        (["--action", "jobs", "--timeout", "0"], "--help"),
        (["--action", "sim-stop", "now"], "--name value"),
        (["--action", "stop", "a", "b"], "one job"),
    ],
)
def test_a_wrong_word_is_bad_input_with_the_nearest_right_one(words: list[str], hint: str) -> None:
    with pytest.raises(BadInput) as raised:
        read(words)
    assert hint in raised.value.hint
    assert raised.value.exit_code == 2


def test_the_format_is_known_before_the_rest_is_checked() -> None:
    for words in (["-o", "json"], ["-ojson"], ["--output=json"], ["--output", "json"]):
        assert peek(["--action", "x", *words], "-o", "--output") == "json"
    assert peek(["--action", "x"], "-o", "--output") is None


def test_the_help_of_an_action_lists_its_parameters() -> None:
    text = usage(read(["--action", "launch"]).action)
    assert "--strategy" in text
    assert "ddp" in text
