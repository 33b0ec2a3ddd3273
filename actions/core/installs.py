"""The programs of this machine that our actions run, and how each is installed."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Program:
    """A program: how it tells its version, which actions need it, whether the cockpit is less without it, and the line that installs it."""

    name: str
    version: tuple[str, ...]
    actions: tuple[str, ...]
    install: str
    needed: bool = False


BIN = "/usr/local/bin"
PROGRAMS = (
    Program("kubectl", ("version", "--client", "-o", "yaml"), ("debug",),
            f"curl -LO https://dl.k8s.io/release/v1.34.0/bin/linux/amd64/kubectl && sudo install kubectl {BIN}/"),
    Program("aws", ("--version",), ("provision", "credentials of EKS kubeconfigs"),
            "curl -o awscliv2.zip https://awscli.amazonaws.com/awscli-exe-linux-x86_64.zip && unzip -q awscliv2.zip && sudo ./aws/install"),
    Program("eksctl", ("version",), ("provision --target cluster",),
            f"curl -sL https://github.com/eksctl-io/eksctl/releases/latest/download/eksctl_Linux_amd64.tar.gz | sudo tar -xz -C {BIN}"),
    Program("helm", ("version", "--short"), ("provision --target addons",),
            "curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash"),
    Program("terraform", ("version",), ("provision --target vpc",),
            "sudo yum install -y yum-utils && sudo yum-config-manager --add-repo https://rpm.releases.hashicorp.com/AmazonLinux/hashicorp.repo"
            " && sudo yum install -y terraform"),
    Program("docker", ("--version",), ("image",), "sudo yum install -y docker && sudo systemctl enable --now docker"),
    Program("session-manager-plugin", ("--version",), ("shells on EC2 by SSM",),
            "sudo yum install -y https://s3.amazonaws.com/session-manager-downloads/plugin/latest/linux_64bit/session-manager-plugin.rpm"),
)  # fmt: skip

MODULES = {
    "torch": ("training on the practice cluster", "pip install torch --index-url https://download.pytorch.org/whl/cpu"),
    "prometheus_client": ("metrics of ranks on the practice cluster", "pip install prometheus-client"),
    "deepspeed": ("launch --strategy deepspeed on the practice cluster", "pip install deepspeed"),
    "transformers": ("Hugging Face models on the practice cluster", "pip install transformers"),
}
"""Python packages that pods of the practice cluster find, since they run on this machine: what needs each, and the line that installs it."""
