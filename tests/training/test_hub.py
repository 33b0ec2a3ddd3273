"""Models of transformers: a tiny Llama and a tiny T5 through every strategy, their weights, and what is said of those that are not there."""

from importlib.util import find_spec

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")
transformers = pytest.importorskip("transformers", reason="transformers is not installed (pip install '.[hub]')")

from one_rank import ALONE, lines, process_group, refused, steps, trained  # noqa: E402, F401

from training import fsdp, options  # noqa: E402
from training.blueprints import BadModel, read_model  # noqa: E402
from training.model import parameter_count  # noqa: E402

NEEDS_DEEPSPEED = pytest.mark.skipif(not find_spec("deepspeed"), reason="deepspeed is not installed (pip install '.[deepspeed]')")
KINDS = ("llama", "t5")
ALL = ["ddp", "fsdp", "fsdp --activation-checkpointing", "amx", *(pytest.param(f"zero --stage {s}", marks=NEEDS_DEEPSPEED) for s in "123")]


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """A configuration and its random weights of each kind, as save_pretrained writes them."""
    top = tmp_path_factory.mktemp("models")
    sizes = {"num_attention_heads": 4, "num_key_value_heads": 2, "num_hidden_layers": 2, "vocab_size": 300}
    llama = transformers.LlamaConfig(hidden_size=32, intermediate_size=64, max_position_embeddings=64, tie_word_embeddings=True, **sizes)
    t5 = transformers.T5Config(d_model=32, d_ff=64, d_kv=8, num_layers=2, num_heads=4, vocab_size=300, dropout_rate=0.0, decoder_start_token_id=0)
    torch.manual_seed(1)
    transformers.LlamaForCausalLM(llama).save_pretrained(top / "llama")
    transformers.T5ForConditionalGeneration(t5).save_pretrained(top / "t5")
    return top


def flags(folders, kind, *more):
    return ("--model", str(folders / kind), "--context", "32", "--pretrained", "--lr", "1e-2", "--precision", "fp32", *more)


@pytest.mark.parametrize("kind", KINDS)
def test_it_learns_and_the_strategies_agree(folders, kind, tmp_path, capsys):
    seen = {}
    for strategy, *more in (["ddp"], ["fsdp"], ["fsdp", "--activation-checkpointing"], ["amx"]):
        assert trained(tmp_path / "-".join([strategy, *more]), *flags(folders, kind, "--steps", "12", *more), strategy=strategy) == 0
        seen[strategy, *more] = list(steps(lines(capsys)[0]).values())
    first = seen["ddp",]
    assert first[-1] < 0.9 * first[0]
    assert all(one == pytest.approx(first, rel=1e-5) for one in seen.values())


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_of_one_strategy_goes_on_in_another(folders, kind, tmp_path, capsys):
    shape = flags(folders, kind)
    trained(tmp_path / "whole", *shape, "--steps", "6", "--warmup", "0")
    whole = steps(lines(capsys)[0])
    trained(tmp_path / "part", *shape, "--steps", "6", "--warmup", "0", "--checkpoint-every", "3", "--keep-last", "9")
    lines(capsys)
    trained(tmp_path / "part", *shape, "--steps", "6", "--warmup", "0", "--resume", "3", strategy="fsdp")
    rest = steps(lines(capsys)[0])
    assert list(rest) == [4, 5, 6]
    assert list(rest.values()) == pytest.approx([whole[step] for step in rest], rel=1e-5)


@NEEDS_DEEPSPEED
@pytest.mark.slow
@pytest.mark.parametrize("kind", KINDS)
def test_zero_3_loads_the_weights_split_and_trains_as_ddp(folders, kind, tmp_path, capsys, start):
    pytest.importorskip("accelerate", reason="accelerate is not installed (pip install '.[hub]')")
    trained(tmp_path, *flags(folders, kind, "--steps", "2"))
    ddp = steps(lines(capsys)[0])
    zero = start("-m", "training.zero", "--stage", "3", "--device", "cpu", *flags(folders, kind, "--steps", "2"))
    assert zero.wait() == 0
    assert {line["step"]: line["loss"] for line in zero.steps()} == pytest.approx(ddp, rel=1e-5)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.parametrize("strategy", ALL)
