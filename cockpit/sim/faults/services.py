"""Faults of the cloud and of the API server."""

from __future__ import annotations

from cockpit.sim.faults.effects import Effect

API_DOWN_SECONDS = 10.0


class InsufficientCapacity(Effect):
    """No capacity for some offerings; Karpenter asks `capacity_blocked`."""

    def start(self) -> str:
        told = [self.target[field] for field in ("instanceType", "zone", "capacityType") if self.target.get(field)]
        return f"no capacity for {' '.join(told) or 'any instance type'}"


class ApiDown(Effect):
    """The API server answers nobody for a while."""

    @property
    def seconds(self) -> float | None:
        """Ten seconds unless told otherwise: while it is down nobody could delete the fault."""
        return float(self.spec.get("seconds", API_DOWN_SECONDS))

    def start(self) -> str:
        seconds = self.seconds or 0.0
        self.apiserver.pause(seconds)
        return f"the API server is down for {seconds:g} s"


class WatchExpire(Effect):
    """Every watch ends with 410 Gone and old resourceVersions are forgotten."""

    instant = True

    def start(self) -> str:
        self.apiserver.expire_watches()
        return "all watches expired"
