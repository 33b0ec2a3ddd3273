"""What only one strategy has: FSDP2 in its shardings, flags that cannot be followed, AMX told from what the processor has."""

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from one_rank import lines, process_group, refused, steps, trained  # noqa: E402, F401

from training import amx  # noqa: E402
from training.options import read_options  # noqa: E402


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
