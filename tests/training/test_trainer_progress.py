"""The TrainJob's status.trainerStatus: told to a real HTTPS server, and nothing of it where the cluster serves none."""

import json
import ssl
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from ipaddress import ip_address

import pytest

pytest.importorskip("torch", reason="torch is not installed (pip install '.[training]')")

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from one_rank import ALONE, lines, process_group, trained  # noqa: F401

from training import progress, report

PATH = "/apis/trainer.kubeflow.org/v1alpha1/namespaces/ml/trainjobs/llama/status"


class Status(BaseHTTPRequestHandler):
    """Takes what it is told; `answer` and `pause_seconds` are the server's moods."""

    answer, pause_seconds, heard = 200, 0.0, []

    def do_POST(self) -> None:
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.heard.append((self.path, self.headers["Authorization"], body))
        threading.Event().wait(self.pause_seconds)
        self.send_response(self.answer)
        self.send_header("Location", "https://elsewhere.example/")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Nothing."""


def certificate(folder) -> str:
    """A certificate for 127.0.0.1 that is its own authority, and its key, in one file."""
    key, name, now = ec.generate_private_key(ec.SECP256R1()), x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "trainer")]), datetime.now(UTC)
    made = x509.CertificateBuilder().subject_name(name).issuer_name(name).public_key(key.public_key()).serial_number(1)
    made = made.not_valid_before(now - timedelta(days=1)).not_valid_after(now + timedelta(days=1))
    made = made.add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
    made = made.add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True).sign(key, hashes.SHA256())
    pem, plain = serialization.Encoding.PEM, serialization.NoEncryption()
    (folder / "ca.crt").write_bytes(made.public_bytes(pem))
    (folder / "server.pem").write_bytes(made.public_bytes(pem) + key.private_bytes(pem, serialization.PrivateFormat.PKCS8, plain))
    return str(folder / "server.pem")


@pytest.fixture
def status(tmp_path, monkeypatch) -> Iterator[type[Status]]:
    """The server, the environment that a pod has of it, and a token."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), Status)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate(tmp_path))
    server.socket = context.wrap_socket(server.socket, server_side=True)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    (tmp_path / "token").write_text("first-secret\n")
    monkeypatch.setenv(progress.URL, f"https://127.0.0.1:{server.server_address[1]}{PATH}")
    monkeypatch.setenv(progress.AUTHORITY, str(tmp_path / "ca.crt"))
    monkeypatch.setenv(progress.TOKEN, str(tmp_path / "token"))
    monkeypatch.setattr(progress, "EVERY_SECONDS", 0.05)
    monkeypatch.setattr(Status, "heard", [])
    yield Status
    server.shutdown()
    server.server_close()


def until(what) -> None:
    deadline = time.monotonic() + 10
    while not what():
        assert time.monotonic() < deadline
        threading.Event().wait(0.02)


def test_the_trainjob_is_told_how_far_it_is(status, tmp_path, capsys):
    assert trained(tmp_path / "place", "--steps", "30", "--step-pause", "0.02") == 0
    said, err = lines(capsys)
    assert err == ""
    assert len(status.heard) >= 3
    assert {(path, token) for path, token, _ in status.heard} == {(PATH, "Bearer first-secret")}
    told = [body["trainerStatus"] for _, _, body in status.heard]
    assert [one["progressPercentage"] for one in told] == sorted(one["progressPercentage"] for one in told)
    assert all(set(one) <= {"progressPercentage", "estimatedRemainingSeconds", "metrics", "lastUpdatedTime"} for one in told)
    assert "estimatedRemainingSeconds" not in told[0]
    last = told[-1]
    assert (last["progressPercentage"], last["estimatedRemainingSeconds"]) == (100, 0)
    metrics = {metric["name"]: metric["value"] for metric in last["metrics"]}
    assert metrics["step"] == "30"
    assert float(metrics["loss"]) == pytest.approx(said[-1]["loss_last"], rel=1e-5)
    assert abs(datetime.fromisoformat(last["lastUpdatedTime"]).timestamp() - time.time()) < 30


