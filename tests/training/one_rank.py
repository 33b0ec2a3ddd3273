"""One rank trained in this process, and what it said."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

import torch.distributed as dist  # noqa: E402

from training import amx, ddp, fsdp, loop  # noqa: E402
from training.options import read_options  # noqa: E402
from training.ranks import Rank  # noqa: E402

ALONE = Rank(rank=0, local_rank=0, world_size=1, restart=0, device=torch.device("cpu"), backend="gloo")


@pytest.fixture(autouse=True)
def process_group(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_WORLD_SIZE", "TRAINING_METRICS_PORT", "TRAIN_JOB"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    torch.set_num_threads(1)
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def trained(place: Path | str, *flags: str, strategy: str = "ddp") -> int:
    build = {"ddp": ddp.replicate, "fsdp": fsdp.shard, "amx": amx.on_cpu}[strategy]
    options = read_options(strategy, ["--device", "cpu", "--checkpoint-dir", str(place), *flags])
    return loop.train(strategy, options, ALONE, build)


def lines(capsys: pytest.CaptureFixture[str]) -> tuple[list[dict], str]:
    out, err = capsys.readouterr()
    return [json.loads(line) for line in out.splitlines()], err


def steps(said: list[dict]) -> dict[int, float]:
    return {line["step"]: line["loss"] for line in said if "event" not in line}


def refused(capsys: pytest.CaptureFixture[str], place: Path, *flags: str, strategy: str = "ddp") -> str:
    with pytest.raises(SystemExit) as exit_:
        trained(place, *flags, strategy=strategy)
    said, err = lines(capsys)
    assert exit_.value.code == 2
    assert said == []
    assert len(err.splitlines()) == 1
    return err
