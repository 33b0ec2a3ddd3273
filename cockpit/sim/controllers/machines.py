"""A machine as Kubernetes sees it: the labels Karpenter writes, what is allocatable, and the Node object, from an instance type."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from cockpit.sim.controllers.objects import Object
from cockpit.sim.instance_types import INSTANCE_TYPES, REGION, ZONE_IDS, InstanceType

GPU = "nvidia.com/gpu"
EFA = "vpc.amazonaws.com/efa"
DEVICES = (GPU, EFA)
UNREGISTERED = {"key": "karpenter.sh/unregistered", "effect": "NoExecute"}
NOT_READY = {"key": "node.kubernetes.io/not-ready", "effect": "NoSchedule"}
TERMINATION = "karpenter.sh/termination"
SIMULATED = "cockpit.dev/simulated"
KUBELET_VERSION = "v1.34.2-eks-simulated"
IMAGE_ID = "ami-0c0ckp1ts1mu1ated0"


@dataclass(frozen=True)
class Machine:
    """Where and what one node is."""

    instance_type: str
    zone: str
    capacity_type: str
    nodepool: str | None
    address: str
    """The private IPv4 address."""

    @property
    def instance(self) -> InstanceType:
        """Its row in the table of instance types."""
        return INSTANCE_TYPES[self.instance_type]

    @property
    def node_name(self) -> str:
        """The private DNS name, as EKS names nodes."""
        return f"ip-{self.address.replace('.', '-')}.{REGION}.compute.internal"

    @property
    def provider_id(self) -> str:
        """aws:///zone/i-..., stable for one address."""
        digest = hashlib.sha1(f"{self.zone}/{self.address}".encode(), usedforsecurity=False).hexdigest()
        return f"aws:///{self.zone}/i-0{digest[:16]}"


def offering_labels(instance: InstanceType, zone: str, capacity_type: str) -> dict[str, str]:
    """The labels that an offering gives its node: what requirements are matched against."""
    labels = {
        "kubernetes.io/arch": instance.arch,
        "kubernetes.io/os": "linux",
        "node.kubernetes.io/instance-type": instance.name,
        "topology.kubernetes.io/region": REGION,
        "topology.kubernetes.io/zone": zone,
        "topology.k8s.aws/zone-id": ZONE_IDS.get(zone, zone),
        "karpenter.sh/capacity-type": capacity_type,
        "karpenter.k8s.aws/instance-category": instance.category,
        "karpenter.k8s.aws/instance-family": instance.family,
        "karpenter.k8s.aws/instance-generation": instance.generation,
        "karpenter.k8s.aws/instance-size": instance.size,
        "karpenter.k8s.aws/instance-cpu": str(instance.vcpus),
        "karpenter.k8s.aws/instance-cpu-manufacturer": "aws" if instance.arch == "arm64" else "intel",
        "karpenter.k8s.aws/instance-memory": str(instance.memory_mib),
        "karpenter.k8s.aws/instance-network-bandwidth": str(instance.network_mbps),
        "karpenter.k8s.aws/instance-hypervisor": "nitro",
        "karpenter.k8s.aws/instance-tenancy": "default",
    }
    if instance.local_nvme_gb:
        labels["karpenter.k8s.aws/instance-local-nvme"] = str(instance.local_nvme_gb)
    if instance.gpus:
        labels |= {
            "karpenter.k8s.aws/instance-gpu-name": str(instance.gpu_name),
            "karpenter.k8s.aws/instance-gpu-manufacturer": "nvidia",
            "karpenter.k8s.aws/instance-gpu-count": str(instance.gpus),
            "karpenter.k8s.aws/instance-gpu-memory": str(instance.gpu_memory_mib),
        }
    return labels


def capacity_of(instance: InstanceType, devices: bool = True) -> dict[str, str]:
    """A node's capacity; without devices while no device plugin has registered them."""
    held = {
        "cpu": str(instance.vcpus),
        "ephemeral-storage": "209702892Ki",
        "hugepages-1Gi": "0",
        "hugepages-2Mi": "0",
        "memory": f"{instance.memory_mib * 1024 * 15 // 16}Ki",
        "pods": str(_most_pods(instance)),
    }
    return held | (device_capacity(instance) if devices else {})


def device_capacity(instance: InstanceType) -> dict[str, str]:
    """GPUs and EFA devices, absent when it has none."""
    counts = {GPU: instance.gpus, EFA: instance.efa_devices}
    return {resource: str(count) for resource, count in counts.items() if count}


