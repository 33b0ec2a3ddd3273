"""Which GPUs and EFA devices of a node belong to which container."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from cockpit.sim.kubelet.quantities import quantity

GPU = "nvidia.com/gpu"
EFA = "vpc.amazonaws.com/efa"
NAMES = uuid.UUID("6f1d3c1e-5e0b-4c57-9d0a-2f6f0a1c7e55")


@dataclass(frozen=True)
class Holder:
    """The container a device is assigned to; `place` is its position among the pod's own devices of that kind."""

    namespace: str
    pod: str
    container: str
    uid: str
    place: int


class DevicesUnavailable(Exception):
    """The node has fewer free devices than a pod asks for (pod reason UnexpectedAdmissionError)."""


def gpu_uuid(node: str, index: int) -> str:
    """A stable GPU UUID for a node and index, in NVIDIA's form."""
    return f"GPU-{uuid.uuid5(NAMES, f'{node}/{index}')}"


def limit(container: dict[str, Any], resource: str) -> int:
    """How many devices a container asks for."""
    resources = container.get("resources") or {}
    amount = (resources.get("limits") or {}).get(resource) or (resources.get("requests") or {}).get(resource)
    return int(quantity(amount))


class Devices:
    """Device indices held on every node, by resource."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str], dict[int, Holder]] = {}

    def held(self, node: str, resource: str) -> Mapping[int, Holder]:
        """Index -> holder of the node's assigned devices."""
        return self._held.get((node, resource), {})

    def assign(self, pod: dict[str, Any], capacity: Mapping[str, Any], excluded: frozenset[int] = frozenset()) -> None:
        """Give every container of a pod its devices, lowest free index first; DevicesUnavailable when they do not suffice.

        `excluded` are GPUs that are not among those of `capacity`.
        """
        node = pod["spec"]["nodeName"]
        for resource in (GPU, EFA):
            wanted = [(container["name"], limit(container, resource)) for container in pod["spec"]["containers"]]
            total = sum(count for _, count in wanted)
            if not total:
                continue
            held = self._held.setdefault((node, resource), {})
            barred = excluded if resource == GPU else frozenset()
            there = range(int(quantity(capacity.get(resource))) + len(barred))
            free = [index for index in there if index not in held and index not in barred]
            if total > len(free):
                self.release(node, pod["metadata"]["uid"])
                raise DevicesUnavailable(
                    "Allocate failed due to requested number of devices unavailable for "
                    f"{resource}. Requested: {total}, Available: {len(free)}, which is unexpected"
                )
            names = [name for name, count in wanted for _ in range(count)]
            for place, (index, name) in enumerate(zip(free, names, strict=False)):
                held[index] = Holder(pod["metadata"]["namespace"], pod["metadata"]["name"], name, pod["metadata"]["uid"], place)

    def release(self, node: str, uid: str) -> None:
        """Take back what a pod held."""
        for resource in (GPU, EFA):
            held = self._held.get((node, resource), {})
            for index in [index for index, holder in held.items() if holder.uid == uid]:
                del held[index]

    def of(self, node: str, resource: str, uid: str, container: str) -> list[int]:
        """Indices one container holds."""
        return [index for index, h in sorted(self.held(node, resource).items()) if h.uid == uid and h.container == container]
