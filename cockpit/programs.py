"""The programs of this machine that the cockpit runs, and how each is installed."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

INSTALL: Mapping[str, str] = MappingProxyType(
    {
        "terraform": (
            "curl -fsSLo /tmp/tf.zip https://releases.hashicorp.com/terraform/1.14.0/terraform_1.14.0_linux_amd64.zip"
            " && unzip -o /tmp/tf.zip terraform -d ~/.local/bin"
        ),
        "eksctl": (
            "curl -fsSL https://github.com/eksctl-io/eksctl/releases/latest/download/eksctl_Linux_amd64.tar.gz | tar xz -C ~/.local/bin eksctl"
        ),
        "helm": "curl -fsSL https://raw.githubusercontent.com/helm/helm/main/scripts/get-helm-3 | bash",
        "kubectl": "curl -fsSLo ~/.local/bin/kubectl https://dl.k8s.io/release/v1.34.0/bin/linux/amd64/kubectl && chmod +x ~/.local/bin/kubectl",
        "docker": "curl -fsSL https://get.docker.com | sh",
        "aws": (
            "curl -fsSLo /tmp/aws.zip https://awscli.amazonaws.com/awscli-exe-linux-x86_64.zip"
            " && unzip -qo /tmp/aws.zip -d /tmp && /tmp/aws/install -i ~/.local/aws-cli -b ~/.local/bin"
        ),
        "session-manager-plugin": (
            "sudo yum install -y https://s3.amazonaws.com/session-manager-downloads/plugin/latest/linux_64bit/session-manager-plugin.rpm"
        ),
    }
)


def install_line(program: str) -> str:
    """The line that installs a program on Linux x86_64, or the plain advice for one that is not in the table."""
    return INSTALL.get(program, f"install {program} or put it on PATH")
