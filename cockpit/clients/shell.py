"""Programs of this machine, run through `sh`: no terminal, no shell, their words line by line."""

from __future__ import annotations

import os
import queue
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence

from cockpit.errors import ActionFailed, CockpitError, NotFound, TimedOut

LINE_CHARS = 4000
LOOK_SECONDS = 0.5


class Shell:
    """Runs programs; `environment` is added to ours."""

    def __init__(self, environment: Mapping[str, str] | None = None) -> None:
        self._environment = dict(environment or {})

    @staticmethod
    def which(name: str) -> str | None:
        """The path of a program on PATH, or None."""
        import shutil

        return shutil.which(name)

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
        try:
            command = sh.Command(program)
        except sh.CommandNotFound:
            raise NotFound(f"{program} is not installed", f"install {program} or put it on PATH") from None
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
                _env={**os.environ, **self._environment, **(env or {})},
                _new_session=True,
                _no_out=True,
                _no_err=True,
            )
        except sh.TimeoutException:
            raise TimedOut(f"{program} did not end within {timeout_seconds:g} s") from None
        except sh.ErrorReturnCode as problem:
            raise _failed(program, problem.exit_code, err or out) from None
        return "".join(out)

    def lines(self, argv: Sequence[str], stop: threading.Event, stdin: str = "") -> Iterator[str]:
        """The lines of stdout and stderr as they come; the program is ended when `stop` is set or nobody reads on. Fails as `run` does."""
        import sh

        program, *arguments = argv
        said: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        kept: list[str] = []

        def tell(line: str) -> None:
            kept.append(line)
            said.put(line.rstrip("\n")[:LINE_CHARS])

        try:
            command = sh.Command(program)
        except sh.CommandNotFound:
            raise NotFound(f"{program} is not installed", f"install {program} or put it on PATH") from None
        running = command(
            *arguments,
            _in=stdin.encode(),
            _out=tell,
            _err=tell,
            _tty_out=False,
            _bg=True,
            _bg_exc=False,
            _env={**os.environ, **self._environment},
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
            sh.Command(program)(*arguments, _fg=True, _env={**os.environ, **self._environment})
        except sh.CommandNotFound:
            raise NotFound(f"{program} is not installed", f"install {program} or put it on PATH") from None
        except sh.ErrorReturnCode as problem:
            return int(problem.exit_code)
        return 0


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


def _failed(program: str, exit_code: int, said: list[str]) -> CockpitError:
    last = next((line.strip() for line in reversed(said) if line.strip()), f"exit {exit_code}")
    return ActionFailed(f"{program} failed ({exit_code}): {last[:LINE_CHARS]}")
