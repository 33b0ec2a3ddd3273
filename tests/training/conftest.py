"""Ranks as real processes, with a deadline on everything that is waited for; and a bucket that can fail."""

import contextlib
import http.client
import json
import os
import random
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from nursery import Forked, Nursery

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


def environment(**env: str) -> dict[str, str]:
    """What a rank is started with: nothing of the torchrun or pod that the tests may run in."""
    clean = {name: value for name, value in os.environ.items() if name not in FOREIGN and not name.startswith("PET_")}
    return clean | {"PYTHONPATH": str(REPOSITORY), "OMP_NUM_THREADS": "1", **env}


class Training:
    """One started process: its parsed JSON lines, its stderr, its end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.out, self.err = folder, folder / "stdout", folder / "stderr"
        self.process: subprocess.Popen[bytes] | Forked

    def spawn(self, arguments: list[str], env: dict[str, str]) -> None:
        """`python ARGUMENTS...`, as its user starts it."""
        with self.out.open("wb") as out, self.err.open("wb") as err:
            self.process = subprocess.Popen(
                [sys.executable, *arguments],
                cwd=self.folder,
                env=env,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                start_new_session=True,
            )

    def fork(self, nursery: Nursery, arguments: list[str], env: dict[str, str]) -> None:
        """The same for `-m MODULE FLAGS...`, with the imports done."""
        _, module, *flags = arguments
        self.process = nursery.start(module, flags, self.folder, env, self.out, self.err)

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


@pytest.fixture(scope="session")
def nursery() -> Iterator[Callable[[], Nursery]]:
    """Made when the first rank is wanted of it."""
    made: list[Nursery] = []

    def _nursery() -> Nursery:
        if not made:
            made.append(Nursery())
        return made[0]

    yield _nursery
    for one in made:
        one.close()


@pytest.fixture
def begin(tmp_path: Path, nursery: Callable[[], Nursery]) -> Iterator[Start]:
    """Starts a process in a folder of its own, forked or not; nothing it started is left afterwards."""
    started: list[Training] = []

    def _begin(arguments: list[str], env: dict[str, str], forked: bool) -> Training:
        folder = tmp_path / f"process{len(started)}"
        folder.mkdir()
        one = Training(folder)
        if forked:
            one.fork(nursery(), arguments, environment(**env))
        else:
            one.spawn(arguments, environment(**env))
        started.append(one)
        return one

    yield _begin
    for training in started:
        _end(training)


@pytest.fixture
def start(begin: Start) -> Start:
    """Starts `python ARGUMENTS...` with extra environment."""

    def _start(*arguments: str, **env: str) -> Training:
        return begin(list(arguments), env, forked=False)

    return _start


def _end(training: Training) -> None:
    """Kill the process and whatever it left behind: torchrun gives each rank a session of its own, so they are found by their folder."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(training.process.pid, signal.SIGKILL)
    training.process.wait()
    for link in Path("/proc").glob("[0-9]*/cwd"):
        with contextlib.suppress(OSError):
            if link.readlink() == training.out.parent:
                os.kill(int(link.parent.name), signal.SIGKILL)


def ranks_of(begin: Start, forked: bool) -> Callable[..., list[Training]]:
    """Ranks without torchrun, as a PyTorchJob sets them up: RANK, WORLD_SIZE and MASTER_*."""

    def _start(*flags: str, strategy: str = "ddp", world_size: int = 2, **env: str) -> list[Training]:
        master = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(free_ports(1)), "WORLD_SIZE": str(world_size)}
        ranks = [{"RANK": str(rank), "LOCAL_RANK": str(rank), "LOCAL_WORLD_SIZE": str(world_size)} for rank in range(world_size)]
        return [begin(["-m", f"training.{strategy}", *flags], {**one, **master, **env}, forked=forked) for one in ranks]

    return _start


@pytest.fixture
def start_ranks(begin: Start) -> Callable[..., list[Training]]:
    """Ranks from nothing."""
    return ranks_of(begin, forked=False)


@pytest.fixture
def fork_ranks(begin: Start) -> Callable[..., list[Training]]:
    """The same, forked from a process that has imported torch and DeepSpeed: for the long matrices."""
    return ranks_of(begin, forked=True)


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


class Flaky(BaseHTTPRequestHandler):
    """Passes requests on to moto, but for the share that it answers with 500 or 503, or not at all; sometimes after they went through."""

    protocol_version = "HTTP/1.1"
    upstream, share, chance = "", 0.0, random.Random(7)
    refused: tuple[int, str] | None = None  # a status, for every PUT to a key that ends so
    pause_seconds = 0.0  # before each answer

    def _pass(self) -> None:
        body = self._chunks() if self.headers.get("Transfer-Encoding") == "chunked" else self.rfile.read(int(self.headers["Content-Length"] or 0))
        threading.Event().wait(self.pause_seconds)
        if self.refused and self.command == "PUT" and self.path.partition("?")[0].endswith(self.refused[1]):
            code = "AccessDenied" if self.refused[0] == 403 else "InternalError"
            return self._answer(self.refused[0], {}, b"<Error><Code>%s</Code><Message>no</Message></Error>" % code.encode())
        fails = self.chance.random() < self.share
        if fails and self.chance.random() < 0.5:
            return self._answer(self.chance.choice((500, 503)), {}, b"<Error><Code>SlowDown</Code><Message>again</Message></Error>")
        headers = {name: value for name, value in self.headers.items() if name.lower() not in ("connection", "expect", "transfer-encoding")}
        upstream = http.client.HTTPConnection(self.upstream, timeout=20)
        upstream.request(self.command, self.path, body, headers | {"Content-Length": str(len(body))})
        answer = upstream.getresponse()
        status, given, content = answer.status, answer.headers, answer.read()
        upstream.close()
        if fails:  # it went through, and nobody hears of it
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return None
        return self._answer(status, dict(given), content)

    def _chunks(self) -> bytes:
        body = b""
        while length := int(self.rfile.readline(), 16):
            body += self.rfile.read(length)
            self.rfile.readline()
        self.rfile.readline()
        return body

    def _answer(self, status: int, headers: dict[str, str], content: bytes) -> None:
        self.send_response_only(status)
        for name, value in headers.items():
            if name.lower() not in ("content-length", "connection", "transfer-encoding"):
                self.send_header(name, value)
        length = next((value for name, value in headers.items() if name.lower() == "content-length"), "0") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = _pass

    def log_message(self, *args: object) -> None:
        """Nothing."""


class Proxy(ThreadingHTTPServer):
    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has given up is no error of the proxy's."""


@pytest.fixture
def flaky(monkeypatch, tmp_path) -> Iterator[type[Flaky]]:
    """A bucket `runs` of moto's, and the proxy in front of it that AWS_ENDPOINT_URL names."""
    pytest.importorskip("moto", reason="moto is not installed (pip install 'moto[server]')")
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    proxy = Proxy(("127.0.0.1", 0), Flaky)
    threading.Thread(target=proxy.serve_forever, args=(0.05,), daemon=True).start()
    host, port = server.get_host_and_port()
    monkeypatch.setattr(Flaky, "upstream", f"{host}:{port}")
    for name, value in {"ACCESS_KEY_ID": "test", "SECRET_ACCESS_KEY": "test", "DEFAULT_REGION": "us-east-1"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{proxy.server_address[1]}")
    monkeypatch.setenv("NO_PROXY", "*")
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    boto3.client("s3").create_bucket(Bucket="runs")
    yield Flaky
    proxy.shutdown()
    proxy.server_close()
    server.stop()
