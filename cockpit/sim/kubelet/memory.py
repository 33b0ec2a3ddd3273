"""Memory limits: a container over its limit is killed as the kernel would, and ends OOMKilled."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import TYPE_CHECKING

from cockpit.sim.kubelet import processes
from cockpit.sim.kubelet.containers import ContainerRun
from cockpit.sim.kubelet.quantities import quantity

if TYPE_CHECKING:
    from cockpit.sim.kubelet.agent import Kubelet

CHECK_SECONDS = 5.0
PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class MemoryLimits:
    """Looks at the resident memory of containers that have a limit, all in one pass every few seconds; idle when there are none."""

    def __init__(self, kubelet: Kubelet) -> None:
        self._kubelet = kubelet

    async def run(self) -> None:
        """Check until cancelled."""
        while True:
            await asyncio.sleep(CHECK_SECONDS)
            self.check()

    def check(self) -> None:
        """Kill every container whose processes hold more than its limit now."""
        limited = {run.process.mark: (run, limit) for run, limit in self._limited() if run.process is not None}
        if not limited:
            return
        used = dict.fromkeys(limited, 0)
        for process in processes.find(""):
            if process.mark in used:
                used[process.mark] += resident_bytes(process.pid)
        for mark, (run, limit) in limited.items():
            if used[mark] > limit:
                run.kill_reason = "OOMKilled"
                processes.kill_marked(mark)

    def _limited(self) -> list[tuple[ContainerRun, int]]:
        found = []
        for pod in self._kubelet.runs.values():
            for run in pod.runs.values():
                text = ((run.spec.get("resources") or {}).get("limits") or {}).get("memory")
                if text is not None and run.process is not None:
                    found.append((run, int(quantity(text))))
        return found


def resident_bytes(pid: int) -> int:
    """Private resident memory of a process (resident less shared, so that torch's code counts once), 0 when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/statm").read_text().split()
    except OSError:
        return 0
    return (int(fields[1]) - int(fields[2])) * PAGE_BYTES
