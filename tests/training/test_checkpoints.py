"""training/checkpoint.py on one rank, in this process: what is saved, kept, found, refused, and said."""

import os
import random
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import ALONE, lines, process_group, refused, steps, trained  # noqa: E402, F401

from training import loop  # noqa: E402
from training.checkpoint import CannotResume, Checkpoints, Run  # noqa: E402
from training.dcp import Dcp  # noqa: E402
from training.manifest import FolderPlace, entry_of, verdicts  # noqa: E402
from training.options import read_options  # noqa: E402
from training.ranks import Rank  # noqa: E402
from training.stores import Folder, open_store  # noqa: E402


def there(place: Path) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(FolderPlace(place), "full")}


def wound(place: Path, step: int, name: str = ".metadata") -> None:
    file = place / entry_of(step) / name
    file.write_bytes(file.read_bytes()[:-1])


@pytest.mark.parametrize("strategy", ["ddp", "fsdp", "amx"])
def test_a_run_that_goes_on_is_the_run_that_never_stopped_bit_for_bit(tmp_path, capsys, strategy):
    assert trained(tmp_path / "a", "--steps", "16", strategy=strategy) == 0
    undisturbed = steps(lines(capsys)[0])
    state_after_16 = torch.get_rng_state()
    trained(tmp_path / "b", "--steps", "16", "--checkpoint-every", "6", strategy=strategy)
    lines(capsys)
    for step in (16,):
        Folder(str(tmp_path / "b")).remove(entry_of(step))
    assert trained(tmp_path / "b", "--steps", "16", strategy=strategy) == 0
    said, _ = lines(capsys)
    assert said[0]["resumed_from"] == 12
    assert steps(said) == {step: loss for step, loss in undisturbed.items() if step > 12}
    assert torch.equal(torch.get_rng_state(), state_after_16)


@pytest.mark.parametrize(("first", "then"), [("ddp", "fsdp"), ("fsdp", "ddp"), ("amx", "fsdp")])
def test_what_one_strategy_saved_another_goes_on_from(tmp_path, capsys, first, then):
    trained(tmp_path / "a", "--steps", "14", strategy=first)
    undisturbed = steps(lines(capsys)[0])
    trained(tmp_path / "b", "--steps", "14", "--checkpoint-every", "7", strategy=first)
    Folder(str(tmp_path / "b")).remove(entry_of(14))
    lines(capsys)
    trained(tmp_path / "b", "--steps", "14", strategy=then)
    resumed = steps(lines(capsys)[0])
    assert list(resumed) == list(range(8, 15))
    assert list(resumed.values()) == pytest.approx([undisturbed[step] for step in resumed], rel=1e-5)


def test_checkpoints_are_kept_and_said_as_asked(tmp_path, capsys):
    trained(tmp_path, "--steps", "11", "--checkpoint-every", "2", "--keep-last", "2", "--keep-every", "4")
    assert there(tmp_path) == {4: "whole", 8: "whole", 10: "whole", 11: "whole"}
    assert (tmp_path / "latest").read_text() == f"{entry_of(11)}\n"
    said = [line for line in lines(capsys)[0] if line.get("event") == "checkpoint"]
    assert [(line["step"], line["state"]) for line in said] == [(step, "whole") for step in (2, 4, 6, 8, 10, 11)]
    assert all(line["size_bytes"] > 1_000_000 and 0 < line["stall_seconds"] <= line["seconds"] for line in said)
    (whole,) = [one.manifest for one in verdicts(FolderPlace(tmp_path)) if one.step == 11]
    assert (whole.strategy, whole.world_size, whole.model) == ("ddp", 1, "tiny")
    assert whole.data == {"seed": 0, "step": 11, "global_batch": 4, "samples": 44}
    assert whole.shapes["blocks.0.attention.keys.weight"] == [32, 64]
    assert whole.versions["torch"] == torch.__version__


def test_a_run_that_is_done_trains_no_more_and_one_asked_for_more_goes_on(tmp_path, capsys):
    trained(tmp_path, "--steps", "4")
    lines(capsys)
    assert trained(tmp_path, "--steps", "4") == 0
    said, _ = lines(capsys)
    assert [line["event"] for line in said] == ["start", "end"]
    assert said[-1]["step"] == 4
    trained(tmp_path, "--steps", "6")
    assert list(steps(lines(capsys)[0])) == [5, 6]


def test_a_torn_one_is_passed_over_with_a_word(tmp_path, capsys):
    trained(tmp_path, "--steps", "6", "--checkpoint-every", "2")
    wound(tmp_path, 6)
    lines(capsys)
    assert trained(tmp_path, "--steps", "7") == 0
    said, err = lines(capsys)
    assert said[0]["resumed_from"] == 4
    assert len(err.splitlines()) == 1
    assert "checkpoint step_00000006 is passed over: .metadata has " in err


@pytest.mark.parametrize("seed", range(3))
def test_a_flipped_bit_anywhere_is_found_before_it_is_loaded(tmp_path, capsys, seed):
    trained(tmp_path, "--steps", "4", "--checkpoint-every", "2")
    chance = random.Random(seed)
    file = chance.choice(sorted((tmp_path / entry_of(4)).iterdir()))
    data = bytearray(file.read_bytes())
    data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)
    file.write_bytes(data)
    lines(capsys)
    trained(tmp_path, "--steps", "5")
    said, err = lines(capsys)
    assert said[0]["resumed_from"] == 2
    assert len(err.splitlines()) == 1


