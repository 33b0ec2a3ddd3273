"""Which API to speak to, and as whom: kubeconfig files merged as kubectl does, or the pod's own service account.

The official `kubernetes` package is imported only for the retired auth-provider stanzas (oidc, gcp), which it knows how to refresh.
"""

from __future__ import annotations

import base64
import binascii
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from cockpit.clients.credentials import Certificate, Credentials, ExecCredentials, TokenFile, plugin_of
from cockpit.errors import BadKubeconfig, NoKubeconfig, NotAuthorised

SERVICE_ACCOUNT = Path("/var/run/secrets/kubernetes.io/serviceaccount")
SIM_HINT = "no cluster at hand? `cockpit --sim` starts the practice cluster"

_Loader: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


@dataclass(frozen=True)
class Endpoint:
    """An API server and everything needed to speak to it; `ca_pem` None means the system's authorities."""

    context: str
    cluster: str
    server: str
    namespace: str = "default"
    user: str = ""
    ca_pem: str | None = None
    insecure: bool = False
    tls_server_name: str = ""
    proxy_url: str = ""
    impersonate: tuple[tuple[str, str], ...] = ()
    credentials: Credentials = field(default_factory=Credentials, repr=False)


@dataclass(frozen=True)
class Stanza:
    """A cluster, user or context and the folder of the file it stands in."""

    body: Mapping[str, Any] = field(repr=False)
    folder: Path
    file: Path


@dataclass
class Merged:
    """All kubeconfig files as one: the first stanza of a name wins, and the first current-context."""

    current: str = ""
    contexts: dict[str, Stanza] = field(default_factory=dict)
    clusters: dict[str, Stanza] = field(default_factory=dict)
    users: dict[str, Stanza] = field(default_factory=dict)
    read: list[Path] = field(default_factory=list)
    tried: list[Path] = field(default_factory=list)


def endpoint(kubeconfig: str | None = None, context: str | None = None, namespace: str | None = None) -> Endpoint:
    """The endpoint kubectl would use; NoKubeconfig when there is none, BadKubeconfig when it cannot be used. Makes no request."""
    merged = _merge(_paths(kubeconfig), explicit=kubeconfig is not None)
    if not merged.contexts:
        if kubeconfig is None and _in_cluster():
            return _from_service_account(namespace)
        raise _nothing(merged)
    name = context or merged.current
    if not name:
        raise BadKubeconfig(f"no current-context in {merged.read[0]}", f"choose one with --context: {', '.join(sorted(merged.contexts)[:8])}")
    if name not in merged.contexts:
        import difflib

        near = difflib.get_close_matches(name, merged.contexts, 1)
        known = f"did you mean {near[0]}?" if near else f"known contexts: {', '.join(sorted(merged.contexts)[:8])}"
        raise BadKubeconfig(f"there is no context {name!r} in {', '.join(map(str, merged.read))}", known)
    return _endpoint(merged, name, namespace)


def contexts(kubeconfig: str | None = None) -> list[str]:
    """The names of all contexts, sorted; empty when there is no kubeconfig."""
    return sorted(_merge(_paths(kubeconfig), explicit=False).contexts)


def _paths(kubeconfig: str | None) -> list[Path]:
    if kubeconfig is not None:
        return [Path(kubeconfig).expanduser()]
    listed = [Path(part) for part in os.environ.get("KUBECONFIG", "").split(os.pathsep) if part]
    return listed or [Path.home() / ".kube" / "config"]


def _merge(paths: list[Path], explicit: bool) -> Merged:
    merged = Merged(tried=paths)
    for path in paths:
        if path.is_file():
            _add(merged, path, _load(path))
        elif explicit:
            raise NoKubeconfig(f"there is no kubeconfig at {path}", SIM_HINT)
    return merged


def _load(path: Path) -> Mapping[str, Any]:
    try:
        loaded = yaml.load(path.read_text(encoding="utf-8"), Loader=_Loader)
    except OSError as problem:
        raise BadKubeconfig(f"cannot read {path}: {problem.strerror}", "check the file's owner and mode") from None
    except UnicodeDecodeError:
        raise BadKubeconfig(f"{path} is not UTF-8 text", "it should be a kubeconfig in YAML") from None
    except yaml.YAMLError as problem:
        mark = getattr(problem, "problem_mark", None)
        where = f"{path}, line {mark.line + 1}" if mark else str(path)
        raise BadKubeconfig(f"{where}: {getattr(problem, 'problem', None) or 'not YAML'}", "mend that line") from None
    if loaded is None:
        return {}
    if not isinstance(loaded, dict):
        raise BadKubeconfig(f"{path} holds no kubeconfig (a mapping with clusters, users and contexts)", SIM_HINT)
    return loaded


