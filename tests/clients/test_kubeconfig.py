"""Kubeconfigs as kubectl reads them: merging, paths, users of every sort, and what is said of broken ones."""

from __future__ import annotations

import base64
import json
import os
from pathlib import Path
from typing import Any

import pytest

from cockpit.clients import kubeconfig as kubeconfig_module
from cockpit.clients.kube import Kube
from cockpit.clients.kubeconfig import Endpoint, endpoint
from cockpit.errors import BadKubeconfig, NoKubeconfig
from tests.servers import kubeconfig, serving


def write(path: Path, **parts: Any) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"apiVersion": "v1", "kind": "Config"} | {name.replace("_", "-"): value for name, value in parts.items()}))
    return path


def one(name: str, kind: str, **body: Any) -> dict[str, Any]:
    return {"name": name, kind: body}


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


def test_the_first_file_that_names_something_wins(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = write(tmp_path / "a", users=[one("u", "user", token="from-a")], contexts=[one("x", "context", cluster="c", user="u")])
    second = write(
        tmp_path / "b",
        current_context="x",
        users=[one("u", "user", token="from-b")],
        clusters=[one("c", "cluster", server="https://b.example/")],
        contexts=[one("x", "context", cluster="elsewhere", user="u"), one("y", "context", cluster="c", user="u", namespace="team")],
    )
    monkeypatch.setenv("KUBECONFIG", os.pathsep.join([str(first), str(tmp_path / "absent"), str(second)]))
    found = endpoint()
    assert (found.context, found.server, found.namespace) == ("x", "https://b.example", "default")
    assert found.credentials.headers() == {"Authorization": "Bearer from-a"}
    assert endpoint(context="y").namespace == "team"
    assert endpoint(context="y", namespace="mine").namespace == "mine"


def test_paths_are_relative_to_their_own_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write(
        tmp_path / "deep" / "config",
        current_context="x",
        contexts=[one("x", "context", cluster="c", user="u")],
        clusters=[one("c", "cluster", server="https://a", **{"certificate-authority": "ca.pem"})],
        users=[one("u", "user", tokenFile="token")],
    )
    (tmp_path / "deep" / "ca.pem").write_text("AUTHORITY")
    (tmp_path / "deep" / "token").write_text("sesame\n")
    monkeypatch.chdir(tmp_path)
    found = endpoint("deep/config")
    assert found.ca_pem == "AUTHORITY"
    assert found.credentials.headers() == {"Authorization": "Bearer sesame"}


def test_a_rotated_token_file_is_read_again_after_a_401(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("old")
    seen: list[str | None] = []

    def answer(request: Any) -> None:
        seen.append(request.headers["Authorization"])
        (tmp_path / "token").write_text("new")
        if seen[-1] == "Bearer new":
            request.json({})
        else:
            request.status(401, "Unauthorized", "Unauthorized")

    with serving(answer) as server:
        Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, {"tokenFile": "token"})).version()
    assert seen == ["Bearer old", "Bearer new"]


def test_basic_auth_and_impersonation(tmp_path: Path) -> None:
    found = of_user(tmp_path, username="ann", password="pw", **{"as": "bob", "as-groups": ["g1", "g2"], "as-user-extra": {"scopes": ["dev"]}})
    assert found.credentials.headers()["Authorization"] == "Basic " + base64.b64encode(b"ann:pw").decode()
    assert found.impersonate == (
        ("Impersonate-User", "bob"),
        ("Impersonate-Group", "g1"),
        ("Impersonate-Group", "g2"),
        ("Impersonate-Extra-scopes", "dev"),
    )


def test_every_group_is_sent_and_an_argument_replaces_the_file(tmp_path: Path) -> None:
    user = {"token": "t", "as": "bob", "as-groups": ["g1", "g2"]}
    with serving(lambda request: request.json({})) as server:
        path = kubeconfig(tmp_path, server.url, user)
        Kube.connect(kubeconfig=path).version()
        Kube.connect(kubeconfig=path, impersonate="carol").version()
        first, second = (request.headers for request in server.requests)
    assert (first["Impersonate-User"], first.get_all("Impersonate-Group")) == ("bob", ["g1", "g2"])
    assert (second["Impersonate-User"], second.get_all("Impersonate-Group")) == ("carol", None)