def test_what_cannot_be_loaded_says_why(tmp_path, capsys):
    trained(tmp_path, "--steps", "4", "--checkpoint-every", "2")
    lines(capsys)
    assert "of another model, tiny: blocks.0.attention.keys.weight is [32, 64] there and [64, 192] here" in refused(
        capsys, tmp_path, "--model", "small"
    )
    assert "its data are of seed 0, this run's of seed 5; use --seed 0" in refused(capsys, tmp_path, "--seed", "5")
    assert "there is no checkpoint of step 3; there are: 2, 4" in refused(capsys, tmp_path, "--resume", "3")
    wound(tmp_path, 4)
    assert "the checkpoint of step 4 is torn: .metadata has" in refused(capsys, tmp_path, "--resume", "4")
    wound(tmp_path, 2)
    assert "none of 2 checkpoints is whole" in refused(capsys, tmp_path)
    assert there(tmp_path) == {2: "torn", 4: "torn"}
    assert trained(tmp_path, "--steps", "1", "--resume", "none") == 0


def test_an_earlier_step_can_be_gone_back_to_and_is_then_the_one_gone_on_from(tmp_path, capsys):
    trained(tmp_path, "--steps", "6", "--checkpoint-every", "2", "--lr", "0.01")
    trained(tmp_path, "--steps", "3", "--resume", "2", "--lr", "0.001")
    lines(capsys)
    trained(tmp_path, "--steps", "7")
    assert lines(capsys)[0][0]["resumed_from"] == 3  # not 6, which was abandoned


def test_a_batch_that_does_not_divide_over_the_new_ranks_is_refused_with_the_arithmetic(tmp_path, capsys):
    trained(tmp_path, "--steps", "2", "--global-batch", "5")
    lines(capsys)
    three = Rank(0, 0, 3, 0, ALONE.device, "gloo")
    (found,) = [one.manifest for one in verdicts(FolderPlace(tmp_path))]
    with pytest.raises(SystemExit):
        loop.on_the_same_batch(read_options("ddp", []), three, found)
    assert "the checkpoint's global batch of 5 over 3 ranks leaves 2 sequences over; 3 divides" in lines(capsys)[1]


def test_a_loss_that_blows_up_names_the_last_good_checkpoint(tmp_path, capsys):
    trained(tmp_path, "--steps", "4")
    lines(capsys)
    assert trained(tmp_path, "--steps", "9", "--lr", "1e30") == 3
    said, err = lines(capsys)
    assert err.rstrip().endswith("the last good checkpoint is of step 4")
    assert said[-1]["checkpoint"] == 4


class Full(Folder):
    """A folder on a disk that is full from a moment on."""

    full = False

    def publish(self, step: int, attempt: str, names: list[str]) -> None:
        if self.full:
            raise OSError(28, os.strerror(28))
        super().publish(step, attempt, names)


def test_a_save_that_fails_is_one_line_and_the_one_before_stays(tmp_path, capsys):
    store, said = Full(str(tmp_path)), []
    layer = torch.nn.Linear(3, 2)
    saves = Checkpoints(store, Run("ddp", "layer", seed=0))
    saves.tell = lambda **fields: said.append(fields)
    assert saves.find("auto") is None
    optimizer = torch.optim.AdamW(layer.parameters())
    layer(torch.ones(3)).sum().backward()
    optimizer.step()
    assert saves.load(Dcp(layer, optimizer)) == 0
    saves.save(1)
    saves.wait()
    store.full = True
    saves.save(2)
    saves.wait()
    store.full = False
    assert there(tmp_path) == {1: "whole"}
    assert not list(tmp_path.glob(".step*"))
    saves.save(3)
    saves.wait()
    saves.close()
    assert [(one["step"], one["state"]) for one in said] == [(1, "whole"), (2, "failed"), (3, "whole")]
    err = capsys.readouterr().err
    assert err == ("warning: the checkpoint of step 2 failed: rank 0: No space left on device; the last good one is step 1; training goes on\n")


def test_the_weights_saved_are_those_of_the_call_whatever_training_does_meanwhile(tmp_path):
    layer = torch.nn.Linear(3, 2)
    optimizer = torch.optim.SGD(layer.parameters(), lr=1.0)
    saves = Checkpoints(open_store(str(tmp_path)), Run("ddp", "layer", seed=0))
    saves.find("auto")
    saves.load(Dcp(layer, optimizer))
    torch.nn.init.constant_(layer.weight, 1.0)
    saves.save(1)
    torch.nn.init.constant_(layer.weight, 2.0)
    saves.wait()
    saves.close()
    again = Checkpoints(open_store(str(tmp_path)), Run("ddp", "layer", seed=0))
    again.find("1")
    assert again.load(Dcp(layer, optimizer)) == 1
    assert layer.weight.tolist() == [[1.0] * 3] * 2
    again.close()


def test_two_jobs_do_not_write_one_folder(tmp_path):
    saves = Checkpoints(open_store(str(tmp_path)), Run("ddp", "layer", seed=0))
    with pytest.raises(CannotResume, match="another job writes checkpoints to"):
        Checkpoints(open_store(str(tmp_path)), Run("ddp", "layer", seed=0))
    saves.close()
