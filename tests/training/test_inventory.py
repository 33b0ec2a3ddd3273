"""training.inventory: lists places as lines, deletes under the lock, never the last whole one."""

from __future__ import annotations

import fcntl
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from training.manifest import NAME, Manifest, crc32_of, entry_of

ROOT = Path(__file__).resolve().parents[2]


def checkpoint(folder: Path, step: int) -> Path:
    into = folder / entry_of(step)
    into.mkdir(parents=True)
    (into / "a.pt").write_bytes(b"x" * 100)
    manifest = Manifest(
        step=step, sequence=step, strategy="ddp", format="dcp", stage=0, world_size=2, model="tiny", shapes={"w": [2]},
        data={"seed": 3, "step": step, "global_batch": 8}, rng="", folder="", files={"a.pt": crc32_of(into / "a.pt")},
        code="", versions={}, time=5.0,
    )  # fmt: skip
    (into / NAME).write_bytes(manifest.dump())
    return into


def inventory(*words: Any) -> tuple[int, list[dict[str, Any]], str]:
    done = subprocess.run([sys.executable, "-m", "training.inventory", *map(str, words)], cwd=ROOT, capture_output=True, text=True, timeout=60)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr


def test_each_place_begins_with_a_line_and_one_that_is_not_there_holds_nothing(tmp_path: Path) -> None:
    checkpoint(tmp_path / "a", 10)
    (checkpoint(tmp_path / "a", 20) / "a.pt").write_bytes(b"short")
    code, lines, _ = inventory(tmp_path / "absent", tmp_path / "a")
    assert code == 0
    assert [(line["place"], line["error"], line["writing"]) for line in lines if "writing" in line] == [(0, "", False), (1, "", False)]
    whole, torn = (line for line in lines if "entry" in line)
    assert (whole["place"], whole["state"], whole["global_batch"], whole["seed"], whole["world_size"]) == (1, "whole", 8, 3, 2)
    assert (torn["state"], torn["why"]) == ("torn", "a.pt has 5 bytes, 100 were written")
    assert not (tmp_path / "absent").exists()


def test_the_lock_of_a_writer_is_seen_and_keeps_everything(tmp_path: Path) -> None:
    checkpoint(tmp_path, 10)
    checkpoint(tmp_path, 20)
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert inventory(tmp_path)[1][0]["writing"] is True
        code, lines, said = inventory(tmp_path, "--remove", "step_00000010")
    assert (code, lines) == (2, [])
    assert "another job writes checkpoints" in said
    assert (tmp_path / "step_00000010").exists()


def test_what_is_named_is_deleted_but_never_the_last_whole_one(tmp_path: Path) -> None:
    for step in (10, 20, 30):
        checkpoint(tmp_path, step)
    (tmp_path / "step_00000030" / "a.pt").unlink()
    (tmp_path / "other").mkdir()
    doomed = [word for entry in ("step_00000010", "step_00000020", "step_00000030", "step_00000040", "other") for word in ("--remove", entry)]
    code, lines, _ = inventory(tmp_path, *doomed)
    assert code == 0
    assert [(line["entry"], line["removed"]) for line in lines] == [
        ("step_00000010", True),
        ("step_00000020", False),
        ("step_00000030", True),
        ("step_00000040", False),
        ("other", False),
    ]
    assert sorted(path.name for path in tmp_path.iterdir() if not path.name.startswith(".")) == ["other", "step_00000020"]


@pytest.mark.parametrize("words", [("--verify", "deep", "/x"), (), ("/absent", "--remove", "step_00000010")])
def test_wrong_words_are_exit_2(words: tuple[str, ...]) -> None:
    assert inventory(*words)[0] == 2


def test_a_bucket_is_listed_and_pruned_by_the_same_program(flaky: Any) -> None:
    import boto3

    from cockpit.clients.object_store import ObjectStore
    from cockpit.clients.shell import Shell
    from cockpit.errors import ActionFailed, BadInput
    from tests.training.test_stores import written
    from training.stores import open_store

    store = open_store("s3://runs/t5")
    for step in (10, 20, 30):
        store.commit(replace(written(store, step, f"a{step}"), sequence=step), f"a{step}")
    boto3.client("s3").delete_object(Bucket="runs", Key="t5/step_00000030/a30/data")
    buckets = ObjectStore(Shell())
    lines = [json.loads(line) for line in buckets.run("inventory", ["s3://runs/t5", "s3://runs/absent", "s3://missing/x"], ["--verify", "full"])]
    heads = {line["place"]: line for line in lines if "writing" in line}
    assert (heads[0]["writing"], heads[1]["error"], heads[2]["writing"]) == (False, "", None)
    assert "NoSuchBucket" in heads[2]["error"]
    found = [(line["step"], line["state"], line["why"]) for line in lines if "entry" in line]
    assert found == [(10, "whole", ""), (20, "whole", ""), (30, "torn", "data is missing")]
    doomed = ["--remove", "step_00000010", "--remove", "step_00000020", "--remove", "step_00000030"]
    gone = [json.loads(line) for line in buckets.run("inventory", ["s3://runs/t5"], doomed)]
    assert [(line["entry"], line["removed"]) for line in gone] == [("step_00000010", True), ("step_00000020", False), ("step_00000030", True)]
    assert store.entries() == ["step_00000020"]
    with pytest.raises(BadInput):
        list(buckets.run("inventory", ["/etc"]))
    with pytest.raises(ActionFailed):
        list(buckets.run("inventory", ["s3://missing/x"], doomed))
