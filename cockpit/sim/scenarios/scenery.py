"""What the objects of scenario `big` look like: nodes, their claims, pods and jobs, as large as on a real EKS cluster."""

from __future__ import annotations

import copy
from collections.abc import Mapping, Sequence
from typing import Any

from cockpit.sim.controllers.machines import Machine, allocatable_of, capacity_of, node_object
from cockpit.sim.controllers.pods import SERVED_BY, STATIC
from cockpit.sim.scenarios.creation import claim_of, ready_conditions
from cockpit.sim.scenarios.templates import hole, managed

Object = dict[str, Any]
AGENT_CONDITIONS = ("AcceleratedHardwareReady", "ContainerRuntimeReady", "KernelReady", "NetworkingReady", "StorageReady")
IMAGES = (
    ("602401143452.dkr.ecr.ap-northeast-2.amazonaws.com/amazon-k8s-cni", "v1.20.4-eksbuild.1", 49_871_234),
    ("602401143452.dkr.ecr.ap-northeast-2.amazonaws.com/eks/kube-proxy", "v1.34.1-minimal-eksbuild.2", 38_441_876),
    ("602401143452.dkr.ecr.ap-northeast-2.amazonaws.com/eks/aws-efa-k8s-device-plugin", "v0.5.14", 52_377_401),
    ("nvcr.io/nvidia/k8s-device-plugin", "v0.18.0", 186_440_211),
    ("nvcr.io/nvidia/k8s/dcgm-exporter", "4.5.3-4.8.2-ubuntu22.04", 512_882_016),
    ("public.ecr.aws/hpc-cloud/efa-node-exporter", "latest", 17_224_331),
    ("763104351884.dkr.ecr.ap-northeast-2.amazonaws.com/pytorch-training", "2.9.0-gpu-py312-cu130-ubuntu22.04-ec2", 12_916_508_213),
)
TIME = "2026-08-20T03:14:15Z"


def node_template(machine: Machine, taints: Sequence[Object]) -> Object:
    """A Ready node of one type, with holes for name, uid, address, provider id, claim and health."""
    node = node_object(machine, {"karpenter.sh/registered": "true", "karpenter.sh/initialized": "true"}, list(taints))
    metadata, status = node["metadata"], node["status"]
    metadata |= {"name": hole("name"), "uid": hole("uid"), "creationTimestamp": TIME}
    metadata["labels"]["kubernetes.io/hostname"] = hole("name")
    metadata["labels"] |= {f"feature.node.kubernetes.io/cpu-cpuid.{flag}": "true" for flag in ("AVX512BF16", "AMXTILE", "AMXBF16", "AMXINT8")}
    metadata["labels"] |= {f"topology.k8s.aws/network-node-layer-{layer}": f"nn-0{layer}simulated{hole('layer')}" for layer in (1, 2, 3)}
    metadata["ownerReferences"] = [
        {"apiVersion": "karpenter.sh/v1", "kind": "NodeClaim", "name": hole("claim"), "uid": hole("claim_uid"), "blockOwnerDeletion": True}
    ]
    metadata["annotations"] = {
        "node.alpha.kubernetes.io/ttl": "15",
        "csi.volume.kubernetes.io/nodeid": '{"ebs.csi.aws.com":"i-simulated"}'.replace('"', "'"),
    }
    node["spec"]["providerID"] = hole("provider_id")
    status |= {"capacity": capacity_of(machine.instance), "allocatable": allocatable_of(machine.instance)}
    conditions = ready_conditions(TIME)
    conditions[-1] |= {"status": hole("ready"), "reason": hole("ready_reason"), "message": hole("ready_message")}
    status["conditions"] = [*conditions, *(_agent_condition(kind) for kind in AGENT_CONDITIONS)]
    status["images"] = [{"names": [f"{name}@sha256:{'5' * 64}", f"{name}:{tag}"], "sizeBytes": size} for name, tag, size in IMAGES]
    status["addresses"] = [
        {"type": "InternalIP", "address": hole("address")},
        {"type": "InternalDNS", "address": hole("name")},
        {"type": "Hostname", "address": hole("name")},
    ]
    metadata["managedFields"] = [
        managed("karpenter", {"metadata": {"labels": _some(metadata["labels"], 12), "finalizers": ["x"]}, "spec": {"taints": "x"}}, TIME),
        managed("kube-controller-manager", {"metadata": {"annotations": {"node.alpha.kubernetes.io/ttl": "15"}}}, TIME),
        managed("kubelet", {"status": {"conditions": status["conditions"], "allocatable": status["allocatable"]}}, TIME, subresource="status"),
    ]
    return node


def _some(labels: Mapping[str, str], count: int) -> dict[str, str]:
    return dict(sorted(labels.items())[:count])


