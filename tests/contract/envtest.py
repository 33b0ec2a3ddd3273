"""An etcd and a kube-apiserver of our own, from the folder that KUBEBUILDER_ASSETS names, as controller-runtime's envtest starts them."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from cockpit.clients.kube import Kube
from cockpit.errors import CockpitError
from tests.servers import until

TOKEN = "contract-admin"
START_SECONDS = 120.0


def free_port() -> int:
    """A port nobody listens on now."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        port: int = sock.getsockname()[1]
        return port


class ApiServer:
    """The two processes and the kubeconfig that leads to them."""

    def __init__(self, assets: Path, folder: Path) -> None:
        self._assets, self._folder = assets, folder
        self._processes: list[subprocess.Popen[bytes]] = []
        self.kubeconfig = folder / "kubeconfig"

    def __enter__(self) -> ApiServer:
        client, peer, port = (free_port() for _ in range(3))
        try:
            self._start("etcd", *_etcd(self._folder / "etcd", client, peer))
            self._write_keys()
            self._start("kube-apiserver", *self._api_server(client, port))
            self._write_kubeconfig(port)
            until(self._ready, START_SECONDS)
        except BaseException:
            self.__exit__()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        for process in reversed(self._processes):
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(20)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()

    def _start(self, name: str, *arguments: str) -> None:
        with open(self._folder / f"{name}.log", "wb") as log:
            self._processes.append(subprocess.Popen([str(self._assets / name), *arguments], stdout=log, stderr=log, stdin=subprocess.DEVNULL))

    def _write_keys(self) -> None:
        key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        pem = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.TraditionalOpenSSL, serialization.NoEncryption())
        for name, body in (("accounts.key", pem), ("tokens.csv", f"{TOKEN},admin,admin,system:masters\n".encode())):
            with os.fdopen(os.open(self._folder / name, os.O_WRONLY | os.O_CREAT, 0o600), "wb") as file:
                file.write(body)

    def _api_server(self, etcd_port: int, port: int) -> list[str]:
        folder = self._folder
        return [
            f"--etcd-servers=http://127.0.0.1:{etcd_port}",
            f"--cert-dir={folder / 'certificates'}",
            "--bind-address=127.0.0.1",
            f"--secure-port={port}",
            f"--token-auth-file={folder / 'tokens.csv'}",
            "--authorization-mode=RBAC",
            "--service-cluster-ip-range=10.0.0.0/24",
            "--service-account-issuer=https://kubernetes.default.svc.cluster.local",
            f"--service-account-key-file={folder / 'accounts.key'}",
            f"--service-account-signing-key-file={folder / 'accounts.key'}",
            "--disable-admission-plugins=ServiceAccount",
        ]

    def _write_kubeconfig(self, port: int) -> None:
        body: dict[str, Any] = {
            "current-context": "envtest",
            "contexts": [{"name": "envtest", "context": {"cluster": "envtest", "user": "admin"}}],
            "clusters": [{"name": "envtest", "cluster": {"server": f"https://127.0.0.1:{port}", "insecure-skip-tls-verify": True}}],
            "users": [{"name": "admin", "user": {"token": TOKEN}}],
        }
        self.kubeconfig.write_text(json.dumps(body))
        self.kubeconfig.chmod(0o600)

    def _ready(self) -> bool:
        dead = [process.args for process in self._processes if process.poll() is not None]
        assert not dead, f"{dead} ended; its log is in {self._folder}"
        try:
            kube = Kube.connect(kubeconfig=str(self.kubeconfig))
            kube.read("/readyz")
            kube.request("GET", "/api/v1/namespaces/default")
        except CockpitError:
            return False
        return True


def _etcd(data: Path, client: int, peer: int) -> list[str]:
    own, others = f"http://127.0.0.1:{client}", f"http://127.0.0.1:{peer}"
    return [
        f"--data-dir={data}",
        f"--listen-client-urls={own}",
        f"--advertise-client-urls={own}",
        f"--listen-peer-urls={others}",
        f"--initial-advertise-peer-urls={others}",
        f"--initial-cluster=default={others}",
        "--unsafe-no-fsync",
    ]
