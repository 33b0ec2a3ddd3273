"""What our actions need on this machine: its programs, and the packages that pods of the practice cluster find here."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program of cockpit/programs.py: how it tells its version, what needs it, and whether the cockpit is less without it."""

    name: str
    version: tuple[str, ...]
    actions: tuple[str, ...]
    needed: bool = False


PROGRAMS = (
    Program("kubectl", ("version", "--client", "-o", "yaml"), ("debug",)),
    Program("aws", ("--version",), ("provision", "credentials of EKS kubeconfigs")),
    Program("eksctl", ("version",), ("provision --target cluster",)),
    Program("helm", ("version", "--short"), ("provision --target addons",)),
    Program("terraform", ("version",), ("provision --target vpc",)),
    Program("docker", ("--version",), ("image",)),
    Program("session-manager-plugin", ("--version",), ("shells on EC2 by SSM",)),
)

MODULES = {
    "torch": ("training on the practice cluster", "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
    "prometheus_client": ("metrics of ranks on the practice cluster", "pip install prometheus-client"),
    "deepspeed": ("launch --strategy deepspeed on the practice cluster", "pip install deepspeed"),
    "transformers": ("Hugging Face models on the practice cluster", "pip install transformers"),
}
"""Python packages that pods of the practice cluster find, since they run on this machine: what needs each, and the line that installs it."""
