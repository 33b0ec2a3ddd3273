"""Pod status as the kubelet derives it: pure functions from container states to phase and conditions."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

OURS = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady")


@dataclass
class ContainerState:
    """What is known of one container; `state` and `last_state` are Kubernetes ContainerState objects."""

    name: str
    image: str
    state: dict[str, Any] = field(default_factory=lambda: {"waiting": {"reason": "PodInitializing"}})
    last_state: dict[str, Any] = field(default_factory=dict)
    restart_count: int = 0
    image_id: str = ""
    container_id: str = ""
    sidecar: bool = False

    @property
    def running(self) -> bool:
        """Whether its process runs."""
        return "running" in self.state

    @property
    def exit_code(self) -> int | None:
        """Exit code when it has ended for now."""
        terminated = self.state.get("terminated")
        return terminated["exitCode"] if terminated else None

    def to_status(self) -> dict[str, Any]:
        """The containerStatuses entry."""
        done_init = not self.sidecar and self.exit_code == 0
        status = {
            "name": self.name,
            "image": self.image,
            "imageID": self.image_id,
            "ready": self.running or done_init,
            "started": self.running,
            "restartCount": self.restart_count,
            "state": self.state,
            "lastState": self.last_state,
        }
        if self.container_id:
            status["containerID"] = self.container_id
        return status


@dataclass
class Facts:
    """Everything a pod's status is made of."""

    restart_policy: str
    init: list[ContainerState]
    main: list[ContainerState]
    network: bool = False  # volumes mounted and address given
    failure: tuple[str, str] | None = None  # reason and message of a pod that the kubelet itself failed


def phase(facts: Facts) -> str:
    """Pending, Running, Succeeded or Failed by the kubelet's getPhase rules."""
    if facts.failure and not any(state.running for state in facts.main):
        return "Failed"
    if not initialized(facts):
        broken = any(state.exit_code not in (None, 0) for state in facts.init)
        return "Failed" if broken and facts.restart_policy == "Never" else "Pending"
    waiting = [s for s in facts.main if "waiting" in s.state and not s.last_state]
    stopped = [s for s in facts.main if s.exit_code is not None or ("waiting" in s.state and s.last_state)]
    if waiting:
        return "Pending"
    if len(stopped) < len(facts.main) or facts.restart_policy == "Always":
        return "Running"
    failed = [s for s in stopped if s.exit_code != 0]
    if not failed:
        return "Succeeded"
    return "Failed" if facts.restart_policy == "Never" else "Running"


def initialized(facts: Facts) -> bool:
    """Whether every init container ended well (or runs, when it is a sidecar)."""
    return all(s.running or s.exit_code is not None if s.sidecar else s.exit_code == 0 for s in facts.init)


def conditions(facts: Facts, current_phase: str) -> list[dict[str, Any]]:
    """The kubelet's own conditions, without transition times."""
    over = {"Succeeded": "PodCompleted", "Failed": "PodFailed"}.get(current_phase)
    unready = [s.name for s in facts.main if not s.running]
    reason = over or ("ContainersNotReady" if unready else None)
    message = f"containers with unready status: [{' '.join(unready)}]" if unready and not over else None
    ready: dict[str, Any] = {"status": "True" if not unready and not over else "False"}
    ready |= {"reason": reason} if reason else {}
    ready |= {"message": message} if message else {}
    return [
        {"type": "PodReadyToStartContainers", "status": "True" if facts.network and not over else "False"},
        {"type": "Initialized"} | _initialized(facts, current_phase),
        {"type": "Ready"} | ready,
        {"type": "ContainersReady"} | ready,
    ]


def _initialized(facts: Facts, current_phase: str) -> dict[str, Any]:
    if current_phase == "Succeeded":
        return {"status": "True", "reason": "PodCompleted"}
    if initialized(facts):
        return {"status": "True"}
    waiting = [s.name for s in facts.init if not (s.running if s.sidecar else s.exit_code == 0)]
    return {
        "status": "False",
        "reason": "ContainersNotInitialized",
        "message": f"containers with incomplete status: [{' '.join(waiting)}]",
    }


def merged(existing: list[dict[str, Any]], ours: list[dict[str, Any]], now: str) -> list[dict[str, Any]]:
    """Conditions of others kept, ours replaced; the transition time moves only when the status does."""
    known = {condition["type"]: condition for condition in existing}
    result = [condition for condition in existing if condition["type"] not in OURS]
    for condition in ours:
        before = known.get(condition["type"])
        same = before is not None and before.get("status") == condition["status"]
        stamped = {"lastProbeTime": None, "lastTransitionTime": before.get("lastTransitionTime", now) if same and before else now}
        result.append(condition | stamped)
    return result


def terminated(code: int, started_at: str, finished_at: str, container_id: str, reason: str | None = None) -> dict[str, Any]:
    """A terminated container state; a negative code is a signal (exit code 128 + signal)."""
    number = -code if code < 0 else code - 128 if 128 < code <= 128 + 64 else 0
    exit_code = 128 + number if code < 0 else code
    state = {
        "exitCode": exit_code,
        "reason": reason or ("Completed" if exit_code == 0 else "Error"),
        "startedAt": started_at,
        "finishedAt": finished_at,
        "containerID": container_id,
    }
    return {"terminated": state | ({"signal": number} if code < 0 else {})}
