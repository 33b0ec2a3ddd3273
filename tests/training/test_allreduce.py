"""The all-reduce sweep: alone and as two ranks, its columns, and what it refuses."""

import subprocess
import sys

import pytest

torch = pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from training.allreduce import size  # noqa: E402

TORCHRUN = [sys.executable, "-m", "torch.distributed.run", "--standalone"]


def swept(*words, ranks=1):
    argv = [*TORCHRUN, f"--nproc-per-node={ranks}", "-m", "training.allreduce", *words]
    return subprocess.run(argv, capture_output=True, text=True, timeout=150)


def test_two_ranks_sum_every_size_rightly():
    said = swept("--min-bytes=8", "--max-bytes=1K", "--factor=8", "--iterations=2", "--warmup=1", ranks=2)
    assert said.returncode == 0, said.stderr
    lines = said.stdout.splitlines()
    rows = [line.split() for line in lines if not line.startswith("#")]
    assert lines[0].startswith("# backend gloo") and [row[0] for row in rows] == ["8", "64", "512"]
    assert all(len(row) == 13 and row[5:9] == ["N/A"] * 4 and row[-1] == "0" and float(row[9]) > 0 for row in rows)
    assert all(float(row[10]) == float(row[11]) for row in rows), "with two ranks the bus carries what each sends"
    assert "# Out of bounds values : 0 OK" in lines


def test_sizes_that_cannot_be_are_refused():
    assert size("1M") == 1 << 20 and size("12") == 12
    said = swept("--min-bytes=8", "--max-bytes=4")
    assert said.returncode != 0 and "min-bytes <= max-bytes" in said.stderr
