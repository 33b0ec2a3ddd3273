"""What a headless command loads: no screen, no trainer, no client it does not use (a fresh process tells)."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
NEVER = {
    "textual",
    "rich",
    "torch",
    "numpy",
    "pandas",
    "kubernetes",
    "boto3",
    "botocore",
    "prometheus_api_client",
    "aiohttp",
    "training",
    "cockpit.tui",
}
WATCH = """
import json, sys
from cockpit.__main__ import main
sys.argv[0] = "cockpit"
code = main()
print(json.dumps({"code": code, "modules": sorted(sys.modules)}), file=sys.stderr)
"""


def run(tmp_path: Path, *words: str, environment: dict[str, str] | None = None) -> tuple[int, set[str]]:
    """Exit code and modules of one command line in a process of its own."""
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "XDG_STATE_HOME": str(tmp_path), "PYTHONPATH": str(ROOT), **(environment or {})}
    done = subprocess.run([sys.executable, "-c", WATCH, *words], cwd=tmp_path, env=env, capture_output=True, text=True, timeout=60, check=True)
    found = json.loads(done.stderr.splitlines()[-1])
    return found["code"], set(found["modules"])


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--actions"], 0),
        (["--action", "launch", "--describe", "-o", "json"], 0),
        (["--action", "nodes", "-o", "json"], 3),
        (["--action", "launch", "-o", "json"], 3),
        (["--action", "cordon", "--node", "a"], 3),
        (["--action", "logs", "--job", "j"], 3),
        (["--action", "nope"], 2),
    ],
)
def test_an_action_leaves_what_it_does_not_use_alone(tmp_path: Path, words: list[str], code: int) -> None:
    found, modules = run(tmp_path, *words, environment={"KUBECONFIG": str(tmp_path / "none")})
    assert found == code
    assert not NEVER & modules


def test_asking_for_help_loads_no_transport(tmp_path: Path) -> None:
    _, modules = run(tmp_path, "--action", "nodes", "--describe")
    assert not {"urllib3", "yaml", "ssl", "cockpit.session"} & modules


def test_one_action_is_loaded_and_not_all(tmp_path: Path) -> None:
    _, modules = run(tmp_path, "--action", "cordon", "--describe")
    assert "actions.cordon" in modules
    assert "actions.launch" not in modules


def test_the_names_on_the_list_are_real() -> None:
    """A misspelt name would make the test above pass for nothing."""
    import importlib.util

    assert all(importlib.util.find_spec(name) for name in NEVER - {"pandas", "cockpit.tui"})
