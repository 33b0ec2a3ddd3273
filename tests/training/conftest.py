"""Ranks as real processes, with a deadline on everything that is waited for."""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

REPOSITORY = Path(__file__).parents[2]
PATIENCE_SECONDS = 60
FOREIGN = (
    "RANK",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "WORLD_SIZE",
    "MASTER_ADDR",
    "MASTER_PORT",
    "TRAINING_METRICS_PORT",
    "TRAIN_JOB",
    "KUBERNETES_SERVICE_HOST",
    "POD_IP",
)


class Training:
    """One started process: its parsed JSON lines, its stderr, its end."""

    def __init__(self, arguments: list[str], folder: Path, env: dict[str, str]) -> None:
        clean = {name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("PET_")}
        clean |= {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **env}
        self.out, self.err = folder / "stdout", folder / "stderr"
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=folder,
                env=clean,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def lines(self) -> list[dict[str, Any]]:
        whole = self.out.read_text().rpartition("\n")[0]
        return [json.loads(line) for line in whole.splitlines()]

    def events(self, name: str) -> list[dict[str, Any]]:
        return [line for line in self.lines() if line.get("event") == name]

    def steps(self) -> list[dict[str, Any]]:
        return [line for line in self.lines() if "event" not in line]

    def stderr(self) -> str:
        return self.err.read_text(errors="replace")

    def wait(self) -> int:
        try:
            return self.process.wait(PATIENCE_SECONDS)
        except subprocess.TimeoutExpired:
            pytest.fail(f"still running after {PATIENCE_SECONDS} s; stderr:\n{self.stderr()}")

    def until(self, what: Callable[[], Any]) -> Any:
        """The first true value of `what`, which must come while the process runs."""
        deadline = time.monotonic() + PATIENCE_SECONDS
        while time.monotonic() < deadline:
            ended = self.process.poll() is not None
            if value := what():
                return value
            if ended:
                break
            try:
                self.process.wait(0.05)
            except subprocess.TimeoutExpired:
                continue
        pytest.fail(f"never came; return code {self.process.poll()}, stderr:\n{self.stderr()}")


Start = Callable[..., Training]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Starts `python ARGUMENTS...` with extra environment; nothing it started is left afterwards."""
    started: list[Training] = []

    def _start(*arguments: str, **env: str) -> Training:
        folder = tmp_path / f"process{len(started)}"
        folder.mkdir()
        started.append(Training(list(arguments), folder, env))
        return started[-1]

    yield _start
    for training in started:
        _end(training)


def _end(training: Training) -> None:
    """Kill the process and whatever it left behind: torchrun gives each rank a session of its own, so they are found by their folder."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(training.process.pid, signal.SIGKILL)
    training.process.wait()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == training.out.parent:
                os.kill(int(link.parent.name), signal.SIGKILL)


@pytest.fixture
def start_ranks(start: Start) -> Callable[..., list[Training]]:
    """Ranks without torchrun, as a PyTorchJob sets them up: RANK, WORLD_SIZE and MASTER_*."""

    def _start(*flags: str, strategy: str = "ddp", world_size: int = 2, **env: str) -> list[Training]:
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)), "WORLD_SIZE": str(world_size)}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world_size)} for rank in range(world_size)]
        return [start("-m", f"training.{strategy}", *flags, **one, **master, **env) for one in ranks]

    return _start


def free_ports(count: int) -> int:
    """The first of `count` neighbouring ports that nothing listens on just now, below the range the kernel hands out."""
    for base in range(20_000 + os.getpid() % 10_000, 32_000, count):
        sockets = [socket.socket() for _ in range(count)]
        try:
            for offset, one in enumerate(sockets):
                one.bind(("127.0.0.1", base + offset))
            return base
        except OSError:
            continue
        finally:
            for one in sockets:
                one.close()
    raise RuntimeError("no free ports")


@pytest.fixture(name="free_ports")
def _free_ports() -> Callable[[int], int]:
    return free_ports
