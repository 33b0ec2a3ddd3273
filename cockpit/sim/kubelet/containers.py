"""One container from image to exit code, restarted with back-off as its policy asks."""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
import uuid
from typing import IO, Any

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.commands import CommandNotFound, Prepared, prepare
from cockpit.sim.kubelet.context import PodContext, Stopped
from cockpit.sim.kubelet.environment import ConfigError
from cockpit.sim.kubelet.images import PullError, image_id, needs_pull, size_bytes, took
from cockpit.sim.kubelet.logs import CriLog
from cockpit.sim.kubelet.statuses import ContainerState, terminated

BACKOFF_SECONDS, BACKOFF_LIMIT_SECONDS = 10.0, 300.0
BACKOFF_RESET_SECONDS = 600.0  # a container that ran this long starts anew without delay
READ_BYTES = 16 * 1024  # at a time, so that a container that prints without end does not hold up the others
START_ERROR = 128


class ContainerRun:
    """Runs one container of a pod; `state` is what its status entry shows."""

    def __init__(self, context: PodContext, spec: dict[str, Any], state: ContainerState, restart: str) -> None:
        self.context = context
        self.spec = spec
        self.state = state
        self.restart = restart  # Always, OnFailure or Never
        self.process: processes.Process | None = None
        self.prepared: Prepared | None = None
        self.log: CriLog | None = None
        self.kill_reason: str | None = None  # OOMKilled when the kubelet ended it for its memory
        self.started = asyncio.Event()
        self._backoff = 0.0

    async def run(self) -> int:
        """Run until it ends for good; its exit code. Raises Stopped when the pod stops before a process started."""
        while True:
            await self._pull()
            began = time.monotonic()
            code = await self._attempt()
            again = self.restart == "Always" or (self.restart == "OnFailure" and code != 0)
            if not again or self.context.stopping.is_set():
                return code
            await self._back_off(time.monotonic() - began)

    async def _back_off(self, ran_seconds: float) -> None:
        """Wait before the next attempt: none the first time, then 10 s doubling to 300 s (times the pace)."""
        if ran_seconds >= BACKOFF_RESET_SECONDS:
            self._backoff = 0.0
        wait = self._backoff
        self._backoff = min(max(BACKOFF_SECONDS, self._backoff * 2), BACKOFF_LIMIT_SECONDS)
        if wait:
            name = self.spec["name"]
            self.state.last_state = self.state.state
            self._waiting("CrashLoopBackOff", f"back-off {_go(wait)} restarting failed container={name} pod={self.context.full_name}")
            self._event("BackOff", f"Back-off restarting failed container {name} in pod {self.context.full_name}", warning=True)
            await self.context.pause(wait * self.context.machine.pace)
        else:
            self.state.last_state = self.state.state
        self.state.restart_count += 1

    async def _pull(self) -> None:
        """Bring the image to the node; an unknown one is tried for ever with back-off, as ImagePullBackOff."""
        image, machine, wait = self.spec["image"], self.context.machine, BACKOFF_SECONDS
        while True:
            await self.context.unless_stopping(self.context.node_up.wait())
            if not needs_pull(self.spec.get("imagePullPolicy"), image, machine.images.has(self.context.node, image)):
                self._event("Pulled", f'Container image "{image}" already present on machine')
                break
            self._event("Pulling", f'Pulling image "{image}"')
            try:
                pulled = await self.context.unless_stopping(machine.images.pull(self.context.node, image))
            except PullError as error:
                self._event("Failed", str(error), warning=True)
                self._event("Failed", "Error: ErrImagePull", warning=True)
                self._waiting("ErrImagePull", str(error).partition(": ")[2])
                await self.context.pause(0.5 * machine.pace)
                self._event("BackOff", f'Back-off pulling image "{image}"')
                self._event("Failed", "Error: ImagePullBackOff", warning=True)
                self._waiting("ImagePullBackOff", f'Back-off pulling image "{image}": ErrImagePull: {str(error).partition(": ")[2]}')
                await self.context.pause(wait * machine.pace)
                wait = min(wait * 2, BACKOFF_LIMIT_SECONDS)
                continue
            seconds, size = took(pulled.seconds), size_bytes(image)
            timed = f"in {seconds} ({seconds} including waiting)"
            self._event("Pulled", f'Successfully pulled image "{image}" {timed}. Image size: {size} bytes.')
            break
        self.state.image_id = image_id(image)

    async def _attempt(self) -> int:
        """Start the process and wait for its end; exit code (128 for one that could not start)."""
        prepared = await self._prepared()
        self.state.container_id = f"containerd://{uuid.uuid4().hex}{uuid.uuid4().hex}"
        self._event("Created", f"Created container: {self.spec['name']}")
        if isinstance(prepared, CommandNotFound):
            return self._start_error(str(prepared))
        context, name, attempt = self.context, self.spec["name"], self.state.restart_count
        self.log = CriLog(context.log_path(name, attempt))
        for old in context.log_path(name, attempt).parent.glob(f"{attempt - 2}.log*"):
            old.unlink()
        self.prepared = prepared
        if prepared.idle:
            self.log.line(f"SIMULATED: the entrypoint of image {self.spec['image']} is not known here; idling")
        mark = f"{context.uid}/{name}/{attempt}"
        try:
            self.process, stdout, stderr = processes.start(prepared.command, prepared.env, prepared.cwd, mark, context.machine.records)
        except OSError as error:  # too long an environment, no more descriptors
            self.log.close()
            return self._start_error(f"failed to create containerd task: {error.strerror}")
        started_at = context.machine.cluster.now()
        self.state.state = {"running": {"startedAt": started_at}}
        self.started.set()
        self._event("Started", f"Started container {name}")
        context.publish()
        code = await self._until_exit(self.process, stdout, stderr)
        reason, self.kill_reason = self.kill_reason, None
        self.state.state = terminated(code, started_at, context.machine.cluster.now(), self.state.container_id, reason)
        context.publish()
        return int(self.state.state["terminated"]["exitCode"])

    async def _until_exit(self, process: processes.Process, stdout: IO[bytes], stderr: IO[bytes]) -> int:
        """Pump both pipes into the log until the main process ends, then end everything else the container left behind."""
        assert self.log is not None
        loop = asyncio.get_running_loop()
        pipes = {"stdout": stdout, "stderr": stderr}
        for stream, pipe in pipes.items():
            os.set_blocking(pipe.fileno(), False)
            loop.add_reader(pipe.fileno(), self._pump, loop, stream, pipe)
        try:
            return await process.wait()
        finally:
            processes.kill_marked(process.mark)
            for stream, pipe in pipes.items():
                loop.remove_reader(pipe.fileno())
                while self._read(stream, pipe):
                    pass
                pipe.close()
            self.log.close()
            self.process = None

    def _pump(self, loop: asyncio.AbstractEventLoop, stream: str, pipe: IO[bytes]) -> None:
        if self._read(stream, pipe) is False:
            loop.remove_reader(pipe.fileno())

    def _read(self, stream: str, pipe: IO[bytes]) -> bool | None:
        """Take one chunk: True when there was one, False at the end of the pipe, None when it is empty for now."""
        try:
            chunk = os.read(pipe.fileno(), READ_BYTES)
        except BlockingIOError:
            return None
        if chunk and self.log is not None:
            self.log.feed(stream, chunk)
        return bool(chunk)

    async def _prepared(self) -> Prepared | CommandNotFound:
        """The command to start; waits with CreateContainerConfigError until every reference of the spec resolves."""
        wait = 2.0
        while True:
            await self.context.unless_stopping(self.context.node_up.wait())
            try:
                return prepare(self.context, self.spec)
            except CommandNotFound as error:
                return error
            except ConfigError as error:
                self._event("Failed", f"Error: {error}", warning=True)
                self._waiting("CreateContainerConfigError", str(error))
            await self.context.pause(wait * self.context.machine.pace)
            wait = min(wait * 2, 60.0)

    def _start_error(self, message: str) -> int:
        self._event("Failed", f"Error: {message}", warning=True)
        epoch = "1970-01-01T00:00:00Z"
        self.state.state = terminated(START_ERROR, epoch, self.context.machine.cluster.now(), self.state.container_id, "StartError")
        self.state.state["terminated"]["message"] = message
        if self.restart != "Never":
            self.state.last_state = self.state.state
            shown = {"waiting": {"reason": "RunContainerError", "message": message}}
            self.state.state, ended = shown, self.state.state
            self.context.publish()
            self.state.state = ended
        else:
            self.context.publish()
        return START_ERROR

    def _waiting(self, reason: str, message: str) -> None:
        self.state.state = {"waiting": {"reason": reason, "message": message}}
        self.context.publish()

    def _event(self, reason: str, message: str, warning: bool = False) -> None:
        self.context.event(reason, message, warning, container=self.spec["name"])

    async def ended(self) -> int | None:
        """Run to the end, or None when the pod was stopped before a process started; the state then says why nothing ran."""
        with contextlib.suppress(Stopped):
            return await self.run()
        if "waiting" in self.state.state and not self.state.last_state:
            self.state.state = {"waiting": {"reason": "ContainerCreating"}}
        return None


def _go(seconds: float) -> str:
    """A whole duration as Go prints it: 10s, 1m20s, 5m0s."""
    minutes, rest = divmod(int(seconds), 60)
    return f"{minutes}m{rest}s" if minutes else f"{rest}s"
