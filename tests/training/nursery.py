"""Ranks forked from one process that has imported torch and DeepSpeed already: the same programs, started in a tenth of the time.

Run as a program it reads one JSON order a line on stdin and tells `["started", ticket, pid]` and `["ended", pid, code]` on stdout.
"""

from __future__ import annotations

import contextlib
import gc
import json
import os
import runpy
import select
import signal
import subprocess
import sys
import threading
import traceback
from pathlib import Path
from typing import Any

REPOSITORY = Path(__file__).parents[2]


class Forked:
    """A started rank, as far as the tests look at a `Popen`."""

    def __init__(self, nursery: Nursery, pid: int) -> None:
        self.nursery, self.pid = nursery, pid
        self.args = ["rank"]

    @property
    def returncode(self) -> int | None:
        return self.nursery.ended.get(self.pid)

    def poll(self) -> int | None:
        return self.returncode

    def kill(self) -> None:
        os.kill(self.pid, signal.SIGKILL)

    def wait(self, timeout: float | None = None) -> int:
        with self.nursery.told:
            if not self.nursery.told.wait_for(lambda: self.pid in self.nursery.ended, timeout):
                raise subprocess.TimeoutExpired(self.args, timeout or 0)
        return self.nursery.ended[self.pid]


class Nursery:
    """The process that forks, and what it has told."""

    def __init__(self) -> None:
        env = os.environ | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", "DS_ACCELERATOR": "cpu"}
        command = [sys.executable, str(Path(__file__))]
        self.process = subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)
        self.told = threading.Condition()
        self.started: dict[int, int] = {}
        self.ended: dict[int, int] = {}
        self.tickets = 0
        threading.Thread(target=self._hear, name="nursery", daemon=True).start()

    def _hear(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            what, one, two = json.loads(line)
            with self.told:
                if what == "started":
                    self.started[one] = two
                    self.ended.pop(two, None)  # the number of a process that is long gone
                else:
                    self.ended[one] = two
                self.told.notify_all()

    def start(self, module: str, flags: list[str], folder: Path, env: dict[str, str], out: Path, err: Path) -> Forked:
        """One rank: `python -m module flags...` with this environment and nothing of the nursery's own."""
        self.tickets += 1
        order: dict[str, Any] = {"ticket": self.tickets, "module": module, "flags": flags, "env": env}
        order |= {"folder": str(folder), "out": str(out), "err": str(err)}
        assert self.process.stdin
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()
        with self.told:
            if not self.told.wait_for(lambda: order["ticket"] in self.started, 60):
                raise TimeoutError("the nursery forks no more")
        return Forked(self, self.started[order["ticket"]])

    def close(self) -> None:
        """The ranks are their tests' own to end."""
        assert self.process.stdin
        self.process.stdin.close()
        self.process.wait(30)


def live(order: dict[str, Any]) -> None:
    """Become the rank that was ordered; never returns."""
    os.setsid()
    signal.set_wakeup_fd(-1)
    for number in (signal.SIGCHLD, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
    for path, descriptor in (("/dev/null", 0), (order["out"], 1), (order["err"], 2)):
        opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        os.dup2(opened, descriptor)
        os.close(opened)
    os.chdir(order["folder"])
    os.environ.clear()
    os.environ.update(order["env"])
    sys.argv = [order["module"], *order["flags"]]
    code = 1
    try:
        runpy.run_module(order["module"], run_name="__main__", alter_sys=True)
        code = 0
    except SystemExit as left:
        code = left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def preload() -> None:
    """What every rank would import by itself."""
    import importlib.util

    import torch._dynamo
    import torch.distributed.checkpoint
    import torch.distributed.fsdp

    import training.loop

    torch.set_num_threads(1)
    if importlib.util.find_spec("deepspeed"):
        with contextlib.redirect_stdout(sys.stderr):  # its logger keeps the stream it finds
            import deepspeed.ops
        deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    assert training.loop


def main() -> None:
    preload()
    gc.freeze()
    heard, wake = os.pipe()
    for end in (heard, wake):
        os.set_blocking(end, False)
    signal.set_wakeup_fd(wake)
    signal.signal(signal.SIGCHLD, lambda *_: None)
    orders = b""
    while True:
        ready, _, _ = select.select([0, heard], [], [])
        if heard in ready:
            os.read(heard, 4096)
            reap()
        if 0 in ready:
            part = os.read(0, 65536)
            if not part:
                return
            orders += part
            while b"\n" in orders:
                line, _, orders = orders.partition(b"\n")
                order = json.loads(line)
                pid = os.fork()
                if pid == 0:
                    os.close(heard)
                    os.close(wake)
                    live(order)
                tell("started", order["ticket"], pid)


def reap() -> None:
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if not pid:
            return
        tell("ended", pid, os.waitstatus_to_exitcode(status))


def tell(*what: object) -> None:
    os.write(1, (json.dumps(what) + "\n").encode())


if __name__ == "__main__":
    main()
