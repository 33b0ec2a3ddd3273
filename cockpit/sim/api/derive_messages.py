"""Development tool: derive builtin_messages.json, the protobuf field numbers of the kinds that clients send as protobuf.

    python -m cockpit.sim.api.derive_messages /path/to/kubectl

Go programs carry the descriptors of their protobuf files, gzipped; kubectl carries those of every Kubernetes API.
"""

from __future__ import annotations

import json
import re
import sys
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from cockpit.sim.api.protobufs import fields_of

TARGET = Path(__file__).with_name("builtin_messages.json")
CORE = (
    "Pod",
    "Service",
    "ConfigMap",
    "Secret",
    "Namespace",
    "Node",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "PersistentVolume",
    "Event",
    "Binding",
    "Endpoints",
    "ResourceQuota",
    "LimitRange",
)
ROOTS = [
    *(f"core.v1.{kind}" for kind in CORE),
    *(f"apps.v1.{kind}" for kind in ("Deployment", "DaemonSet", "ReplicaSet", "StatefulSet")),
    "batch.v1.Job",
    "batch.v1.CronJob",
    "policy.v1.PodDisruptionBudget",
    "policy.v1.Eviction",
    "autoscaling.v1.Scale",
    *(f"rbac.v1.{kind}" for kind in ("Role", "ClusterRole", "RoleBinding", "ClusterRoleBinding")),
    "scheduling.v1.PriorityClass",
    "storage.v1.StorageClass",
    "coordination.v1.Lease",
    "meta.v1.DeleteOptions",
    *(
        f"authorization.v1.{kind}"
        for kind in ("SelfSubjectAccessReview", "SelfSubjectRulesReview", "SubjectAccessReview", "LocalSubjectAccessReview")
    ),
    "authentication.v1.SelfSubjectReview",
]
_SCALARS = {1: "d", 3: "i", 4: "i", 5: "i", 8: "o", 9: "s", 12: "b", 13: "i"}
_REPEATED = 3


def _short(package_name: str) -> str:
    name = package_name.lstrip(".").removeprefix("k8s.io.api.").removeprefix("k8s.io.apimachinery.pkg.")
    return name.removeprefix("apis.").removeprefix("api.").removeprefix("util.")


def descriptors(binary: bytes) -> Iterator[bytes]:
    """Every FileDescriptorProto of a Kubernetes API in a Go program."""
    for found in re.finditer(rb"\x1f\x8b\x08\x00", binary):
        unpacker = zlib.decompressobj(31)
        try:
            text = unpacker.decompress(binary[found.start() : found.start() + 1_000_000])
        except zlib.error:
            continue
        if unpacker.eof and b"generated.proto" in text[:120]:
            yield text


def _all(message: bytes, number: int) -> list[Any]:
    return [value for field, value in fields_of(message) if field == number]


def _text(message: bytes, number: int) -> str:
    values = _all(message, number)
    return values[0].decode() if values else ""


def _field(field: bytes, maps: dict[str, str]) -> tuple[str, str]:
    number, type_ = _all(field, 3)[0], _all(field, 5)[0]
    kind = _SCALARS.get(type_) or _short(_text(field, 6))
    if kind in maps:
        kind = f"%{maps[kind]}"
    elif _all(field, 4) == [_REPEATED]:
        kind = f"*{kind}"
    return str(number), f"{_text(field, 1)}:{kind}"


def _messages(file: bytes) -> Iterator[tuple[str, dict[str, str]]]:
    package = _text(file, 2)
    for message in _all(file, 4):
        name = _short(f"{package}.{_text(message, 1)}")
        maps = {}
        for nested in _all(message, 3):
            value = next(one for one in _all(nested, 2) if _all(one, 3) == [2])
            maps[f"{name}.{_text(nested, 1)}"] = _field(value, {})[1].partition(":")[2]
        yield name, dict(_field(one, maps) for one in _all(message, 2))


def derive(binary: bytes) -> dict[str, dict[str, str]]:
    """Fields by number for every message that the roots reach."""
    known = {name: fields for file in descriptors(binary) for name, fields in _messages(file)}
    chosen: dict[str, dict[str, str]] = {}
    waiting = list(ROOTS)
    while waiting:
        name = waiting.pop()
        if name in chosen or name not in known:
            continue
        chosen[name] = known[name]
        waiting += [kind.partition(":")[2].lstrip("*%") for kind in known[name].values()]
    return dict(sorted(chosen.items()))


def main() -> None:
    """Write the table."""
    table = derive(Path(sys.argv[1]).read_bytes())
    lines = json.dumps(table, separators=(",", ":")).replace('},"', '},\n"')
    TARGET.write_text(lines + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
