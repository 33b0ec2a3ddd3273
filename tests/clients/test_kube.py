"""The transport against real sockets: pages, streams that end when asked, errors by their Status, TLS, proxies."""

from __future__ import annotations

import base64
import gzip
import ipaddress
import json
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from cockpit.clients.kube import Kube, list_meta
from cockpit.clients.streams import CUT, Lines
from cockpit.errors import (
    ActionFailed,
    BadKubeconfig,
    CockpitError,
    Conflict,
    Forbidden,
    Gone,
    Invalid,
    NotAuthorised,
    NotFound,
    NotServed,
    Unreachable,
)
from tests.servers import Request, Server, kubeconfig, serving, until

Answer = Callable[[Request], None]


@pytest.fixture
def connected(tmp_path: Path) -> Iterator[Callable[..., tuple[Kube, Server]]]:
    open_: list[Server] = []

    def connect(answer: Answer, timeout_seconds: float = 5.0) -> tuple[Kube, Server]:
        server = Server(answer)
        open_.append(server)
        return Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url), timeout_seconds=timeout_seconds), server

    yield connect
    for server in open_:
        server.close()


def ended_within(seconds: float, read: Callable[[], Any]) -> Any:
    """What `read` gives; it must not take long."""
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(read()), daemon=True)
    thread.start()
    thread.join(seconds)
    assert not thread.is_alive(), f"still reading after {seconds} s"
    return found[0]


def test_pages_are_followed_and_gzip_is_asked_for(connected: Any) -> None:
    def answer(request: Request) -> None:
        token = "" if request.query.get("continue") else "next"
        page = {"kind": "PodList", "metadata": {"resourceVersion": "9", "continue": token}, "items": [{"metadata": {"name": token or "last"}}]}
        request.bytes(gzip.compress(json.dumps(page).encode()), 200, "application/json", Content_Encoding="gzip")

    kube, server = connected(answer)
    pages = [json.loads(page) for page in kube.pages("/api/v1/pods", params={"labelSelector": "a=b"}, limit=2)]
    assert [page["items"][0]["metadata"]["name"] for page in pages] == ["next", "last"]
    assert [request.query for request in server.requests] == [
        {"labelSelector": "a=b", "limit": "2"},
        {"labelSelector": "a=b", "limit": "2", "continue": "next"},
    ]
    assert all("gzip" in request.headers["Accept-Encoding"] for request in server.requests)
    assert all("resourceVersion" not in request.query for request in server.requests)


@pytest.mark.parametrize(
    "page",
    [
        b'{"kind":"L","metadata":{"resourceVersion":"1","continue":"abc"},"items":[{"metadata":{"name":"x","continue":"no"}}]}',
        b'{"items":[{"metadata":{"name":"x","continue":"no"}}],"metadata":{"continue":"abc"}}',
        b'{"items":[' + b'{"metadata":{}},' * 2000 + b'{}],"metadata":{"continue":"abc"}}',
    ],
)
def test_the_continue_token_is_found_wherever_the_server_writes_it(page: bytes) -> None:
    assert list_meta(page).continue_ == "abc"


def test_a_list_without_metadata_ends() -> None:
    assert list_meta(b'{"items":[]}').continue_ is None
    assert list_meta(b"not json").continue_ is None


@pytest.mark.parametrize(
    ("code", "reason", "details", "error", "name"),
    [
        (400, "BadRequest", {}, Invalid, "invalid"),
        (401, "Unauthorized", {}, NotAuthorised, "not-authorised"),
        (403, "Forbidden", {"kind": "pods"}, Forbidden, "forbidden"),
        (404, "NotFound", {"name": "x", "kind": "pods"}, NotFound, "not-found"),
        (409, "Conflict", {"name": "x"}, Conflict, "conflict"),
        (409, "AlreadyExists", {"name": "x"}, ActionFailed, "already-exists"),
        (410, "Expired", {}, Gone, "gone"),
        (422, "Invalid", {"name": "x"}, Invalid, "invalid"),
        (429, "TooManyRequests", {}, ActionFailed, "too-many-requests"),
        (500, "InternalError", {}, ActionFailed, "action-failed"),
        (503, "ServiceUnavailable", {}, Unreachable, "unreachable"),
    ],
)
def test_a_status_becomes_its_error(connected: Any, code: int, reason: str, details: dict[str, str], error: type, name: str) -> None:
    kube, _ = connected(lambda request: request.status(code, reason, f"because {reason}", **details))
    with pytest.raises(CockpitError) as caught:
        kube.request("GET", "/api/v1/namespaces/a/pods/x")
    assert type(caught.value) is error
    assert (caught.value.code, caught.value.message) == (name, f"because {reason}")


