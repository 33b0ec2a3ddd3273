"""The smallest manifest that breaks each rule of lint: its id, a sound manifest, what is changed in it, and what stands around it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from actions.core import Clients, load, parse
from cockpit.errors import CockpitError
from cockpit.snapshot import Snapshot
from tests.actions.pictures import node, picture, pool

HEALTHY = """
apiVersion: kubeflow.org/v1
kind: PyTorchJob
metadata: {name: job}
spec:
  pytorchReplicaSpecs:
    Master:
      replicas: 1
      template: &rank
        metadata: {annotations: {karpenter.sh/do-not-disrupt: "true"}}
        spec:
          nodeSelector: {topology.kubernetes.io/zone: 2a}
          tolerations: [{key: nvidia.com/gpu, operator: Exists, effect: NoSchedule}]
          containers:
            - name: pytorch
              image: x
              resources: {limits: {nvidia.com/gpu: 8, memory: 64Gi}, requests: {nvidia.com/gpu: 8, memory: 64Gi}}
              volumeMounts: [{name: dshm, mountPath: /dev/shm}]
          volumes: [{name: dshm, emptyDir: {medium: Memory, sizeLimit: 8Gi}}]
    Worker: {replicas: 1, template: *rank}
"""
TRAINJOB = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: TrainJob
metadata: {name: job}
spec:
  runtimeRef: {name: torch-distributed}
  trainer: {numNodes: 2}
"""
POOL = """
apiVersion: karpenter.sh/v1
kind: NodePool
metadata: {name: gpu}
spec:
  template: {spec: {nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: gpu}, requirements: []}}
"""
QUEUE = """
apiVersion: kueue.x-k8s.io/v1beta2
kind: ClusterQueue
metadata: {name: q}
spec:
  namespaceSelector: {}
  resourceGroups:
    - coveredResources: [nvidia.com/gpu]
      flavors: [{name: f, resources: [{name: nvidia.com/gpu, nominalQuota: 4}]}]
"""
LOCAL = "{apiVersion: kueue.x-k8s.io/v1beta2, kind: LocalQueue, metadata: {name: q}, spec: {clusterQueue: q}}"
FLAVOR = "{apiVersion: kueue.x-k8s.io/v1beta2, kind: ResourceFlavor, metadata: {name: f}, spec: {nodeLabels: {pool: none}}}"
CLAIM = "{apiVersion: v1, kind: PersistentVolumeClaim, metadata: {name: c}, spec: {accessModes: [ReadWriteOnce]}}"
VOLUME = "{apiVersion: v1, kind: PersistentVolume, metadata: {name: v}, spec: {csi: {driver: fsx.csi.aws.com, volumeAttributes: {dnsname: d}}}}"
RUNTIME = """
apiVersion: trainer.kubeflow.org/v1alpha1
kind: ClusterTrainingRuntime
metadata: {name: torch-distributed}
spec: {template: {spec: {replicatedJobs: [{name: node, template: {spec: {template: {spec: {containers: [{name: node}]}}}}}]}}}
"""
MASTER = ("spec", "pytorchReplicaSpecs", "Master")
TEMPLATE = (*MASTER, "template")
MAIN = (*TEMPLATE, "spec", "containers", 0)
SELECTOR = (*TEMPLATE, "spec", "nodeSelector")
TYPE = (*SELECTOR, "node.kubernetes.io/instance-type")
EFA = (*MAIN, "resources", "limits", "vpc.amazonaws.com/efa")
QUEUED: tuple[Any, ...] = (("metadata", "labels"), {"kueue.x-k8s.io/queue-name": "q"})
POOL_SPEC = ("spec", "template", "spec")
Change = tuple[tuple[Any, ...], Any]
REMOVE = object()

