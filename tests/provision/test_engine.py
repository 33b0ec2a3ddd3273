"""What the engine does with programs and AWS: order, holes, dry runs, the journal, and where a failure is placed."""

from __future__ import annotations

import shutil
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from actions.core import Change, Clients, Plan, Target
from actions.core.apply import ApplyFailed, apply
from actions.core.provisioning import Params, aws_change
from cockpit.clients.shell import Shell
from cockpit.errors import ActionFailed, NotFound
from cockpit.programs import install_line

PARAMS = Params("fsx")


@dataclass
class Kube:
    asked: list[tuple[str, Any, Any]] = field(default_factory=list)
    cluster, server, user, simulated = "train-one", "https://x", "me", None

    def request(self, method: str, path: str, params: Mapping[str, str] | None = None, body: Any = None, **_: Any) -> Any:
        self.asked.append((path, (params or {}).get("dryRun"), body))
        return body


@dataclass
class Cloud:
    said: Mapping[str, Any] = field(default_factory=dict)
    made: list[tuple[str, Mapping[str, Any]]] = field(default_factory=list)
    failure: ActionFailed | None = None

    def at(self, region: str) -> Cloud:
        return self

    def change(self, name: str, arguments: Mapping[str, Any], say: Any) -> Mapping[str, Any]:
        if self.failure:
            raise self.failure
        self.made.append((name, arguments))
        return self.said


@pytest.fixture(autouse=True)
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    return tmp_path / "cockpit"


def aws(call: str, **more: Any) -> Change:
    return aws_change(call, "r", {"id": "${file_system_id}"} if more else {"id": "1"}, Target("FileSystem", "f"), f"{call} it", f"aws {call}", **more)


def body(kind: str, name: str, namespace: str = "") -> Change:
    plural = kind.lower() + "s"
    return Change(
        "kube", "apply", Target(kind, name, namespace, "", "v1", plural), f"create {name}", body={"kind": kind, "handle": "${file_system_id}"}
    )


def test_what_aws_answers_fills_the_holes_of_later_steps() -> None:
    kube, cloud = Kube(), Cloud({"file_system_id": "fs-7"})
    volume = body("PersistentVolume", "v")
    plan = Plan((aws("make"), Change(**{**vars(volume), "holes": ("file_system_id",)}), aws("tag", holes=("file_system_id",))))
    apply(plan, Clients(kube=kube, aws=cloud), action="provision", params=PARAMS)
    assert kube.asked[0][2] == {"kind": "PersistentVolume", "handle": "fs-7"}
    assert cloud.made == [("make", {"id": "1"}), ("tag", {"id": "fs-7"})]


def test_a_dry_run_makes_nothing_outside_and_asks_the_server_of_the_rest() -> None:
    kube, cloud = Kube(), Cloud()
    runs = Change("shell", "run", Target("Cluster", "c"), "run it", argv=("no-such-program-here",))
    volume = Change(**{**vars(body("PersistentVolume", "v")), "holes": ("file_system_id",)})
    plan = Plan((runs, aws("make"), volume, body("Namespace", "young"), body("Service", "s", "young"), body("Service", "s", "old")))
    done = apply(plan, Clients(kube=kube, shell=Shell(), aws=cloud), action="provision", params=PARAMS, dry_run=True)
    assert [(path, dry) for path, dry, _ in kube.asked] == [
        ("/api/v1/persistentvolumes/v", "All"),
        ("/api/v1/namespaces/young", "All"),
        ("/api/v1/namespaces/old/services/s", "All"),
    ]
    assert kube.asked[0][2]["handle"] == "known-later-file-system-id"
    assert (cloud.made, len(done.changes), done.journal_id) == ([], 6, None)


def test_every_program_is_looked_for_before_the_first_change(state: Path) -> None:
    cloud = Cloud()
    runs = Change("shell", "run", Target("Cluster", "c"), "run it", argv=("no-such-program-here",))
    with pytest.raises(NotFound) as error:
        apply(Plan((aws("make"), runs)), Clients(shell=Shell(), aws=cloud), action="provision", params=PARAMS)
    assert (cloud.made, error.value.hint) == ([], install_line("no-such-program-here"))
    assert not (state / "journal.jsonl").exists()


def test_a_failure_in_aws_is_placed_and_says_how_to_go_on(state: Path) -> None:
    cloud = Cloud(failure=ActionFailed("AWS fsx create_file_system: ServiceLimitExceeded", "ask for more"))
    with pytest.raises(ApplyFailed) as error:
        apply(Plan((body("Namespace", "n"), aws("make"))), Clients(kube=Kube(), aws=cloud), action="provision", params=PARAMS)
    assert error.value.message == "step 2 of 2, make it: AWS fsx create_file_system: ServiceLimitExceeded"
    assert error.value.hint.splitlines() == ["ask for more", "then run the same again: it plans from what exists"]
    assert (error.value.code, len(error.value.result.changes)) == ("action-failed", 1)


def test_a_program_reads_its_body_and_its_words_are_kept(state: Path) -> None:
    words: list[str] = []
    change = Change(
        "shell",
        "run",
        Target("Cluster", "c"),
        "run it",
        body={"kind": "Config", "name": "a b"},
        argv=(shutil.which("sh") or "", "-c", "cat; echo $MORE >&2"),
        env={"MORE": "seen"},
    )
    done = apply(Plan((change,)), Clients(shell=Shell()), action="provision", params=PARAMS, tell=words.append)
    assert words == ["kind: Config", "name: a b", "seen"]
    log = state / "steps" / f"{done.journal_id}-1-sh.log"
    assert (log.read_text(), log.stat().st_mode & 0o777) == ("kind: Config\nname: a b\nseen\n", 0o600)


def test_what_acts_beyond_the_cluster_is_never_simulated() -> None:
    assert Plan(real=True, confirm="x").on(True) == Plan(real=True, confirm="x")
    assert Plan(confirm="x").on(True).simulated
