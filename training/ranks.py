"""One process among many: joining its peers, hearing a signal in time, and leaving without a hang.

Exit codes of every training program: 0 trained to the end, 1 an error (its traceback is on stderr), 2 wrong flags, 3 the loss or the
gradient norm is not finite, 4 a peer was lost (the cause is on another rank), 128 + n ended by signal n (143: SIGTERM).
"""

import gc
import os
import re
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from types import TracebackType
from typing import NoReturn

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

from training.options import Options, refuse

ERROR, NOT_FINITE, PEER_LOST = 1, 3, 4  # exit codes

# What gloo and NCCL say on the ranks that are left when another one dies or hangs.
_PEER_LOST = re.compile(
    "closed by peer|reset by peer|broken pipe|connection refused|timed out waiting|timeout caused pair closure|remote process exited", re.I
)
_LINGER_SECONDS = 1.0  # so that torchrun, which looks ten times a second, finds the dead rank before the ones it takes along


@dataclass(frozen=True)
class Rank:
    """Who this process is among `world_size`, on which device, and how many times torchrun has restarted it."""

    rank: int
    local_rank: int
    world_size: int
    restart: int
    device: torch.device
    backend: str

    @classmethod
    def here(cls, device: torch.device) -> "Rank":
        """This process, once torch.distributed is initialised: for a script that does not `join`."""
        local_rank, restart = (int(os.environ.get(name, "0")) for name in ("LOCAL_RANK", "TORCHELASTIC_RESTART_COUNT"))
        return cls(dist.get_rank(), local_rank, dist.get_world_size(), restart, device, dist.get_backend())


def join(options: Options) -> Rank:
    """Meet the peers that RANK, WORLD_SIZE and MASTER_* name (torchrun, PyTorchJob); without RANK, train alone.

    Exits with 2 when the device asked for is not there, with 4 when a peer does not come within `--timeout`.
    """
    rank, local_rank, world_size, restart = (
        int(os.environ.get(name, default)) for name, default in (("RANK", 0), ("LOCAL_RANK", 0), ("WORLD_SIZE", 1), ("TORCHELASTIC_RESTART_COUNT", 0))
    )
    device = pick_device(options.device, local_rank)
    backend = "nccl" if device.type == "cuda" else "gloo"
    if device.type == "cpu" and "OMP_NUM_THREADS" not in os.environ:
        torch.set_num_threads(1)  # OpenMP threads spin: on a shared machine two of them are ten times slower than one
    timeout = timedelta(seconds=options.timeout_seconds)
    backends = "cpu:gloo,cuda:nccl" if backend == "nccl" and options.offload != "none" else backend  # what is offloaded is reduced on the host
    try:
        if "RANK" in os.environ:
            dist.init_process_group(backends, timeout=timeout)
        else:
            dist.init_process_group(backends, store=dist.HashStore(), rank=0, world_size=1, timeout=timeout)
    except dist.DistError as error:
        leave_at_once(PEER_LOST, f"rank {rank}: not all {world_size} ranks met within {options.timeout_seconds:g} s: {first_line(error)}")
    return Rank(rank, local_rank, world_size, restart, device, backend)


def pick_device(wanted: str, local_rank: int) -> torch.device:
    """The CPU, or the GPU of this local rank, made current."""
    gpus = torch.cuda.device_count()
    if wanted == "cpu" or (wanted == "auto" and gpus == 0):
        return torch.device("cpu")
    if local_rank >= gpus:
        found = f"this machine has {gpus}" if gpus else "torch sees none here"
        first_without = local_rank == gpus  # one line a machine
        refuse(f"--device {wanted}: local rank {local_rank} needs {local_rank + 1} GPUs, {found}", speaks=first_without)
    device = torch.device("cuda", local_rank)
    torch.cuda.set_device(device)
    torch.set_float32_matmul_precision("high")
    return device


class Stop:
    """Hears SIGTERM and SIGINT at once, even while the main thread waits inside a collective.

    The step in hand and its checkpoint may end within the grace; a step that does not (its peers hang, say) is left where it is.
    """

    def __init__(self, grace_seconds: float, rank: int) -> None:
        self.grace_seconds, self.rank = grace_seconds, rank
        self.requested, self._closed = threading.Event(), threading.Event()
        self.exit_code = 128 + signal.SIGTERM  # also on the ranks that only hear of it from a peer

    def __enter__(self) -> "Stop":
        # Python runs handlers between bytecodes, so a blocked step would not hear them; the wake-up descriptor is written at once.
        self._heard, self._wake = socket.socketpair()
        self._wake.setblocking(False)
        signal.set_wakeup_fd(self._wake.fileno(), warn_on_full_buffer=False)
        self._handlers = {number: signal.signal(number, lambda *_: None) for number in (signal.SIGTERM, signal.SIGINT)}
        threading.Thread(target=self._listen, name="signals", daemon=True).start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        signal.set_wakeup_fd(-1)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        self._closed.set()
        self._wake.close()

    def _listen(self) -> None:
        with self._heard:
            heard = self._heard.recv(1)
        if not heard:
            return
        self.exit_code = 128 + heard[0]
        self.requested.set()
        if not self._closed.wait(self.grace_seconds):
            name = signal.Signals(heard[0]).name
            leave_at_once(
                self.exit_code, f"rank {self.rank}: the step and its checkpoint did not end within {self.grace_seconds:g} s of {name}; left in it"
            )

    def wait(self, seconds: float) -> None:
        """Idle, but no longer than until a signal comes."""
        if seconds > 0:
            self.requested.wait(seconds)


def leave() -> None:
    """Give up the process group; whatever holds it (model, optimizer) must be out of scope.

    A model that outlives its group deadlocks on the GIL when gloo's threads are joined, hence the collection before.
    """
    gc.collect()
    dist.destroy_process_group()


def leave_at_once(code: int, line: str = "") -> NoReturn:
    """End the process without the destructors that could wait for a lost peer."""
    if line:
        print(line, file=sys.stderr)
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(code)


def first_line(error: BaseException) -> str:
    """The message without the C++ stack that some errors of torch carry."""
    return str(error).strip().split("\n", 1)[0]


def run(main: Callable[[], int]) -> NoReturn:
    """Run `main` and exit with what it returns.

    An error keeps its whole traceback, on stderr and in TORCHELASTIC_ERROR_FILE; a rank that merely lost its peer says so in one line
    and writes no error file, so that torchrun names the rank that failed first.
    """

    @record
    def watched() -> int:
        try:
            return main()
        except RuntimeError as error:
            if not _PEER_LOST.search(str(error)):
                raise
            print(f"rank {os.environ.get('RANK', '0')}: lost a peer, the cause is there: {first_line(error)}", file=sys.stderr, flush=True)
            time.sleep(_LINGER_SECONDS)
            leave_at_once(PEER_LOST)

    try:
        code = watched()
    except Exception:  # the edge of the process
        traceback.print_exc()
        leave_at_once(ERROR)
    sys.exit(code)
