"""The exporters of the practice cluster: DCGM, EFA and Karpenter metrics as text, driven by what ranks really do."""

from cockpit.sim.exporters.texts import Exporters

__all__ = ["Exporters"]