@pytest.mark.parametrize("kind", KINDS)
def test_every_strategy_on_two_ranks(folders, kind, strategy, start_ranks, tmp_path):
    name, *more = strategy.split()
    given = flags(folders, kind, "--device", "cpu", "--steps", "6", "--checkpoint-every", "3", "--keep-last", "9", "--accumulate", "2", *more)
    given += ("--checkpoint-dir", str(tmp_path / "place"))
    whole = start_ranks(*given, strategy=name)
    assert [one.wait() for one in whole] == [0, 0]
    rest = start_ranks(*given, "--resume", "3", strategy=name)
    assert [one.wait() for one in rest] == [0, 0]
    before, after = ({line["step"]: line["loss"] for line in one[0].steps()} for one in (whole, rest))
    assert before[6] < before[1]
    assert after == {step: before[step] for step in (4, 5, 6)}


@pytest.mark.parametrize(("kind", "block", "count"), [("llama", "LlamaDecoderLayer", 2), ("t5", "T5Block", 4)])
def test_the_layers_are_the_units_of_fsdp(folders, kind, block, count):
    blueprint = read_model(str(folders / kind))
    blocks = blueprint.blocks(blueprint.build())
    assert [type(one).__name__ for one in blocks] == [block] * count
    trainee = fsdp.shard(options.read_options("fsdp", ["--device", "cpu", "--model", str(folders / kind)]), ALONE)
    units = [type(one).__name__ for one in trainee.model.modules() if isinstance(one, torch.distributed.fsdp.FSDPModule)]
    assert units == ["FSDP" + type(trainee.model).__name__.removeprefix("FSDP"), *[f"FSDP{block}"] * count]


def test_flops_count_what_each_token_meets(folders):
    llama, t5 = (read_model(str(folders / kind), context=32) for kind in KINDS)
    built = [one.build() for one in (llama, t5)]
    assert llama.flops_per_token(built[0]) == 6 * parameter_count(built[0]) + 12 * 2 * 32 * 32
    assert t5.flops_per_token(built[1]) == 3 * parameter_count(built[1]) + 3 * (2 + 4) * 32 * 32


def test_random_weights_are_the_seed_s_and_pretrained_ones_the_folder_s(folders):
    random, kept = read_model(str(folders / "llama")), read_model(str(folders / "llama"), pretrained=True)
    draws = []
    for seed in (0, 0, 1):
        torch.manual_seed(seed)
        draws.append(random.build().state_dict()["model.embed_tokens.weight"])
    assert torch.equal(draws[0], draws[1])
    assert not torch.equal(draws[0], draws[2])
    stored = transformers.LlamaForCausalLM.from_pretrained(folders / "llama").state_dict()["model.embed_tokens.weight"]
    assert torch.equal(kept.build().state_dict()["model.embed_tokens.weight"], stored)


@pytest.mark.parametrize(
    ("text", "more", "why"),
    [
        ("./nowhere", {}, "there is no folder ./nowhere"),
        ("meta-llama/Llama-3.2-1B", {}, "on the Hugging Face Hub it is hf:meta-llama/Llama-3.2-1B"),
        ("tiny", {"pretrained": True}, "tiny is a shape without weights"),
        ("tny", {}, "did you mean tiny?"),
    ],
)
def test_a_model_that_is_not_there_is_named(text, more, why):
    with pytest.raises(BadModel, match=why.replace("?", r"\?")):
        read_model(text, **more)


def test_folders_that_hold_no_such_model(tmp_path, folders):
    for name, config in (("none", None), ("bert", '{"model_type": "vit"}'), ("odd", "{")):
        (tmp_path / name).mkdir()
        if config:
            (tmp_path / name / "config.json").write_text(config)
        with pytest.raises(BadModel) as said:
            read_model(str(tmp_path / name))
        assert "\n" not in str(said.value)
    with pytest.raises(BadModel, match=r"--context 65: .* has 64 positions"):
        read_model(str(folders / "llama"), context=65)


def test_weights_that_are_not_in_the_folder_are_one_line_and_2(folders, tmp_path, capsys):
    (tmp_path / "bare").mkdir()
    (tmp_path / "bare" / "config.json").write_bytes((folders / "llama" / "config.json").read_bytes())
    said = refused(capsys, tmp_path / "place", "--model", str(tmp_path / "bare"), "--pretrained")
    assert said.startswith(f"error: --model {tmp_path / 'bare'}: no weights")


def test_a_name_that_is_not_on_this_machine_and_no_network_are_one_line_at_once(start, tmp_path):
    job = start(
        "-m",
        "training.ddp",
        "--model",
        "hf:meta-llama/Llama-3.2-1B",
        HF_HOME=str(tmp_path),
        HF_ENDPOINT="http://127.0.0.1:9",
        HF_HUB_OFFLINE="",
        HTTPS_PROXY="",
        https_proxy="",
    )
    assert job.wait() == 2
    (line,) = job.stderr().splitlines()
    assert "it is not in the cache of this machine, and http://127.0.0.1:9 cannot be reached" in line
