"""Whom we trust and how we show who we are: the TLS context of an endpoint, without key material on disk."""

from __future__ import annotations

import os
import ssl
from pathlib import Path

from cockpit.clients.credentials import Certificate
from cockpit.clients.kubeconfig import Endpoint
from cockpit.errors import BadKubeconfig


def tls_context(endpoint: Endpoint, certificate: Certificate | None) -> ssl.SSLContext:
    """Trusts the endpoint's authority, or the system's, and shows the client certificate; BadKubeconfig when a PEM is none."""
    try:
        context = ssl.create_default_context(cadata=endpoint.ca_pem) if endpoint.ca_pem else ssl.create_default_context()
    except ssl.SSLError:
        raise BadKubeconfig("the certificate-authority is not a PEM certificate", "write the kubeconfig anew") from None
    context.verify_flags &= ~getattr(ssl, "VERIFY_X509_STRICT", 0)
    if endpoint.insecure:
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    if certificate:
        _load_certificate(context, certificate)
    return context


def _load_certificate(context: ssl.SSLContext, certificate: Certificate) -> None:
    """OpenSSL reads a key from a file only: it gets an anonymous one in memory, or a private one that is removed at once."""
    text = "\n".join(certificate).encode()
    try:
        if hasattr(os, "memfd_create"):
            with os.fdopen(os.memfd_create("client-certificate"), "wb") as file:
                file.write(text)
                file.flush()
                context.load_cert_chain(f"/proc/self/fd/{file.fileno()}")
            return
        import tempfile

        with tempfile.TemporaryDirectory() as folder:
            path = Path(folder) / "client.pem"
            path.touch(mode=0o600)
            path.write_bytes(text)
            context.load_cert_chain(path)
    except ssl.SSLError:
        raise BadKubeconfig("the client certificate and key do not load", "they must be a matching PEM pair without a pass phrase") from None
