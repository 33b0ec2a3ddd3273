"""Training that saves to a bucket: a real endpoint of moto's, behind a proxy that refuses, breaks, is slow, or fails one request in five."""

import random

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import lines, process_group, steps, trained  # noqa: E402, F401
from test_survival import losses  # noqa: E402

from training import s3  # noqa: E402
from training.checkpoint import Checkpoints, Run  # noqa: E402
from training.dcp import Dcp  # noqa: E402
from training.manifest import entry_of, verdicts, verify  # noqa: E402
from training.stores import open_store  # noqa: E402


@pytest.fixture(autouse=True)
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ten tries as ever, but without the minutes between them."""
    monkeypatch.setattr("botocore.retries.standard.ExponentialBackoff.delay_amount", lambda self, context: 0.01)


def there(place: str) -> dict[int, str]:
    return {one.step: one.state for one in verdicts(open_store(place), "full")}


def objects(place: str, step: int) -> dict[str, str]:
    """Every object of a checkpoint with its tag."""
    store = open_store(place)
    found = store.s3.list_objects_v2(Bucket=store.bucket, Prefix=f"{store.prefix}{entry_of(step)}/")
    return {one["Key"]: one["ETag"] for one in found["Contents"]}


class Layer:
    """The smallest thing that is trained and saved."""

    def __init__(self, place: str) -> None:
        self.layer, self.said = torch.nn.Linear(3, 2), []
        self.optimizer = torch.optim.AdamW(self.layer.parameters())
        self.saves = Checkpoints(open_store(place), Run("ddp", "layer", seed=0))
        self.saves.tell = lambda **fields: self.said.append(fields)
        self.saves.find("auto")
        self.done = self.saves.load(Dcp(self.layer, self.optimizer))

    def save(self, step: int, weight: float) -> None:
        torch.nn.init.constant_(self.layer.weight, weight)
        self.layer(torch.ones(3)).sum().backward()
        for slot in self.optimizer.param_groups:
            slot["lr"] = 0.0
        self.optimizer.step()
        self.saves.save(step)
        self.saves.wait()


def test_a_bucket_that_fails_one_request_in_five_is_trained_with_and_gone_on_from(flaky, monkeypatch, capsys):
    place = "s3://runs/trained"
    trained(place, "--steps", "8", "--checkpoint-every", "4")
    undisturbed = steps(lines(capsys)[0])
    open_store(place).remove(entry_of(8))
    monkeypatch.setattr(flaky, "share", 0.2)
    assert trained(place, "--steps", "8") == 0
    said, _ = lines(capsys)
    assert said[0]["resumed_from"] == 4
    assert steps(said) == {step: loss for step, loss in undisturbed.items() if step > 4}
    monkeypatch.setattr(flaky, "share", 0.0)
    assert {one.step: one.state for one in verdicts(open_store(place), "full")} == {4: "whole", 8: "whole"}


@pytest.mark.parametrize(
    ("refused", "why"),
    [((403, ""), "AccessDenied"), ((500, ""), "InternalError"), ((403, "manifest.json"), "AccessDenied"), ((500, "manifest.json"), "InternalError")],
    ids=["403", "500", "403 for the manifest", "500 for the manifest"],
)
def test_a_bucket_that_refuses_while_it_is_saved_to_costs_one_line_and_no_checkpoint(flaky, monkeypatch, capsys, tmp_path, refused, why):
    place = f"s3://runs/refused-{refused[0]}{refused[1]}"  # moto keeps its buckets until the process ends
    trainee = Layer(place)
    trainee.save(1, 1.0)
    before = objects(place, 1)
    monkeypatch.setattr(flaky, "refused", refused)
    trainee.save(2, 2.0)
    monkeypatch.setattr(flaky, "refused", None)
    assert there(place) == {1: "whole"}  # what was written of the second is gone
    assert objects(place, 1) == before
    assert not list(tmp_path.glob("checkpoint-*/*"))
    trainee.save(3, 3.0)
    trainee.saves.close()
    assert [(one["step"], one["state"]) for one in trainee.said] == [(1, "whole"), (2, "failed"), (3, "whole")]
    err = lines(capsys)[1]
    assert len(err.splitlines()) == 1
    assert "the checkpoint of step 2 failed: " in err
    assert why in err
    assert err.endswith("; the last good one is step 1; training goes on\n")
    again = Layer(place)
    again.saves.close()
    assert (again.done, again.layer.weight.tolist()) == (3, [[3.0] * 3] * 2)


def test_a_bucket_that_hangs_while_it_is_saved_to_is_given_up(flaky, monkeypatch, capsys):
    from botocore.config import Config

    monkeypatch.setattr(s3, "CONFIG", Config(retries={"mode": "standard", "max_attempts": 2}, connect_timeout=2, read_timeout=0.5))
    place = "s3://runs/hangs"
    trainee = Layer(place)
    trainee.save(1, 1.0)
    monkeypatch.setattr(flaky, "pause_seconds", 2.0)
    trainee.save(2, 2.0)
    monkeypatch.setattr(flaky, "pause_seconds", 0.0)
    monkeypatch.setattr(s3, "CONFIG", Config())
    trainee.saves.close()
    err = lines(capsys)[1]
    assert [(one["step"], one["state"]) for one in trainee.said] == [(1, "whole"), (2, "failed")]
    assert len(err.splitlines()) == 1
    assert "timeout" in err.lower()
    assert there(place)[1] == "whole"
    assert "whole" not in there(place).get(2, "")


def test_a_slow_bucket_does_not_hold_training_up(flaky, monkeypatch, capsys):
    monkeypatch.setattr(flaky, "pause_seconds", 0.2)
    trained("s3://runs/slow", "--steps", "12", "--checkpoint-every", "4", "--keep-last", "1")
    said, err = lines(capsys)
    saved = [line for line in said if line.get("event") == "checkpoint"]
    assert err == ""
    assert [line["state"] for line in saved] == ["whole"] * 3
    assert all(line["seconds"] > 1.0 for line in saved)
    assert saved[0]["stall_seconds"] < saved[0]["seconds"] / 4
    position = {line.get("event", line.get("step")): number for number, line in reversed(list(enumerate(said)))}
    assert position[7] < position["checkpoint"]  # the steps after the save had been done when it was


def test_no_wound_of_a_checkpoint_in_a_bucket_is_taken_for_whole(flaky):
    place = "s3://runs/wounds"
    trained(place, "--steps", "2")
    store, chance = open_store(place), random.Random(5)
    keys = sorted(objects(place, 2))
    for _ in range(30):
        key = chance.choice(keys)
        sound = store.s3.get_object(Bucket="runs", Key=key)["Body"].read()
        position = chance.randrange(len(sound))
        flipped = sound[:position] + bytes([sound[position] ^ 1 << chance.randrange(8)]) + sound[position + 1 :]
        store.s3.put_object(Bucket="runs", Key=key, Body=chance.choice((flipped, sound[:position])))
        verdict = verify(store, entry_of(2), "full")
        assert (verdict.state, verdict.read_bytes) == ("torn", None)
        assert len(verdict.why.splitlines()) == 1
        store.s3.put_object(Bucket="runs", Key=key, Body=sound)
    assert verify(store, entry_of(2), "full").state == "whole"


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ranks_that_save_to_a_bucket_survive_while_one_request_in_five_fails(flaky, fork_ranks, monkeypatch, tmp_path):
    """Two ranks, one killed; the lease of the dead is waited out."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    flags = ("--steps", "20", "--device", "cpu", "--precision", "fp32")
    alone = fork_ranks(*flags)
    assert [one.wait() for one in alone] == [0, 0]
    monkeypatch.setattr(flaky, "share", 0.2)
    flags += ("--checkpoint-dir", "s3://runs/ranks", "--checkpoint-every", "5", "--step-pause", "0.3")
    first = fork_ranks(*flags)
    first[0].until(lambda: first[0].events("checkpoint"))
    first[1].process.kill()
    assert 0 not in [one.wait() for one in first]
    rest = fork_ranks(*flags)
    assert [one.wait() for one in rest] == [0, 0], rest[0].stderr()
    assert rest[0].events("start")[0]["resumed_from"] >= 5
    assert losses(first) | losses(rest) == losses(alone)
    monkeypatch.setattr(flaky, "share", 0.0)
    assert there("s3://runs/ranks")[20] == "whole"
