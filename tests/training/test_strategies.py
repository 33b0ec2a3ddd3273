"""What only one strategy has: FSDP2 in its shardings, micro-batches, flags that cannot be followed, AMX told from what the processor has."""

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import lines, process_group, refused, steps, trained  # noqa: E402, F401

from training import amx  # noqa: E402
from training.options import read_options  # noqa: E402

NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")


@pytest.mark.parametrize(
    "flags",
    [("--sharding", "grad-op"), ("--sharding", "hybrid"), ("--activation-checkpointing",)],
)
def test_sharding_and_recomputing_change_no_loss(tmp_path, capsys, flags):
    trained(tmp_path / "a", "--steps", "6", strategy="fsdp")
    plain = steps(lines(capsys)[0])
    trained(tmp_path / "b", "--steps", "6", *flags, strategy="fsdp")
    assert steps(lines(capsys)[0]) == plain


def test_flags_that_cannot_be_followed_are_refused(tmp_path, capsys):
    for flags, why in (
        (("--offload", "cpu"), "without a GPU everything is in host memory already"),
        (("--replicas", "2"), "--replicas is of --sharding hybrid"),
        (("--sharding", "hybrid", "--replicas", "2"), "1 ranks do not divide into 2 copies"),
    ):
        assert why in refused(capsys, tmp_path, *flags, strategy="fsdp")
    for argv, why in ((["--resume", "atuo"], "did you mean auto?"), (["--stage", "2"], "unrecognized arguments: --stage")):
        with pytest.raises(SystemExit):
            read_options("ddp", argv)
        assert why in capsys.readouterr().err


@pytest.mark.parametrize(
    ("found", "fast", "line"),
    [
        ({"amx_tile": True, "amx_bf16": True, "avx512_bf16": True}, True, "AMX on"),
        ({"amx_tile": False, "amx_bf16": False, "avx512_bf16": True}, True, "bf16 without AMX: the processor, or the hypervisor"),
        ({"amx_tile": True, "amx_bf16": False}, False, "fp32: the processor, or the hypervisor"),
    ],
)
def test_amx_is_told_from_what_torch_finds(found, fast, line):
    assert amx.bf16_is_fast(found) is fast
    assert amx.verdict(found, torch.bfloat16 if fast else torch.float32).startswith(line)
    assert "emulated" in amx.verdict({}, torch.bfloat16)
    assert set(amx.capabilities()) >= {"amx_tile", "amx_bf16", "avx512_bf16"}


def test_a_rank_takes_its_share_of_the_cores(monkeypatch):
    every = amx.threads()
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert 1 <= amx.threads() == max(1, every // 2)


@pytest.mark.parametrize("strategy", ["ddp", "fsdp"])
def test_micro_batches_change_the_losses_by_rounding_only(tmp_path, capsys, strategy):
    shape = ("--steps", "6", "--global-batch", "8", "--warmup", "0")
    trained(tmp_path / "a", *shape, strategy=strategy)
    whole = list(steps(lines(capsys)[0]).values())
    trained(tmp_path / "b", *shape, "--accumulate", "4", strategy=strategy)
    assert list(steps(lines(capsys)[0]).values()) == pytest.approx(whole, rel=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize("strategy", [("ddp",), ("fsdp",), *(pytest.param(("zero", "--stage", stage), marks=NEEDS_DEEPSPEED) for stage in "123")])
def test_micro_batches_on_two_ranks(start_ranks, strategy):
    name, *flags = strategy
    seen = []
    for accumulate in ("1", "4"):
        ranks = start_ranks(*flags, "--steps", "6", "--device", "cpu", "--global-batch", "16", "--accumulate", accumulate, strategy=name)
        assert [one.wait() for one in ranks] == [0, 0]
        seen.append([(line["loss"], line["grad_norm"]) for line in ranks[0].steps()])
    assert [pytest.approx(pair, rel=1e-4) for pair in seen[0]] == seen[1]


def test_a_batch_ranks_and_micro_batches_that_do_not_divide_are_refused_with_the_arithmetic(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    assert read_options("ddp", ["--global-batch", "12", "--accumulate", "3"]).micro_batch == 2
    assert read_options("ddp", ["--accumulate", "3"]).batch == 12  # the preset's four, three times
    said = refused(capsys, tmp_path, "--global-batch", "16", "--accumulate", "3")
    assert "--global-batch 16 over 2 ranks x 3 micro-batches = 6 parts leaves 4 sequences over; 12 divides" in said


def test_a_gpu_where_there_is_none_is_one_line_and_2(start_ranks):
    ranks = start_ranks("--device", "cuda", CUDA_VISIBLE_DEVICES="")
    assert [one.wait() for one in ranks] == [2, 2]
    assert ranks[0].stderr() == "error: --device cuda: local rank 0 needs 1 GPUs, torch sees none here\n"
    assert ranks[1].stderr() == ""
