"""What AWS itself must say, as nouns of cloud.py."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cockpit.clients.aws import Aws
from cockpit.cloud import Cluster, FileSystem, Offer, PlacementGroup, Repository, Reservation, Role, SecurityGroup, Subnet
from cockpit.errors import CockpitError, NotFound

DISCOVERY, OWNER = "karpenter.sh/discovery", "cockpit.dev/cluster"
AT_ONCE = 8
MIB, GIB = 1 << 20, 1 << 30


def tagged(items: Mapping[str, Any], key: str) -> str:
    """The value of a tag; empty without it."""
    return next((str(tag.get("Value") or "") for tag in items.get("Tags") or () if tag.get("Key") == key), "")


def account(aws: Aws) -> str:
    """The number of the account at hand."""
    return str(aws.call("sts", "get_caller_identity")["Account"])


def subnets(aws: Aws, discovery: str = "", vpc: str = "") -> tuple[Subnet, ...]:
    """Subnets by their discovery tag, or all of a VPC, by zone."""
    filters = [{"Name": f"tag:{DISCOVERY}", "Values": [discovery]}] if discovery else []
    filters += [{"Name": "vpc-id", "Values": [vpc]}] if vpc else []
    found = [to_subnet(raw) for raw in aws.items("ec2", "describe_subnets", "Subnets", Filters=filters)]
    return tuple(sorted(found, key=lambda one: (one.zone, one.id)))


def to_subnet(raw: Mapping[str, Any]) -> Subnet:
    """An EC2 Subnet -> Subnet."""
    return Subnet(
        id=raw["SubnetId"],
        vpc=raw["VpcId"],
        zone=raw["AvailabilityZone"],
        cidr=raw.get("CidrBlock") or "",
        free_addresses=raw.get("AvailableIpAddressCount"),
        public=bool(raw.get("MapPublicIpOnLaunch")),
        name=tagged(raw, "Name"),
        discovery=tagged(raw, DISCOVERY),
    )


def zones(aws: Aws) -> tuple[str, ...]:
    """The availability zones that are open here, without local and wavelength zones."""
    filters = [{"Name": "zone-type", "Values": ["availability-zone"]}, {"Name": "state", "Values": ["available"]}]
    answer = aws.call("ec2", "describe_availability_zones", Filters=filters)
    return tuple(sorted(one["ZoneName"] for one in answer["AvailabilityZones"]))


def security_groups(aws: Aws, discovery: str = "", ids: Sequence[str] = ()) -> tuple[SecurityGroup, ...]:
    """Security groups by their discovery tag, or by id."""
    asked: dict[str, Any] = {"GroupIds": list(ids)} if ids else {"Filters": [{"Name": f"tag:{DISCOVERY}", "Values": [discovery]}]}
    return tuple(to_security_group(raw) for raw in aws.items("ec2", "describe_security_groups", "SecurityGroups", **asked))


def to_security_group(raw: Mapping[str, Any]) -> SecurityGroup:
    """An EC2 SecurityGroup -> SecurityGroup."""
    own = raw["GroupId"]
    return SecurityGroup(
        id=own,
        vpc=raw.get("VpcId") or "",
        name=raw.get("GroupName") or "",
        open_in=_open_to(raw.get("IpPermissions") or (), own),
        open_out=_open_to(raw.get("IpPermissionsEgress") or (), own),
        discovery=tagged(raw, DISCOVERY),
    )


def _open_to(rules: Iterable[Mapping[str, Any]], group: str) -> bool:
    """True when a rule lets all traffic to or from that group; an address range is not enough for EFA, whose traffic is not IP."""
    return any(rule.get("IpProtocol") == "-1" and any(pair.get("GroupId") == group for pair in rule.get("UserIdGroupPairs") or ()) for rule in rules)


def offers(aws: Aws, patterns: Sequence[str]) -> tuple[Offer, ...]:
    """Instance types whose name fits one of the patterns (`p5.*`), with zones, spot prices and on-demand prices where they can be had."""
    listed = aws.items("ec2", "describe_instance_types", "InstanceTypes", Filters=[{"Name": "instance-type", "Values": list(patterns)}])
    found = [to_offer(raw) for raw in listed]
    names = [one.name for one in found]
    where, spot, price = _zones_of(aws, names), _spot(aws, names), _prices(aws, names)
    return tuple(
        Offer(one.name, one.gpus, one.gpu_model, one.gpu_memory_bytes, one.efa, one.vcpu, one.memory_bytes, zones, price.get(one.name), spots)
        for one in sorted(found, key=lambda one: one.name)
        for zones, spots in [(tuple(sorted(where.get(one.name, ()))), spot.get(one.name, {}))]
    )


def to_offer(raw: Mapping[str, Any]) -> Offer:
    """An EC2 InstanceTypeInfo -> Offer, without zones and prices."""
    gpus = (raw.get("GpuInfo") or {}).get("Gpus") or ()
    first = gpus[0] if gpus else {}
    network = raw.get("NetworkInfo") or {}
    efa = (network.get("EfaInfo") or {}).get("MaximumEfaInterfaces") if network.get("EfaSupported") else 0
    return Offer(
        name=raw["InstanceType"],
        gpus=sum(int(one.get("Count") or 0) for one in gpus),
        gpu_model=str(first.get("Name") or "").lower(),
        gpu_memory_bytes=int((first.get("MemoryInfo") or {}).get("SizeInMiB") or 0) * MIB,
        efa=int(efa or 0),
        vcpu=int((raw.get("VCpuInfo") or {}).get("DefaultVCpus") or 0),
        memory_bytes=int((raw.get("MemoryInfo") or {}).get("SizeInMiB") or 0) * MIB,
    )


def _zones_of(aws: Aws, names: Sequence[str]) -> dict[str, set[str]]:
    found: dict[str, set[str]] = {}
    asked = {"LocationType": "availability-zone", "Filters": [{"Name": "instance-type", "Values": list(names)}]}
    for one in aws.items("ec2", "describe_instance_type_offerings", "InstanceTypeOfferings", **asked) if names else ():
        found.setdefault(one["InstanceType"], set()).add(one["Location"])
    return found


def _spot(aws: Aws, names: Sequence[str]) -> dict[str, dict[str, float]]:
    """The last spot price of each type by zone; empty where spot prices may not be read."""
    from datetime import UTC, datetime

    found: dict[str, dict[str, float]] = {}
    asked = {"InstanceTypes": list(names), "ProductDescriptions": ["Linux/UNIX"], "StartTime": datetime.now(UTC)}
    try:
        for one in aws.items("ec2", "describe_spot_price_history", "SpotPriceHistory", **asked) if names else ():
            found.setdefault(one["InstanceType"], {}).setdefault(one["AvailabilityZone"], float(one["SpotPrice"]))
    except CockpitError:
        return {}
    return found


def _prices(aws: Aws, names: Sequence[str]) -> dict[str, float]:
    """On-demand Linux prices from the price list; empty where it may not be read."""
    fixed = {"operatingSystem": "Linux", "tenancy": "Shared", "preInstalledSw": "NA", "capacitystatus": "Used", "regionCode": aws.region}

    def price(name: str) -> float | None:
        filters = [{"Type": "TERM_MATCH", "Field": key, "Value": value} for key, value in (fixed | {"instanceType": name}).items()]
        listed = aws.call("pricing", "get_products", ServiceCode="AmazonEC2", Filters=filters, MaxResults=1).get("PriceList") or ()
        return next((to_price(json.loads(text)) for text in listed), None)

    try:
        first = [price(name) for name in names[:1]]
        with ThreadPoolExecutor(AT_ONCE) as pool:
            prices = [*first, *pool.map(price, names[1:])]
    except CockpitError:
        return {}
    return {name: value for name, value in zip(names, prices, strict=True) if value is not None}


def to_price(product: Mapping[str, Any]) -> float | None:
    """A product of the AWS price list -> dollars per hour on demand."""
    for term in ((product.get("terms") or {}).get("OnDemand") or {}).values():
        for dimension in (term.get("priceDimensions") or {}).values():
            price = float((dimension.get("pricePerUnit") or {}).get("USD") or 0)
            if price > 0:
                return price
    return None


def reservations(aws: Aws) -> tuple[Reservation, ...]:
    """The capacity reservations and capacity blocks that are active or will be."""
    found = aws.items("ec2", "describe_capacity_reservations", "CapacityReservations")
    return tuple(to_reservation(raw) for raw in found if raw.get("State") in ("active", "pending", "scheduled", "assessing"))


def to_reservation(raw: Mapping[str, Any]) -> Reservation:
    """An EC2 CapacityReservation -> Reservation."""
    ends = raw.get("EndDate")
    return Reservation(
        id=raw["CapacityReservationId"],
        instance_type=raw.get("InstanceType") or "",
        zone=raw.get("AvailabilityZone") or "",
        total=int(raw.get("TotalInstanceCount") or 0),
        available=int(raw.get("AvailableInstanceCount") or 0),
        state=raw.get("State") or "",
        kind=raw.get("ReservationType") or "default",
        ends=ends.timestamp() if ends else None,
    )


def placement_groups(aws: Aws) -> tuple[PlacementGroup, ...]:
    """Every placement group of the region."""
    found = aws.call("ec2", "describe_placement_groups").get("PlacementGroups") or ()
    return tuple(PlacementGroup(one["GroupName"], one.get("Strategy") or "", one.get("State") or "") for one in found)


def file_systems(aws: Aws) -> tuple[FileSystem, ...]:
    """Every FSx for Lustre file system."""
    return tuple(to_file_system(raw) for raw in aws.items("fsx", "describe_file_systems", "FileSystems") if raw.get("FileSystemType") == "LUSTRE")


def to_file_system(raw: Mapping[str, Any]) -> FileSystem:
    """An FSx FileSystem -> FileSystem."""
    lustre, capacity = raw.get("LustreConfiguration") or {}, raw.get("StorageCapacity")
    return FileSystem(
        id=raw["FileSystemId"],
        name=tagged(raw, "Name"),
        state=raw.get("Lifecycle") or "",
        dns_name=raw.get("DNSName") or "",
        mount_name=lustre.get("MountName") or "",
        capacity_bytes=int(capacity) * GIB if capacity else None,
        deployment=lustre.get("DeploymentType") or "",
        subnet=next(iter(raw.get("SubnetIds") or ()), ""),
        cluster=tagged(raw, OWNER),
        why=(raw.get("FailureDetails") or {}).get("Message") or "",
    )


def cluster(aws: Aws, name: str) -> Cluster | None:
    """An EKS cluster by name; None when there is none."""
    try:
        raw = aws.call("eks", "describe_cluster", name=name)["cluster"]
    except NotFound:
        return None
    network = raw.get("resourcesVpcConfig") or {}
    group = network.get("clusterSecurityGroupId") or ""
    return Cluster(raw["name"], raw.get("status") or "", raw.get("version") or "", network.get("vpcId") or "", group)


def role(aws: Aws, name: str) -> Role | None:
    """An IAM role by name with all it holds; None when there is none."""
    try:
        aws.call("iam", "get_role", RoleName=name)
    except NotFound:
        return None
    inline = list(aws.items("iam", "list_role_policies", "PolicyNames", RoleName=name))
    policies = {str(one): aws.call("iam", "get_role_policy", RoleName=name, PolicyName=one)["PolicyDocument"] for one in inline}
    attached = aws.items("iam", "list_attached_role_policies", "AttachedPolicies", RoleName=name)
    profiles = aws.items("iam", "list_instance_profiles_for_role", "InstanceProfiles", RoleName=name)
    return Role(name, policies, tuple(one["PolicyArn"] for one in attached), tuple(one["InstanceProfileName"] for one in profiles))


def nodegroups(aws: Aws, name: str) -> tuple[str, ...]:
    """The managed node groups of an EKS cluster; empty without one."""
    try:
        return tuple(str(one) for one in aws.items("eks", "list_nodegroups", "nodegroups", clusterName=name))
    except NotFound:
        return ()


def repositories(aws: Aws) -> tuple[Repository, ...]:
    """Every ECR repository of the account."""
    found = aws.items("ecr", "describe_repositories", "repositories")
    return tuple(Repository(one["repositoryName"], one["repositoryUri"]) for one in found)


FACTS: Mapping[str, Callable[..., Any]] = {
    one.__name__: one
    for one in (
        account,
        subnets,
        zones,
        security_groups,
        offers,
        reservations,
        placement_groups,
        file_systems,
        cluster,
        nodegroups,
        role,
        repositories,
    )
}
