"""The practice cluster's command line: python -m cockpit.sim start | stop | status."""

from __future__ import annotations

import argparse
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cockpit.sim.state import State

if TYPE_CHECKING:
    from cockpit.sim.serve import Settings

START_SECONDS = 120.0
STOP_SECONDS = 10.0
POLL_SECONDS = 0.02


def main(argv: list[str] | None = None) -> int:
    """Run one command; exit code 0, 1 for not running or failed, 2 for a wrong argument."""
    arguments = parser().parse_args(argv)
    state = State.locate()
    if arguments.command == "start":
        return foreground(state, arguments) if arguments.foreground else start(state, arguments)
    if arguments.command == "stop":
        return stop(state)
    return status(state)


def parser() -> argparse.ArgumentParser:
    """The arguments of every command."""
    made = argparse.ArgumentParser(prog="python -m cockpit.sim", description=__doc__)
    commands = made.add_subparsers(dest="command", required=True)
    begin = commands.add_parser("start", help="start it detached, unless it runs already, and print where it is")
    begin.add_argument("--scenario", default="small", help="small, empty, big, or the path of a scenario file (default: small)")
    begin.add_argument("--trainer", choices=("2.1", "2.3"), default="2.3", help="which TrainJob version it serves (default: 2.3)")
    begin.add_argument("--port", type=int, help="port on 127.0.0.1 (default: the one of the last run, else a free one)")
    begin.add_argument("--pace", type=float, default=1.0, help="factor on simulated delays (default: 1)")
    begin.add_argument("--changes-per-second", type=float, help="scenario big: how many objects change each second")
    begin.add_argument("--nodes", type=int, help="scenario big: how many nodes")
    begin.add_argument("--pods", type=int, help="scenario big: how many pods")
    begin.add_argument("--foreground", action="store_true", help="stay attached to the terminal")
    commands.add_parser("stop", help="stop it and every process of its pods")
    commands.add_parser("status", help="print where it is; exit 1 when it does not run")
    return made


def _print(value: dict[str, Any]) -> None:
    print(json.dumps(value), flush=True)


def _settings(arguments: argparse.Namespace) -> Settings:
    from cockpit.sim.serve import Settings

    return Settings(
        arguments.scenario, arguments.trainer, arguments.port, arguments.changes_per_second, arguments.nodes, arguments.pods, arguments.pace
    )


def foreground(state: State, arguments: argparse.Namespace) -> int:
    """Be the practice cluster until a signal comes."""
    import asyncio
    import logging

    from cockpit.sim.serve import serve

    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    pid = state.running_pid()
    if pid is not None and pid != os.getpid():
        _print(state.summary(pid))
        return 0
    asyncio.run(serve(state, _settings(arguments)))
    return 0


def start(state: State, arguments: argparse.Namespace) -> int:
    """Start the practice cluster detached and wait until it is ready."""
    with state.locked():
        pid = state.running_pid()
        if pid is not None:
            print("the practice cluster is running already", file=sys.stderr)
            _print(state.summary(pid))
            return 0
        process = _detached(state, arguments)
        if not _wait_ready(state, process):
            process.kill()
            tail = state.log_file.read_text(errors="replace").splitlines()[-12:]
            print("the practice cluster did not start:", *tail, sep="\n  ", file=sys.stderr)
            return 1
    _print(state.summary(process.pid))
    return 0


def _detached(state: State, arguments: argparse.Namespace) -> subprocess.Popen[bytes]:
    command = [
        sys.executable,
        "-m",
        "cockpit.sim",
        "start",
        "--foreground",
        "--scenario",
        _scenario(arguments.scenario),
        "--trainer",
        arguments.trainer,
        "--pace",
        str(arguments.pace),
    ]
    for name in ("port", "changes_per_second", "nodes", "pods"):
        value = getattr(arguments, name)
        if value is not None:
            command += [f"--{name.replace('_', '-')}", str(value)]
    root = str(Path(__file__).resolve().parents[2])
    env = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))}
    with state.log_file.open("wb") as log:
        return subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=env, cwd=state.folder, start_new_session=True)


def _scenario(name: str) -> str:
    """A scenario's name as it is, a file's as an absolute path, since the process changes its folder."""
    path = Path(name)
    return str(path.resolve()) if path.suffix or path.exists() else name


def _wait_ready(state: State, process: subprocess.Popen[bytes]) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if process.poll() is not None:
            return False
        if state.facts().get("pid") == process.pid and is_ready(state):
            return True
        time.sleep(POLL_SECONDS)
    return False


def is_ready(state: State) -> bool:
    """Whether /readyz answers 200."""
    import http.client
    import ssl

    context = ssl.create_default_context(cafile=str(state.folder / "ca.crt"))
    connection = http.client.HTTPSConnection("127.0.0.1", int(state.facts()["port"]), timeout=2, context=context)
    try:
        connection.request("GET", "/readyz")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def stop(state: State) -> int:
    """Stop the practice cluster and every process of its pods; nothing to stop is fine."""
    with state.locked():
        pid = state.running_pid()
        if pid is not None:
            _end(state, pid)
        state.release()
        kill_pods(state)
    _print({"stopped": pid is not None, "pid": pid})
    return 0


def _end(state: State, pid: int) -> None:
    for number in (signal.SIGCONT, signal.SIGTERM):
        os.kill(pid, number)
    deadline = time.monotonic() + STOP_SECONDS
    while state.running_pid() == pid:
        if time.monotonic() > deadline:
            os.kill(pid, signal.SIGKILL)
        time.sleep(POLL_SECONDS)


def kill_pods(state: State) -> None:
    """Kill the pod processes that are written down in the state directory, verified by their start time."""
    records = state.pods / "records"
    if records.exists():
        from cockpit.sim.kubelet.processes import kill_recorded

        kill_recorded(records)


def status(state: State) -> int:
    """Print where the practice cluster is."""
    pid = state.running_pid()
    if pid is None:
        _print({"running": False})
        return 1
    _print({"running": True, **state.summary(pid), "ready": is_ready(state)})
    return 0


if __name__ == "__main__":
    sys.exit(main())
