"""TLS and proxies: whom we trust, how we show who we are, and that neither tells our secrets."""

from __future__ import annotations

import base64
import ipaddress
import json
import ssl
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cockpit.clients.kube import Kube
from cockpit.errors import (
    BadKubeconfig,
    Forbidden,
    Unreachable,
)
from tests.servers import Request, kubeconfig, serving


def certificates(folder: Path, host: str = "127.0.0.1") -> dict[str, bytes]:
    """A self-signed authority, a server's and a client's certificate, in PEM."""
    now = datetime.now(UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    names = {who: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, who)]) for who in ("authority", "server", "client")}

    def sign(who: str, key: Any) -> Any:
        builder = x509.CertificateBuilder(names["authority"], names[who], key.public_key(), x509.random_serial_number())
        builder = builder.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
        builder = builder.add_extension(x509.BasicConstraints(ca=who == "authority", path_length=None), critical=True)
        if who == "server":
            name = x509.IPAddress(ipaddress.ip_address(host)) if host[0].isdigit() else x509.DNSName(host)
            builder = builder.add_extension(x509.SubjectAlternativeName([name]), critical=False)
        return builder.sign(authority_key, hashes.SHA256())

    found: dict[str, bytes] = {}
    for who in ("authority", "server", "client"):
        key = authority_key if who == "authority" else ec.generate_private_key(ec.SECP256R1())
        found[who] = sign(who, key).public_bytes(serialization.Encoding.PEM)
        found[f"{who}-key"] = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        for name in (who, f"{who}-key"):
            (folder / f"{name}.pem").write_bytes(found[name])
    return found


def server_tls(folder: Path, ask_client: bool = False) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "server.pem", folder / "server-key.pem")
    if ask_client:
        context.load_verify_locations(folder / "authority.pem")
        context.verify_mode = ssl.CERT_REQUIRED
    return context


def data(pem: bytes) -> str:
    return base64.b64encode(pem).decode()


def test_a_self_signed_authority_is_trusted_only_when_named(tmp_path: Path) -> None:
    pems = certificates(tmp_path)
    with serving(lambda request: request.json({}), server_tls(tmp_path)) as server:
        trusted = kubeconfig(tmp_path, server.url, cluster={"certificate-authority-data": data(pems["authority"])})
        assert Kube.connect(kubeconfig=trusted).version() == {}
        with pytest.raises(Unreachable, match=r"TLS with .* failed") as caught:
            Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url)).version()
        assert "certificate-authority" in caught.value.hint
        assert Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster={"insecure-skip-tls-verify": True})).version() == {}


def test_the_server_name_is_checked_and_can_be_set(tmp_path: Path) -> None:
    pems = certificates(tmp_path, "api.internal")
    authority = {"certificate-authority-data": data(pems["authority"])}
    with serving(lambda request: request.json({}), server_tls(tmp_path)) as server:
        with pytest.raises(Unreachable, match="TLS"):
            Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster=authority)).version()
        named = kubeconfig(tmp_path, server.url, cluster=authority | {"tls-server-name": "api.internal"})
        assert Kube.connect(kubeconfig=named).version() == {}


@pytest.mark.parametrize("how", ["data", "files", "plugin"])
def test_a_client_certificate_is_shown(tmp_path: Path, how: str) -> None:
    pems = certificates(tmp_path)
    user: dict[str, Any] = {"client-certificate": "client.pem", "client-key": "client-key.pem"}
    if how == "data":
        user = {"client-certificate-data": data(pems["client"]), "client-key-data": data(pems["client-key"])}
    if how == "plugin":
        status = {"clientCertificateData": pems["client"].decode(), "clientKeyData": pems["client-key"].decode()}
        (tmp_path / "said").write_text(json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "status": status}))
        user = {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": "cat", "args": [str(tmp_path / "said")]}}
    with serving(lambda request: request.json({}), server_tls(tmp_path, ask_client=True)) as server:
        cluster = {"certificate-authority": "authority.pem"}
        assert Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, user, cluster)).version() == {}
        with pytest.raises(Unreachable):
            Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, None, cluster)).version()


def test_a_key_that_does_not_fit_is_a_bad_kubeconfig(tmp_path: Path) -> None:
    pems = certificates(tmp_path)
    user = {"client-certificate-data": data(pems["client"]), "client-key-data": data(pems["server-key"])}
    with pytest.raises(BadKubeconfig, match="do not load"):
        Kube.connect(kubeconfig=kubeconfig(tmp_path, "https://127.0.0.1:1", user)).version()


def test_a_silent_tls_stream_ends_when_stopped(tmp_path: Path) -> None:
    certificates(tmp_path)
    stop = threading.Event()

    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            server.closing.wait(20)

    with serving(answer, server_tls(tmp_path)) as server:
        kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster={"certificate-authority": "authority.pem"}))
        lines = kube.lines("/w", stop=stop)
        assert next(lines) == b"one"
        reader = threading.Thread(target=lambda: list(lines), daemon=True)
        reader.start()
        stop.set()
        reader.join(5)
        assert not reader.is_alive()


def test_a_proxy_is_used_when_named_but_not_for_this_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with serving(lambda request: request.json({"via": "proxy"})) as proxy, serving(lambda request: request.json({"via": "direct"})) as server:
        monkeypatch.setenv("http_proxy", proxy.url)
        assert Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url)).version() == {"via": "direct"}
        assert Kube.connect(kubeconfig=kubeconfig(tmp_path, "http://api.example")).version() == {"via": "proxy"}
        assert Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster={"proxy-url": proxy.url})).version() == {"via": "proxy"}
        with pytest.raises(BadKubeconfig) as caught:
            Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster={"proxy-url": "socks5://u:pw@h:1"})).version()
        assert "pw" not in caught.value.message


@pytest.mark.parametrize("secured", [False, True], ids=["http proxy", "https proxy"])
def test_a_proxy_is_a_tunnel_for_tls(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, secured: bool) -> None:
    certificates(tmp_path)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    with serving(lambda request: request.json({"via": "tunnel"}), server_tls(tmp_path)) as server:
        with serving(lambda request: request.tunnel(server.port), server_tls(tmp_path) if secured else None) as proxy:
            cluster = {"certificate-authority": "authority.pem", "proxy-url": proxy.url.replace("://", "://who:s3cret@")}
            kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, cluster=cluster))
            assert kube.version() == kube.version() == {"via": "tunnel"}
            assert list(kube.lines("/w", stop=threading.Event()))
            kube.close()
        assert {request.method for request in proxy.requests} == {"CONNECT"}
        assert proxy.requests[0].headers["Proxy-Authorization"] == "Basic " + base64.b64encode(b"who:s3cret").decode()
        assert all("Proxy-Authorization" not in request.headers for request in server.requests)


def test_no_error_and_no_log_holds_the_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(lambda request: request.bytes(b"denied", 403)) as server:
        kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, {"token": "s3cret-token"}))
        with pytest.raises(Forbidden) as caught:
            kube.version()
        assert server.requests[0].headers["Authorization"] == "Bearer s3cret-token"
        assert "s3cret" not in str(server.requests[0].query)
    assert "s3cret" not in caplog.text + repr(caught.value) + caught.value.hint
