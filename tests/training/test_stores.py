"""Where checkpoints are kept: the folder and its lock, and a bucket of moto's behind a proxy that fails one request in five."""

import os
import signal
import socket
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from training import stores
from training.lineage import READS
from training.manifest import Manifest, crc32_of, entry_of, verdicts
from training.stores import Folder, Locked, open_store

REPOSITORY = Path(__file__).parents[2]


def written(store, step: int, attempt: str = "a1", text: bytes = b"weights") -> Manifest:
    """Files begun and published, and the manifest that would commit them."""
    folder = store.begin(step, attempt)
    (folder / "data").write_bytes(text)
    (folder / "deep").mkdir(exist_ok=True)
    (folder / "deep" / "more").write_bytes(text * 1000)
    names = ["data", "deep/more"]
    files = {name: crc32_of(folder / name) for name in names}
    store.publish(step, attempt, names)
    return Manifest(
        step=step, sequence=1, strategy="ddp", format=READS["ddp"], stage=0, world_size=2, model="tiny", shapes={},
        data={"seed": 0, "step": step, "global_batch": 8}, rng="", folder="" if store.shared else attempt,
        files=files, code="", versions={}, time=0.0,
    )  # fmt: skip


def states(store) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(store, "full")}


# a folder


def test_nothing_is_there_until_it_is_committed(tmp_path):
    store = Folder(str(tmp_path / "new" / "place"))
    store.lock()
    one = written(store, 10)
    assert states(store) == {10: "in progress"}
    store.commit(one, "a1")
    assert states(store) == {10: "whole"}
    assert (store.path / "latest").read_text() == "step_00000010\n"
    assert (store.fetch(entry_of(10), one, "a1") / "deep" / "more").read_bytes() == b"weights" * 1000
    store.remove(entry_of(10))
    assert states(store) == {}


def test_an_abandoned_one_leaves_nothing_and_the_one_before_untouched(tmp_path):
    store = Folder(str(tmp_path))
    store.lock()
    store.commit(written(store, 10), "a1")
    written(store, 20)
    store.abandon(20, "a1")
    assert states(store) == {10: "whole"}
    assert not list(tmp_path.glob(".step*"))


def test_a_step_saved_again_replaces_the_one_that_was_there(tmp_path):
    store = Folder(str(tmp_path))
    store.lock()
    store.commit(written(store, 10), "a1")
    store.commit(written(store, 10, "b2", b"better"), "b2")
    assert states(store) == {10: "whole"}
    assert (tmp_path / entry_of(10) / "data").read_bytes() == b"better"


@pytest.mark.parametrize("last_call", range(1, 9))
def test_a_writer_that_dies_anywhere_in_a_commit_loses_neither_the_old_nor_the_new(tmp_path, monkeypatch, last_call):
    store = Folder(str(tmp_path))
    store.lock()
    store.commit(written(store, 10), "a1")
    again = written(store, 10, "b2", b"better")
    calls = 0

    def dying(call):
        def _call(*args, **kwargs):
            nonlocal calls
            calls += 1
            if calls >= last_call:
                raise KeyboardInterrupt
            return call(*args, **kwargs)

        return _call

    with monkeypatch.context() as patch:
        for name in ("rename", "replace", "write_bytes"):
            patch.setattr(Path, name, dying(getattr(Path, name)))
        patch.setattr(stores, "fsync", dying(stores.fsync))
        with pytest.raises(KeyboardInterrupt):
            store.commit(again, "b2")
    store.unlock()
    heir = Folder(str(tmp_path))
    heir.lock()
    assert states(heir) == {10: "whole"}
    assert not list(tmp_path.glob(".step*"))


def test_the_lock_refuses_a_second_job_and_dies_with_its_owner(tmp_path):
    code = "import sys, time; from training.stores import Folder; Folder(sys.argv[1]).lock(); print('held', flush=True); time.sleep(600)"
    owner = subprocess.Popen([sys.executable, "-c", code, str(tmp_path)], cwd=REPOSITORY, stdout=subprocess.PIPE)
    try:
        assert owner.stdout.readline() == b"held\n"
        with pytest.raises(Locked, match=rf"another job writes checkpoints to {tmp_path}: process {owner.pid} on {socket.gethostname()}"):
            Folder(str(tmp_path)).lock()
        os.kill(owner.pid, signal.SIGKILL)
    finally:
        owner.kill()
        owner.wait()
        owner.stdout.close()
    Folder(str(tmp_path)).lock()


