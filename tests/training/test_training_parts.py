"""The parts of training/ on their own, in this process."""

import json
import socket
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

import torch.distributed as dist  # noqa: E402

from training import ddp, report  # noqa: E402
from training.data import NOISE, SYMBOLS, Stream, Synthetic  # noqa: E402
from training.model import PRESETS, Decoder, flops_per_token, parameter_count  # noqa: E402
from training.optimizer import rate_at  # noqa: E402
from training.options import Options, read_options  # noqa: E402
from training.ranks import Rank  # noqa: E402
from training.report import METRICS, Report, Work  # noqa: E402

CPU = torch.device("cpu")
ALONE = Rank(rank=0, local_rank=0, world_size=1, restart=0, device=CPU, backend="gloo")
WORK = Work("ddp", steps=10, tokens=128, bytes_reduced=4_000, flops_per_token=100, peak_flops=None)
NUMBERS = {"loss": 2.5, "lr": 0.1, "grad_norm": 1.0, "step_seconds": 0.5, "data_seconds": 0.1, "compute_seconds": 0.4}


@pytest.fixture(autouse=True)
def _outside_any_job(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "TRAINING_METRICS_PORT", "TRAIN_JOB", "KUBERNETES_SERVICE_HOST", "POD_IP"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def group() -> Iterator[None]:
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def stream(seed: int = 3, batch: int = 4, rank: int = 0, world_size: int = 1) -> Stream:
    return Stream(Synthetic(seed, 512, 32), batch, rank, world_size)


# data


def test_a_batch_depends_on_seed_and_step_only():
    first, again = stream(), stream()
    again.batch_at(1)  # another history
    assert torch.equal(first.batch_at(7)[0], again.batch_at(7)[0])
    assert not torch.equal(first.batch_at(7)[0], first.batch_at(8)[0])
    assert not torch.equal(first.batch_at(7)[0], stream(seed=4).batch_at(7)[0])


@pytest.mark.parametrize("world_size", [2, 4])
def test_the_ranks_shares_joined_are_the_global_batch(world_size):
    whole = stream(batch=8).batch_at(5)[0]
    shares = [stream(batch=8 // world_size, rank=rank, world_size=world_size).batch_at(5)[0] for rank in range(world_size)]
    assert torch.equal(torch.cat(shares), whole)
    assert len({tuple(row.tolist()) for row in whole}) == 8


def test_targets_are_the_tokens_one_later():
    tokens, targets = stream().batch_at(1)
    assert tokens.shape == targets.shape == (4, 32)
    assert tokens.dtype == torch.int64
    assert torch.equal(tokens[:, 1:], targets[:, :-1])


def test_the_stream_hides_a_cycle_with_the_noise_it_states():
    one, cycle = stream(batch=64), Synthetic(3, 512, 32).cycle
    tokens, targets = one.batch_at(1)
    follower = dict(zip(cycle.tolist(), cycle.roll(-1).tolist(), strict=True))
    kept = sum(follower[a] == b for a, b in zip(tokens.flatten().tolist(), targets.flatten().tolist(), strict=True)) / tokens.numel()
    assert len(follower) == SYMBOLS
    assert kept == pytest.approx((1 - NOISE) ** 2, abs=0.05)


def test_a_rank_outside_its_world_is_an_error():
    with pytest.raises(ValueError, match="rank 2 is not one of 2"):
        stream(rank=2, world_size=2)


# model and learning rate


@pytest.mark.parametrize(("name", "millions"), [("tiny", 0.13), ("small", 1.9), ("125m", 114), ("1b", 1_236), ("3b", 3_213), ("8b", 8_030)])
def test_presets_have_the_size_they_claim(name, millions):
    with torch.device("meta"):
        model = Decoder(PRESETS[name])
    assert parameter_count(model) / 1e6 == pytest.approx(millions, rel=0.03)


def test_flops_count_a_looked_up_embedding_as_nothing():
    shape = PRESETS["tiny"]
    attention = 12 * shape.layers * shape.dim * shape.context
    tied, untied = Decoder(shape), Decoder(replace(shape, tied=False))
    assert flops_per_token(tied, shape) == 6 * parameter_count(tied) + attention
    assert flops_per_token(untied, untied.shape) == flops_per_token(tied, shape)


def test_no_token_sees_a_later_one():
    torch.manual_seed(0)
    model, (tokens, targets) = Decoder(PRESETS["tiny"]), stream().batch_at(1)
    changed, masked = tokens.clone(), targets.clone()
    changed[:, 10:] = (changed[:, 10:] + 1) % 512
    masked[:, 10:] = -100  # ignored by the loss
    assert torch.equal(model(tokens, masked), model(changed, masked))
    assert not torch.equal(model(tokens, targets), model(changed, targets))


def test_the_position_of_a_token_counts():
    torch.manual_seed(0)
    model, same = Decoder(PRESETS["tiny"]), torch.full((1, 32), 5)
    swapped = torch.tensor([[7, 9] + [5] * 30])
    target = torch.full((1, 32), -100)
    target[0, -1] = 1
    assert model(swapped, target) != model(swapped[:, [1, 0, *range(2, 32)]], target)
    assert torch.isfinite(model(same, target))


def test_the_rate_warms_up_then_falls_to_a_tenth():
    rates = [rate_at(step, 100, 1.0) for step in range(1, 101)]
    assert rates[:10] == pytest.approx([step / 10 for step in range(1, 11)])
    assert rates[9:] == sorted(rates[9:], reverse=True)
    assert rates[-1] == pytest.approx(0.1)
    assert rate_at(1, 3, 1.0, warmup=0) <= 1.0


# the loop


def options(*flags: str) -> Options:
    return read_options("ddp", ["--device", "cpu", *flags])


def losses(out: str) -> list[float]:
    return [line["loss"] for line in map(json.loads, out.splitlines()) if "event" not in line]


@pytest.mark.parametrize("seed", [0, 1, 2, 41_000])
def test_twenty_steps_lower_the_loss_whatever_the_seed(group, capsys, seed):
    assert ddp.train(options("--steps", "20", "--seed", str(seed)), ALONE) == 0
    seen = losses(capsys.readouterr().out)
    assert len(seen) == 20
    assert seen[-1] < 0.7 * seen[0]


def test_the_same_flags_give_the_same_losses_bit_for_bit(group, capsys):
    runs = []
    for _ in range(2):
        assert ddp.train(options("--steps", "8"), ALONE) == 0
        runs.append(losses(capsys.readouterr().out))
    assert runs[0] == runs[1]


def test_a_loss_that_blows_up_is_one_line_and_exit_code_3(group, capsys):
    assert ddp.train(options("--steps", "9", "--lr", "1e30"), ALONE) == 3
    out, err = capsys.readouterr()
    last = json.loads(out.splitlines()[-1])
    assert last["event"] == "failed"
    assert last["exit_code"] == 3
    assert len(err.splitlines()) == 1
    assert f"at step {last['step'] + 1}" in err


# flags


@pytest.mark.parametrize(
    ("flags", "said"),
    [
        (["--model", "tny"], "did you mean tiny?"),
        (["--stps", "3"], "did you mean --steps?"),
        (["--steps", "0"], "at least 1"),
        (["--steps", "many"], "'many' is not a whole number"),
        (["--lr", "nan"], "out of range"),
        (["--metrics-port", "70000"], "from 1 to 65535"),
        (["--precision", "fp16"], "valid: auto, fp32, bf16"),
    ],
)
def test_a_wrong_flag_is_one_line_and_exit_code_2(capsys, flags, said):
    with pytest.raises(SystemExit) as exit_:
        read_options("ddp", flags)
    err = capsys.readouterr().err
    assert exit_.value.code == 2
    assert said in err
    assert len(err.splitlines()) == 1


def test_a_wrong_flag_is_said_by_rank_0_alone(capsys, monkeypatch):
    monkeypatch.setenv("RANK", "1")
    with pytest.raises(SystemExit):
        read_options("ddp", ["--model", "tny"])
    assert capsys.readouterr().err == ""


def test_a_batch_that_does_not_divide_is_refused_with_the_arithmetic(capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "4")
    assert read_options("ddp", ["--global-batch", "12"]).batch == 3
    with pytest.raises(SystemExit):
        read_options("ddp", ["--global-batch", "10"])
    assert "10 over 4 ranks leaves 2 sequences over; 8 divides" in capsys.readouterr().err


def test_a_bad_port_in_the_environment_is_refused_too(capsys, monkeypatch):
    monkeypatch.setenv("TRAINING_METRICS_PORT", "abc")
    with pytest.raises(SystemExit):
        read_options("ddp", [])
    assert "--metrics-port" in capsys.readouterr().err


# report


def samples(text: str) -> dict[str, float]:
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    return {line.partition("{")[0]: float(line.rpartition(" ")[2]) for line in lines}


def test_a_metric_without_a_value_is_left_out_until_the_first_step():
    one = Report(ALONE, WORK)
    assert "training_loss" not in samples(one.text())
    one.step(1, **NUMBERS)
    one.step(2, **NUMBERS)
    seen = samples(one.text())
    assert seen.keys() == METRICS.keys()
    assert seen["training_step"] == 2
    assert seen["training_loss"] == 2.5
    assert seen["training_tokens_total"] == 256
    assert seen["training_bytes_reduced_total"] == 8_000
    assert seen["training_compute_seconds_total"] == pytest.approx(0.8)


def test_the_text_reads_back_whatever_the_job_is_called(monkeypatch):
    parser = pytest.importorskip("prometheus_client.parser")
    hostile = 'a"b\\c\nd'
    monkeypatch.setenv("TRAIN_JOB", hostile)
    one = Report(ALONE, WORK)
    one.step(1, **NUMBERS)
    found = [sample for family in parser.text_string_to_metric_families(one.text()) for sample in family.samples]
    assert {sample.name for sample in found} == set(METRICS)
    assert {sample.labels["train_job"] for sample in found} == {hostile}
    assert found[0].labels.keys() == {"rank", "local_rank", "world_size", "train_job"}


def test_mfu_is_null_until_the_peak_is_known(capsys):
    Report(ALONE, WORK).step(1, **NUMBERS)
    Report(ALONE, replace(WORK, peak_flops=256_000.0)).step(1, **NUMBERS)
    unknown, known = (json.loads(line) for line in capsys.readouterr().out.splitlines())
    assert unknown["mfu"] is None
    assert known["tokens_per_second"] == 256
    assert known["mfu"] == pytest.approx(0.1)
    assert known["memory_bytes"] > 10_000_000


def test_each_rank_answers_on_its_own_port_of_loopback(free_ports):
    base = free_ports(2)
    with Report(replace(ALONE, local_rank=1), WORK, metrics_port=base) as one:
        one.step(1, **NUMBERS)
        assert one._server.server_address == ("127.0.0.1", base + 1)
        with urllib.request.urlopen(f"http://127.0.0.1:{base + 1}/metrics", timeout=10) as answer:
            assert answer.headers["Content-Type"].startswith("text/plain; version=0.0.4")
            assert answer.read().decode() == one.text()


def test_in_a_pod_the_port_is_open_to_prometheus(monkeypatch, free_ports):
    monkeypatch.setenv("POD_IP", "10.0.0.7")
    with Report(ALONE, WORK, metrics_port=free_ports(1)) as one:
        assert one._server.server_address[0] == "0.0.0.0"


def test_a_port_in_use_is_one_warning(capsys):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        with Report(ALONE, WORK, metrics_port=port) as one:
            one.step(1, **NUMBERS)
    err = capsys.readouterr().err
    assert len(err.splitlines()) == 1
    assert f"no metrics on port {port}" in err


def test_a_log_that_cannot_be_written_is_one_warning(capsys, tmp_path):
    (tmp_path / "file").touch()
    with Report(ALONE, WORK, log_json=str(tmp_path / "file" / "log")) as one:
        one.step(1, **NUMBERS)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == len(err.splitlines()) == 1


def test_a_full_disk_ends_the_log_and_not_the_training(capsys):
    full = Path("/dev/full")
    if not full.exists():
        pytest.skip("no /dev/full on this system")
    with Report(ALONE, WORK, log_json=str(full)) as one:
        one.step(1, **NUMBERS)
        one.step(2, **NUMBERS)
    out, err = capsys.readouterr()
    assert len(out.splitlines()) == 2
    assert "No space left" in err


def test_the_log_gets_the_lines_of_stdout_in_a_file_per_rank(capsys, tmp_path):
    with Report(replace(ALONE, rank=3), WORK, log_json=str(tmp_path / "new" / "rank%r.jsonl")) as one:
        one.start(model="tiny")
        one.step(1, **NUMBERS)
        one.close("end")
    assert (tmp_path / "new" / "rank3.jsonl").read_text() == capsys.readouterr().out


@pytest.mark.parametrize(
    ("name", "peak"), [("NVIDIA H100 PCIe", 756e12), ("NVIDIA H100 80GB HBM3", 989e12), ("NVIDIA L40", 181e12), ("Tesla T4", None)]
)
def test_peaks_are_known_by_the_device_s_name(monkeypatch, name, peak):
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: name)
    on_gpu = replace(ALONE, device=torch.device("cuda", 0))
    assert report.peak_flops(on_gpu, torch.bfloat16) == peak
    assert report.peak_flops(on_gpu, torch.float32) is None
    assert report.peak_flops(ALONE, torch.bfloat16) is None
