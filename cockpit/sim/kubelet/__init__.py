"""The kubelet of the practice cluster: pods are real processes of this machine."""

from cockpit.sim.kubelet.agent import Kubelet, MetricsPort

__all__ = ["Kubelet", "MetricsPort"]
