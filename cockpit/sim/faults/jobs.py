"""Faults of single ranks of a job."""

from __future__ import annotations

import os
import signal

from cockpit.sim.faults.effects import Effect
from cockpit.sim.kubelet import ranks


class KillRank(Effect):
    """SIGKILL one rank of a job."""

    instant = True

    def start(self) -> str:
        namespace, job, rank = self.job_rank()
        pid = ranks.rank_pids(self.kubelet, namespace, job, rank)[0]
        os.kill(pid, signal.SIGKILL)
        return f"killed rank {rank} of job {namespace}/{job}"


class SlowRank(Effect):
    """One rank runs at a fraction of its speed."""

    def start(self) -> str:
        namespace, job, rank = self.job_rank()
        self.kubelet.brakes.put(self.name, lambda: ranks.rank_pids(self.kubelet, namespace, job, rank), self.factor)
        return f"rank {rank} of job {namespace}/{job} runs at {self.factor:.0%}"

    def end(self) -> None:
        """Full speed again."""
        self.kubelet.brakes.lift(self.name)


class HangRank(SlowRank):
    """One rank stands still until the fault ends."""

    def start(self) -> str:
        self.factor = 0.0
        super().start()
        return f"rank {self.target['rank']} of job {self.target.get('namespace') or 'default'}/{self.target['job']} hangs"
