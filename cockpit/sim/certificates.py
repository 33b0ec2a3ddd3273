"""A certificate authority and a server certificate, made once and kept in the state directory."""

from __future__ import annotations

import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cockpit.sim.state import State

DAYS = 3650
RENEW_DAYS = 30


def tls_context(state: State) -> ssl.SSLContext:
    """The server's TLS context; makes the certificates when they are missing or about to end."""
    if not _usable(state.folder / "server.crt"):
        _make(state)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(state.folder / "server.crt", state.folder / "server.key")
    return context


def _usable(path: Path) -> bool:
    """Whether a certificate is there and was made recently enough, judged by the file's age so that nothing need be parsed."""
    if not path.exists() or not path.with_name("ca.crt").exists():
        return False
    made = datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return datetime.now(UTC) - made < timedelta(days=DAYS - RENEW_DAYS)


def _make(state: State) -> None:
    import ipaddress

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives.asymmetric import ec
    from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
    from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

    def name(text: str) -> x509.Name:
        return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])

    def builder(subject: str, public_key: ec.EllipticCurvePublicKey, is_ca: bool) -> x509.CertificateBuilder:
        start = datetime.now(UTC) - timedelta(hours=1)
        made = x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name("practice-ca")).public_key(public_key)
        made = made.serial_number(x509.random_serial_number()).not_valid_before(start).not_valid_after(start + timedelta(days=DAYS))
        return made.add_extension(x509.BasicConstraints(ca=is_ca, path_length=None), critical=True)

    def pem(key: ec.EllipticCurvePrivateKey) -> str:
        return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()

    ca_key, server_key = ec.generate_private_key(ec.SECP256R1()), ec.generate_private_key(ec.SECP256R1())
    usage = x509.KeyUsage(True, False, False, False, False, True, True, False, False)
    ca = builder("practice-ca", ca_key.public_key(), True).add_extension(usage, critical=True)
    ca = ca.add_extension(x509.SubjectKeyIdentifier.from_public_key(ca_key.public_key()), critical=False)
    names = [x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost"), x509.DNSName("kubernetes.default.svc")]
    server = builder("practice-apiserver", server_key.public_key(), False)
    server = server.add_extension(x509.SubjectAlternativeName(names), critical=False)
    server = server.add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
    server = server.add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False)
    state.write_private(state.folder / "ca.key", pem(ca_key))
    state.write_private(state.folder / "server.key", pem(server_key))
    state.write_private(state.folder / "ca.crt", ca.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())
    state.write_private(state.folder / "server.crt", server.sign(ca_key, hashes.SHA256()).public_bytes(Encoding.PEM).decode())