def reporting(steps: int = 4) -> report.Report:
    return report.Report(ALONE, report.Work("ddp", steps, 8, 0, 1, None))


def step(one: report.Report, number: int) -> None:
    one.step(number, loss=1.0, lr=0.1, grad_norm=1.0, step_seconds=0.1, data_seconds=0.0, compute_seconds=0.1)


def test_a_token_that_rotates_is_read_anew(status, tmp_path):
    with reporting() as one:
        step(one, 1)
        until(lambda: len(status.heard) == 1)
        (tmp_path / "token").write_text("second-secret\n")
        step(one, 2)
        until(lambda: len(status.heard) == 2)
    assert [token for _, token, _ in status.heard] == ["Bearer first-secret", "Bearer second-secret"]  # and no word more than there are steps


@pytest.mark.parametrize(("answer", "why"), [(500, "answered 500"), (403, "answered 403"), (307, "answered 307")])
def test_a_server_that_refuses_is_one_warning_without_the_token(status, monkeypatch, capsys, answer, why):
    monkeypatch.setattr(Status, "answer", answer)
    with reporting() as one:
        for number in (1, 2, 3):
            seen = len(status.heard)
            step(one, number)
            until(lambda seen=seen: len(status.heard) > seen)
    err = lines(capsys)[1]
    assert len(err.splitlines()) == 1
    assert why in err
    assert "secret" not in err


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda patch, _: patch.setenv(progress.URL, "https://127.0.0.1:1/status"), "Connection refused"),
        (lambda patch, _: patch.setenv(progress.URL, "http://127.0.0.1:1/status"), "it is not an https address"),
        (lambda patch, _: patch.setenv(progress.URL, "https://127.0.0.1:port/status"), "port"),
        (lambda _, folder: (folder / "token").unlink(), "No such file or directory"),
        (lambda _, folder: (folder / "token").write_text("first\nsecret"), "its token is not one word"),
        (lambda _, folder: (folder / "ca.crt").write_text("nonsense"), "certificate"),
        (lambda patch, folder: patch.setenv(progress.AUTHORITY, str(stranger(folder))), "certificate"),
    ],
)
def test_what_is_wrong_with_the_environment_is_one_warning_and_training_goes_on(status, tmp_path, monkeypatch, capsys, change, why):
    change(monkeypatch, tmp_path)
    assert trained(tmp_path / "place", "--steps", "3") == 0
    err = lines(capsys)[1]
    assert len(err.splitlines()) == 1
    assert "the progress is not reported to the TrainJob" in err
    assert why in err.lower() or why in err
    assert "secret" not in err
    assert status.heard == []


def stranger(folder):
    """The authority of somebody else."""
    other = folder / "other"
    other.mkdir()
    certificate(other)
    return other / "ca.crt"


def test_a_slow_server_costs_no_step_and_the_end_no_more_than_the_time_out(status, monkeypatch):
    monkeypatch.setattr(Status, "pause_seconds", 60.0)
    monkeypatch.setattr(progress, "TIMEOUT_SECONDS", 0.3)
    with reporting(1000) as one:
        step(one, 1)
        until(lambda: status.heard)
        began = time.monotonic()
        for number in range(2, 500):
            step(one, number)
        assert time.monotonic() - began < 2.0
        ending = time.monotonic()
    assert time.monotonic() - ending < 2.0


def test_without_the_environment_and_on_other_ranks_nothing_runs(status, monkeypatch):
    second = report.Report(type(ALONE)(1, 1, 2, 0, ALONE.device, "gloo"), report.Work("ddp", 4, 8, 0, 1, None))
    monkeypatch.delenv(progress.TOKEN)
    with reporting() as one, second:
        step(one, 1)
        assert "progress" not in {thread.name for thread in threading.enumerate()}
    assert status.heard == []