def allocatable_of(instance: InstanceType, devices: bool = True) -> dict[str, str]:
    """What is left for pods after what the kubelet and system keep for themselves."""
    held = capacity_of(instance, devices)
    reserved_cpu = 70 + 10 + (instance.vcpus - 4) * 5 // 2
    reserved_mib = 255 + 11 * _most_pods(instance) + 100
    held["cpu"] = f"{instance.vcpus * 1000 - reserved_cpu}m"
    held["memory"] = f"{instance.memory_mib * 1024 * 15 // 16 - reserved_mib * 1024}Ki"
    held["ephemeral-storage"] = "192188443124"
    return held


def _most_pods(instance: InstanceType) -> int:
    """The EKS pod limit of a type, from its size."""
    return {4: 58, 8: 58, 16: 234, 32: 234, 48: 234}.get(instance.vcpus, 737)


def node_labels(machine: Machine) -> dict[str, str]:
    """The labels a node carries from its first registration."""
    labels = offering_labels(machine.instance, machine.zone, machine.capacity_type) | {
        "kubernetes.io/hostname": machine.node_name,
        "beta.kubernetes.io/arch": machine.instance.arch,
        "beta.kubernetes.io/os": "linux",
        "beta.kubernetes.io/instance-type": machine.instance_type,
        "failure-domain.beta.kubernetes.io/region": REGION,
        "failure-domain.beta.kubernetes.io/zone": machine.zone,
        "k8s.io/cloud-provider-aws": "5553ae84a0d29114870f67bbabd07d44",
        SIMULATED: "true",
    }
    if machine.nodepool:
        labels |= {"karpenter.sh/nodepool": machine.nodepool, "karpenter.k8s.aws/ec2nodeclass": "default"}
    else:
        labels |= {
            "eks.amazonaws.com/nodegroup": "system",
            "eks.amazonaws.com/capacityType": machine.capacity_type.upper().replace("-", "_"),
        }
        labels = {key: value for key, value in labels.items() if not key.startswith("karpenter.")}
    if machine.instance.gpus:
        labels |= {"nvidia.com/gpu.present": "true", "nvidia.com/gpu.count": str(machine.instance.gpus)}
        labels["nvidia.com/gpu.product"] = f"{str(machine.instance.gpu_name).upper()}-SIMULATED"
    if machine.instance.efa_devices:
        labels["vpc.amazonaws.com/efa.present"] = "true"
    return labels


def node_info(instance: InstanceType, seed: str) -> Object:
    """status.nodeInfo of a node that says it is simulated."""
    digest = hashlib.sha1(seed.encode(), usedforsecurity=False).hexdigest()
    return {
        "architecture": instance.arch,
        "bootID": f"{digest[:8]}-{digest[8:12]}-4{digest[13:16]}-8{digest[17:20]}-{digest[20:32]}",
        "containerRuntimeVersion": "containerd://2.1.5",
        "kernelVersion": "6.12.53-69.119.amzn2023.x86_64" if instance.arch == "amd64" else "6.12.53-69.119.amzn2023.aarch64",
        "kubeProxyVersion": KUBELET_VERSION,
        "kubeletVersion": KUBELET_VERSION,
        "machineID": digest[:32],
        "operatingSystem": "linux",
        "osImage": "Amazon Linux 2023.9 (SIMULATED)",
        "swap": {"capacity": 0},
        "systemUUID": f"ec2{digest[:5]}-{digest[5:9]}-{digest[9:13]}-{digest[13:17]}-{digest[17:29]}",
    }


def node_object(machine: Machine, labels: dict[str, str], taints: list[Object]) -> Object:
    """The Node as a kubelet registers it: not ready, no devices yet."""
    metadata: Object = {"name": machine.node_name, "labels": node_labels(machine) | labels, "annotations": {}}
    if machine.nodepool:
        metadata["finalizers"] = [TERMINATION]
    return {
        "apiVersion": "v1",
        "kind": "Node",
        "metadata": metadata,
        "spec": {"providerID": machine.provider_id, "taints": taints},
        "status": {
            "addresses": [
                {"type": "InternalIP", "address": machine.address},
                {"type": "InternalDNS", "address": machine.node_name},
                {"type": "Hostname", "address": machine.node_name},
            ],
            "capacity": capacity_of(machine.instance, devices=False),
            "allocatable": allocatable_of(machine.instance, devices=False),
            "nodeInfo": node_info(machine.instance, machine.node_name),
            "daemonEndpoints": {"kubeletEndpoint": {"Port": 10250}},
        },
    }
