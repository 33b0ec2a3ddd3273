"""One pod on its node: volumes, init containers in order, containers side by side, status, deadline and termination."""

from __future__ import annotations

import asyncio
import contextlib
import copy
import shutil
import signal
from collections.abc import Callable
from typing import Any

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.containers import ContainerRun
from cockpit.sim.kubelet.context import METRICS_PORTS, Machine, PodContext, Stopped
from cockpit.sim.kubelet.devices import DevicesUnavailable
from cockpit.sim.kubelet.plugin_configs import registered_without
from cockpit.sim.kubelet.rendezvous import job_key
from cockpit.sim.kubelet.statuses import ContainerState, Facts, conditions, merged, phase
from cockpit.sim.kubelet.volumes import MountError, bind_claims, materialise

DEFAULT_GRACE_SECONDS = 30


class PodRun:
    """Runs one pod from binding to its end, and keeps its status true."""

    def __init__(
        self, machine: Machine, pod: dict[str, Any], address: dict[str, str], node_up: asyncio.Event, moved: Callable[[PodRun], None]
    ) -> None:
        spec = pod["spec"]
        folder = machine.folder / pod["metadata"]["uid"].replace("-", "")[:12]
        self.context = PodContext(machine, pod, folder, address, self.publish, node_up=node_up, job=job_key(pod))
        self.moved = moved  # told after every change of the pod's own state
        self.facts = Facts(spec.get("restartPolicy") or "Always", [], [])
        self.runs = {c["name"]: self._run_of(c, init=True) for c in spec.get("initContainers") or []}
        self.runs |= {c["name"]: self._run_of(c, init=False) for c in spec["containers"]}
        self.task: asyncio.Task[None] | None = None
        self.ending: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[int | None]] = []
        self._deadline: asyncio.TimerHandle | None = None
        self._sooner = asyncio.Event()
        self._delete = False

    def _run_of(self, spec: dict[str, Any], init: bool) -> ContainerRun:
        sidecar = init and spec.get("restartPolicy") == "Always"
        waiting = "PodInitializing" if self.context.pod["spec"].get("initContainers") else "ContainerCreating"
        state = ContainerState(spec["name"], spec["image"], {"waiting": {"reason": waiting}}, sidecar=sidecar)
        (self.facts.init if init else self.facts.main).append(state)
        policy = self.facts.restart_policy
        restart = "Always" if sidecar else "Never" if policy == "Never" else "OnFailure" if init else policy
        return ContainerRun(self.context, spec, state, restart)

    @property
    def key(self) -> tuple[str, str]:
        """Namespace and name."""
        metadata = self.context.pod["metadata"]
        return metadata["namespace"], metadata["name"]

    @property
    def ready(self) -> bool:
        """Whether every container runs."""
        return not self.context.stopping.is_set() and all(state.running for state in self.facts.main)

    # -- life ------------------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin in the background."""
        self.task = asyncio.get_running_loop().create_task(self._live(), name=f"pod {self.context.full_name}")

    async def _live(self) -> None:
        try:
            with contextlib.suppress(Stopped):
                await self._lifecycle()
        finally:
            await self._gather()
            if self._deadline:
                self._deadline.cancel()
            self._release()
            self.publish()

    async def _lifecycle(self) -> None:
        context, machine = self.context, self.context.machine
        await context.unless_stopping(context.node_up.wait())
        node = machine.cluster.find("nodes", None, context.node) or {}
        try:
            without = registered_without(machine.cluster, node) if node else frozenset()
            machine.devices.assign(context.pod, (node.get("status") or {}).get("allocatable") or {}, without)
        except DevicesUnavailable as error:
            self.facts.failure = ("UnexpectedAdmissionError", str(error))
            context.event("UnexpectedAdmissionError", str(error), warning=True)
            return
        self.publish()
        self._watch_deadline()
        await self._mount()
        if context.job is not None:
            context.rendezvous_port = machine.rendezvous.join(context.job, context.uid)
        self.facts.network = True
        self.publish()
        if await self._initialise():
            self._tasks += [self._spawn(self.runs[state.name]) for state in self.facts.main]
            await asyncio.gather(*self._tasks[-len(self.facts.main) :])

    def _spawn(self, run: ContainerRun) -> asyncio.Task[int | None]:
        return asyncio.get_running_loop().create_task(run.ended(), name=f"container {run.spec['name']} of {self.context.full_name}")

    async def _mount(self) -> None:
        context, wait = self.context, 2.0
        context.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        while True:
            try:
                context.volumes = materialise(
                    context.machine.cluster, context.pod, context.folder / "volumes", context.machine.claims, context.address
                )
                bind_claims(context.machine.cluster, context.pod)
                return
            except MountError as error:
                context.event("FailedMount", str(error), warning=True)
            await context.pause(wait * context.machine.pace)
            wait = min(wait * 2, 120.0)

    async def _initialise(self) -> bool:
        """Run init containers one after another; False when one failed for good."""
        for state in self.facts.init:
            task = self._spawn(self.runs[state.name])
            self._tasks.append(task)
            if state.sidecar:
                started = self.runs[state.name].started.wait()
                await self.context.unless_stopping(started)
            elif await task != 0:
                return False
            if self.context.stopping.is_set():
                return False
        for state in self.facts.main:
            state.state = {"waiting": {"reason": "ContainerCreating" if not self.facts.init else "PodInitializing"}}
        return True

    def _watch_deadline(self) -> None:
        seconds = self.context.pod["spec"].get("activeDeadlineSeconds")
        if seconds is not None:
            self._deadline = asyncio.get_running_loop().call_later(float(seconds), self._deadline_passed)

    def _deadline_passed(self) -> None:
        message = "Pod was active on the node longer than the specified deadline"
        self.facts.failure = ("DeadlineExceeded", message)
        self.context.event("DeadlineExceeded", message)
        grace = self.context.pod["spec"].get("terminationGracePeriodSeconds")
        self._end(DEFAULT_GRACE_SECONDS if grace is None else grace)

    # -- end -------------------------------------------------------------------------------------------------------------

    def delete(self, grace_seconds: float) -> None:
        """Terminate and then remove the object; asked again with a shorter grace period, that one counts."""
        self._delete = True
        self._end(grace_seconds)

    def _end(self, grace_seconds: float) -> None:
        if self.ending is None or self.ending.done():
            name = f"end of {self.context.full_name}"
            self.ending = asyncio.get_running_loop().create_task(self._terminate(grace_seconds), name=name)
        elif grace_seconds == 0:
            self._sooner.set()

    async def _terminate(self, grace_seconds: float) -> None:
        await self.context.node_up.wait()
        self.context.stopping.set()
        for run in self.runs.values():
            if run.process is not None:
                self.context.event("Killing", f"Stopping container {run.spec['name']}", container=run.spec["name"])
                run.process.signal_group(signal.SIGTERM)
        sooner = asyncio.ensure_future(self._sooner.wait())
        living = [self.task] if self.task else []
        await asyncio.wait({*living, sooner}, timeout=max(grace_seconds, 0), return_when=asyncio.FIRST_COMPLETED)
        sooner.cancel()
        await self.kill()
        if self._delete:
            self._remove()

    def lose(self) -> None:
        """SIGKILL everything at once: the machine is gone, and nothing of the pod starts again."""
        self.context.stopping.set()
        processes.kill_marked(self.context.uid)

    async def kill(self) -> None:
        """SIGKILL everything of the pod and wait until it is gone."""
        self.lose()
        if self.task is not None:
            await asyncio.wait([self.task])
        shutil.rmtree(self.context.folder / "volumes", ignore_errors=True)

    def _remove(self) -> None:
        """Delete the API object, unless another pod has taken its name."""
        cluster, (namespace, name) = self.context.machine.cluster, self.key
        found = cluster.find("pods", namespace, name)
        if found is not None and found["metadata"]["uid"] == self.context.uid:
            cluster.delete("pods", namespace, name, grace_seconds=0)

    async def _gather(self) -> None:
        """Stop sidecars and whatever still runs when the pod's own work is over."""
        self.context.stopping.set()
        for state in self.facts.init:
            process = self.runs[state.name].process
            if process is not None:
                process.signal_group(signal.SIGTERM)
        if self._tasks:
            _, pending = await asyncio.wait(self._tasks, timeout=DEFAULT_GRACE_SECONDS)
            if pending:
                processes.kill_marked(self.context.uid)
                await asyncio.wait(pending)

    def _release(self) -> None:
        context, machine = self.context, self.context.machine
        machine.devices.release(context.node, context.uid)
        for base in context.metrics.values():
            machine.ports.give_back(base, METRICS_PORTS)
        context.metrics.clear()
        if context.job is not None:
            machine.rendezvous.leave(context.job, context.uid)

    # -- status ----------------------------------------------------------------------------------------------------------

    def publish(self) -> None:
        """Write the pod's status when it differs from what the cluster holds."""
        cluster, (namespace, name) = self.context.machine.cluster, self.key
        found = cluster.find("pods", namespace, name)
        if found is not None and found["metadata"]["uid"] == self.context.uid:
            current = found.get("status") or {}
            wanted = self._status(current, found["metadata"].get("generation"))
            changed = {key: value for key, value in wanted.items() if current.get(key) != value}
            if changed:
                cluster.patch("pods", namespace, name, {"status": copy.deepcopy(changed)}, subresource="status")
        self.moved(self)

    def _status(self, current: dict[str, Any], generation: int | None) -> dict[str, Any]:
        facts, now = self.facts, self.context.machine.cluster.now()
        current_phase = phase(facts)
        if self.context.stopping.is_set() and current_phase in ("Pending", "Running") and self.task is not None and not self._living():
            current_phase = "Failed" if any(s.exit_code != 0 for s in facts.main) else "Succeeded"
        status: dict[str, Any] = {
            "phase": current_phase,
            "conditions": merged(current.get("conditions") or [], conditions(facts, current_phase), now),
            "hostIP": self.context.address["hostIP"],
            "hostIPs": [{"ip": self.context.address["hostIP"]}],
            "startTime": current.get("startTime") or now,
            "qosClass": current.get("qosClass") or "Burstable",
            "containerStatuses": [state.to_status() for state in facts.main],
        }
        if generation is not None:
            status["observedGeneration"] = generation
        if facts.init:
            status["initContainerStatuses"] = [state.to_status() for state in facts.init]
        if facts.network:
            status |= {"podIP": self.context.address["podIP"], "podIPs": [{"ip": self.context.address["podIP"]}]}
        if facts.failure and current_phase == "Failed":
            status |= {"reason": facts.failure[0], "message": facts.failure[1]}
        return status

    def _living(self) -> bool:
        return any(run.process is not None for run in self.runs.values())
