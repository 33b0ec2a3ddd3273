"""The controllers of the practice cluster, each behaving and speaking as the real one does."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cockpit.sim.controllers import pod_admission
from cockpit.sim.controllers.changes import Changes
from cockpit.sim.controllers.daemonsets import DaemonSets
from cockpit.sim.controllers.deployments import Deployments, ReplicaSets
from cockpit.sim.controllers.device_plugins import DevicePlugins
from cockpit.sim.controllers.housekeeping import DisruptionBudgets, Namespaces
from cockpit.sim.controllers.jobs import Jobs
from cockpit.sim.controllers.jobsets import JobSets
from cockpit.sim.controllers.karpenter_claims import NodeClaims
from cockpit.sim.controllers.karpenter_disruption import Disruption, Interruption
from cockpit.sim.controllers.karpenter_pools import NodeClasses, NodePools
from cockpit.sim.controllers.karpenter_provisioner import KarpenterProvisioner
from cockpit.sim.controllers.karpenter_state import KarpenterState
from cockpit.sim.controllers.karpenter_termination import NodeTermination
from cockpit.sim.controllers.kueue_scheduler import KueueScheduler
from cockpit.sim.controllers.kueue_visibility import Visibility
from cockpit.sim.controllers.kueue_workloads import KueueJobs
from cockpit.sim.controllers.node_lifecycle import NodeLifecycle
from cockpit.sim.controllers.options import Options
from cockpit.sim.controllers.pytorchjobs import PyTorchJobs
from cockpit.sim.controllers.reconcilers import Controller
from cockpit.sim.controllers.scheduler import Scheduler
from cockpit.sim.controllers.services import Services
from cockpit.sim.controllers.trainjobs import TrainJobs
from cockpit.sim.crds import install_crds

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

__all__ = ["Controller", "Options", "controllers"]

PLAIN = (Scheduler, NodeLifecycle, DevicePlugins, DaemonSets, Deployments, ReplicaSets, Services, Jobs, Namespaces, DisruptionBudgets)
OPERATORS = (PyTorchJobs, JobSets, TrainJobs, KueueJobs, KueueScheduler, NodePools, NodeClasses)
KARPENTER = (KarpenterProvisioner, NodeClaims, NodeTermination, Disruption, Interruption)


def controllers(cluster: Cluster, options: Options) -> list[Controller]:
    """Install the CRDs and admission hooks, and return every controller to run; for a static scenario only its changes."""
    install_crds(cluster, options.trainer)
    if options.static:
        return [Changes(cluster, options)]
    pod_admission.install(cluster)
    Visibility(cluster).install()
    state = KarpenterState(cluster, options.pace)
    alone: list[Controller] = [make(cluster, options) for make in (*PLAIN, *OPERATORS)]
    return [*alone, *(make(cluster, options, state) for make in KARPENTER)]
