"""FSx for Lustre as a static volume: the class that must be empty, the modes and options a file system for many nodes needs."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from actions.core.lints.flaws import Context, Document, Flaw, Rule, items, mapping, put
from actions.core.lints.shapes import TRAINING, listed, pods_of
from actions.core.params import nearest

DRIVER = "fsx.csi.aws.com"
STATIC = Rule(
    "pvc-storage-class",
    "error",
    "a claim on a named volume without storageClassName",
    'without "" the default class makes a new, empty disk instead of the volume',
    mends=True,
)
ATTRIBUTES = Rule("fsx-attributes", "error", "an FSx volume without dnsname or mountname", "the driver cannot mount it")
FLOCK = Rule(
    "fsx-flock",
    "warning",
    "an FSx volume without flock",
    "programs that lock files (datasets, torch.hub) fail with Function not implemented",
    mends=True,
)
MODE = Rule("pvc-access-mode", "error", "a claim of one node for pods on several", "the second node cannot mount it", mends=True)
NO_CLAIM = Rule("job-unknown-claim", "error", "a PersistentVolumeClaim that does not exist", "the pods stay Pending")
RULES = (STATIC, ATTRIBUTES, FLOCK, MODE, NO_CLAIM)


def check(document: Document, context: Context) -> Iterator[Flaw]:
    """What is wrong with volumes, claims, and with what a job mounts."""
    if document.kind == "PersistentVolume":
        yield from _volume(document)
    elif document.kind == "PersistentVolumeClaim":
        yield from _claim(document, context)
    elif document.kind in TRAINING:
        yield from _claims_there(document, context)


def _volume(document: Document) -> Iterator[Flaw]:
    csi = mapping(document.data, "spec", "csi")
    if csi.get("driver") != DRIVER:
        return
    lacking = [name for name in ("dnsname", "mountname") if not mapping(csi, "volumeAttributes").get(name)]
    if lacking:
        yield ATTRIBUTES.at(("spec", "csi"), f"volumeAttributes lack {', '.join(lacking)}", "volumeAttributes: {dnsname: ..., mountname: ...}")
    if "flock" not in items(document.data, "spec", "mountOptions"):
        yield FLOCK.at(
            ("spec",), "mountOptions lack flock", "mountOptions: [flock]", lambda root: listed(root["spec"], "mountOptions").append("flock")
        )


def _claim(document: Document, context: Context) -> Iterator[Flaw]:
    spec = mapping(document.data, "spec")
    if spec.get("volumeName") and "storageClassName" not in spec:
        yield STATIC.at(("spec",), f"it names volume {spec['volumeName']}", 'storageClassName: ""', _no_class)
    if items(spec, "accessModes") in (["ReadWriteOnce"], ["ReadWriteOncePod"]) and _shared(document, context):
        path = ("spec", "accessModes")
        message = f"{spec['accessModes'][0]}, and a job of several pods mounts it"
        yield MODE.at(path, message, "accessModes: [ReadWriteMany]", lambda root: put(root, path, ["ReadWriteMany"]))


def _no_class(root: Any) -> None:
    from ruamel.yaml.scalarstring import DoubleQuotedScalarString

    root["spec"]["storageClassName"] = DoubleQuotedScalarString("")


def _shared(document: Document, context: Context) -> bool:
    """True when a job of the input with several pods mounts the claim."""
    return any(
        pods.total > 1 and document.name in _mounted(pods.spec) and context.space(one) == context.space(document)
        for one in context.documents
        if one.kind in TRAINING
        for pods in pods_of(one, context)
    )


def _mounted(spec: Mapping[str, Any]) -> list[str]:
    return [str(mapping(one, "persistentVolumeClaim").get("claimName") or "") for one in items(spec, "volumes")]


def _claims_there(document: Document, context: Context) -> Iterator[Flaw]:
    there = context.named("PersistentVolumeClaim", context.space(document))
    if "PersistentVolumeClaim" not in context.complete:
        return
    for pods in pods_of(document, context):
        for index, name in enumerate(_mounted(pods.spec)):
            if name and name not in there:
                path = (*pods.spec_path, "volumes", index, "persistentVolumeClaim", "claimName")
                yield NO_CLAIM.at(path, f"no PersistentVolumeClaim {name!r}", nearest(name, sorted(there)))
