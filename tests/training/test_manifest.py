"""training/manifest.py and lineage.py: what is whole, what is torn, what may be deleted, what may be loaded; without torch."""

import fcntl
import json
import random
import subprocess
import sys
from pathlib import Path

import pytest

from training import manifest
from training.lineage import READS, expendable, refusal
from training.manifest import CHUNK_BYTES, FolderPlace, Manifest, NotWhole, crc32_of, entry_of, parse, verdicts, verify

SIZES = {"__0_0.distcp": 70_000, "__1_0.distcp": 65_536, ".metadata": 4_000, "rng_0.pt": 5_000, "empty": 0}


def commit(place: Path, step: int, sequence: int = 1, strategy: str = "ddp", world_size: int = 2, stage: int = 0) -> Manifest:
    """A whole checkpoint of random bytes."""
    folder = place / entry_of(step)
    folder.mkdir(parents=True)
    noise = random.Random(step)
    for name, size in SIZES.items():
        (folder / name).write_bytes(noise.randbytes(size))
    one = Manifest(
        step=step, sequence=sequence, strategy=strategy, format=READS[strategy], stage=stage, world_size=world_size,
        model="tiny", shapes={"a": [2, 3], "b": [4]}, data={"seed": 0, "step": step, "global_batch": 8}, rng="rng_{rank}.pt", folder="",
        files={name: crc32_of(folder / name) for name in SIZES}, code="c0de", versions={"torch": "2.13.0"}, time=1_795_000_000.5,
    )  # fmt: skip
    (folder / "manifest.json").write_bytes(one.dump())
    return one


def test_a_manifest_reads_back_and_a_checkpoint_is_whole(tmp_path):
    one = commit(tmp_path, 10)
    assert parse(one.dump()) == one
    (verdict,) = verdicts(FolderPlace(tmp_path), "full")
    assert (verdict.state, verdict.why, verdict.step, verdict.manifest) == ("whole", "", 10, one)
    assert verdict.row()["size_bytes"] == verdict.row()["read_bytes"] == sum(SIZES.values())


@pytest.mark.parametrize("seed", range(4))
def test_no_truncation_and_no_flipped_bit_is_taken_for_whole(tmp_path, seed):
    """50 wounds a seed, over every file of a checkpoint, its manifest included."""
    commit(tmp_path, 10)
    chance, place = random.Random(seed), FolderPlace(tmp_path)
    files = [path for path in sorted((tmp_path / entry_of(10)).iterdir()) if path.stat().st_size]
    for _ in range(50):
        file = chance.choice(files)
        sound = file.read_bytes()
        if chance.random() < 0.5:
            file.write_bytes(sound[: chance.randrange(len(sound))])
        else:
            position = chance.randrange(len(sound))
            file.write_bytes(sound[:position] + bytes([sound[position] ^ 1 << chance.randrange(8)]) + sound[position + 1 :])
        verdict = verify(place, entry_of(10), "full")
        assert verdict.state == "torn"
        assert verdict.why
        assert "\n" not in verdict.why
        file.write_bytes(sound)
    assert verify(place, entry_of(10), "full").state == "whole"


def test_samples_find_a_flipped_bit_where_they_look_and_full_everywhere(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "CHUNK_BYTES", 1_000)
    commit(tmp_path, 10)
    place, file = FolderPlace(tmp_path), tmp_path / entry_of(10) / "__0_0.distcp"
    sound = file.read_bytes()
    file.write_bytes(sound[:-1] + bytes([sound[-1] ^ 1]))
    assert "__0_0.distcp fails its checksum 69000 to 70000 bytes in" in verify(place, entry_of(10), "sampled").why
    file.write_bytes(sound[:35_500] + bytes([sound[35_500] ^ 1]) + sound[35_501:])
    assert verify(place, entry_of(10), "sizes").state == "whole"
    assert verify(place, entry_of(10), "full").state == "torn"