def test_an_unserved_resource_is_told_from_a_missing_object(connected: Any) -> None:
    def answer(request: Request) -> None:
        if request.path.startswith("/apis/karpenter.sh"):
            request.bytes(b"404 page not found\n", 404)
        else:
            request.status(404, "NotFound", "the server could not find the requested resource")

    kube, _ = connected(answer)
    for path, resource in (("/apis/karpenter.sh/v1/nodepools", "nodepools.karpenter.sh"), ("/api/v1/namespaces/a/gadgets/x", "gadgets")):
        with pytest.raises(NotServed, match=f"^{resource} is not served"):
            kube.request("GET", path)


def test_a_long_hostile_error_page_is_cut(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"\xff<html>" * 100_000, 500))
    with pytest.raises(ActionFailed) as caught:
        kube.request("GET", "/x")
    assert len(caught.value.message) < 1000


def test_not_json_is_an_error_and_not_an_empty_answer(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"<html>login</html>"))
    with pytest.raises(ActionFailed, match="not a JSON object"):
        kube.version()


def test_a_redirect_is_not_followed_with_our_token(connected: Any) -> None:
    kube, server = connected(lambda request: request.bytes(b"", 302, Location="http://127.0.0.1:1/steal"))
    with pytest.raises(CockpitError):
        kube.version()
    assert len(server.requests) == 1


def test_nobody_there_is_unreachable_with_what_was_tried(tmp_path: Path) -> None:
    with serving(lambda request: None) as server:
        url = server.url
    with pytest.raises(Unreachable) as caught:
        Kube.connect(kubeconfig=kubeconfig(tmp_path, url)).version()
    assert url in caught.value.message
    assert "refused" in caught.value.message
    assert "context test" in caught.value.hint


def test_a_silent_server_times_out(connected: Any) -> None:
    kube, server = connected(lambda request: server_box[0].closing.wait(10), timeout_seconds=0.2)
    server_box = [server]
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        kube.version()


def test_a_kept_connection_that_died_is_tried_again_for_a_get_only(connected: Any) -> None:
    dropped: list[str] = []

    def answer(request: Request) -> None:
        if len(dropped) < 1 and request.path == "/again":
            dropped.append(request.method)
            request.drop()
        elif request.method == "POST":
            request.drop()
        else:
            request.json({"ok": True})

    kube, server = connected(answer)
    assert kube.request("GET", "/again") == {"ok": True}
    with pytest.raises(Unreachable, match="broke off"):
        kube.request("POST", "/once", body={})
    assert [request.method for request in server.requests] == ["GET", "GET", "POST"]


def test_the_practice_cluster_tells_itself(connected: Any) -> None:
    kube, _ = connected(lambda request: request.json({}, 200, Cockpit_Simulated="true" if request.path == "/version" else "no"))
    assert kube.simulated is None
    kube.version()
    assert kube.simulated is True


def test_access_is_asked_once(connected: Any) -> None:
    kube, server = connected(
        lambda request: request.json({"status": {"allowed": json.loads(request.body)["spec"]["resourceAttributes"]["verb"] == "get"}})
    )
    assert [kube.may("get", "", "pods"), kube.may("get", "", "pods"), kube.may("delete", "", "pods", "ns")] == [True, True, False]
    assert len(server.requests) == 2


