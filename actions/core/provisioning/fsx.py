"""FSx for Lustre: the file system, and the static volume and claim that let pods of a namespace mount it."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.provisioning import Params, applied, aws_change, check_may, eks, fetched, look, may_write, scope_of, the_kube, told
from actions.core.provisioning.vpc import private_by_zone
from actions.core.render import manifest
from cockpit.cloud import FileSystem, Subnet
from cockpit.errors import BadInput, Refused
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

GIB, HOURS_PER_MONTH = 1 << 30, 730
DOLLARS_PER_GIB_MONTH = {"SCRATCH_2": 0.14, 125: 0.145, 250: 0.21, 500: 0.34, 1000: 0.60}
"""us-east-1."""
OWNER = "cockpit.dev/cluster"
"""The tag that says whose a file system is: teardown goes by it alone."""
HOLES = ("file_system_id", "dns_name", "mount_name")
DRIVER = Target("CSIDriver", "fsx.csi.aws.com", "", "storage.k8s.io", "v1", "csidrivers")


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """The file systems and subnets AWS has, and the volume and claim the cluster has."""
    scope, kube = scope_of(params), the_kube(clients)
    name, region = eks(params, clients)
    aws = clients.aws.at(region)
    yield look(scope, "place", lambda: (name, aws.region))
    yield look(scope, "file-systems", lambda: aws.ask("file_systems"))
    yield look(scope, "subnets", lambda: aws.ask("subnets", discovery=name))
    yield look(scope, "groups", lambda: aws.ask("security_groups", discovery=name))
    yield look(scope, "driver", fetched, kube, DRIVER.path())
    for target in _targets(params):
        yield look(scope, f"object:{target}", fetched, kube, target.path())
        yield look(scope, f"may:{target.resource}:{target.namespace}", may_write, kube, target)


def _targets(params: Params) -> tuple[Target, Target]:
    volume = Target("PersistentVolume", f"{params.claim}-{params.namespace}", "", "", "v1", "persistentvolumes")
    return volume, Target("PersistentVolumeClaim", params.claim, params.namespace, "", "v1", "persistentvolumeclaims")


def file_system_name(cluster: str, params: Params) -> str:
    """The Name tag by which the file system is found again."""
    return f"{cluster}-{params.namespace}-{params.claim}"


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What is missing of file system, volume and claim."""
    scope = scope_of(params)
    name, region = told(snapshot, scope, "place")
    _checked(params)
    targets = _targets(params)
    check_may(snapshot, scope, list(targets))
    wanted = file_system_name(name, params)
    there: FileSystem | None = next((one for one in told(snapshot, scope, "file-systems") if one.name == wanted), None)
    changes = list(_file_system(snapshot, params, name, region, wanted, there))
    changes += _volume(snapshot, scope, params, targets, there)
    warnings = (
        () if told(snapshot, scope, "driver") else ("fsx.csi.aws.com is not installed, so nothing can mount it: --target addons --addon fsx-csi",)
    )
    if not changes:
        return Plan(
            already=f"{there.id if there else wanted} is {there.state if there else ''} and {targets[1]} names it", warnings=warnings, real=True
        )
    hourly = _dollars_per_hour(params) if there is None else None
    return Plan(
        tuple(changes),
        notes=_notes(params, there),
        warnings=warnings,
        dollars_per_hour=hourly,
        confirm=params.claim,
        risk=Risk.SPEND if there is None else Risk.CHANGE,
        real=True,
    )


def _checked(params: Params) -> None:
    step = 2400
    if params.storage_gib != 1200 and params.storage_gib % step:
        raise BadInput(
            f"--storage-gib {params.storage_gib}: FSx makes 1200, or a multiple of {step}", f"--storage-gib {-(-params.storage_gib // step) * step}"
        )
    if params.efa and params.deployment != "PERSISTENT_2":
        raise BadInput("--efa: only PERSISTENT_2 is reached over EFA", "--deployment PERSISTENT_2")


def _dollars_per_hour(params: Params) -> float:
    key = params.deployment if params.deployment == "SCRATCH_2" else params.throughput
    return round(DOLLARS_PER_GIB_MONTH[key] * params.storage_gib / HOURS_PER_MONTH, 4)


def _notes(params: Params, there: FileSystem | None) -> tuple[str, ...]:
    if there is not None:
        return (f"{there.id} is {there.state or 'there'}",)
    kept = (
        "SCRATCH_2 has no copy: what a failed server held is gone"
        if params.deployment == "SCRATCH_2"
        else "PERSISTENT_2 keeps a copy within its zone"
    )
    return (f"{params.storage_gib} GiB, {kept}", "FSx takes 5 to 10 minutes; prices are us-east-1's")


