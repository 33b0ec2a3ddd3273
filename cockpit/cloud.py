"""The nouns of AWS, frozen: what it says of networks, instance types, capacity and storage. Unknown is None, never 0."""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct, field


class Subnet(Struct, frozen=True):
    """A subnet; `public` where it gives its machines public addresses."""

    id: str
    vpc: str
    zone: str
    cidr: str = ""
    free_addresses: int | None = None
    public: bool = False
    name: str = ""
    discovery: str = ""


class SecurityGroup(Struct, frozen=True):
    """A security group; `open_in` and `open_out` say that all traffic to and from itself is allowed, which EFA needs both of."""

    id: str
    vpc: str
    name: str = ""
    open_in: bool = False
    open_out: bool = False
    discovery: str = ""


class Offer(Struct, frozen=True):
    """An instance type as EC2 describes it in a region; `spot` maps zones to the last spot price in dollars per hour."""

    name: str
    gpus: int = 0
    gpu_model: str = ""
    gpu_memory_bytes: int = 0
    efa: int = 0
    vcpu: int = 0
    memory_bytes: int = 0
    zones: tuple[str, ...] = ()
    dollars_per_hour: float | None = None
    spot: Mapping[str, float] = field(default_factory=dict)


class Reservation(Struct, frozen=True):
    """A capacity reservation; `kind` default | capacity-block, `ends` seconds since the epoch."""

    id: str
    instance_type: str
    zone: str
    total: int
    available: int
    state: str = ""
    kind: str = "default"
    ends: float | None = None


class PlacementGroup(Struct, frozen=True):
    """A placement group; `strategy` cluster | partition | spread."""

    name: str
    strategy: str = ""
    state: str = ""


class FileSystem(Struct, frozen=True):
    """An FSx for Lustre file system; `mount_name` and `dns_name` are what a PersistentVolume names, `cluster` whose it is."""

    id: str
    name: str = ""
    state: str = ""
    dns_name: str = ""
    mount_name: str = ""
    capacity_bytes: int | None = None
    deployment: str = ""
    subnet: str = ""
    cluster: str = ""
    why: str = ""


class Cluster(Struct, frozen=True):
    """An EKS cluster as the EKS API tells it."""

    name: str
    state: str = ""
    version: str = ""
    vpc: str = ""
    security_group: str = ""


class Role(Struct, frozen=True):
    """An IAM role with its inline policies by name, its attached policies, and the instance profiles that hold it."""

    name: str
    policies: Mapping[str, Mapping[str, object]] = field(default_factory=dict)
    attached: tuple[str, ...] = ()
    profiles: tuple[str, ...] = ()


class Repository(Struct, frozen=True):
    """An ECR repository."""

    name: str
    uri: str