# -- discovery ---------------------------------------------------------------------------------------------------------------------------

AGGREGATED = {
    "/api": {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {}, "versions": [{"version": "v1", "resources": [
        {"resource": "pods", "responseKind": {"kind": "Pod"}, "scope": "Namespaced", "verbs": ["list"]}]}]}]},
    "/apis": {"kind": "APIGroupDiscoveryList", "items": [{"metadata": {"name": "kueue.x-k8s.io"}, "versions": [
        {"version": version, "resources": [{"resource": "clusterqueues", "responseKind": {"kind": "ClusterQueue"}, "scope": "Cluster", "verbs": []}]}
        for version in ("v1beta2", "v1beta1")]}]},
}  # fmt: skip
PLAIN = {
    "/api": {"kind": "APIVersions", "versions": ["v1"]},
    "/api/v1": {"resources": [{"name": "pods", "kind": "Pod", "namespaced": True, "verbs": ["list"]}, {"name": "pods/log", "kind": "Pod"}]},
    "/apis": {"kind": "APIGroupList", "groups": [{"name": "kueue.x-k8s.io", "preferredVersion": {"version": "v1beta2"},
              "versions": [{"version": "v1beta1"}, {"version": "v1beta2"}]}]},
    "/apis/kueue.x-k8s.io/v1beta1": {"resources": [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False}]},
    "/apis/kueue.x-k8s.io/v1beta2": {"resources": [{"name": "clusterqueues", "kind": "ClusterQueue", "namespaced": False}]},
}  # fmt: skip


@pytest.mark.parametrize("documents", [AGGREGATED, PLAIN], ids=["aggregated", "plain"])
def test_discovery(connected: Any, documents: dict[str, Any]) -> None:
    kube, server = connected(lambda request: request.json(documents[request.path]))
    served = kube.served()
    assert sorted(served) == ["clusterqueues.kueue.x-k8s.io", "pods"]
    queues = served["clusterqueues.kueue.x-k8s.io"]
    assert (queues.version, sorted(queues.versions), queues.namespaced) == ("v1beta2", ["v1beta1", "v1beta2"], False)
    assert (served["pods"].path, queues.path) == ("/api/v1/pods", "/apis/kueue.x-k8s.io/v1beta2/clusterqueues")
    before = len(server.requests)
    kube.served()
    assert len(server.requests) == before


def test_a_missing_crd_is_none(connected: Any) -> None:
    kube, _ = connected(lambda request: request.status(404, "NotFound", "no such crd", name="x"))
    assert kube.crd("x.y") is None


# -- streams -----------------------------------------------------------------------------------------------------------------------------


