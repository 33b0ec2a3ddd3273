"""Faults on command: a Fault object in the cluster makes real trouble, and its end heals it."""

from cockpit.sim.faults.following import Faults
from cockpit.sim.faults.queries import RESOURCE, EfaFault, GpuFault, capacity_blocked, efa_faults, gpu_faults, node_down

__all__ = ["RESOURCE", "EfaFault", "Faults", "GpuFault", "capacity_blocked", "efa_faults", "gpu_faults", "node_down"]
