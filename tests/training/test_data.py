"""Texts and datasets as data: each sample once an epoch, the same on any number of ranks, gone on from where a checkpoint was."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import lines, process_group, refused, steps, trained  # noqa: E402, F401

from training.data import Stream  # noqa: E402
from training.texts import BadData, Text, open_data  # noqa: E402

CONTEXT = 16


@pytest.fixture
def folder(tmp_path):
    """Three documents and a hidden one; a sample may lie across two of them."""
    place = tmp_path / "text"
    (place / "deeper").mkdir(parents=True)
    (place / "a.txt").write_text("abcdefghij" * 9)
    (place / "b.txt").write_text("")
    (place / "deeper" / "c.txt").write_text("0123456789" * 5)
    (place / ".hidden").write_text("not this")
    return place


def text(folder, seed=0) -> Text:
    return open_data(str(folder), seed, 256, CONTEXT)


def test_an_epoch_takes_each_sample_once_and_the_next_in_another_order(folder):
    one = text(folder)
    whole = b"abcdefghij" * 9 + b"\0\0" + b"0123456789" * 5 + b"\0"
    every = [whole[start : start + CONTEXT + 1] for start in range(0, len(whole) - CONTEXT, CONTEXT)]
    epochs = [[bytes(one.sample(1, 0, epoch * one.count + place).tolist()) for place in range(one.count)] for epoch in range(2)]
    assert [sorted(epoch) for epoch in epochs] == [sorted(every)] * 2
    assert epochs[0] != epochs[1]
    assert epochs[0] != [bytes(text(folder, seed=1).sample(1, 0, place).tolist()) for place in range(one.count)]


def test_a_file_is_a_folder_of_one(folder):
    assert bytes(text(folder / "a.txt").read(0, 91)) == b"abcdefghij" * 9 + b"\0"


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_ranks_shares_joined_are_the_global_batch(folder, world_size):
    whole = Stream(text(folder), 8).batch_at(3)[0]
    shares = [Stream(text(folder), 8 // world_size, rank, world_size).batch_at(3)[0] for rank in range(world_size)]
    assert torch.equal(torch.cat(shares), whole)


def test_another_global_batch_goes_on_with_the_samples_that_were_not_taken(folder):
    before = Stream(text(folder), 4)
    after = Stream(text(folder), 2, step=3, taken=before.position(3)["samples"])
    rest = torch.cat([after.batch_at(step)[0] for step in (4, 5)])
    assert torch.equal(rest, before.batch_at(4)[0])
    assert after.position(5)["samples"] == before.position(4)["samples"] == 16


def test_training_on_a_text_goes_on_bit_for_bit(folder, tmp_path, capsys):
    flags = ("--data", str(folder), "--context", str(CONTEXT), "--steps", "6", "--checkpoint-every", "3", "--keep-last", "9")
    trained(tmp_path / "place", *flags)
    whole = steps(lines(capsys)[0])
    trained(tmp_path / "place", *flags, "--resume", "3")
    said, _ = lines(capsys)
    assert steps(said) == {step: whole[step] for step in (4, 5, 6)}
    assert said[0]["data"] == str(folder)


def test_data_that_changed_are_refused_until_they_are_asked_for(folder, tmp_path, capsys):
    flags = ("--data", str(folder), "--context", str(CONTEXT), "--steps", "2")
    trained(tmp_path / "place", *flags)
    lines(capsys)
    (folder / "a.txt").write_text("abcdefghiJ" * 9)  # as long as it was
    assert "the checkpoint of step 2 is of other data (data_bytes 143" in refused(capsys, tmp_path / "place", *flags)
    assert "now synthetic" in refused(capsys, tmp_path / "place", "--context", str(CONTEXT), "--steps", "2")
    assert trained(tmp_path / "place", *flags, "--steps", "3", "--new-data") == 0
    assert list(steps(lines(capsys)[0])) == [3]


def test_data_that_are_not_there_or_too_short_are_one_line_and_2(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "short").write_text("twelve bytes")
    whys = {"nowhere": "there is no such file or folder", "empty": "the text has 0", "short": "one sample takes 33 bytes (--context 32"}
    for name, why in whys.items():
        said = refused(capsys, tmp_path / "place", "--data", str(tmp_path / name))
        assert said.startswith(f"error: --data {tmp_path / name}: ")
        assert why in said


def test_a_model_that_knows_too_few_tokens_is_told(folder):
    with pytest.raises(BadData, match="the model knows 255 tokens, not 256"):
        open_data(str(folder), 0, 255, CONTEXT)


def test_a_file_that_shrinks_under_the_training_is_named(folder):
    one = text(folder)
    (folder / "a.txt").write_text("gone")
    with pytest.raises(OSError, match=r"a\.txt has become shorter"):
        one.read(0, CONTEXT)


@pytest.mark.parametrize("split", [False, True])
def test_a_folder_of_datasets_is_read_by_its_column_of_text(tmp_path, split):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (pip install '.[hub]')")
    rows = datasets.Dataset.from_dict({"number": [1, 2, 3], "text": ["first row", None, "dritte Zeile äö"]})
    (datasets.DatasetDict({"train": rows, "test": rows.select([0])}) if split else rows).save_to_disk(tmp_path / "rows")
    whole = b"first row\0\0" + "dritte Zeile äö\0".encode()
    one = open_data(str(tmp_path / "rows"), 0, 256, 8)
    assert one.read(0, len(whole)) == whole
    assert one.identity["data_bytes"] == len(whole)


def test_a_dataset_without_text_and_one_that_cannot_be_had_are_told(tmp_path, monkeypatch):
    datasets = pytest.importorskip("datasets", reason="datasets is not installed (pip install '.[hub]')")
    datasets.Dataset.from_dict({"number": [1, 2, 3]}).save_to_disk(tmp_path / "rows")
    with pytest.raises(BadData, match="no column holds text; there are: number"):
        open_data(str(tmp_path / "rows"), 0, 256, 8)
    monkeypatch.setattr("training.hub.hub_is_reachable", lambda: False)
    monkeypatch.setattr("datasets.load_dataset", lambda *_: (_ for _ in ()).throw(ConnectionError("no route")))
    with pytest.raises(BadData, match="not in the cache of this machine"):
        open_data("hf-dataset:wikitext:wikitext-2-raw-v1", 0, 256, 8)