def _add(merged: Merged, path: Path, loaded: Mapping[str, Any]) -> None:
    merged.read.append(path)
    merged.current = merged.current or str(loaded.get("current-context") or "")
    folder = path.absolute().parent
    for plural, into in (("contexts", merged.contexts), ("clusters", merged.clusters), ("users", merged.users)):
        singular = plural[:-1]
        entries = loaded.get(plural) or []
        if not isinstance(entries, list):
            raise BadKubeconfig(f"{path}: {plural} is not a list", f"write {plural} as a list of name and {singular}")
        for entry in entries:
            if not isinstance(entry, dict) or not entry.get("name"):
                raise BadKubeconfig(f"{path}: an entry of {plural} has no name", f"each entry is `name:` and `{singular}:`")
            body = entry.get(singular)
            into.setdefault(str(entry["name"]), Stanza(body if isinstance(body, dict) else {}, folder, path))


def _nothing(merged: Merged) -> NoKubeconfig:
    tried = ", ".join(map(str, merged.tried))
    state = "has no contexts" if merged.read else "is not there"
    return NoKubeconfig(f"no kubeconfig: {tried} {state}, and this is not a pod with a service account", SIM_HINT)


def _endpoint(merged: Merged, name: str, namespace: str | None) -> Endpoint:
    chosen = merged.contexts[name]
    cluster_name, user_name = str(chosen.body.get("cluster") or ""), str(chosen.body.get("user") or "")
    cluster = merged.clusters.get(cluster_name)
    if cluster is None:
        raise BadKubeconfig(f"context {name!r} in {chosen.file} names cluster {cluster_name!r}, which is nowhere defined", "add it under clusters")
    user = merged.users.get(user_name)
    if user is None and user_name:
        raise BadKubeconfig(f"context {name!r} in {chosen.file} names user {user_name!r}, which is nowhere defined", "add it under users")
    user = user or Stanza({}, chosen.folder, chosen.file)
    server = str(cluster.body.get("server") or "")
    if not server.startswith(("https://", "http://")):
        raise BadKubeconfig(f"cluster {cluster_name!r} in {cluster.file} has no http(s) server: {server!r}", "set clusters[].cluster.server")
    return Endpoint(
        context=name,
        cluster=_short(cluster_name),
        server=server.rstrip("/"),
        namespace=namespace or str(chosen.body.get("namespace") or "default"),
        user=user_name,
        ca_pem=_pem(cluster, "certificate-authority"),
        insecure=bool(cluster.body.get("insecure-skip-tls-verify")),
        tls_server_name=str(cluster.body.get("tls-server-name") or ""),
        proxy_url=str(cluster.body.get("proxy-url") or ""),
        impersonate=_impersonated(user.body),
        credentials=_credentials(user, cluster, name),
    )


def _short(cluster: str) -> str:
    """An EKS ARN is shown by the cluster's name."""
    return cluster.rsplit("cluster/", 1)[-1] if cluster.startswith("arn:aws") else cluster


def _pem(stanza: Stanza, field_name: str) -> str | None:
    """PEM text from FIELD-data (base64) or the file FIELD names, which may be relative to its kubeconfig."""
    data, path = stanza.body.get(f"{field_name}-data"), stanza.body.get(field_name)
    if data:
        try:
            return base64.b64decode(str(data), validate=False).decode("ascii")
        except (binascii.Error, UnicodeDecodeError):
            raise BadKubeconfig(f"{field_name}-data in {stanza.file} is not base64 of a PEM", "write the kubeconfig anew") from None
    if not path:
        return None
    file = stanza.folder / Path(str(path)).expanduser()
    try:
        return file.read_text(encoding="ascii")
    except (OSError, UnicodeDecodeError) as problem:
        raise BadKubeconfig(f"cannot read {field_name} {file}: {problem}", f"it is named in {stanza.file}") from None


def _impersonated(user: Mapping[str, Any]) -> tuple[tuple[str, str], ...]:
    if not user.get("as"):
        return ()
    headers = [("Impersonate-User", str(user["as"]))]
    if user.get("as-uid"):
        headers.append(("Impersonate-Uid", str(user["as-uid"])))
    headers += [("Impersonate-Group", str(group)) for group in user.get("as-groups") or ()]
    for key, values in (user.get("as-user-extra") or {}).items():
        headers += [(f"Impersonate-Extra-{key}", str(value)) for value in values or ()]
    return tuple(headers)