def test_a_lock_file_cannot_speak_to_the_terminal(tmp_path):
    holder = Folder(str(tmp_path))
    holder.lock()
    (tmp_path / ".lock").write_bytes(b"\x1b]0;owned\x07\nsecond line")
    with pytest.raises(Locked) as refused:
        Folder(str(tmp_path)).lock()
    assert "\x1b" not in str(refused.value)
    assert "\n" not in str(refused.value)


# a bucket


def test_a_bucket_saves_lists_verifies_fetches_and_forgets(flaky):
    store = open_store("s3://runs/team/run7")
    store.lock()
    try:
        one = written(store, 10)
        assert states(store) == {10: "in progress"}
        store.commit(one, "a1")
        store.tidy(10, "a1")
        assert states(store) == {10: "whole"}
        folder = store.fetch(entry_of(10), one, "r")
        assert (folder / "deep" / "more").read_bytes() == b"weights" * 1000
        better = written(store, 10, "b2", b"better")
        store.commit(better, "b2")
        assert states(store) == {10: "whole"}
        assert {path.partition("/")[0] for path in store.sizes(entry_of(10))} == {"b2", "manifest.json"}
        written(store, 20)
        store.abandon(20, "a1")
        assert states(store) == {10: "whole"}
        store.remove(entry_of(10))
        assert states(store) == {}
    finally:
        store.unlock()


def test_with_one_request_in_five_failing_nothing_torn_is_committed(flaky, monkeypatch):
    monkeypatch.setattr("botocore.retryhandler.random.random", lambda: 0.01, raising=False)
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)
    monkeypatch.setattr(flaky, "share", 0.2)
    store, committed, failed = open_store("s3://runs/flaky"), [], 0
    store.lock()
    try:
        for step in range(1, 13):
            try:
                store.commit(written(store, step, f"a{step}"), f"a{step}")
                committed.append(step)
            except OSError as error:
                assert "\n" not in str(error)
                failed += 1
                store.abandon(step, f"a{step}")
        monkeypatch.setattr(flaky, "share", 0.0)
        found = states(store)
        assert len(committed) >= 10, f"{failed} failed"
        assert {step: state for step, state in found.items() if state == "whole"} == dict.fromkeys(committed, "whole")
    finally:
        monkeypatch.setattr(flaky, "share", 0.0)
        store.unlock()


def test_a_store_that_denies_writing_says_so_and_keeps_what_there_is(flaky, monkeypatch):
    store = open_store("s3://runs/denied")
    store.lock()
    try:
        store.commit(written(store, 10), "a1")
        monkeypatch.setattr(flaky, "refused", (403, ""))
        with pytest.raises(OSError, match="AccessDenied"):
            written(store, 20)
        assert states(store)[10] == "whole"
    finally:
        monkeypatch.setattr(flaky, "refused", None)
        store.unlock()
    with pytest.raises(OSError, match="NoSuchBucket"):
        open_store("s3://nowhere/run").lock()


def test_a_short_upload_is_not_committed(flaky):
    store = open_store("s3://runs/short")
    one = written(store, 10)
    longer = replace(one, files={**one.files, "data": replace(one.files["data"], bytes=8)})
    with pytest.raises(OSError, match="data did not arrive whole"):
        store.commit(longer, "a1")
    assert "manifest.json" not in store.sizes(entry_of(10))


def test_the_lease_refuses_a_second_job_while_it_is_renewed_and_is_taken_over_when_it_is_old(flaky, monkeypatch):
    from training import s3

    monkeypatch.setattr(s3, "LEASE_SECONDS", 3.0)
    monkeypatch.setattr(s3, "RENEW_SECONDS", 0.5)
    owner = open_store("s3://runs/run")
    owner.lock()
    assert owner.writing()
    with pytest.raises(Locked, match="another job writes checkpoints to s3://runs/run"):
        open_store("s3://runs/run").lock()
    owner._lost = "its process was stopped"
    owner._given_up.set()  # it renews no more
    heir = open_store("s3://runs/run")
    heir.lock()
    with pytest.raises(OSError, match="its process was stopped"):
        owner.commit(written(owner, 10), "a1")
    heir.unlock()
    assert not heir.writing()