def test_a_sampled_verdict_says_how_much_it_has_read(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "CHUNK_BYTES", 1_000)
    commit(tmp_path, 10)
    place = FolderPlace(tmp_path)
    read = {depth: verify(place, entry_of(10), depth).read_bytes for depth in ("sizes", 0, 1, 7, "sampled", 10**6, "full")}
    assert read["sizes"] == read[0] == 0
    assert read[1] in (536, 1_000)
    assert 6_536 <= read[7] <= 7_000
    assert 7_536 <= read["sampled"] <= 11_536
    assert read[10**6] == read["full"] == sum(SIZES.values())
    (tmp_path / entry_of(10) / "rng_0.pt").unlink()
    assert verify(place, entry_of(10), "full").read_bytes is None


def test_random_samples_come_to_every_chunk_in_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr(manifest, "CHUNK_BYTES", 1_000)
    one = commit(tmp_path, 10)
    seen: set[tuple[str, int]] = set()
    for _ in range(400):
        drawn = manifest.chunks(one, 7)
        assert len(set(drawn)) == 7
        seen |= set(drawn)
    assert seen == set(manifest.chunks(one))


def test_a_file_longer_than_a_chunk_has_a_checksum_for_each(tmp_path):
    (tmp_path / "long").write_bytes(bytes(CHUNK_BYTES + 1))
    assert (crc32_of(tmp_path / "long").bytes, len(crc32_of(tmp_path / "long").crc32)) == (CHUNK_BYTES + 1, 2)


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (b"", "not JSON"),
        (b"[" * 100_000, "not JSON"),
        (b"[]", "not one of training.checkpoint"),
        (b'{"step": 10}', "not one of training.checkpoint"),
        (b'{"version": 9, "checksum": ""}', "version '9', this program reads 1"),
        (b'{"version": 1, "checksum": ""}', "fails its own checksum"),
    ],
)
def test_a_manifest_of_somebody_else_is_said_to_be_one(text, why):
    with pytest.raises(NotWhole, match=why):
        parse(text)


def signed(**changes) -> bytes:
    body = {"version": 1, "step": 1} | changes
    return json.dumps({**body, "checksum": manifest._checksum(body)}).encode()


def test_a_manifest_with_its_checksum_right_and_its_fields_wrong_is_refused_too(tmp_path):
    one = json.loads(commit(tmp_path, 10).dump())
    del one["checksum"]
    for changes in ({"sequence": "high"}, {"step": True}, {"files": []}, {"files": {"a": {"bytes": 5, "crc32": []}}}):
        with pytest.raises(NotWhole, match="lacks fields"):
            parse(signed(**(one | changes)))
    for name in ("/etc/passwd", "../../etc/passwd"):
        with pytest.raises(NotWhole, match="outside the checkpoint"):
            parse(signed(**(one | {"files": {name: {"bytes": 0, "crc32": []}}})))


def test_what_is_missing_is_named(tmp_path):
    place = FolderPlace(tmp_path)
    commit(tmp_path, 10)
    commit(tmp_path, 20)
    (tmp_path / entry_of(10) / "rng_0.pt").unlink()
    (tmp_path / entry_of(20)).rename(tmp_path / entry_of(30))
    (tmp_path / entry_of(40)).mkdir()
    (tmp_path / "checkpoint-500").mkdir()
    whys = [verdict.why for verdict in verdicts(place)]
    assert whys[:2] == ["rng_0.pt is missing", "manifest.json is of step 20"]
    assert whys[2].startswith("it has no manifest.json")
    assert len(whys) == 3


def test_what_cannot_be_read_is_torn_and_says_so(tmp_path):
    commit(tmp_path, 10)
    file = tmp_path / entry_of(10) / "manifest.json"
    file.unlink()
    file.symlink_to(file.name)  # a loop
    verdict = verify(FolderPlace(tmp_path), entry_of(10))
    assert verdict.state == "torn"
    assert verdict.why == "it cannot be read: Too many levels of symbolic links"