def _agent_condition(kind: str) -> Object:
    health = hole("gpu_health") if kind == "AcceleratedHardwareReady" else "True"
    reason = hole("gpu_reason") if kind == "AcceleratedHardwareReady" else f"{kind.removesuffix('Ready')}IsReady"
    message = f"Monitoring for the {kind.removesuffix('Ready')} system is active"
    return {"type": kind, "status": health, "reason": reason, "message": message, "lastHeartbeatTime": TIME, "lastTransitionTime": TIME}


def claim_template(machine: Machine, pool: Mapping[str, Any]) -> Object:
    """The initialized NodeClaim of such a node."""
    claim = claim_of(machine, pool, hole("claim"), TIME)
    claim["metadata"] |= {"uid": hole("claim_uid"), "creationTimestamp": TIME, "generation": 1}
    claim["status"] |= {"nodeName": hole("name"), "providerID": hole("provider_id")}
    return claim


def pod_template(container: Object, labels: Mapping[str, str], owner: Object, served_by: str = "", **spec: Any) -> Object:
    """A running pod with holes for name, uid, node, address and phase."""
    annotations = {STATIC: "true"} | ({SERVED_BY: served_by} if served_by else {})
    pod: Object = {
        "metadata": {
            "name": hole("name"),
            "namespace": hole("namespace"),
            "uid": hole("uid"),
            "creationTimestamp": TIME,
            "labels": dict(labels),
            "annotations": annotations,
            "ownerReferences": [{**owner, "controller": True, "blockOwnerDeletion": True}],
        },
        "spec": {
            "nodeName": hole("node"),
            "containers": [_whole_container(container)],
            "volumes": [_token_volume()],
            "restartPolicy": "OnFailure",
            "terminationGracePeriodSeconds": 30,
            "dnsPolicy": "ClusterFirst",
            "serviceAccountName": "default",
            "serviceAccount": "default",
            "schedulerName": "default-scheduler",
            "enableServiceLinks": True,
            "preemptionPolicy": "PreemptLowerPriority",
            "priority": 0,
            "securityContext": {},
            "tolerations": [
                {"key": "nvidia.com/gpu", "operator": "Exists"},
                {"key": "node.kubernetes.io/not-ready", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
                {"key": "node.kubernetes.io/unreachable", "operator": "Exists", "effect": "NoExecute", "tolerationSeconds": 300},
            ],
            **spec,
        },
    }
    pod["status"] = _pod_status(pod["spec"]["containers"][0])
    whole = copy.deepcopy({key: pod[key] for key in ("spec",)})
    meta = {"labels": labels, "annotations": annotations, "ownerReferences": "x"}
    pod["metadata"]["managedFields"] = [
        managed("training-operator", {"metadata": meta, **whole}, TIME),
        managed("kubelet", {"status": pod["status"]}, TIME, subresource="status"),
    ]
    return pod


def _whole_container(container: Object) -> Object:
    mount = {"name": "kube-api-access-8xk2v", "mountPath": "/var/run/secrets/kubernetes.io/serviceaccount", "readOnly": True}
    return {
        "imagePullPolicy": "IfNotPresent",
        "terminationMessagePath": "/dev/termination-log",
        "terminationMessagePolicy": "File",
        **container,
        "volumeMounts": [*(container.get("volumeMounts") or []), mount],
    }


def _token_volume() -> Object:
    token = {"serviceAccountToken": {"expirationSeconds": 3607, "path": "token"}}
    root = {"configMap": {"name": "kube-root-ca.crt", "items": [{"key": "ca.crt", "path": "ca.crt"}]}}
    namespace = {"items": [{"path": "namespace", "fieldRef": {"apiVersion": "v1", "fieldPath": "metadata.namespace"}}]}
    return {"name": "kube-api-access-8xk2v", "projected": {"sources": [token, root, {"downwardAPI": namespace}], "defaultMode": 420}}


def _pod_status(container: Object) -> Object:
    kinds = ("PodReadyToStartContainers", "Initialized", "Ready", "ContainersReady", "PodScheduled")
    conditions = [{"type": kind, "status": "True", "lastProbeTime": None, "lastTransitionTime": TIME} for kind in kinds]
    state = {
        "name": container["name"],
        "image": container["image"],
        "imageID": f"{container['image'].rpartition(':')[0]}@sha256:{'5' * 64}",
        "containerID": f"containerd://{hole('digest')}",
        "ready": True,
        "started": True,
        "restartCount": 0,
        "state": {"running": {"startedAt": TIME}},
        "lastState": {},
    }
    address, host = hole("pod_ip"), hole("host_ip")
    return {
        "phase": "Running",
        "conditions": conditions,
        "containerStatuses": [state],
        "hostIP": host,
        "hostIPs": [{"ip": host}],
        "podIP": address,
        "podIPs": [{"ip": address}],
        "qosClass": "Burstable",
        "startTime": TIME,
    }
