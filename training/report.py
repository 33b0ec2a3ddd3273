"""What a rank tells the world: one JSON line a step, Prometheus text on a port, progress to the TrainJob. docs/training.md lists the fields.

None may cost more than a hundredth of a step or end the training: a port in use or a full disk is one warning.

In a script of your own, once torch.distributed is initialised:

    rank = Rank.here(device)
    with Report(rank, Work("my-script", steps=1000, tokens=batch * context), metrics_port=29400) as report:
        report.start(model="my-model", resumed_from=None)
        for step in range(1, 1001):
            ...
            report.step(step, loss=loss, lr=lr, grad_norm=norm, step_seconds=a, data_seconds=b, compute_seconds=c)
        report.close("end")
"""

import json
import os
import resource
import socketserver
import sys
import threading
import time
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socket import gethostname
from typing import Any, TextIO

import torch

from training import progress
from training.ranks import Rank

# Dense bf16 tensor-core peaks, FLOP/s, from NVIDIA's data sheets; the first name found in the device's name counts.
PEAK_BF16 = {
    "GB200": 2.5e15,
    "B200": 2.25e15,
    "H200": 989e12,
    "H100 PCIe": 756e12,
    "H100 NVL": 835e12,
    "H100": 989e12,
    "A100": 312e12,
    "L40S": 362e12,
    "L40": 181e12,
    "L4": 121e12,
    "A10G": 70e12,
}

# name: (type, help)
METRICS = {
    "training_step": ("gauge", "Last step done, from 1."),
    "training_loss": ("gauge", "Mean loss over all ranks at that step, nats per token."),
    "training_step_seconds": ("gauge", "Wall time of that step, its pause included."),
    "training_steps_total": ("counter", "Steps this process has done."),
    "training_tokens_total": ("counter", "Tokens this rank has trained on."),
    "training_compute_seconds_total": ("counter", "Time in forward, backward, gradient exchange and optimizer."),
    "training_data_seconds_total": ("counter", "Time waiting for data."),
    "training_bytes_reduced_total": ("counter", "Bytes this rank has put into all-reduces (payload, not wire)."),
}


def peak_flops(rank: Rank, precision: torch.dtype) -> float | None:
    """Peak FLOP/s of this rank's device in `precision`; None where the table does not know it."""
    if rank.device.type != "cuda" or precision != torch.bfloat16:
        return None
    name = torch.cuda.get_device_name(rank.device)
    return next((peak for part, peak in PEAK_BF16.items() if part in name), None)


def memory_bytes(device: torch.device) -> int:
    """On a GPU the most its tensors have taken so far; on a CPU the process's resident memory now (its peak where there is no /proc)."""
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    try:
        with open("/proc/self/statm") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else peak * 1024


def warn(line: str) -> None:
    print(f"warning: {line}", file=sys.stderr, flush=True)


@dataclass(frozen=True)
class Work:
    """What stays the same in every step of one rank."""

    strategy: str
    steps: int
    tokens: int  # this rank trains on in a step
    bytes_reduced: int = 0  # this rank puts into all-reduces in a step
    flops_per_token: int = 0
    peak_flops: float | None = None  # of this rank's device, FLOP/s; without it there is no MFU