def _credentials(user: Stanza, cluster: Stanza, context: str) -> Credentials:
    """The user's credentials, in kubectl's order: token, tokenFile, basic, exec, auth-provider; certificates go with any."""
    certificate = _certificate(user)
    body = user.body
    if body.get("tokenFile"):
        return TokenFile(user.folder / Path(str(body["tokenFile"])).expanduser(), certificate)
    if body.get("token"):
        return Credentials({"Authorization": f"Bearer {body['token']}"}, certificate)
    if body.get("username"):
        pair = base64.b64encode(f"{body['username']}:{body.get('password') or ''}".encode()).decode()
        return Credentials({"Authorization": f"Basic {pair}"}, certificate)
    if isinstance(body.get("exec"), dict):
        return ExecCredentials(plugin_of(body["exec"], _cluster_info(cluster), user.folder))
    if isinstance(body.get("auth-provider"), dict):
        return AuthProvider(user, cluster, context)
    return Credentials({}, certificate)


def _certificate(user: Stanza) -> Certificate | None:
    certificate, key = _pem(user, "client-certificate"), _pem(user, "client-key")
    if bool(certificate) != bool(key):
        missing = "client-key" if certificate else "client-certificate"
        raise BadKubeconfig(f"the user in {user.file} has no {missing} to go with its other half", f"add {missing} or {missing}-data")
    return (certificate, key) if certificate and key else None


def _cluster_info(cluster: Stanza) -> Mapping[str, Any]:
    """What provideClusterInfo hands to a plugin."""
    told = ("server", "tls-server-name", "proxy-url", "insecure-skip-tls-verify")
    info: dict[str, Any] = {name: cluster.body[name] for name in told if cluster.body.get(name)}
    authority = _pem(cluster, "certificate-authority")
    if authority:
        info["certificate-authority-data"] = base64.b64encode(authority.encode()).decode()
    for extension in cluster.body.get("extensions") or ():
        if extension.get("name") == "client.authentication.k8s.io/exec":
            info["config"] = extension.get("extension")
    return info


class AuthProvider(Credentials):
    """The retired auth-provider stanza (oidc, gcp), through the official client, which refreshes its token."""

    def __init__(self, user: Stanza, cluster: Stanza, context: str) -> None:
        super().__init__()
        self._user, self._cluster, self._context = user, cluster, context

    def headers(self) -> dict[str, str]:
        if not self._headers:
            self._headers = {"Authorization": self._token()}
        return dict(self._headers)

    def refresh(self, used: Mapping[str, str]) -> bool:
        self._headers = {"Authorization": self._token()}
        return self._headers["Authorization"] != used.get("Authorization")

    def _token(self) -> str:
        provider = str(self._user.body["auth-provider"].get("name"))
        hint = f"use an exec plugin instead of the retired auth-provider {provider}"
        try:
            from kubernetes.config.kube_config import KubeConfigLoader  # type: ignore[import-untyped,unused-ignore]

            one = {"name": self._context}
            loader = KubeConfigLoader(
                config_dict={
                    "current-context": self._context,
                    "contexts": [one | {"context": {"cluster": self._context, "user": self._context}}],
                    "clusters": [one | {"cluster": dict(self._cluster.body)}],
                    "users": [one | {"user": dict(self._user.body)}],
                },
                config_base_path=str(self._user.folder),
            )
            token = loader._load_auth_provider_token()
        except Exception as problem:
            raise NotAuthorised(f"the auth-provider {provider} failed: {type(problem).__name__}", hint) from None
        if not token:
            raise NotAuthorised(f"the auth-provider {provider} gave no token", hint)
        return str(token)


def _in_cluster() -> bool:
    return bool(os.environ.get("KUBERNETES_SERVICE_HOST")) and (SERVICE_ACCOUNT / "token").is_file() and (SERVICE_ACCOUNT / "ca.crt").is_file()


def _from_service_account(namespace: str | None) -> Endpoint:
    host, port = os.environ["KUBERNETES_SERVICE_HOST"], os.environ.get("KUBERNETES_SERVICE_PORT", "443")
    own = SERVICE_ACCOUNT / "namespace"
    return Endpoint(
        context="in-cluster",
        cluster="in-cluster",
        server=f"https://[{host}]:{port}" if ":" in host else f"https://{host}:{port}",
        namespace=namespace or (own.read_text().strip() if own.is_file() else "default"),
        user="service account",
        ca_pem=(SERVICE_ACCOUNT / "ca.crt").read_text(),
        credentials=TokenFile(SERVICE_ACCOUNT / "token"),
    )
