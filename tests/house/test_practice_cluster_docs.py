"""docs/practice-cluster.md names what the practice cluster has: every command, option, scenario, fault and place, and none that is gone."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from actions.sim_fault import FAULTS, ON_NODES, ON_RANKS
from cockpit.sim.__main__ import parser
from cockpit.sim.kubelet.memory import CHECK_SECONDS
from cockpit.sim.scenarios import __file__ as scenarios
from cockpit.sim.state import CONTEXT, State

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "practice-cluster.md").read_text(encoding="utf-8")


def rows(title: str) -> list[str]:
    chapter = PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]
    return [row for row in chapter.splitlines() if row.startswith("| ")][1:]


def first_cells(title: str) -> str:
    return " ".join(row.split("|")[1] for row in rows(title))


def test_the_commands_and_the_options_of_start(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        parser().parse_args(["start", "--help"])
    offered = set(re.findall(r"(?<![\w-])--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)`", first_cells("What start takes"))) == offered
    for command in re.findall(r"cockpit\.sim (\w+)", PAGE):
        assert parser().parse_args([command]).command == command


def test_the_scenarios() -> None:
    kept = {path.stem for path in Path(scenarios).parent.glob("*.yaml")} - {"system"}
    assert set(re.findall(r"`(\w+)`", first_cells("Scenarios"))) == kept
    assert "5,000 nodes and 50,000 pods" in PAGE and "nodes: 5000, pods: 50000" in (Path(scenarios).parent / "big.yaml").read_text()


def test_the_faults_and_what_they_strike() -> None:
    told = {row.split("|")[1].strip(): tuple(re.findall(r"`([a-z-]+)`", row.split("|")[2])) for row in rows("Faults")}
    assert told["a node (`--node`)"] == ON_NODES
    assert told["a rank (`--job`, `--rank`)"] == ON_RANKS
    assert sorted(name for names in told.values() for name in names) == sorted(FAULTS)


def test_which_trainjob_version_takes_pod_settings_where() -> None:
    for version, field in re.findall(r"`(2\.\d)` (?:takes pod settings )?in `(\w+)`", PAGE):
        schema = (ROOT / "cockpit" / "sim" / "crds" / f"trainjob-{version}.yaml").read_text()
        assert re.search(rf"^\s+{field}:", schema, re.M), (version, field)


def test_where_it_keeps_its_state() -> None:
    places = (
        ("$COCKPIT_SIM_HOME", {"COCKPIT_SIM_HOME": "/h"}, "/h"),
        ("$XDG_STATE_HOME/cockpit/sim", {"XDG_STATE_HOME": "/x"}, "/x/cockpit/sim"),
        ("~/.local/state/cockpit/sim", {}, str(Path.home() / ".local/state/cockpit/sim")),
    )
    for told, environment, place in places:
        assert told in PAGE and State.locate(environment).folder == Path(place)
    state = State(Path("/s"))
    for file in (state.kubeconfig, state.pid_file, state.log_file, state.pods):
        assert f"`{file.name}" in PAGE
    assert f"The context is `{CONTEXT}`" in PAGE


def test_how_often_memory_is_looked_at() -> None:
    assert CHECK_SECONDS == 5.0 and "Memory limits are looked at every five seconds" in PAGE
