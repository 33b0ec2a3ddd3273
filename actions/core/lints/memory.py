"""Shared memory: /dev/shm of a container is 64 MiB unless a volume says otherwise, and what it holds counts in the pod's memory limit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Path, Rule, items, mapping, put
from actions.core.lints.resources import quantity
from actions.core.lints.shapes import TRAINING, Container, Pods, listed, main_container, pods_of

SHM = "/dev/shm"
VOLUME = "dshm"
GIB = 2**30
EATS = 0.8
"""Share of the memory limit from which on shared memory leaves too little for the processes."""
MISSING = Rule("shm-missing", "warning", "no shared memory volume", "/dev/shm is 64 MiB: data loader workers and NCCL end in a Bus error", mends=True)
ON_DISK = Rule("shm-on-disk", "warning", "/dev/shm is on a disk", "an emptyDir without medium Memory is the node's disk", mends=True)
EATEN = Rule(
    "shm-eats-memory",
    "warning",
    "shared memory may take most of the memory limit",
    "what lies in /dev/shm counts in the limit: the ranks are killed before it is full",
    mends=True,
)
RULES = (MISSING, ON_DISK, EATEN)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with the shared memory of pods that train on GPUs."""
    for pods in pods_of(document, context):
        if document.kind in TRAINING and pods.gpus and pods.main is not None:
            yield from _shm(pods, pods.main)


def _shm(pods: Pods, main: Container) -> Iterator[Flaw]:
    limit = quantity(mapping(main.body, "resources", "limits").get("memory"))
    mounted = next((one for one in items(main.body, "volumeMounts") if mapping(one).get("mountPath") == SHM), None)
    if mounted is None:
        size = _sound(pods.gpus, limit)
        mended = (
            f"volumes: [{{name: {VOLUME}, emptyDir: {{medium: Memory, sizeLimit: {size}}}}}], volumeMounts: [{{name: {VOLUME}, mountPath: {SHM}}}]"
        )
        yield MISSING.at((*pods.spec_path, "volumes"), f"nothing is mounted on {SHM}", mended, _give(pods, main, size))
        return
    for index, volume in enumerate(items(pods.spec, "volumes")):
        if mapping(volume).get("name") == mapping(mounted).get("name") and isinstance(mapping(volume).get("emptyDir"), Mapping):
            yield from _volume((*pods.spec_path, "volumes", index, "emptyDir"), mapping(volume, "emptyDir"), limit)


def _volume(path: Path, held: Mapping[str, Any], limit: float | None) -> Iterator[Flaw]:
    if held.get("medium") != "Memory":
        yield ON_DISK.at(path, "it has no medium: Memory", "emptyDir: {medium: Memory}", lambda root: put(root, (*path, "medium"), "Memory"))
    size = quantity(held.get("sizeLimit"))
    if size is not None and limit and size >= limit * EATS:
        half = _written(int(limit // 2))
        message = f"sizeLimit {held['sizeLimit']} of a memory limit of {_written(int(limit))}"
        yield EATEN.at((*path, "sizeLimit"), message, f"sizeLimit: {half}", lambda root: put(root, (*path, "sizeLimit"), half))


def _sound(gpus: int, limit: float | None) -> str:
    """A GiB a GPU, at most half of the memory limit."""
    return _written(int(min(gpus * GIB, limit // 2 if limit else gpus * GIB)))


def _written(amount: int) -> str:
    return f"{amount // GIB}Gi" if amount >= GIB and amount % GIB == 0 else f"{max(1, amount // 2**20)}Mi"


def _give(pods: Pods, main: Container, size: str) -> Any:
    edit = pods.edit
    if edit is None or any(mapping(one).get("name") == VOLUME for one in items(pods.spec, "volumes")):
        return None

    def mend(root: Any) -> None:
        template = edit(root)
        listed(main_container(template, main.name), "volumeMounts").append({"name": VOLUME, "mountPath": SHM})
        listed(template["spec"], "volumes").append({"name": VOLUME, "emptyDir": {"medium": "Memory", "sizeLimit": size}})

    return mend
