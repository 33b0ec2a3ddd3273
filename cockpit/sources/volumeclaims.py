"""PersistentVolumeClaims -> facts: where a job may keep its checkpoints."""

from __future__ import annotations

import msgspec

from cockpit.model import PodKey, VolumeClaim
from cockpit.sources.listings import Listing
from cockpit.sources.raw import Meta, Quantities, count, intern
from cockpit.sources.reflect import Reflector


class RawClaimSpec(msgspec.Struct, rename="camel"):
    access_modes: list[str | None] | None = None
    storage_class_name: str | None = None
    volume_name: str | None = None


class RawClaimStatus(msgspec.Struct):
    phase: str | None = None
    capacity: Quantities | None = None


class RawVolumeClaim(msgspec.Struct):
    """A core/v1 PersistentVolumeClaim."""

    metadata: Meta | None = None
    spec: RawClaimSpec | None = None
    status: RawClaimStatus | None = None


def to_volumeclaim(raw: RawVolumeClaim) -> VolumeClaim:
    """A PersistentVolumeClaim -> VolumeClaim."""
    meta, spec, status = raw.metadata or Meta(), raw.spec or RawClaimSpec(), raw.status or RawClaimStatus()
    return VolumeClaim(
        key=PodKey(intern(meta.namespace or ""), meta.name or ""),
        resource_version=meta.resource_version or "",
        phase=intern(status.phase or ""),
        access_modes=tuple(intern(mode) for mode in spec.access_modes or () if mode),
        storage_class=intern(spec.storage_class_name or ""),
        volume=spec.volume_name or "",
        capacity_bytes=count((status.capacity or {}).get("storage")),
        deleting=meta.deletion_timestamp is not None,
    )


def source() -> Reflector:
    """Every PersistentVolumeClaim of the cluster, or of the one namespace that may be listed."""
    path = "/api/v1/persistentvolumeclaims"
    return Reflector("volumeclaims", Listing("volumeclaims", (path,), RawVolumeClaim, to_volumeclaim, PodKey, namespaced=True))