def test_no_kubeconfig_says_what_was_tried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(NoKubeconfig) as caught:
        endpoint()
    assert str(tmp_path / "home" / ".kube" / "config") in caught.value.message
    assert "cockpit --sim" in caught.value.hint
    with pytest.raises(NoKubeconfig):
        endpoint(str(tmp_path / "nowhere"))
    write(tmp_path / "home" / ".kube" / "config", contexts=[])
    with pytest.raises(NoKubeconfig, match="has no contexts"):
        endpoint()


def test_a_pod_uses_its_service_account_unless_there_is_a_kubeconfig(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    account = tmp_path / "account"
    account.mkdir()
    for name, text in {"token": "inside", "ca.crt": "AUTHORITY", "namespace": "ml\n"}.items():
        (account / name).write_text(text)
    monkeypatch.setattr(kubeconfig_module, "SERVICE_ACCOUNT", account)
    monkeypatch.setenv("KUBERNETES_SERVICE_HOST", "fd00::1")
    monkeypatch.setenv("KUBERNETES_SERVICE_PORT", "6443")
    found = endpoint()
    assert (found.server, found.namespace, found.ca_pem) == ("https://[fd00::1]:6443", "ml", "AUTHORITY")
    assert found.credentials.headers() == {"Authorization": "Bearer inside"}
    path = kubeconfig(tmp_path, "https://api.example")
    monkeypatch.setenv("KUBECONFIG", path)
    assert endpoint().server == "https://api.example"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("apiVersion: v1\nclusters: [\n", "line 3"),
        ("- 1\n- 2\n", "holds no kubeconfig"),
        ("contexts: 3\n", "contexts is not a list"),
        ("contexts:\n- context: {}\n", "has no name"),
        ("contexts:\n- name: x\n  context: {cluster: c}\n", "no current-context"),
        ("current-context: x\ncontexts:\n- name: x\n  context: {cluster: c}\n", "'c', which is nowhere defined"),
        (
            "current-context: x\ncontexts:\n- name: x\n  context: {cluster: c, user: u}\nclusters:\n- name: c\n  cluster: {server: https://a}\n",
            "user 'u'",
        ),
        ("current-context: x\ncontexts:\n- name: x\n  context: {cluster: c}\nclusters:\n- name: c\n  cluster: {server: a.example}\n", "no http"),
        ("current-context: prod\ncontexts:\n- name: prot\n  context: {cluster: c}\n", "no context 'prod'"),
        (b"\xff\xfe\x00", "not UTF-8"),
    ],
)
def test_broken_kubeconfigs_say_where_and_what(tmp_path: Path, text: str | bytes, words: str) -> None:
    path = tmp_path / "config"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(BadKubeconfig) as caught:
        endpoint(str(path))
    assert words in caught.value.message
    assert str(path) in caught.value.message or "prod" in words
    assert caught.value.hint


def test_the_nearest_context_is_offered(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://a")
    with pytest.raises(BadKubeconfig) as caught:
        endpoint(path, context="tets")
    assert caught.value.hint == "did you mean test?"


def test_half_a_certificate_and_bad_data_are_refused(tmp_path: Path) -> None:
    with pytest.raises(BadKubeconfig, match="client-key"):
        of_user(tmp_path, **{"client-certificate-data": base64.b64encode(b"x").decode()})
    with pytest.raises(BadKubeconfig, match="not base64"):
        of_user(tmp_path, **{"client-certificate-data": "%", "client-key-data": "/w=="})


def test_an_eks_arn_is_shown_by_its_name(tmp_path: Path) -> None:
    arn = "arn:aws:eks:ap-northeast-2:123456789012:cluster/training"
    path = write(tmp_path / "c", current_context="x", contexts=[one("x", "context", cluster=arn)], clusters=[one(arn, "cluster", server="https://a")])
    assert endpoint(str(path)).cluster == "training"


def test_secrets_are_in_no_repr(tmp_path: Path) -> None:
    path = kubeconfig(tmp_path, "https://a", {"token": "s3cret"})
    shown = repr(endpoint(path)) + repr(Kube.connect(kubeconfig=path)) + str(vars(endpoint(path)))
    assert "s3cret" not in shown
    env = exec_user("x", env=[{"name": "AWS_SECRET", "value": "s3cret"}])
    assert "s3cret" not in repr(of_user(tmp_path, **env).credentials.__dict__)
