"""What stdout may hold: lossless JSON, inert text, honest numbers."""

from __future__ import annotations

import json

import pytest

from actions.core import Column, Result
from cockpit import output

HOSTILE = "node\x1b]0;owned\x07\u202egpj.exe\x9b31m\r\n"


def rendered(fmt: str, **fields: object) -> str:
    return output.render(Result("x", **fields), fmt, (Column("name", "NAME"), Column("memory_bytes", "MEM", right=True)))  # type: ignore[arg-type]


@pytest.mark.parametrize("fmt", ["", "table", "wide", "name"])
def test_text_of_a_cluster_cannot_act_on_the_terminal(fmt: str) -> None:
    shown = rendered(fmt, result=[{"kind": "Node", "name": HOSTILE, "memory_bytes": 1}])
    assert not set(shown) & set("\x1b\x07\x9b\r\u202e")
    assert "owned" in shown


@pytest.mark.parametrize("fmt", ["json", "jsonl", "yaml"])
def test_json_and_yaml_keep_every_character_and_are_ascii(fmt: str) -> None:
    import yaml

    shown = rendered(fmt, result=[{"name": HOSTILE}])
    assert shown.isascii()
    assert not set(shown) & set("\x1b\x07\r")
    found = yaml.safe_load(shown) if fmt == "yaml" else json.loads(shown)
    assert (found["name"] if fmt == "jsonl" else found["result"][0]["name"]) == HOSTILE


def test_json_is_one_object_with_every_field_of_the_contract() -> None:
    found = json.loads(rendered("json", result={"loss": float("nan")}, changes=[]))
    assert list(found) == ["action", "ok", "dry_run", "cluster", "simulated", "changes", "result", "findings", "warnings", "error", "journal_id"]
    assert found["result"] == {"loss": None}


def test_unknown_is_a_dash_and_zero_is_zero() -> None:
    rows = [{"name": "a", "memory_bytes": None}, {"name": "bb", "memory_bytes": 0}, {"name": "日本", "memory_bytes": 3 << 30}]
    assert rendered("table", result=rows).splitlines() == ["NAME      MEM", "a           -", "bb        0 B", "日本  3.0 GiB"]


@pytest.mark.parametrize(
    ("key", "value", "text"),
    [
        ("utilisation_percent", 96.4, "96 %"),
        ("retransmit_ratio", 0.0041, "0.41 %"),
        ("tx_bits_per_second", 47.1e9, "47.1 Gbps"),
        ("age_seconds", 3725.0, "1h2m"),
        ("age_seconds", 4.25, "4.2s"),
        ("age_seconds", 9e5, "10d"),
        ("dollars_per_hour", 1234.5, "$1,234.50"),
        ("tokens_per_second", 14185.2, "14185"),
        ("step", 1204, "1204"),
        ("loss", 1.8734, "1.873"),
        ("ready", False, "no"),
        ("types", ["a", "b", "c", "d", "e", "f"], "a, b, c, d +2"),
        ("types", [], "-"),
        ("power_watts", float("nan"), "nan"),
    ],
)
def test_numbers_carry_the_unit_their_key_names(key: str, value: object, text: str) -> None:
    assert output.cell(key, value) == text


def test_changes_are_lines_and_names() -> None:
    change = {"summary": "cordon a", "object": {"kind": "Node", "name": "a"}}
    assert rendered("", changes=[change], dry_run=True) == "cordon a (dry run)"
    assert rendered("name", changes=[change]) == "node/a"
    assert rendered("", result={"already": "a already cordoned"}) == "a already cordoned"
