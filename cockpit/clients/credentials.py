"""Who we are to the API: headers and client certificates, read anew when they expire, and never printed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cockpit.errors import BadKubeconfig, NotAuthorised

if TYPE_CHECKING:
    import subprocess

PLUGIN_TIMEOUT_SECONDS = 30.0
PLUGIN_VERSIONS = ("client.authentication.k8s.io/v1", "client.authentication.k8s.io/v1beta1")
TOKEN_FILE_SECONDS = 60.0

Certificate = tuple[str, str]


class Credentials:
    """Fixed headers and client certificate (PEM, PEM); the base of those that change."""

    def __init__(self, headers: Mapping[str, str] | None = None, certificate: Certificate | None = None) -> None:
        self._headers = dict(headers or {})
        self._certificate = certificate

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"

    def told(self) -> str:
        """What they are, in words: never what they hold."""
        return "a bearer token" if self._headers else "a client certificate" if self._certificate else "none"

    def headers(self) -> dict[str, str]:
        """The Authorization header, if there is one; may run a plugin. NotAuthorised when it fails."""
        return dict(self._headers)

    def certificate(self) -> Certificate | None:
        """Client certificate and key in PEM, if there are any; may run a plugin."""
        return self._certificate

    def refresh(self, used: Mapping[str, str]) -> bool:
        """After a 401 with the headers `used`: True when a second try may go better."""
        return False


class TokenFile(Credentials):
    """A bearer token in a file that others rotate; read again once a minute and after a 401."""

    def __init__(self, path: Path, certificate: Certificate | None = None) -> None:
        super().__init__(None, certificate)
        self._path = path
        self._read_at = 0.0

    def told(self) -> str:
        return f"a token in {self._path}"

    def headers(self) -> dict[str, str]:
        if not self._headers or time.monotonic() - self._read_at > TOKEN_FILE_SECONDS:
            self._read()
        return dict(self._headers)

    def refresh(self, used: Mapping[str, str]) -> bool:
        self._read()
        return self._headers.get("Authorization") != used.get("Authorization")

    def _read(self) -> None:
        try:
            token = self._path.read_text().strip()
        except (OSError, UnicodeDecodeError) as problem:
            raise NotAuthorised(f"cannot read the token file {self._path}: {problem}", "check tokenFile in the kubeconfig") from None
        self._headers = {"Authorization": f"Bearer {token}"}
        self._read_at = time.monotonic()


@dataclass(frozen=True)
class Plugin:
    """The `exec` stanza of a user; `folder` is that of its kubeconfig."""

    command: str
    arguments: tuple[str, ...] = ()
    environment: Mapping[str, str] = field(default_factory=dict, repr=False)
    api_version: str = PLUGIN_VERSIONS[0]
    interactive_mode: str = "IfAvailable"
    install_hint: str = ""
    cluster: Mapping[str, Any] | None = None
    folder: Path = Path(".")

    @property
    def program(self) -> str:
        """The command; one with a slash is relative to the kubeconfig, others are looked up in PATH."""
        return str(self.folder / self.command) if "/" in self.command else self.command


class ExecCredentials(Credentials):
    """What a credential plugin printed, kept until it expires or is refused."""

    def __init__(self, plugin: Plugin) -> None:
        super().__init__()
        self._plugin = plugin
        self._lock = threading.Lock()
        self._fresh_until: float | None = 0.0

    def told(self) -> str:
        left = "" if not self._fresh_until else f", good for {max(0.0, self._fresh_until - time.time()) / 60:.0f} more min"
        return f"a token of {self._plugin.program}{left}"

    def headers(self) -> dict[str, str]:
        self._ensure()
        return dict(self._headers)

    def certificate(self) -> Certificate | None:
        self._ensure()
        return self._certificate

    def refresh(self, used: Mapping[str, str]) -> bool:
        with self._lock:
            if self._headers.get("Authorization") == used.get("Authorization"):
                self._run()
        return True

    def _ensure(self) -> None:
        with self._lock:
            if self._fresh_until is not None and time.time() >= self._fresh_until:
                self._run()

    def _run(self) -> None:
        status = _status_of(self._plugin, _run_plugin(self._plugin))
        token, certificate, key = (status.get(name) or "" for name in ("token", "clientCertificateData", "clientKeyData"))
        if not token and not (certificate and key):
            raise NotAuthorised(f"{self._plugin.command} gave neither a token nor a client certificate", "run it by hand to see what it prints")
        self._headers = {"Authorization": f"Bearer {token}"} if token else {}
        self._certificate = (str(certificate), str(key)) if certificate and key else None
        self._fresh_until = _fresh_until(status.get("expirationTimestamp"))


def _fresh_until(expires: Any) -> float | None:
    """A little before the time it expires at; None when it never does."""
    if not expires:
        return None
    try:
        moment = datetime.fromisoformat(str(expires).replace("Z", "+00:00")).timestamp()
    except ValueError:
        return None
    return moment - min(30.0, max(0.0, (moment - time.time()) * 0.1))


def _run_plugin(plugin: Plugin) -> bytes:
    """Standard output of the plugin; it gets no terminal, and what it says on stderr becomes the error."""
    import subprocess

    info: dict[str, Any] = {"apiVersion": plugin.api_version, "kind": "ExecCredential", "spec": {"interactive": False}}
    if plugin.cluster is not None:
        info["spec"]["cluster"] = dict(plugin.cluster)
    environment = {**os.environ, **plugin.environment, "KUBERNETES_EXEC_INFO": json.dumps(info)}
    try:
        process = subprocess.Popen(
            [plugin.program, *plugin.arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment,
            start_new_session=True,
        )
    except OSError as problem:
        hint = plugin.install_hint or f"install {plugin.command} or put it on PATH"
        raise NotAuthorised(f"cannot run the credential plugin {plugin.command}: {problem.strerror}", hint) from None
    try:
        out, err = process.communicate(timeout=PLUGIN_TIMEOUT_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        raise NotAuthorised(f"{plugin.command} said nothing for {PLUGIN_TIMEOUT_SECONDS:.0f} s", _by_hand(plugin)) from None
    except BaseException:
        _kill(process)
        raise
    if process.returncode != 0:
        raise NotAuthorised(f"{plugin.command} failed: {_last_line(err) or f'exit {process.returncode}'}", _by_hand(plugin))
    return out


def _kill(process: subprocess.Popen[bytes]) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()


def _status_of(plugin: Plugin, out: bytes) -> Mapping[str, Any]:
    try:
        said = json.loads(out)
    except ValueError:
        raise NotAuthorised(f"{plugin.command} did not print an ExecCredential", _by_hand(plugin)) from None
    if not isinstance(said, dict) or said.get("apiVersion") != plugin.api_version or not isinstance(said.get("status"), dict):
        found = said.get("apiVersion") if isinstance(said, dict) else None
        raise NotAuthorised(f"{plugin.command} printed {str(found)[:80]} without a status; {plugin.api_version} is asked", _by_hand(plugin))
    status: Mapping[str, Any] = said["status"]
    return status


def _by_hand(plugin: Plugin) -> str:
    shown = " ".join([plugin.command, *plugin.arguments])[:200]
    return f"run it by hand: {shown}"


def _last_line(err: bytes) -> str:
    lines = [line for line in err.decode("utf-8", "replace").splitlines() if line.strip()]
    return "".join(char for char in lines[-1].strip()[:300] if char.isprintable()) if lines else ""


def plugin_of(stanza: Mapping[str, Any], cluster: Mapping[str, Any], folder: Path) -> Plugin:
    """The plugin a user's `exec` stanza describes; BadKubeconfig when it cannot be run by us."""
    version = str(stanza.get("apiVersion") or "")
    if version not in PLUGIN_VERSIONS:
        raise BadKubeconfig(
            f"the credential plugin speaks {version or 'no version'}; {' and '.join(PLUGIN_VERSIONS)} are known",
            "write the kubeconfig anew, for EKS: aws eks update-kubeconfig --name CLUSTER",
        )
    if not stanza.get("command"):
        raise BadKubeconfig("the exec stanza of the user names no command", "add exec.command")
    mode = str(stanza.get("interactiveMode") or "IfAvailable")
    if mode == "Always":
        raise NotAuthorised(f"{stanza['command']} wants a terminal (interactiveMode: Always)", "log in with it first, or set IfAvailable")
    return Plugin(
        command=str(stanza["command"]),
        arguments=tuple(str(one) for one in stanza.get("args") or ()),
        environment={str(one["name"]): str(one.get("value", "")) for one in stanza.get("env") or () if one.get("name")},
        api_version=version,
        interactive_mode=mode,
        install_hint=str(stanza.get("installHint") or "").strip(),
        cluster=cluster if stanza.get("provideClusterInfo") else None,
        folder=folder,
    )