CASES: list[tuple[str, str, list[Change], dict[str, Any]]] = [
    ("not-an-object", HEALTHY, [(("kind",), REMOVE)], {}),
    ("unknown-kind", HEALTHY, [(("kind",), "Widget")], {}),
    ("api-version", TRAINJOB, [(("apiVersion",), "kubeflow.org/v1")], {}),
    ("duplicate-name", HEALTHY, [], {"beside": [HEALTHY]}),
    ("job-name", HEALTHY, [(("metadata", "name"), "My_Job")], {}),
    ("not-text", HEALTHY, [((*TEMPLATE, "metadata", "annotations", "a"), True)], {}),
    ("trainjob-old-shape", TRAINJOB, [(("spec", "podSpecOverrides"), [{"targetJobs": [{"name": "node"}], "nodeSelector": {"a": "b"}}])], {}),
    ("trainjob-mixed-shapes", TRAINJOB, [(("spec", "podSpecOverrides"), []), (("spec", "podTemplateOverrides"), [])], {}),
    ("trainjob-processes", TRAINJOB, [(("spec", "trainer", "numProcPerNode"), "auto")], {}),
    ("trainjob-labels", TRAINJOB, [(("spec", "labels"), {"a": "b"})], {}),
    ("trainjob-targets", TRAINJOB, [(("spec", "podTemplateOverrides"), [{"targetJobs": ["node"]}])], {}),
    (
        "trainjob-env",
        TRAINJOB,
        [
            (
                ("spec", "podTemplateOverrides"),
                [{"targetJobs": [{"name": "node"}], "spec": {"containers": [{"name": "node", "env": [{"name": "A", "value": "b"}]}]}}],
            )
        ],
        {},
    ),
    ("trainjob-pet-env", TRAINJOB, [(("spec", "trainer", "env"), [{"name": "PET_NNODES", "value": "2"}])], {}),
    ("trainjob-no-trainer", TRAINJOB, [(("spec", "trainer"), REMOVE)], {}),
    ("trainjob-unknown-target", TRAINJOB, [(("spec", "podTemplateOverrides"), [{"targetJobs": [{"name": "worker"}]}])], {"beside": [RUNTIME]}),
    ("trainjob-runtime", TRAINJOB, [(("spec", "runtimeRef", "name"), "torch")], {"snapshot": picture()}),
    ("trainjob-manager", TRAINJOB, [(("spec", "runtimePatches"), [{"manager": "me"}])], {}),
    ("pytorchjob-container", HEALTHY, [((*MAIN, "name"), "main")], {}),
    ("pytorchjob-masters", HEALTHY, [((*MASTER, "replicas"), 3)], {}),
    ("pytorchjob-role", HEALTHY, [(("spec", "pytorchReplicaSpecs", "Chief"), {})], {}),
    ("pytorchjob-elastic", HEALTHY, [(("spec", "elasticPolicy"), {"nProcPerNode": 2}), (("spec", "nprocPerNode"), "2")], {}),
    ("pytorchjob-nproc", HEALTHY, [(("spec", "nprocPerNode"), 8)], {}),
    ("pytorchjob-clean-pods", HEALTHY, [(("spec", "runPolicy"), {"cleanPodPolicy": "All"})], {}),
    ("gang-scheduler", HEALTHY, [((*TEMPLATE, "spec", "schedulerName"), "volcano")], {}),
    ("jobset-restarts", RUNTIME, [], {}),
    ("resource-name", HEALTHY, [((*MAIN, "resources"), {"limits": {"nvidia.com/gpus": 8}})], {}),
    ("gpu-request", HEALTHY, [((*MAIN, "resources", "requests", "nvidia.com/gpu"), 4)], {}),
    ("gpu-count", HEALTHY, [(TYPE, "g6e.12xlarge")], {}),
    ("efa-count", HEALTHY, [(EFA, 33), (TYPE, "p5.48xlarge")], {}),
    ("efa-few", HEALTHY, [(EFA, 4), (TYPE, "p5.48xlarge")], {}),
    ("efa-none", HEALTHY, [(TYPE, "p5.48xlarge")], {}),
    ("efa-zones", HEALTHY, [(EFA, 4), ((*TEMPLATE, "spec", "nodeSelector"), REMOVE)], {}),
    ("gpu-toleration", HEALTHY, [((*TEMPLATE, "spec", "tolerations"), REMOVE)], {}),
    (
        "pool-toleration",
        HEALTHY,
        [((*SELECTOR, "karpenter.sh/nodepool"), "gpu")],
        {"beside": [POOL.replace("requirements: []", "requirements: [], taints: [{key: team, value: a, effect: NoSchedule}]")]},
    ),
    ("do-not-disrupt", HEALTHY, [((*TEMPLATE, "metadata"), REMOVE)], {}),
    ("not-guaranteed", HEALTHY, [((*MAIN, "resources", "requests", "memory"), "32Gi")], {}),
    ("shm-missing", HEALTHY, [((*MAIN, "volumeMounts"), REMOVE), ((*TEMPLATE, "spec", "volumes"), REMOVE)], {}),
    ("shm-on-disk", HEALTHY, [((*TEMPLATE, "spec", "volumes", 0, "emptyDir", "medium"), REMOVE)], {}),
    ("shm-eats-memory", HEALTHY, [((*TEMPLATE, "spec", "volumes", 0, "emptyDir", "sizeLimit"), "60Gi")], {}),
    ("nccl-unknown", HEALTHY, [((*MAIN, "env"), [{"name": "NCCL_DEBUGG", "value": "INFO"}])], {}),
    ("nccl-renamed", HEALTHY, [((*MAIN, "env"), [{"name": "NCCL_BLOCKING_WAIT", "value": "1"}])], {}),
    ("nccl-no-effect", HEALTHY, [((*MAIN, "env"), [{"name": "NCCL_TREE_THRESHOLD", "value": "0"}])], {}),
    ("nccl-value", HEALTHY, [((*MAIN, "env"), [{"name": "NCCL_ALGO", "value": "Treee"}])], {}),
    ("secret-in-clear", HEALTHY, [((*MAIN, "env"), [{"name": "WANDB_API_KEY", "value": "sesame"}])], {}),
    ("secret-object", "{apiVersion: v1, kind: Secret, metadata: {name: s}, data: {a: YQ==}}", [], {}),
    ("shell-continuation", HEALTHY, [((*MAIN, "args"), ["torchrun \\ # all\n  train.py"])], {}),
    ("git-clone", HEALTHY, [((*MAIN, "command"), ["git clone https://github.com /code"])], {}),
    ("flavor-node-labels", FLAVOR, [(("spec",), {"nodeSelector": {"a": "b"}})], {}),
    ("flavor-matches-nothing", FLAVOR, [], {"beside": [POOL]}),
    ("queue-flavors", QUEUE, [(("spec", "resourceGroups", 0), {"flavors": ["a", "b"], "resources": {"nvidia.com/gpu": 8}})], {}),
    ("queue-covered-resources", QUEUE, [(("spec", "resourceGroups", 0, "coveredResources"), ["cpu"])], {}),
    ("queue-namespace-selector", QUEUE, [(("spec", "namespaceSelector"), REMOVE)], {}),
    ("queue-cohort", QUEUE, [(("spec", "cohort"), "all")], {}),
    ("queue-unknown-flavor", QUEUE, [], {"complete": frozenset({"ResourceFlavor"})}),
    ("queue-unknown-cluster-queue", LOCAL, [], {"snapshot": picture()}),
    ("job-unknown-queue", HEALTHY, [QUEUED], {"snapshot": picture()}),
    ("queue-label", HEALTHY, [((*TEMPLATE, "metadata", "labels"), {"kueue.x-k8s.io/queue-name": "q"})], {}),
    ("queue-quota", HEALTHY, [QUEUED], {"beside": [QUEUE, LOCAL]}),
    (
        "nodepool-cpu-limit",
        POOL,
        [
            (("spec", "limits"), {"cpu": "1000"}),
            (("spec", "template", "spec", "requirements"), [{"key": "karpenter.k8s.aws/instance-category", "operator": "In", "values": ["p"]}]),
        ],
        {},
    ),
    ("nodepool-expire-after", POOL, [(("spec", "disruption"), {"expireAfter": "720h"})], {}),
    ("nodepool-consolidation", POOL, [(("spec", "disruption"), {"consolidationPolicy": "WhenUnderutilized"})], {}),
    (
        "nodepool-class-ref",
        POOL,
        [(("spec", "template", "spec", "nodeClassRef"), {"apiVersion": "karpenter.k8s.aws/v1beta1", "kind": "EC2NodeClass", "name": "gpu"})],
        {},
    ),
    ("nodepool-unknown-class", POOL, [], {"complete": frozenset({"EC2NodeClass"})}),
    ("job-unknown-nodepool", HEALTHY, [((*SELECTOR, "karpenter.sh/nodepool"), "gpus")], {"snapshot": picture(nodepools=[pool()])}),
    ("no-room", HEALTHY, [], {"snapshot": picture(nodes=[node("n1")])}),
    ("pvc-storage-class", CLAIM, [(("spec", "volumeName"), "v")], {}),
    ("fsx-attributes", VOLUME, [], {}),
    ("fsx-flock", VOLUME, [], {}),
    (
        "pvc-access-mode",
        CLAIM,
        [],
        {"beside": [HEALTHY.replace("[{name: dshm, empty", "[{name: c, persistentVolumeClaim: {claimName: c}}, {name: dshm, empty")]},
    ),
    (
        "job-unknown-claim",
        HEALTHY,
        [((*TEMPLATE, "spec", "volumes", 0), {"name": "dshm", "persistentVolumeClaim": {"claimName": "c"}})],
        {"complete": frozenset({"PersistentVolumeClaim"})},
    ),
    ("dcgm-renamed", "{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: DCGM_FI_DEV_CLOCK_THROTTLE_REASONS}}", [], {}),
    ("alloy-cri", '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: \'loki.source.file "a" {} loki.process "b" {}\'}}', [], {}),
    ("npd-not-repaired", '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: \'"GPUProblem" "permanent"\'}}', [], {}),
]
VERSIONED = frozenset({"kueue-version"})
"""Rules that only speak where a cluster serves something newer; the journey shows them."""


LINT = load("lint")
FILES = Path(__file__).parent / "lint_files"
TOKEN = "hf_AbCdEfGhIjKlMnOpQrStUvWxYz012345"


def lint(snapshot: Snapshot | None = None, clients: Clients | None = None, **given: Any) -> tuple[list[Mapping[str, Any]], CockpitError | None]:
    """The records of a call, and how it ended."""
    assert LINT.records is not None
    found: list[Mapping[str, Any]] = []
    try:
        for one in LINT.records(clients or Clients(), snapshot or Snapshot(), parse(LINT.params, given), threading.Event()):
            found.append(one)
    except CockpitError as error:
        return found, error
    return found, None


def linted(folder: Path, text: str, **given: Any) -> tuple[list[Mapping[str, Any]], CockpitError | None]:
    path = folder / "job.yaml"
    path.write_text(text)
    return lint(file=str(path), **given)
