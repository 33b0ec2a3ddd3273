"""The kubelet of every node: follows pods in the cluster and keeps their processes, status and logs in step with them."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
from collections.abc import Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from cockpit.sim.kubelet import names, processes
from cockpit.sim.kubelet.addresses import Addresses
from cockpit.sim.kubelet.brakes import Brakes
from cockpit.sim.kubelet.context import Machine, PodContext
from cockpit.sim.kubelet.devices import EFA, GPU, Devices, Holder
from cockpit.sim.kubelet.execs import Exec
from cockpit.sim.kubelet.images import ImageStore
from cockpit.sim.kubelet.loopback import LoopbackPorts
from cockpit.sim.kubelet.memory import MemoryLimits
from cockpit.sim.kubelet.pods import PodRun
from cockpit.sim.kubelet.proxying import Answer, PodProxy
from cockpit.sim.kubelet.rendezvous import Rendezvous
from cockpit.sim.kubelet.served import is_static, running_status, served_by
from cockpit.sim.kubelet.volumes import claim_folder

log = logging.getLogger(__name__)
PodName = tuple[str, str]


class ExporterTexts(Protocol):
    """The exporter texts that pods of the practice cluster itself answer with."""

    def attach(self, kubelet: Kubelet) -> None: ...
    async def run(self) -> None: ...
    def dcgm_text(self, node: str) -> bytes: ...
    def efa_text(self, node: str) -> bytes: ...
    def karpenter_text(self) -> bytes: ...


@dataclass(frozen=True)
class MetricsPort:
    """Where one pod's ranks report: `base` + local rank on loopback, `ranks` of them at most."""

    namespace: str
    pod: str
    uid: str
    node: str
    base: int


