"""Credential plugins: what they are given, how long what they print holds, and what is said when they fail."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients import credentials as credentials_module
from cockpit.clients.kube import Kube
from cockpit.clients.kubeconfig import Endpoint, endpoint
from cockpit.errors import BadKubeconfig, CockpitError, NotAuthorised
from tests.servers import kubeconfig, serving


def of_user(tmp_path: Path, **user: Any) -> Endpoint:
    return endpoint(kubeconfig(tmp_path, "https://api.example", user))


def plugin(tmp_path: Path, script: str) -> str:
    path = tmp_path / "plugin"
    path.write_text("#!/bin/sh\n" + script)
    path.chmod(0o755)
    return str(path)


def exec_user(program: str, **more: Any) -> dict[str, Any]:
    return {"exec": {"apiVersion": "client.authentication.k8s.io/v1", "command": program, **more}}


def credential(**status: str) -> str:
    return json.dumps({"apiVersion": "client.authentication.k8s.io/v1", "kind": "ExecCredential", "status": status})


def test_a_plugin_gets_its_arguments_environment_and_cluster_but_no_terminal(tmp_path: Path) -> None:
    script = plugin(
        tmp_path,
        f"""test "$1" = get-token || exit 3
cat > {tmp_path}/stdin
printf %s "$KUBERNETES_EXEC_INFO" > {tmp_path}/info
printf '%s' '{credential(token="T")}' | sed "s/\\"T\\"/\\"$FLAVOUR\\"/"
""",
    )
    user = exec_user("./" + Path(script).name, args=["get-token"], env=[{"name": "FLAVOUR", "value": "sweet"}], provideClusterInfo=True)
    cluster = {"certificate-authority-data": base64.b64encode(b"CA").decode(), "tls-server-name": "inner"}
    found = endpoint(kubeconfig(tmp_path, "https://api.example", user, cluster))
    assert found.credentials.headers() == {"Authorization": "Bearer sweet"}
    assert (tmp_path / "stdin").read_bytes() == b""
    info = json.loads((tmp_path / "info").read_text())
    assert info["spec"]["interactive"] is False
    assert info["spec"]["cluster"]["server"] == "https://api.example"
    assert info["spec"]["cluster"]["certificate-authority-data"] == base64.b64encode(b"CA").decode()


def counting(tmp_path: Path, status: str) -> str:
    """A plugin whose token holds how often it was run."""
    return plugin(tmp_path, f'echo x >> {tmp_path}/runs\nn=$(wc -l < {tmp_path}/runs | tr -d " ")\necho \'{status}\' | sed "s/N/$n/"\n')


def test_a_token_is_kept_until_it_expires(tmp_path: Path) -> None:
    lasting = of_user(tmp_path, **exec_user(counting(tmp_path, credential(token="tok-N", expirationTimestamp="2999-01-01T00:00:00Z")))).credentials
    assert [lasting.headers()["Authorization"] for _ in range(3)] == ["Bearer tok-1"] * 3
    expired = of_user(tmp_path, **exec_user(counting(tmp_path, credential(token="tok-N", expirationTimestamp="2001-01-01T00:00:00Z")))).credentials
    assert [expired.headers()["Authorization"] for _ in range(2)] == ["Bearer tok-2", "Bearer tok-3"]


def test_a_refused_token_is_asked_for_again_once(tmp_path: Path) -> None:
    def answer(request: Any) -> None:
        if request.headers["Authorization"] == "Bearer tok-2":
            request.json({"gitVersion": "v1"})
        else:
            request.status(401, "Unauthorized", "token expired")

    with serving(answer) as server:
        user = exec_user(counting(tmp_path, credential(token="tok-N")))
        kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, user))
        assert kube.version() == {"gitVersion": "v1"}
        assert kube.version() == {"gitVersion": "v1"}
        assert [request.headers["Authorization"] for request in server.requests] == ["Bearer tok-1", "Bearer tok-2", "Bearer tok-2"]
    with serving(lambda request: request.status(401, "Unauthorized", "no")) as server:
        kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, user))
        with pytest.raises(NotAuthorised):
            kube.version()
        assert len(server.requests) == 2


@pytest.mark.parametrize(
    ("script", "words"),
    [
        ("echo looking; echo one >&2; echo 'Token has expired' >&2; exit 255", "Token has expired"),
        ("echo '{}'", "without a status"),
        ("echo not json", "did not print an ExecCredential"),
        (f"echo '{credential()}'", "neither a token nor a client certificate"),
        ("exit 7", "exit 7"),
        ("printf 'red \\033[31m alert\\n' >&2; exit 1", "red [31m alert"),
    ],
)
def test_a_failing_plugin_is_an_error_in_its_own_words(tmp_path: Path, script: str, words: str) -> None:
    found = of_user(tmp_path, **exec_user(plugin(tmp_path, script + "\n")))
    with pytest.raises(NotAuthorised) as caught:
        found.credentials.headers()
    assert words in caught.value.message
    assert "run it by hand" in caught.value.hint


def test_a_plugin_that_hangs_is_killed_with_its_children(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(credentials_module, "PLUGIN_TIMEOUT_SECONDS", 0.3)
    found = of_user(tmp_path, **exec_user(plugin(tmp_path, f"echo $$ > {tmp_path}/pid; sleep 60 & sleep 60\n")))
    with pytest.raises(NotAuthorised, match="said nothing"):
        found.credentials.headers()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


@pytest.mark.parametrize(
    ("more", "error"),
    [
        ({"apiVersion": "client.authentication.k8s.io/v1alpha1"}, BadKubeconfig),
        ({"interactiveMode": "Always"}, NotAuthorised),
        ({"command": ""}, BadKubeconfig),
    ],
)
def test_plugins_that_cannot_be_run_are_refused_at_once(tmp_path: Path, more: dict[str, Any], error: type[CockpitError]) -> None:
    with pytest.raises(error):
        of_user(tmp_path, **exec_user("aws", **more))


def test_a_missing_plugin_gives_its_install_hint(tmp_path: Path) -> None:
    found = of_user(tmp_path, **exec_user("no-such-plugin", installHint="brew install it"))
    with pytest.raises(NotAuthorised) as caught:
        found.credentials.headers()
    assert caught.value.hint == "brew install it"


def test_a_retired_auth_provider_goes_through_the_official_client(tmp_path: Path) -> None:
    part = base64.urlsafe_b64encode(json.dumps({"exp": 32503680000}).encode()).decode().rstrip("=")
    token = f"e30.{part}.sig"
    found = of_user(tmp_path, **{"auth-provider": {"name": "oidc", "config": {"id-token": token, "idp-issuer-url": "https://i"}}})
    assert found.credentials.headers() == {"Authorization": f"Bearer {token}"}
    unknown = of_user(tmp_path, **{"auth-provider": {"name": "openstack"}})
    with pytest.raises(NotAuthorised, match="openstack"):
        unknown.credentials.headers()