def test_an_unfinished_one_is_in_progress_while_its_writer_lives(tmp_path):
    aside = ".step_00000020.tmp-abc"
    (tmp_path / aside).mkdir()
    place = FolderPlace(tmp_path)
    assert [(one.state, one.why) for one in verdicts(place)] == [("torn", "its writer died before it was committed")]
    with (tmp_path / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert [one.state for one in verdicts(place)] == ["in progress"]
    assert [one.state for one in verdicts(place)] == ["torn"]


def test_retention_keeps_the_last_committed_and_the_milestones(tmp_path):
    for sequence, step in enumerate((100, 150, 200, 250, 120, 130)):
        commit(tmp_path, step, sequence)
    found = list(verdicts(FolderPlace(tmp_path)))
    assert sorted(expendable(found, keep_last=2, keep_every=100)) == [entry_of(150), entry_of(250)]
    assert entry_of(130) not in expendable(found, keep_last=0)
    (tmp_path / entry_of(130) / "empty").unlink()  # the last is torn now: the last whole one is another
    found = list(verdicts(FolderPlace(tmp_path)))
    assert sorted(expendable(found, keep_last=1)) == [entry_of(step) for step in (100, 150, 200, 250)]


def test_what_may_go_on_from_what(tmp_path):
    ddp, zero = commit(tmp_path, 10), commit(tmp_path, 20, strategy="zero", stage=2)
    assert refusal(ddp, "fsdp", {"a": [2, 3], "b": [4]}, seed=0) == ""
    assert "of zero, in the format deepspeed; zero can load it, fsdp cannot" in refusal(zero, "fsdp")
    assert "ddp, fsdp, amx can load it, zero cannot" in refusal(ddp, "zero")
    assert refusal(zero, "zero", stage=1) == ""
    assert "use --stage 2" in refusal(zero, "zero", stage=3)
    assert "a is [2, 3] there and [2, 5] here" in refusal(ddp, "ddp", {"a": [2, 5], "b": [4]})
    assert "b is [4] there and absent here" in refusal(ddp, "ddp", {"a": [2, 3]})
    assert "use --seed 0" in refusal(ddp, "ddp", seed=1)


def test_it_runs_alone_from_stdin_as_in_a_pod(tmp_path):
    commit(tmp_path, 10)
    commit(tmp_path, 20)
    (tmp_path / entry_of(20) / ".metadata").write_bytes(b"")
    with open(manifest.__file__, "rb") as source:
        done = subprocess.run([sys.executable, "-I", "-", str(tmp_path), "--full", "--json"], stdin=source, capture_output=True, check=True)
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [(row["step"], row["state"], row["why"]) for row in rows] == [(10, "whole", ""), (20, "torn", ".metadata has 0 bytes, 4000 were written")]
    assert (rows[0]["strategy"], rows[0]["world_size"], rows[1]["strategy"]) == ("ddp", 2, None)


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        ([], "whole: 144,536 of 144,536 bytes read"),
        (["--sample", "0"], "whole: 0 of 144,536 bytes read"),
        (["--full"], "whole: 144,536 of 144,536 bytes read"),
    ],
)
def test_a_line_for_people_says_what_was_read(tmp_path, flags, said):
    commit(tmp_path, 10)
    (tmp_path / entry_of(20)).mkdir()
    done = subprocess.run([sys.executable, "-I", manifest.__file__, str(tmp_path), *flags], capture_output=True, text=True, check=True)
    whole, torn = done.stdout.splitlines()
    assert whole == f"{entry_of(10)}  {said}"
    assert torn.startswith(f"{entry_of(20)}  torn: it has no manifest.json")


@pytest.mark.parametrize("flags", [("--sample", "-1"), ("--sample", "all"), ("--sample", "3", "--full")])
def test_a_sample_that_cannot_be_taken_is_refused(tmp_path, flags):
    done = subprocess.run([sys.executable, "-I", manifest.__file__, str(tmp_path), *flags], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "--sample" in done.stderr


def test_it_imports_the_standard_library_alone():
    wanted = "import sys, training.lineage; print({m.partition('.')[0] for m in sys.modules} - sys.stdlib_module_names - {'training'})"
    done = subprocess.run([sys.executable, "-S", "-c", wanted], capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2])
    assert done.stdout.strip() in ("set()", "{'__main__'}")


def test_a_folder_that_is_not_there_is_one_line(tmp_path):
    command = [sys.executable, manifest.__file__, str(tmp_path / "nowhere")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1