class Report:
    """The lines and the port of one rank; a context manager, so that both are closed."""

    def __init__(self, rank: Rank, work: Work, log_json: str | None = None, metrics_port: int | None = None) -> None:
        self.rank, self.work = rank, work
        self.loss_first: float | None = None
        self.loss_last: float | None = None
        self.last_step = 0
        self.started = time.perf_counter()
        self.values: dict[str, float] = {name: 0 for name, (kind, _) in METRICS.items() if kind == "counter"}
        self._file = self._open(log_json.replace("%r", str(rank.rank))) if log_json else None
        self._server = serve(self, metrics_port + rank.local_rank) if metrics_port else None
        to = progress.server() if rank.rank == 0 else None
        self._progress = progress.Progress(to, work.steps, lambda: self.values, warn) if to else None

    def __enter__(self) -> "Report":
        return self

    def __exit__(self, *_: object) -> None:
        if self._progress:
            self._progress.close()
        if self._server:
            self._server.shutdown()
            self._server.server_close()
        if self._file:
            self._file.close()

    def _open(self, path: str) -> TextIO | None:
        try:
            Path(path).parent.mkdir(parents=True, exist_ok=True)
            return open(path, "a", encoding="utf-8", buffering=1)
        except OSError as error:
            warn(f"rank {self.rank.rank}: --log-json {path}: {error.strerror}; the lines go to stdout only")
            return None

    def _print(self, **fields: Any) -> None:
        line = json.dumps(fields, allow_nan=False) + "\n"
        sys.stdout.write(line)  # one write: lines of two ranks on one pipe do not mix
        sys.stdout.flush()
        try:
            if self._file:
                self._file.write(line)
        except OSError as error:
            warn(f"rank {self.rank.rank}: --log-json: {error.strerror}; the lines go to stdout only")
            self._file = None

    def _event(self, event: str, **fields: Any) -> None:
        rank, work = self.rank, self.work
        who = {"rank": rank.rank, "world_size": rank.world_size, "restart": rank.restart, "strategy": work.strategy, "steps": work.steps}
        self._print(event=event, **who, **fields, time=time.time())

    def start(self, **fields: Any) -> None:
        """The `start` line: who trains what, where, with what."""
        rank = self.rank
        where = {
            "host": gethostname(),
            "pid": os.getpid(),
            "local_rank": rank.local_rank,
            "device": str(rank.device),
            "backend": rank.backend,
        }
        self._event("start", **where, torch=torch.__version__, **fields)

    def step(self, step: int, *, loss: float, lr: float, grad_norm: float, step_seconds: float, data_seconds: float, compute_seconds: float) -> None:
        """One step's line and metrics; `loss` is the mean over all ranks, and so the tokens a second are of all ranks."""
        rank, work = self.rank, self.work
        rate = work.tokens * rank.world_size / step_seconds
        self.loss_first = loss if self.loss_first is None else self.loss_first
        self.loss_last, self.last_step = loss, step
        self._print(
            rank=rank.rank, restart=rank.restart, step=step, steps=work.steps, loss=loss, lr=lr, grad_norm=grad_norm,
            tokens_per_second=rate, step_seconds=step_seconds, data_seconds=data_seconds,
            mfu=work.flops_per_token * rate / (work.peak_flops * rank.world_size) if work.peak_flops else None,
            memory_bytes=memory_bytes(rank.device), world_size=rank.world_size, strategy=work.strategy, time=time.time(),
        )  # fmt: skip
        steps = self.values["training_steps_total"] + 1
        self.values = {  # a new dict, swapped in whole: a scrape never sees half a step
            "training_step": step,
            "training_loss": loss,
            "training_step_seconds": step_seconds,
            "training_steps_total": steps,
            "training_tokens_total": steps * work.tokens,
            "training_bytes_reduced_total": steps * work.bytes_reduced,
            "training_compute_seconds_total": self.values["training_compute_seconds_total"] + compute_seconds,
            "training_data_seconds_total": self.values["training_data_seconds_total"] + data_seconds,
        }

    def close(self, event: str, **fields: Any) -> None:
        """The last line: `end`, `stopped` or `failed`, with where the training stands."""
        losses = {"loss_first": self.loss_first, "loss_last": self.loss_last}
        self._event(event, step=self.last_step, **losses, seconds=time.perf_counter() - self.started, **fields)

    def checkpoint(self, **fields: Any) -> None:
        """The line of one checkpoint, from rank 0: `state` whole, or failed with its `reason`."""
        self._event("checkpoint", **fields)

    def text(self) -> str:
        """Prometheus text format 0.0.4; a gauge that has no value yet is left out, never 0."""
        rank, values = self.rank, self.values
        job = os.environ.get("TRAIN_JOB", "").replace("\\", r"\\").replace('"', r"\"").replace("\n", r"\n")
        labels = f'rank="{rank.rank}",local_rank="{rank.local_rank}",world_size="{rank.world_size}",train_job="{job}"'
        lines = []
        for name, (kind, meaning) in METRICS.items():
            if name in values:
                lines += [f"# HELP {name} {meaning}", f"# TYPE {name} {kind}", f"{name}{{{labels}}} {values[name]!r}"]
        return "\n".join(lines) + "\n"


class _Server(socketserver.ThreadingTCPServer):
    """Not HTTPServer, which looks its own name up in DNS when it binds."""

    allow_reuse_address = True
    daemon_threads = True
    report: Report


class _Scrape(BaseHTTPRequestHandler):
    timeout = 5  # seconds a slow client may hold its thread
    server: _Server

    def do_GET(self) -> None:
        body = self.server.report.text().encode()
        self.send_response(200)
        self.send_header("Content-Type", "text/plain; version=0.0.4; charset=utf-8")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: Any) -> None:
        """Stdout and stderr belong to the training."""


def serve(report: Report, port: int) -> _Server | None:
    """Answer scrapes on a thread: on every address in a pod, on loopback elsewhere; a port that cannot be had is one warning."""
    in_pod = "KUBERNETES_SERVICE_HOST" in os.environ or "POD_IP" in os.environ
    try:
        server = _Server(("0.0.0.0" if in_pod else "127.0.0.1", port), _Scrape)
    except (OSError, OverflowError) as error:
        warn(f"rank {report.rank.rank}: no metrics on port {port}: {getattr(error, 'strerror', None) or error}; training goes on")
        return None
    server.report = report
    threading.Thread(target=server.serve_forever, args=(0.1,), name="metrics", daemon=True).start()
    return server
