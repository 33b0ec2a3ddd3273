"""A training job in trouble, with what its rules look at, and the cause they find."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from cockpit.model import Event, Job, LastWords, Phase, Pod
from cockpit.snapshot import OCCUPYING_PHASES, Snapshot

ASSIGNED = "Successfully assigned "
SHOWN_RANKS = 4
SETTLE_SECONDS = 10.0
"""How long after a job's end its cause may still be told: agents and controllers are not faster than ranks."""


@dataclass(frozen=True)
class Cause:
    """Why: a stable id, a clause without the job's name, and the lines it was read from."""

    id: str
    words: str
    evidence: tuple[str, ...] = ()


@dataclass(frozen=True)
class Case:
    """One job in trouble."""

    picture: Snapshot
    job: Job
    phase: Phase

    @cached_property
    def pods(self) -> list[Pod]:
        """The pods of the newest attempt, in rank order."""
        return self.picture.pods_of(self.job.key)

    @cached_property
    def words(self) -> list[LastWords]:
        """How its ranks ended, the first to end first."""
        ended = {pod.key: pod.ended or float("inf") for pod in self.pods}
        return sorted(self.picture.words_of(self.job.key), key=lambda one: ended.get(one.pod, float("inf")))

    @cached_property
    def step(self) -> int | None:
        """The last step any rank reported."""
        progress = self.picture.progress.get(self.job.key)
        told = [one.step for one in self.words if one.step is not None]
        return max([*told, *([progress.step] if progress else [])], default=None)

    @cached_property
    def names(self) -> tuple[str, ...]:
        """The names of its pods, those that are gone included."""
        name, space = self.job.key.name, self.job.key.namespace
        if self.job.key.kind == "PyTorchJob":
            made = [f"{name}-master-0", *(f"{name}-worker-{index}" for index in range((self.job.pods_wanted or 1) - 1))]
        else:
            made = [one for kind, where, one in self.picture.events_by_object if (kind, where) == ("Pod", space) and one.startswith(f"{name}-node-")]
        return tuple(dict.fromkeys([*(pod.key.name for pod in self.pods), *made]))

    @cached_property
    def homes(self) -> dict[str, list[str]]:
        """The nodes its pods are or were on -> those pods' names."""
        found: dict[str, list[str]] = {}
        for pod in self.pods:
            if pod.node:
                found.setdefault(pod.node, []).append(pod.key.name)
        for name in self.names:
            for event in self.about("Pod", self.job.key.namespace, name):
                if event.reason == "Scheduled" and event.message.startswith(ASSIGNED) and " to " in event.message:
                    node = event.message.rpartition(" to ")[2]
                    found.setdefault(node, []).extend([] if name in found.get(node, ()) else [name])
        return found

    def about(self, kind: str, namespace: str, name: str) -> Iterator[Event]:
        """Events of one object in the job's time, newest first."""
        return (event for event in self.picture.events_about(kind, namespace, name) if self.saw(event.at))

    def saw(self, at: float | None) -> bool:
        """True when that was in the job's time: what befell its nodes before or after is none of its trouble."""
        if at is None:
            return not self.phase.over
        end = self.job.finished if self.phase.over and self.job.finished is not None else float("inf")
        return (self.job.created or 0.0) <= at <= end + SETTLE_SECONDS

    def living_on(self, node: str) -> list[Pod]:
        """Its pods on a node that are not over."""
        return [pod for pod in self.pods if pod.node == node and pod.phase in OCCUPYING_PHASES]

    def ranks_of(self, names: list[str]) -> str:
        """`rank 1`, `ranks 0-7`; the pods themselves where ranks are not known."""
        places = sorted(place for name in names if (place := self._place(name)) is not None)
        each = self.job.ranks_per_pod
        if len(places) != len(names) or not each:
            return ", ".join(names[:SHOWN_RANKS]) + (f" and {len(names) - SHOWN_RANKS} more" if len(names) > SHOWN_RANKS else "")
        ranks = [place * each + local for place in places for local in range(each)]
        if len(ranks) == 1:
            return f"rank {ranks[0]}"
        if ranks == list(range(ranks[0], ranks[-1] + 1)):
            return f"ranks {ranks[0]}-{ranks[-1]}"
        return "ranks " + ", ".join(map(str, ranks[:SHOWN_RANKS])) + (f" and {len(ranks) - SHOWN_RANKS} more" if len(ranks) > SHOWN_RANKS else "")

    def _place(self, name: str) -> int | None:
        """Which pod of the job it is, from 0."""
        pod = next((pod for pod in self.pods if pod.key.name == name), None)
        if pod is not None and pod.index is not None:
            return 0 if pod.replica == "master" else pod.index + 1 if pod.replica == "worker" else pod.index
        head, _, last = name.rpartition("-")
        if not last.isdigit() or self.job.key.kind != "PyTorchJob":
            return None
        return 0 if head.endswith("-master") else int(last) + 1 if head.endswith("-worker") else None


def short(node: str) -> str:
    """An EC2 node's name without its domain."""
    return node.partition(".")[0] if node.endswith("internal") else node
