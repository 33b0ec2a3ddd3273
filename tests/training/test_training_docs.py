"""docs/training.md names what the programs have: every flag, model, field, metric and exit code, and none that is gone."""

import re
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training import options, ranks
from training.model import PRESETS
from training.report import METRICS

PAGE = (Path(__file__).parents[2] / "docs" / "training.md").read_text(encoding="utf-8")


def section(title: str) -> str:
    return PAGE.split(f"## {title}\n", 1)[1].split("\n## ", 1)[0]


def first_cells(title: str) -> str:
    return " ".join(row.split("|")[1] for row in section(title).splitlines() if row.startswith("|"))


def test_the_flags(capsys):
    offered = set()
    for strategy in ("ddp", "fsdp", "zero", "amx"):
        with pytest.raises(SystemExit) as exit_:
            options.read_options(strategy, ["--help"])
        assert exit_.value.code == 0
        offered |= set(re.findall(r"(?<![\w-])--[a-z-]+", capsys.readouterr().out)) - {"--help"}
    assert set(re.findall(r"`(--[a-z-]+)`", first_cells("Flags"))) == offered


def test_the_models():
    (row,) = [row for row in section("Flags").splitlines() if row.startswith("| `--model`")]
    assert all(name in row for name in PRESETS)


def test_the_metrics():
    assert set(re.findall(r"training_[a-z_]+", first_cells("Metrics"))) == set(METRICS)


def test_the_exit_codes():
    documented = set(map(int, re.findall(r"\d+", first_cells("Exit codes of a rank"))))
    assert documented == {0, ranks.ERROR, options.BAD_FLAGS, ranks.NOT_FINITE, ranks.PEER_LOST, 143, 130}