class Kubelet:
    """Runs the pods of all nodes as processes of this machine; `state_dir`/pods holds their folders, logs and pid records."""

    def __init__(self, cluster: Any, state_dir: Path, exporters: ExporterTexts, pace: float = 1.0) -> None:
        ports = LoopbackPorts()
        folder = state_dir / "pods"
        self.cluster = cluster
        self.exporters = exporters
        self.machine = Machine(cluster, folder, pace, ImageStore(pace), Devices(), ports, Rendezvous(ports))
        self.runs: dict[str, PodRun] = {}  # by pod uid
        self.brakes = Brakes()
        self._addresses = Addresses()
        self._nodes_up: dict[str, asyncio.Event] = {}
        self._ready: dict[str, dict[str, dict[str, Any]]] = {}  # namespace -> uid -> ready pod
        self._chores: set[asyncio.Task[Any]] = set()
        self.memory = MemoryLimits(self)
        self._proxy = PodProxy(self)
        self._prepared = False
        self._stopped = False
        exporters.attach(self)

    # -- running ---------------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Clear what an earlier practice cluster left, then follow pods until cancelled; runs the exporters' sampling too.

        Run again after a failure, it goes on with the pods it has.
        """
        if not self._prepared:
            self.prepare()
        subscription = self.cluster.subscribe("pods", "persistentvolumeclaims")
        beside = [self._chore(self.exporters.run()), self._chore(self.memory.run())]
        try:
            async for event in subscription:
                self._follow(event)
        finally:
            subscription.close()
            for chore in beside:
                chore.cancel()

    def prepare(self) -> int:
        """Kill recorded orphans and empty the pods folder; how many processes were killed. The store begins anew, so pods do too."""
        folder = self.machine.folder
        killed = processes.kill_recorded(self.machine.records) if self.machine.records.exists() else 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True, mode=0o700)
        self.machine.records.mkdir()
        names.install_shims(self.machine.shims)
        processes.adopt_orphans()
        self._prepared = True
        return killed

    async def stop(self) -> None:
        """SIGKILL every pod process and wait until all are gone."""
        self._stopped = True
        self.brakes.close()
        for run in self.runs.values():
            if run.ending:
                run.ending.cancel()
        await asyncio.gather(*(run.kill() for run in self.runs.values()))
        self.runs.clear()
        for chore in list(self._chores):
            chore.cancel()
        await asyncio.gather(*self._chores, return_exceptions=True)
        await self._proxy.close()
        processes.reap()

    def _chore(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work)
        self._chores.add(task)
        task.add_done_callback(self._chore_done)
        return task

    def _chore_done(self, task: asyncio.Task[Any]) -> None:
        self._chores.discard(task)
        self._report(task)

    @staticmethod
    def _report(task: asyncio.Task[Any]) -> None:
        if not task.cancelled() and task.exception() is not None:
            log.error("%s failed", task.get_name(), exc_info=task.exception())

    # -- following -------------------------------------------------------------------------------------------------------

    def _follow(self, event: Any) -> None:
        if event.resource == "persistentvolumeclaims":
            if event.type == "DELETED":
                place = claim_folder(self.machine.claims, event.namespace, event.name)
                self._chore(asyncio.to_thread(shutil.rmtree, place, True))
            return
        pod = event.object
        if event.type == "DELETED":
            self._gone(pod)
        elif not self._stopped and pod["spec"].get("nodeName"):
            self._sync(pod)

    def _sync(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        run = self.runs.get(metadata["uid"])
        if run is not None:
            run.context.pod = pod
        if metadata.get("deletionTimestamp"):
            grace = metadata.get("deletionGracePeriodSeconds")
            if run is not None:
                run.delete(30 if grace is None else grace)
            elif self.cluster.find("pods", metadata["namespace"], metadata["name"]) is not None:
                self.cluster.delete("pods", metadata["namespace"], metadata["name"], grace_seconds=0)
        elif run is None and not is_static(pod) and self._unstarted(pod):
            self._begin(pod)

    def _unstarted(self, pod: dict[str, Any]) -> bool:
        """Whether nothing was begun for a pod; asked of the store, since an event may tell of the past."""
        metadata = pod["metadata"]
        now = self.cluster.find("pods", metadata["namespace"], metadata["name"])
        same = now is not None and now["metadata"]["uid"] == metadata["uid"]
        return same and (now.get("status") or {}).get("phase", "Pending") == "Pending"

    def _begin(self, pod: dict[str, Any]) -> None:
        metadata = pod["metadata"]
        address = self._addresses.of(self.cluster, pod)
        if served_by(pod):
            status = running_status(pod, address, self.cluster.now())
            self.cluster.patch("pods", metadata["namespace"], metadata["name"], {"status": status}, subresource="status")
            self._set_ready(pod, True)
            return
        run = PodRun(self.machine, pod, address, self.node_up(pod["spec"]["nodeName"]), self._moved)
        self.runs[metadata["uid"]] = run
        run.start()
        assert run.task is not None
        run.task.add_done_callback(self._report)

    def _gone(self, pod: dict[str, Any]) -> None:
        self._set_ready(pod, False)
        run = self.runs.pop(pod["metadata"]["uid"], None)
        if run is not None:
            run.lose()
            self._chore(self._clear(run))

    async def _clear(self, run: PodRun) -> None:
        if run.ending is not None and not run.ending.done():
            run.ending.cancel()
        await run.kill()
        await asyncio.to_thread(shutil.rmtree, run.context.folder, True)

    def _moved(self, run: PodRun) -> None:
        self._set_ready(run.context.pod, run.ready)

    def _set_ready(self, pod: dict[str, Any], ready: bool) -> None:
        namespace, uid = pod["metadata"]["namespace"], pod["metadata"]["uid"]
        known = self._ready.setdefault(namespace, {})
        if (uid in known) == ready:
            return
        if ready:
            known[uid] = pod
        else:
            del known[uid]
        names.publish(self.machine.names, self.cluster, namespace, list(known.values()))

    # -- what others ask -------------------------------------------------------------------------------------------------

    def run_of(self, namespace: str, pod: str) -> PodRun | None:
        """The run of a pod by name; None for pods without processes here."""
        found = self.cluster.find("pods", namespace, pod)
        return self.runs.get(found["metadata"]["uid"]) if found else None

    def runs_on(self, node: str) -> list[PodRun]:
        """Runs of the pods on a node."""
        return [run for run in self.runs.values() if run.context.node == node]

    def log_path(self, namespace: str, pod: str, container: str, previous: bool = False) -> Path | None:
        """CRI log file of a container's current (or previous) attempt, None when it has not started (or not restarted)."""
        run = self.run_of(namespace, pod)
        container_run = run.runs.get(container) if run else None
        if run is None or container_run is None:
            return None
        newest = container_run.state.restart_count
        waiting = "waiting" in container_run.state.state  # between two attempts the last one is the previous one too
        wanted = [newest, newest - 1] if waiting or not previous else [newest - 1]
        paths = [run.context.log_path(container, attempt) for attempt in wanted]
        return next((path for path in paths if path.exists()), None)

    async def proxy(self, namespace: str, pod: str, port: int | str, method: str, path: str, body: bytes = b"") -> Answer:
        """Answer a request to a pod's port: status, headers, body; a Status body says why when nothing answers."""
        return await self._proxy.request(namespace, pod, port, method, path, body)

    def exec(self, namespace: str, pod: str, container: str, command: list[str], tty: bool) -> Exec:
        """A command started beside a container's own process; LookupError where none runs, CommandNotFound (a LookupError) without the command."""
        run = self.run_of(namespace, pod)
        container_run = run.runs.get(container) if run else None
        if container_run is None or container_run.process is None or container_run.prepared is None:
            raise LookupError(f"container {container} has no process")
        return Exec(container_run.prepared, container_run.process.mark, self.machine.records, command, tty)

    def gpus(self, node: str) -> dict[int, Holder]:
        """GPU index -> container that holds it."""
        return dict(self.machine.devices.held(node, GPU))

    def efa_devices(self, node: str) -> dict[int, Holder]:
        """EFA device index -> container that holds it."""
        return dict(self.machine.devices.held(node, EFA))

    def metrics_ports(self) -> list[MetricsPort]:
        """Loopback ports where ranks of running pods report."""
        found = []
        for run in self.runs.values():
            context = run.context
            if context.node_up.is_set() and any(state.running for state in run.facts.main):
                found += [MetricsPort(*run.key, context.uid, context.node, base) for base in context.metrics.values()]
        return found

    def ranks_of(self, uid: str) -> int:
        """How many ranks a pod is told to start (PET_NPROC_PER_NODE), else how many GPUs it holds, else 1."""
        run = self.runs.get(uid)
        if run is None:
            return 0
        held = sum(1 for holder in self.gpus(run.context.node).values() if holder.uid == uid)
        told = (entry.get("value") or "" for c in run.context.pod["spec"]["containers"] for entry in c.get("env") or []
                if entry["name"] == "PET_NPROC_PER_NODE")  # fmt: skip
        return max([int(value) for value in told if value.isdigit()], default=held) or 1

    def node_up(self, node: str) -> asyncio.Event:
        """Set while the node's kubelet works; cleared by a node-notready fault."""
        event = self._nodes_up.get(node)
        if event is None:
            event = self._nodes_up[node] = asyncio.Event()
            event.set()
        return event

    def note(self, context: PodContext, container: str, text: str) -> None:
        """Write a line into a running container's log, on stderr."""
        with contextlib.suppress(KeyError):
            run = self.runs[context.uid].runs[container]
            if run.log is not None:
                run.log.line(text, "stderr")
