"""Real checkpoints of DCP and of ZeRO, truncated and with bits flipped: none is taken for whole, and a run says in one line what it passes over."""

import random
from importlib.util import find_spec
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import lines, process_group, trained  # noqa: E402, F401

from training.manifest import FolderPlace, entry_of, verify  # noqa: E402

WOUNDS = 100
NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")


def files_of(place: Path, step: int) -> list[Path]:
    return sorted(path for path in (place / entry_of(step)).rglob("*") if path.is_file() and path.stat().st_size)


def wound(file: Path, chance: random.Random) -> None:
    """Cut the file off somewhere, or flip one of its bits."""
    sound = file.read_bytes()
    position = chance.randrange(len(sound))
    flipped = sound[:position] + bytes([sound[position] ^ 1 << chance.randrange(8)]) + sound[position + 1 :]
    file.write_bytes(chance.choice((flipped, sound[:position])))


def no_wound_is_taken_for_whole(place: Path, step: int, seed: int) -> None:
    chance, files = random.Random(seed), files_of(place, step)
    wounded = set()
    for _ in range(WOUNDS):
        file = chance.choice(files)
        wounded.add(file.name)
        sound = file.read_bytes()
        wound(file, chance)
        verdict = verify(FolderPlace(place), entry_of(step), "full")
        assert verdict.state == "torn"
        assert file.name in verdict.why
        assert len(verdict.why.splitlines()) == 1
        file.write_bytes(sound)
    assert wounded == {file.name for file in files}
    assert verify(FolderPlace(place), entry_of(step), "full").state == "whole"


def test_a_checkpoint_of_dcp(tmp_path, capsys):
    trained(tmp_path, "--steps", "4", "--checkpoint-every", "2")
    no_wound_is_taken_for_whole(tmp_path, 4, seed=1)
    lines(capsys)
    chance = random.Random(2)
    for file in files_of(tmp_path, 4):
        sound = file.read_bytes()
        wound(file, chance)
        trained(tmp_path, "--steps", "5", "--keep-last", "9")
        said, err = lines(capsys)
        assert said[0]["resumed_from"] == 2
        assert len(err.splitlines()) == 1
        assert f"checkpoint {entry_of(4)} is passed over: " in err
        assert file.name in err
        file.write_bytes(sound)
        for later in files_of(tmp_path, 5):
            later.unlink()
        (tmp_path / entry_of(5)).rmdir()


@NEEDS_DEEPSPEED
def test_a_checkpoint_of_zero(fork_ranks, tmp_path):
    place = tmp_path / "place"
    flags = ("--stage", "2", "--device", "cpu", "--checkpoint-dir", str(place), "--checkpoint-every", "2")
    ranks = fork_ranks("--steps", "4", *flags, strategy="zero")
    assert [one.wait() for one in ranks] == [0, 0], ranks[0].stderr()
    no_wound_is_taken_for_whole(place, 4, seed=3)
    wound(place / entry_of(4) / "deepspeed" / "zero_pp_rank_1_mp_rank_00_optim_states.pt", random.Random(4))
    ranks = fork_ranks("--steps", "5", *flags, strategy="zero")
    assert [one.wait() for one in ranks] == [0, 0], ranks[0].stderr()
    assert ranks[0].events("start")[0]["resumed_from"] == 2
    (line,) = [line for line in ranks[0].stderr().splitlines() if line.startswith("warning: ")]
    assert f"checkpoint {entry_of(4)} is passed over: deepspeed/zero_pp_rank_1_mp_rank_00_optim_states.pt " in line
    assert "warning: " not in ranks[1].stderr()