def test_lines_are_cut_free_of_how_they_arrive(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            for piece in (b"on", b"e\ntwo\n\xff\x00thr", b"ee\n", b"rest"):
                send(piece)

    kube, _ = connected(answer)
    assert list(kube.lines("/w", stop=threading.Event())) == [b"one", b"two", b"\xff\x00three", b"rest"]


def test_a_silent_stream_ends_the_moment_it_is_stopped(connected: Any) -> None:
    stop = threading.Event()

    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            stop.set()
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    assert ended_within(3.0, lambda: list(kube.lines("/w", stop=stop))) in ([b"one"], [])


def test_a_stream_that_never_answers_ends_when_stopped_too(connected: Any) -> None:
    stop, asked = threading.Event(), threading.Event()

    def answer(request: Request) -> None:
        asked.set()
        servers[0].closing.wait(20)

    kube, server = connected(answer, timeout_seconds=60.0)
    servers = [server]
    threading.Thread(target=lambda: (asked.wait(10), stop.set()), daemon=True).start()
    assert ended_within(5.0, lambda: list(kube.lines("/w", stop=stop))) == []


def test_one_stop_does_not_end_the_streams_of_another(connected: Any) -> None:
    go = threading.Event()

    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            go.wait(10)
            send(b"two\n")

    kube, _ = connected(answer)
    first, second = threading.Event(), threading.Event()
    kept = kube.lines("/kept", stop=second)
    ended = kube.lines("/ended", stop=first)
    assert (next(kept), next(ended)) == (b"one", b"one")
    first.set()
    assert ended_within(3.0, lambda: list(ended)) == []
    go.set()
    assert list(kept) == [b"two"]


def test_interrupt_makes_every_reader_look_again(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    lines = kube.lines("/w", stop=threading.Event())
    assert next(lines) == b"one"
    kube.interrupt()

    def rest() -> Any:
        try:
            return list(lines)
        except Unreachable as error:
            return error

    assert isinstance(ended_within(3.0, rest), (Unreachable, list))


def test_silence_is_noticed(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b"one\n")
            servers[0].closing.wait(20)

    kube, server = connected(answer)
    servers = [server]
    lines = kube.lines("/w", stop=threading.Event(), timeout_seconds=0.2)
    assert next(lines) == b"one"
    with pytest.raises(Unreachable, match=r"silent for 0\.2 s"):
        next(lines)


def test_a_break_in_the_middle_of_a_line_is_an_error_and_the_half_line_is_not_told(connected: Any) -> None:
    def answer(request: Request) -> None:
        with request.stream() as send:
            send(b'{"whole":1}\n{"ha')
            request.drop()

    kube, _ = connected(answer)
    lines = kube.lines("/w", stop=threading.Event())
    assert next(lines) == b'{"whole":1}'
    with pytest.raises(Unreachable, match="broke off"):
        next(lines)


def test_a_refused_stream_is_its_error(connected: Any) -> None:
    opened: list[int] = []
    kube, _ = connected(lambda request: request.status(410, "Expired", "too old resource version"))
    with pytest.raises(Gone):
        list(kube.lines("/w", stop=threading.Event(), on_open=lambda: opened.append(1)))
    assert not opened


def test_no_line_is_held_beyond_a_mebibyte(connected: Any) -> None:
    size = (3 << 20) + 5

    def answer(request: Request) -> None:
        with request.stream() as send:
            for _ in range(size >> 16):
                send(b"x" * (1 << 16))
            send(b"x" * (size & 0xFFFF) + b"\nend\n")

    kube, _ = connected(answer)
    lines = list(kube.lines("/log", stop=threading.Event()))
    assert [len(line) for line in lines] == [(1 << 20) + len(CUT)] * 3 + [5, 3]
    assert all(line.endswith(CUT) for line in lines[:3])


def test_the_splitter_holds_no_more_than_a_piece() -> None:
    lines = Lines(piece_bytes=10)
    assert list(lines.feed(b"a" * 25)) == [b"a" * 10 + CUT] * 2
    assert len(lines.end()) == 5


def test_a_body_is_cut_to_its_limit(connected: Any) -> None:
    kube, _ = connected(lambda request: request.bytes(b"y" * 5_000_000))
    assert len(kube.read("/big", limit_bytes=1000)) == 1000


# -- TLS and proxies ---------------------------------------------------------------------------------------------------------------------


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


def test_no_error_and_no_log_holds_the_token(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("DEBUG")
    with serving(lambda request: request.bytes(b"denied", 403)) as server:
        kube = Kube.connect(kubeconfig=kubeconfig(tmp_path, server.url, {"token": "s3cret-token"}))
        with pytest.raises(Forbidden) as caught:
            kube.version()
        assert server.requests[0].headers["Authorization"] == "Bearer s3cret-token"
        assert "s3cret" not in str(server.requests[0].query)
    assert "s3cret" not in caplog.text + repr(caught.value) + caught.value.hint


def test_many_threads_share_one_kube(connected: Any) -> None:
    kube, server = connected(lambda request: request.json({"path": request.path}))
    found: dict[int, Any] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: kube.request("GET", f"/{n}")})) for n in range(40)]
    for thread in threads:
        thread.start()
    until(lambda: len(found) == 40)
    assert all(found[n] == {"path": f"/{n}"} for n in range(40))
    assert len(server.requests) == 40
