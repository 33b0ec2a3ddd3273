"""Volumes as folders of the pod: ConfigMaps, Secrets, downward API and projections as files, emptyDirs, and claims that outlive pods."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cockpit.sim.kubelet.environment import ConfigError, Reader, contents, expand, field, resource_field


class MountError(Exception):
    """A volume cannot be mounted; the text is the FailedMount event's message."""


def materialise(cluster: Reader, pod: dict[str, Any], folder: Path, claims: Path, address: Mapping[str, str]) -> dict[str, Path]:
    """Make every volume of the pod below `folder` (claims below `claims`); volume name -> folder. MountError says which cannot be."""
    made = {}
    for volume in pod["spec"].get("volumes") or []:
        place = folder / volume["name"]
        try:
            made[volume["name"]] = _make(cluster, pod, volume, place, claims, address)
        except ConfigError as error:
            raise MountError(f'MountVolume.SetUp failed for volume "{volume["name"]}" : {error}') from error
    return made


def _make(cluster: Reader, pod: dict[str, Any], volume: dict[str, Any], place: Path, claims: Path, address: Mapping[str, str]) -> Path:
    if "persistentVolumeClaim" in volume:
        return _claim(cluster, pod, volume["persistentVolumeClaim"]["claimName"], claims)
    if "hostPath" in volume:
        path = volume["hostPath"].get("path")
        raise ConfigError(f"hostPath {path} is refused: the practice cluster gives pods no path of the machine it runs on; use an emptyDir")
    place.mkdir(parents=True, exist_ok=True)
    if "emptyDir" in volume:
        return place
    sources = (volume["projected"].get("sources") or []) if "projected" in volume else [volume]
    for source in sources:
        for name, data in _files(cluster, pod, source, address).items():
            _write(place, name, data)
    return place


def _claim(cluster: Reader, pod: dict[str, Any], name: str, claims: Path) -> Path:
    namespace = pod["metadata"]["namespace"]
    if cluster.find("persistentvolumeclaims", namespace, name) is None:
        raise ConfigError(f'persistentvolumeclaim "{name}" not found')
    place = claim_folder(claims, namespace, name)
    place.mkdir(parents=True, exist_ok=True)
    return place


def bind_claims(cluster: Any, pod: dict[str, Any]) -> None:
    """Mark the claims a pod uses as Bound, as a provisioner that waits for the first consumer does."""
    namespace = pod["metadata"]["namespace"]
    for volume in pod["spec"].get("volumes") or []:
        name = (volume.get("persistentVolumeClaim") or {}).get("claimName")
        claim = cluster.find("persistentvolumeclaims", namespace, name) if name else None
        if claim is not None and (claim.get("status") or {}).get("phase") != "Bound":
            spec = claim["spec"]
            capacity = (spec.get("resources") or {}).get("requests") or {}
            status = {"phase": "Bound", "accessModes": spec.get("accessModes") or [], "capacity": capacity}
            cluster.patch("persistentvolumeclaims", namespace, name, {"status": status}, subresource="status")


def claim_folder(claims: Path, namespace: str, name: str) -> Path:
    """The folder of a PersistentVolumeClaim."""
    return claims / namespace / name


def _files(cluster: Reader, pod: dict[str, Any], source: dict[str, Any], address: Mapping[str, str]) -> dict[str, bytes]:
    if "downwardAPI" in source:
        return {item["path"]: _downward(cluster, pod, item, address).encode() for item in source["downwardAPI"].get("items") or []}
    if "serviceAccountToken" in source:
        return {}  # the practice cluster issues no tokens to pods
    if "secret" in source:
        kind, spec = "secrets", source["secret"]
    elif "configMap" in source:
        kind, spec = "configmaps", source["configMap"]
    else:
        known = ", ".join(sorted(set(source) - {"name"})) or "nothing"
        raise ConfigError(f"volume type {known} is not known to the practice cluster")
    name = spec.get("secretName") or spec.get("name")
    optional = bool(spec.get("optional"))
    data = contents(cluster, kind, pod["metadata"]["namespace"], name, optional=optional) or {}
    items = spec.get("items")
    if not items:
        return data
    missing = [item["key"] for item in items if item["key"] not in data]
    if missing and not optional:
        raise ConfigError(f"references non-existent {'secret' if kind == 'secrets' else 'config'} key: {missing[0]}")
    return {item["path"]: data[item["key"]] for item in items if item["key"] in data}


def _downward(cluster: Reader, pod: dict[str, Any], item: dict[str, Any], address: Mapping[str, str]) -> str:
    if "fieldRef" in item:
        return field(pod, item["fieldRef"]["fieldPath"], address)
    return resource_field(cluster, pod, pod["spec"]["containers"][0], item["resourceFieldRef"])


def _write(place: Path, name: str, data: bytes) -> None:
    if name.startswith("/") or ".." in name.split("/"):
        raise ConfigError(f"path {name} must stay inside the volume")
    target = place / name
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_bytes(data)


def mount_folders(container: dict[str, Any], volumes: Mapping[str, Path], env: Mapping[str, str]) -> dict[str, Path]:
    """Mount path -> folder or file on this machine for one container's volumeMounts; ConfigError for a sub-path that leaves its volume."""
    folders = {}
    for mount in container.get("volumeMounts") or []:
        if mount["name"] not in volumes:
            raise ConfigError(f'volumeMounts name "{mount["name"]}" is not a volume of the pod')
        sub_path = expand(mount["subPathExpr"], env) if mount.get("subPathExpr") else mount.get("subPath") or ""
        if sub_path.startswith("/") or ".." in sub_path.split("/"):
            raise ConfigError(f"subPath {sub_path} must stay inside the volume")
        place = volumes[mount["name"]] / sub_path
        if sub_path and not place.exists():
            place.mkdir(parents=True)
        folders[mount["mountPath"]] = place
    return folders