def _file_system(snapshot: Snapshot, params: Params, name: str, region: str, wanted: str, there: FileSystem | None) -> Iterator[Change]:
    """Make it, or wait for the one that is being made; Refused when the one there can never be mounted."""
    target = Target("FileSystem", there.id if there else wanted)
    if there is not None and there.state in ("FAILED", "DELETING", "MISCONFIGURED"):
        raise Refused(
            f"{there.id} ({wanted}) is {there.state}: {there.why or 'AWS does not say why'}",
            f"aws fsx delete-file-system --file-system-id {there.id}",
        )
    if there is not None and there.state == "CREATING":
        line = f"aws fsx describe-file-systems --region {region} --file-system-ids {there.id}"
        yield aws_change("wait_file_system", region, {"id": there.id}, target, f"wait for {there.id}, which is being made", line)
    if there is None:
        request = _request(snapshot, params, name, wanted)
        token = hashlib.sha256(f"{region}/{wanted}/{request}".encode()).hexdigest()[:40]
        line = f"aws fsx create-file-system --region {region} --file-system-type LUSTRE --storage-capacity {params.storage_gib} ..."
        summary = f"make the FSx file system {wanted} ({params.deployment}, {params.storage_gib} GiB) in {request['SubnetIds'][0]}, and wait for it"
        yield aws_change("create_file_system", region, {"token": token, "request": request}, target, summary, line)


def _request(snapshot: Snapshot, params: Params, name: str, wanted: str) -> dict[str, Any]:
    scope = scope_of(params)
    private: Mapping[str, Subnet] = private_by_zone(told(snapshot, scope, "subnets"))
    here = [one for zone, one in private.items() if not params.zones or zone in params.zones]
    groups = told(snapshot, scope, "groups")
    if not here or not groups:
        what = "private subnet" if not here else "security group"
        raise Refused(
            f"no {what} carries the cluster's discovery tag" + (f" in {', '.join(params.zones)}" if params.zones else ""),
            "provision --target cluster",
        )
    lustre: dict[str, Any] = {"DeploymentType": params.deployment, "DataCompressionType": "LZ4"}
    if params.deployment == "PERSISTENT_2":
        lustre |= {"PerUnitStorageThroughput": params.throughput, "MetadataConfiguration": {"Mode": "AUTOMATIC"}}
        lustre |= {"EfaEnabled": True} if params.efa else {}
    return {
        "FileSystemType": "LUSTRE",
        "FileSystemTypeVersion": "2.15",
        "StorageCapacity": params.storage_gib,
        "StorageType": "SSD",
        "SubnetIds": [here[0].id],
        "SecurityGroupIds": [groups[0].id],
        "Tags": [{"Key": "Name", "Value": wanted}, {"Key": OWNER, "Value": name}],
        "LustreConfiguration": lustre,
    }


def _volume(snapshot: Snapshot, scope: str, params: Params, targets: tuple[Target, Target], there: FileSystem | None) -> Iterator[Change]:
    """The volume and its claim; their holes are filled by what AWS answers when the file system is made."""
    late = there is None or not there.mount_name
    capacity = f"{(there.capacity_bytes or params.storage_gib * GIB) // GIB if there else params.storage_gib}Gi"
    known = {name: "${" + name + "}" for name in HOLES} if late else _known(there)
    holes = {"name": targets[0].name, "claim": params.claim, "namespace": params.namespace, "capacity": capacity, **known}
    for target, what in zip(targets, ("persistentvolume", "persistentvolumeclaim"), strict=True):
        body = manifest(f"fsx/{what}", holes)
        before = told(snapshot, scope, f"object:{target}")
        more: dict[str, Any] = {"holes": HOLES} if late and target is targets[0] else {}
        if before is not None and (late or _other(before, body)):
            raise Refused(f"{target} is there and is of another file system", f"--claim NAME, or kubectl delete {target.resource}/{target.name}")
        if before is not None:
            continue
        change = applied(target, body, None, f"{target.kind} {target.name}: flock, lazystatfs, ReadWriteMany", **more)
        if change is not None:
            yield change


def _known(there: FileSystem | None) -> dict[str, str]:
    assert there is not None
    return {"file_system_id": there.id, "dns_name": there.dns_name, "mount_name": there.mount_name}


def _other(before: Mapping[str, Any], body: Mapping[str, Any]) -> bool:
    """Whether a volume or claim that is there leads somewhere else."""
    spec, wanted = before.get("spec") or {}, body["spec"]
    handle = (spec.get("csi") or {}).get("volumeHandle")
    return bool(handle != wanted["csi"]["volumeHandle"]) if "csi" in wanted else bool(spec.get("volumeName") != wanted["volumeName"])
