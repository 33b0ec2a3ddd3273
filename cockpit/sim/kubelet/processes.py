"""Container processes: start, wait, signal, find and kill them, and remember them on disk.

A process belongs to a container when its environment carries the container's mark, whatever session it moved to (torchrun starts
every worker in a session of its own, so neither the process group nor the session is enough).
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

MARK = "COCKPIT_SIM_CONTAINER"
LAUNCH = Path(__file__).with_name("launch.py")
PR_SET_CHILD_SUBREAPER = 36

_children: set[int] = set()  # main processes, reaped by their own waiters
_unreaped: set[int] = set()  # killed grandchildren whose zombies may come to us


@dataclass(frozen=True)
class Found:
    """A live process of some container, as /proc shows it."""

    pid: int
    mark: str
    environ: Mapping[str, str]

    @property
    def uid(self) -> str:
        """Uid of its pod."""
        return self.mark.partition("/")[0]

    @property
    def rank(self) -> int | None:
        """Global rank when this is a rank of a distributed job (torchrun sets RANK and LOCAL_RANK in its workers)."""
        text = self.environ.get("RANK", "") if "LOCAL_RANK" in self.environ else ""
        return int(text) if text.isdigit() else None


class Process:
    """One running container process, leader of its own session and process group."""

    def __init__(self, popen: subprocess.Popen[bytes], mark: str, record: Path) -> None:
        self.popen = popen
        self.pid = popen.pid
        self.mark = mark
        self.record = record

    def signal_group(self, number: int) -> None:
        """Send a signal to the whole process group; a group that is gone is not an error."""
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)

    async def wait(self) -> int:
        """Wait for the end without polling; exit code, or minus the signal number."""
        loop = asyncio.get_running_loop()
        ended: asyncio.Future[None] = loop.create_future()
        descriptor = os.pidfd_open(self.pid)
        loop.add_reader(descriptor, _finish, ended)
        try:
            await ended
        finally:
            loop.remove_reader(descriptor)
            os.close(descriptor)
        code = self.popen.wait()
        _children.discard(self.pid)
        self.record.unlink(missing_ok=True)
        return code


def _finish(ended: asyncio.Future[None]) -> None:
    if not ended.done():
        ended.set_result(None)


def start(command: Sequence[str], env: Mapping[str, str], cwd: Path, mark: str, records: Path) -> tuple[Process, IO[bytes], IO[bytes]]:
    """Start a command in its own session with its mark in the environment; the process and its stdout and stderr pipes."""
    process = spawn(command, env, cwd, mark, records, subprocess.DEVNULL, subprocess.PIPE, subprocess.PIPE)
    popen = process.popen
    assert popen.stdout is not None and popen.stderr is not None
    return process, popen.stdout, popen.stderr


def spawn(command: Sequence[str], env: Mapping[str, str], cwd: Path, mark: str, records: Path, stdin: int, stdout: int, stderr: int) -> Process:
    """Start a command in its own session with its mark in the environment; a terminal as its stdin becomes the session's."""
    popen = subprocess.Popen(
        [sys.executable, "-I", "-S", str(LAUNCH), *command],
        env={**env, MARK: mark},
        cwd=cwd,
        stdin=stdin,
        stdout=stdout,
        stderr=stderr,
        start_new_session=True,
    )
    _children.add(popen.pid)
    record = records / f"{popen.pid}.json"
    record.write_text(json.dumps({"pid": popen.pid, "start_ticks": start_ticks(popen.pid), "mark": mark}))
    return Process(popen, mark, record)


def start_ticks(pid: int) -> int | None:
    """Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat), None when it is gone; tells a reused pid."""
    fields = _stat(pid)
    return int(fields[19]) if fields else None


def session_of(pid: int) -> int | None:
    """Session id of a process, None when it is gone."""
    fields = _stat(pid)
    return int(fields[3]) if fields else None


def state_of(pid: int) -> str | None:
    """One-letter state as ps shows it (R, S, T stopped, Z zombie), None when it is gone."""
    fields = _stat(pid)
    return fields[0] if fields else None


def _stat(pid: int) -> list[str] | None:
    try:
        text = Path(f"/proc/{pid}/stat").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return text.rpartition(")")[2].split()


def _pids() -> Iterator[int]:
    return (int(name) for name in os.listdir("/proc") if name.isdigit())


def environ_of(pid: int) -> dict[str, str]:
    """Environment a process was started with; empty when it is gone or another user's."""
    try:
        raw = Path(f"/proc/{pid}/environ").read_bytes()
    except OSError:
        return {}
    pairs = (item.partition(b"=") for item in raw.split(b"\0") if b"=" in item)
    return {name.decode("utf-8", "replace"): value.decode("utf-8", "replace") for name, _, value in pairs}


def find(mark_prefix: str) -> list[Found]:
    """Every live process whose mark begins with `mark_prefix` (a pod's uid, or uid/container/attempt), oldest first."""
    needle = f"{MARK}={mark_prefix}".encode()
    found = []
    for pid in _pids():
        try:
            raw = Path(f"/proc/{pid}/environ").read_bytes()
        except OSError:
            continue
        if needle not in raw or state_of(pid) in (None, "Z"):
            continue
        environ = environ_of(pid)
        if environ.get(MARK, "").startswith(mark_prefix):
            found.append(Found(pid, environ[MARK], environ))
    return sorted(found, key=lambda process: (start_ticks(process.pid) or 0, process.pid))


def kill_marked(mark_prefix: str) -> int:
    """SIGKILL every process of a container or pod, also those that fork meanwhile; how many were killed."""
    killed: set[int] = set()
    while True:
        fresh = [process.pid for process in find(mark_prefix) if process.pid not in killed]
        if not fresh:
            break
        for pid in fresh:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        killed.update(fresh)
    _unreaped.update(killed - _children)
    reap()
    return len(killed)


def reap() -> None:
    """Collect the zombies of killed grandchildren; those that still die are collected by the next call."""
    for pid in list(_unreaped):
        try:
            ended, _ = os.waitpid(pid, os.WNOHANG)
        except ChildProcessError:
            ended = 0 if state_of(pid) else pid
        if ended:
            _unreaped.discard(pid)


def signal_marked(mark_prefix: str, number: int) -> int:
    """Send a signal to every process of a container or pod; how many got it."""
    found = find(mark_prefix)
    for process in found:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, number)
    return len(found)


def adopt_orphans() -> None:
    """Make this process the reaper of its grandchildren, so that killed workers leave no zombies (PR_SET_CHILD_SUBREAPER)."""
    ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def kill_recorded(records: Path) -> int:
    """Kill what an earlier practice cluster left running, by its records on disk; how many processes were killed."""
    killed = 0
    for path in sorted(records.glob("*.json")):
        try:
            record = json.loads(path.read_text())
        except (json.JSONDecodeError, FileNotFoundError):
            record = {}
        pid, mark = record.get("pid"), record.get("mark")
        if pid and record.get("start_ticks") == start_ticks(pid) and state_of(pid) not in (None, "Z"):
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(pid, signal.SIGKILL)
                killed += 1
        if mark:
            killed += kill_marked(mark)
        path.unlink(missing_ok=True)
    return killed
