"""training.ddp as it runs for real: two ranks, torchrun, signals and deaths."""

import json
import os
import shutil
import signal
import socket
import time
import urllib.error
import urllib.request
from pathlib import Path

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

STEP_FIELDS = {
    "rank", "restart", "step", "steps", "loss", "lr", "grad_norm", "tokens_per_second", "step_seconds", "data_seconds", "mfu",
    "memory_bytes", "world_size", "strategy", "time",
}  # fmt: skip
METRIC_NAMES = {
    "training_step", "training_loss", "training_tokens_total", "training_step_seconds", "training_compute_seconds_total",
    "training_data_seconds_total", "training_bytes_reduced_total", "training_steps_total",
}  # fmt: skip
TORCHRUN = ("-m", "torch.distributed.run")


def scrape(port: int) -> str:
    """The metrics text, or nothing while the port does not answer yet."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=5) as answer:
            return answer.read().decode()
    except (urllib.error.URLError, ConnectionError):
        return ""


def test_two_ranks_under_torchrun_report_and_stop_on_sigterm(start, free_ports, tmp_path):
    base = free_ports(2)
    flags = ("-m", "training.ddp", "--steps", "100000", "--step-pause", "0.02", "--log-json", str(tmp_path / "log%r"))
    job = start(*TORCHRUN, "--standalone", "--nproc-per-node", "2", *flags, TRAINING_METRICS_PORT=str(base), TRAIN_JOB="pretrain")
    job.until(lambda: len(job.steps()) >= 20)

    texts = [job.until(lambda port=base + rank: scrape(port)) for rank in range(2)]
    for rank, text in enumerate(texts):
        samples = [line for line in text.splitlines() if not line.startswith("#")]
        assert {line.partition("{")[0] for line in samples} == METRIC_NAMES
        assert all(f'{{rank="{rank}",local_rank="{rank}",world_size="2",train_job="pretrain"}}' in line for line in samples)

    os.kill(job.process.pid, signal.SIGTERM)
    assert job.wait() != 0
    starts, stops, steps = job.events("start"), job.events("stopped"), job.steps()
    assert {line["rank"] for line in starts} == {0, 1}
    assert {(line["world_size"], line["backend"], line["device"], line["strategy"]) for line in starts} == {(2, "gloo", "cpu", "ddp")}
    assert all(line.keys() == STEP_FIELDS for line in steps)
    assert all(line["mfu"] is None and line["restart"] == 0 for line in steps)
    assert len({line["step"] for line in stops}) == 1
    assert [line["exit_code"] for line in stops] == [143, 143]

    for rank in range(2):
        logged = [json.loads(line) for line in (tmp_path / f"log{rank}").read_text().splitlines()]
        assert logged == [line for line in job.lines() if line["rank"] == rank]
    by_rank = [[line["loss"] for line in steps if line["rank"] == rank] for rank in range(2)]
    assert by_rank[0] == by_rank[1]


def test_two_pods_meet_by_the_operators_environment_from_a_mounted_copy(start, free_ports, tmp_path):
    """PET_* of a TrainJob, the files as a ConfigMap mounts them, and nothing else of the project."""
    mounted = tmp_path / "cockpit"
    shutil.copytree(Path(__file__).parents[2] / "training", mounted / "training", ignore=shutil.ignore_patterns("__pycache__"))
    assert sum(path.stat().st_size for path in mounted.rglob("*.py")) < 1_000_000  # a ConfigMap's limit is 1 MiB
    env = {"PET_NNODES": "2", "PET_NPROC_PER_NODE": "1", "PET_MASTER_ADDR": "127.0.0.1", "PET_MASTER_PORT": str(free_ports(1))}
    flags = ("-m", "training.ddp", "--steps", "20", "--seed", "5")
    pods = [start(*TORCHRUN, *flags, PET_NODE_RANK=str(node), PYTHONPATH=str(mounted), **env) for node in range(2)]
    assert [pod.wait() for pod in pods] == [0, 0]
    for rank, pod in enumerate(pods):
        (end,) = pod.events("end")
        assert (end["rank"], end["world_size"], end["step"]) == (rank, 2, 20)
        assert end["loss_first"] == pod.steps()[0]["loss"]
        assert end["loss_last"] == pod.steps()[-1]["loss"] < 0.7 * end["loss_first"]
        assert end["seconds"] > 0


def test_two_ranks_train_as_one_on_the_same_global_batch(start, start_ranks):
    flags = ("--steps", "20", "--global-batch", "8")
    pair, alone = start_ranks(*flags), start("-m", "training.ddp", *flags)
    assert [one.wait() for one in (*pair, alone)] == [0, 0, 0]
    together, single = ([line["loss"] for line in one.steps()] for one in (pair[0], alone))
    assert len(single) == 20
    assert together == pytest.approx(single, rel=1e-3)
    norms = [[line["grad_norm"] for line in one.steps()][:5] for one in (pair[0], alone)]
    assert norms[0] == pytest.approx(norms[1], rel=1e-3)


def test_sigterm_at_one_rank_stops_both_after_the_same_step(start_ranks):
    ranks = start_ranks("--steps", "100000", "--step-pause", "0.02")
    ranks[1].until(lambda: len(ranks[1].steps()) >= 3)
    os.kill(ranks[1].process.pid, signal.SIGTERM)
    assert [one.wait() for one in ranks] == [143, 143]
    (first,), (second,) = (one.events("stopped") for one in ranks)
    assert first["step"] == second["step"] == len(ranks[0].steps())
    assert "Traceback" not in ranks[0].stderr() + ranks[1].stderr()


def hung(start_ranks, *flags: str):
    """Rank 0 inside a step that its stopped peer does not share."""
    ranks = start_ranks("--steps", "100000", "--step-pause", "0.02", *flags)
    ranks[0].until(lambda: len(ranks[0].steps()) >= 3)
    os.kill(ranks[1].process.pid, signal.SIGSTOP)
    ranks[0].until(lambda: time.time() - ranks[0].steps()[-1]["time"] > 1)
    return ranks[0]


def test_a_step_that_hangs_on_a_peer_is_left_after_the_grace(start_ranks):
    rank = hung(start_ranks, "--grace", "0.5")
    os.kill(rank.process.pid, signal.SIGTERM)
    assert rank.wait() == 143
    assert "did not end within 0.5 s of SIGTERM" in rank.stderr()


def test_a_peer_that_hangs_is_given_up_after_the_timeout(start_ranks):
    rank = hung(start_ranks, "--timeout", "5")
    assert rank.wait() == 4
    assert "rank 0: lost a peer" in rank.stderr()
    assert "Traceback" not in rank.stderr()


def test_torchrun_names_the_rank_that_was_killed_and_not_its_peer(start):
    job = start(*TORCHRUN, "--standalone", "--nproc-per-node", "2", "-m", "training.ddp", "--steps", "100000", "--step-pause", "0.02")
    job.until(lambda: len(job.steps()) >= 6)
    victim = next(line["pid"] for line in job.events("start") if line["rank"] == 1)
    os.kill(victim, signal.SIGKILL)
    assert job.wait() == 1
    assert "failed (exitcode: -9) local_rank: 1" in job.stderr()


def test_the_peer_of_a_killed_rank_says_one_line_and_writes_no_error_file(start_ranks, tmp_path):
    error_file = tmp_path / "error.json"
    ranks = start_ranks("--steps", "100000", "--step-pause", "0.02", TORCHELASTIC_ERROR_FILE=str(error_file))
    ranks[0].until(lambda: len(ranks[0].steps()) >= 3)
    os.kill(ranks[1].process.pid, signal.SIGKILL)
    assert ranks[0].wait() == 4
    assert "rank 0: lost a peer" in ranks[0].stderr()
    assert "Traceback" not in ranks[0].stderr()
    assert not error_file.exists()


def test_a_loss_that_is_not_finite_ends_every_rank_with_3_and_one_line(start_ranks):
    ranks = start_ranks("--steps", "20", "--lr", "1e30")
    assert [one.wait() for one in ranks] == [3, 3]
    assert [one.events("failed")[0]["exit_code"] for one in ranks] == [3, 3]
    assert "error: the " in ranks[0].stderr()
    assert "error:" not in ranks[1].stderr()


def test_a_peer_that_never_comes_is_one_line(start, free_ports):
    env = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)), "WORLD_SIZE": "2", "RANK": "0"}
    lonely = start("-m", "training.ddp", "--timeout", "1", **env)
    assert lonely.wait() == 4
    assert "not all 2 ranks met within 1 s" in lonely.stderr()
    assert "Traceback" not in lonely.stderr()


def test_an_error_keeps_its_traceback_on_stderr_and_for_torchrun(start, tmp_path):
    error_file = tmp_path / "error.json"
    broken = start("-c", "from training import ranks; ranks.run(lambda: 1 // 0)", TORCHELASTIC_ERROR_FILE=str(error_file))
    assert broken.wait() == 1
    assert "Traceback" in broken.stderr()
    assert "ZeroDivisionError" in broken.stderr()
    assert "ZeroDivisionError" in json.loads(error_file.read_text())["message"]["message"]


def test_a_port_in_use_does_not_stop_the_training(start):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        job = start("-m", "training.ddp", "--steps", "2", "--metrics-port", str(taken.getsockname()[1]))
        assert job.wait() == 0
    assert job.stderr().count("warning: rank 0: no metrics on port") == 1


def test_training_needs_nothing_of_the_cockpit_and_nothing_but_torch(start):
    wanted = "import json, sys; from training import ddp; print(json.dumps({'found': sorted({m.partition('.')[0] for m in sys.modules})}))"
    job = start("-c", wanted)
    assert job.wait() == 0
    assert not {"cockpit", "actions", "textual", "kubernetes", "prometheus_client"} & set(job.lines()[0]["found"])
