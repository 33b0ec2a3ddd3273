"""The state directory: who runs, on which port, with which token; it outlives the process so that a kubeconfig stays valid."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import secrets
from base64 import b64encode
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

CONTEXT = "practice"


def start_ticks(pid: int) -> int | None:
    """When a process started, in clock ticks since boot; None when there is none. Tells a process from a later one of the same pid."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = text.rpartition(")")[2].split()
    return None if fields[0] == "Z" else int(fields[19])


class State:
    """Files under $COCKPIT_SIM_HOME, $XDG_STATE_HOME/cockpit/sim or ~/.local/state/cockpit/sim."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.kubeconfig = folder / "kubeconfig"
        self.pid_file = folder / "sim.pid"
        self.log_file = folder / "sim.log"
        self.pods = folder / "pods"

    @classmethod
    def locate(cls, env: Mapping[str, str] | None = None) -> State:
        env = os.environ if env is None else env
        if env.get("COCKPIT_SIM_HOME"):
            return cls(Path(env["COCKPIT_SIM_HOME"]))
        home = Path(env["XDG_STATE_HOME"]) if env.get("XDG_STATE_HOME") else Path.home() / ".local/state"
        return cls(home / "cockpit" / "sim")

    def prepare(self) -> None:
        """Make the folder, for its owner alone."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the folder's lock, so that two starts or stops do not cross."""
        self.prepare()
        with (self.folder / "lock").open("w") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    def write_private(self, path: Path, text: str) -> None:
        """Replace a file at once, readable by its owner alone."""
        fresh = path.with_name(f".{path.name}.{os.getpid()}")
        descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
        fresh.replace(path)

    # -- what is remembered ------------------------------------------------------------------------------------------------

    def facts(self) -> dict[str, Any]:
        """Port, epoch, scenario and process identity of the last run; {} when there was none."""
        try:
            read: dict[str, Any] = json.loads((self.folder / "sim.json").read_text())
        except (FileNotFoundError, ValueError):
            return {}
        return read

    def remember(self, **facts: Any) -> None:
        self.write_private(self.folder / "sim.json", json.dumps({**self.facts(), **facts}) + "\n")

    def token(self) -> str:
        """The bearer token, made on first use."""
        path = self.folder / "token"
        if not path.exists():
            self.write_private(path, secrets.token_urlsafe(32) + "\n")
        return path.read_text().strip()

    def next_epoch(self) -> int:
        """The number of this run; resourceVersions of a later run are all above those of an earlier one."""
        epoch = int(self.facts().get("epoch", 0)) + 1
        self.remember(epoch=epoch)
        return epoch

    def running_pid(self) -> int | None:
        """The pid of the running practice cluster; None when it does not run."""
        facts = self.facts()
        try:
            pid = int(self.pid_file.read_text())
        except (FileNotFoundError, ValueError):
            return None
        return pid if facts.get("pid") == pid and start_ticks(pid) == facts.get("start_ticks") else None

    def claim(self, port: int, scenario: str) -> None:
        """Write down that this process is the practice cluster."""
        pid = os.getpid()
        self.remember(pid=pid, start_ticks=start_ticks(pid), port=port, scenario=scenario)
        self.write_private(self.pid_file, f"{pid}\n")

    def release(self) -> None:
        self.pid_file.unlink(missing_ok=True)

    def write_kubeconfig(self, port: int) -> None:
        """The kubeconfig with the CA and the token inside, mode 0600."""
        ca = b64encode((self.folder / "ca.crt").read_bytes()).decode()
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "preferences": {},
            "current-context": CONTEXT,
            "clusters": [{"name": CONTEXT, "cluster": {"server": f"https://127.0.0.1:{port}", "certificate-authority-data": ca}}],
            "users": [{"name": CONTEXT, "user": {"token": self.token()}}],
            "contexts": [{"name": CONTEXT, "context": {"cluster": CONTEXT, "user": CONTEXT, "namespace": "default"}}],
        }
        self.write_private(self.kubeconfig, json.dumps(config, indent=2) + "\n")

    def summary(self, pid: int) -> dict[str, Any]:
        """What `start` and `status` print."""
        facts = self.facts()
        return {
            "kubeconfig": str(self.kubeconfig),
            "context": CONTEXT,
            "server": f"https://127.0.0.1:{facts.get('port')}",
            "pid": pid,
            "scenario": facts.get("scenario"),
        }
