"""Programs of this machine, run through `sh`: no terminal, no shell, their words line by line.

`run` is for programs that end soon. `attend` is for those that work for minutes: their words go to a file, so that they can be left running.
"""

from __future__ import annotations

import os
import queue
import signal
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from cockpit.errors import ActionFailed, CockpitError, Interrupted, NotFound, TimedOut
from cockpit.programs import install_line

LINE_CHARS = 4000
LOOK_SECONDS = 0.1
LAST_LINES = 12
STOP_SECONDS = 30.0
"""How long a program that was asked to stop may take to put its things in order."""


class Shell:
    """Runs programs; `environment` is added to ours."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})

    @staticmethod
    def which(name: str) -> str | None:
        """The path of a program on PATH, or None."""
        import shutil

        return shutil.which(name)

    def require(self, name: str) -> None:
        """NotFound with the line that installs it when there is no such program."""
        if self.which(name) is None:
            raise NotFound(f"{name} is not installed", install_line(name))

    def run(
        self,
        argv: Sequence[str],
        on_line: Callable[[str], None] | None = None,
        timeout_seconds: float | None = None,
        env: Mapping[str, str] | None = None,
        stdin: str = "",
    ) -> str:
        """Standard output of `argv`, which reads `stdin`; each line of stdout and stderr goes to `on_line` as it comes.

        NotFound when there is no such program, TimedOut, ActionFailed with the last line of stderr when it exits with another code than 0.
        """
        import sh  # 20 ms that a start without programs to run can save

        program, *arguments = argv
        command = _command(program)
        out: list[str] = []
        err: list[str] = []
        try:
            command(
                *arguments,
                _in=stdin.encode(),
                _out=_teller(out, on_line),
                _err=_teller(err, on_line),
                _tty_out=False,
                _timeout=timeout_seconds,
                _env=self._env(env),
                _new_session=True,
                _no_out=True,
                _no_err=True,
            )
        except sh.TimeoutException:
            raise TimedOut(f"{program} did not end within {timeout_seconds:g} s") from None
        except sh.ErrorReturnCode as problem:
            raise _failed(program, problem.exit_code, err or out) from None
        return "".join(out)

    def attend(
        self,
        argv: Sequence[str],
        log: Path,
        stdin: str = "",
        on_line: Callable[[str], None] = lambda line: None,
        env: Mapping[str, str] | None = None,
        leave: Callable[[str], bool] = lambda program: True,
    ) -> None:
        """Run to the end with both outputs in the file `log` (mode 0600), telling its lines as they come.

        On ctrl-c `leave` is asked: True leaves it running and says so, False stops it; both raise Interrupted. ActionFailed holds the last lines.
        """
        program, *arguments = argv
        command = _command(program)
        log.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        with open(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as out, log.open("rb") as words:
            more = {"_out": out, "_err_to_out": True, "_bg": True, "_bg_exc": False, "_new_session": True, "_return_cmd": True}
            process = command(*arguments, _in=stdin.encode(), _env=self._env(env), **more)
            lines = _Lines(words, on_line)
            try:
                _until_over(process, lines)
            except KeyboardInterrupt:
                raise _interrupted(process, lines, program, log, leave) from None
        if process.process.exit_code != 0:
            raise _failed(program, process.process.exit_code, lines.last, "\n".join([*lines.last, f"all its words: {log}"]))

    def lines(self, argv: Sequence[str], stop: threading.Event, stdin: str = "") -> Iterator[str]:
        """The lines of stdout and stderr as they come; the program is ended when `stop` is set or nobody reads on. Fails as `run` does."""
        import sh

        program, *arguments = argv
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        kept: list[str] = []

        def tell(line: str) -> None:
            kept.append(line)
            said.put(line.rstrip("\n")[:LINE_CHARS])

        running = _command(program)(
            *arguments,
            _in=stdin.encode(),
            _out=tell,
            _err=tell,
            _tty_out=False,
            _bg=True,
            _bg_exc=False,
            _env=self._env(None),
            _new_session=True,
            _no_out=True,
            _no_err=True,
            _done=lambda *_: said.put(None),
        )
        try:
            yield from _until_none(said, stop)
            if not stop.is_set():
                running.wait()
        except sh.ErrorReturnCode as problem:
            raise _failed(program, problem.exit_code, kept) from None
        finally:
            if running.is_alive():
                running.terminate()

    def attach(self, argv: Sequence[str]) -> int:
        """Hand our terminal to a program until it ends; its exit code. NotFound when there is no such program."""
        import sh

        program, *arguments = argv
        try:
            _command(program)(*arguments, _fg=True, _env=self._env(None))
        except sh.ErrorReturnCode as problem:
            return int(problem.exit_code)
        return 0

    def _env(self, env: Mapping[str, str] | None) -> dict[str, str]:
        return {**os.environ, **self._environment, **(env or {})}


class _Lines:
    """Tells what is appended to a file, whole lines, and keeps the last ones."""

    def __init__(self, words: Any, on_line: Callable[[str], None]) -> None:
        self._words, self._on_line, self._part = words, on_line, b""
        self.last: list[str] = []

    def read(self) -> None:
        """Tell what is new."""
        *whole, self._part = (self._part + self._words.read()).split(b"\n")
        for line in whole:
            self._tell(line)

    def end(self) -> None:
        """Tell the rest, also without a newline."""
        self.read()
        if self._part:
            self._tell(self._part)
            self._part = b""

    def _tell(self, raw: bytes) -> None:
        line = raw.decode("utf-8", "replace").rstrip("\r")[:LINE_CHARS]
        if line.strip():
            self.last = [*self.last, line][-LAST_LINES:]
        self._on_line(line)


def _until_over(process: Any, lines: _Lines) -> None:
    pause = threading.Event()
    while process.is_alive():
        lines.read()
        pause.wait(LOOK_SECONDS)
    lines.end()


def _interrupted(process: Any, lines: _Lines, program: str, log: Path, leave: Callable[[str], bool]) -> Interrupted:
    if leave(program):
        told = f"interrupted; {program} (process {process.pid}) was left running"
        return Interrupted(told, f"its words go to {log}; when it is over, run the same again: it plans from what exists")
    for number, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGTERM, STOP_SECONDS / 3), (signal.SIGKILL, STOP_SECONDS)):
        if process.is_alive():
            process.signal_group(number)
        _wait(process, seconds)
    lines.end()
    return Interrupted(f"interrupted; {program} was stopped", f"its words are in {log}; run the same again to go on: it plans from what exists")


def _wait(process: Any, seconds: float) -> None:
    pause = threading.Event()
    for _ in range(int(seconds / LOOK_SECONDS)):
        if not process.is_alive():
            return
        pause.wait(LOOK_SECONDS)


def _command(program: str) -> Any:
    import sh

    try:
        return sh.Command(program)
    except sh.CommandNotFound:
        raise NotFound(f"{program} is not installed", install_line(program)) from None


def _until_none(said: queue.SimpleQueue[str | None], stop: threading.Event) -> Iterator[str]:
    while not stop.is_set():
        try:
            line = said.get(timeout=LOOK_SECONDS)
        except queue.Empty:
            continue
        if line is None:
            return
        yield line


def _teller(into: list[str], on_line: Callable[[str], None] | None) -> Callable[[str], None]:
    def tell(line: str) -> None:
        into.append(line)
        if on_line is not None:
            on_line(line.rstrip("\n")[:LINE_CHARS])

    return tell


def _failed(program: str, exit_code: int, said: list[str], hint: str = "") -> CockpitError:
    last = next((line.strip() for line in reversed(said) if line.strip()), f"exit {exit_code}")
    return ActionFailed(f"{program} failed ({exit_code}): {last[:LINE_CHARS]}", hint)
