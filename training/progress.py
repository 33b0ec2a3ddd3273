"""How far the training is, for the TrainJob's `status.trainerStatus`: Kubeflow Trainer 2.2 and later, where its gate TrainJobStatus is on.

Its controller then gives every pod KUBEFLOW_TRAINER_SERVER_URL, and the paths of a token and of the authority that signed the server's
certificate. Without them nothing here runs. A thread of rank 0 reads what the report holds anyway, so a step pays nothing for it; a server
that cannot be reached is one warning.
"""

import json
import os
import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from http.client import HTTPException, HTTPSConnection
from typing import Any
from urllib.parse import urlsplit

URL, AUTHORITY, TOKEN = (f"KUBEFLOW_TRAINER_SERVER_{name}" for name in ("URL", "CA_CERT", "TOKEN"))
EVERY_SECONDS = 5.0
TIMEOUT_SECONDS = 3.0  # also what the last word may hold the end of the training up


@dataclass(frozen=True)
class Server:
    """Where the status goes to, and the files that prove who speaks with whom; the token rotates and is read anew each time."""

    url: str
    authority: str
    token: str

    def put(self, status: Mapping[str, Any]) -> None:
        """One request; OSError, HTTPException or ValueError when it is not taken."""
        at = urlsplit(self.url)
        if at.scheme != "https" or not at.hostname:
            raise ValueError("it is not an https address")
        with open(self.token, encoding="ascii") as file:
            token = file.read().split()
        if len(token) != 1:
            raise ValueError("its token is not one word")  # http.client's own complaint would show it
        headers = {"Authorization": f"Bearer {token[0]}", "Content-Type": "application/json"}
        trusted = ssl.create_default_context(cafile=self.authority)
        connection = HTTPSConnection(at.hostname, at.port, context=trusted, timeout=TIMEOUT_SECONDS)
        try:
            connection.request("POST", at.path, json.dumps({"trainerStatus": status}), headers)
            answer = connection.getresponse()
            if answer.status >= 300:  # a redirect too: the token goes to no other server
                raise OSError(f"the server answered {answer.status}")
        finally:
            connection.close()


def server() -> Server | None:
    """The one that this pod's environment names, or None."""
    named = [os.environ.get(name, "") for name in (URL, AUTHORITY, TOKEN)]
    return Server(*named) if all(named) else None


class Progress:
    """A thread that says how far it is, every few seconds and once more at the end."""

    def __init__(self, to: Server, steps: int, values: Callable[[], Mapping[str, float]], warn: Callable[[str], None]) -> None:
        """`values` gives the report's metrics by name, `steps` is where the training ends."""
        self.to, self.steps, self.values, self.warn = to, steps, values, warn
        self._began: tuple[float, float] | None = None  # (clock, step) when the first step was seen
        self._said = -1.0
        self._failing = False
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._run, name="progress", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Say the last word, if the server takes it in time."""
        self._over.set()
        self._thread.join(TIMEOUT_SECONDS + 1)

    def _run(self) -> None:
        while not self._over.wait(EVERY_SECONDS):
            self._say()
        self._say()

    def _say(self) -> None:
        values = self.values()
        step = values.get("training_step")
        if step is None or step == self._said:
            return
        try:
            self.to.put(self.status(step, values))
            self._said, self._failing = step, False
        except (OSError, HTTPException, ValueError) as error:
            if not self._failing:
                told = getattr(error, "strerror", None) or str(error).split("\n", 1)[0] or type(error).__name__
                self.warn(f"the progress is not reported to the TrainJob: {told}; training goes on")
            self._failing = True

    def status(self, step: float, values: Mapping[str, float]) -> dict[str, Any]:
        """A `trainerStatus`; no estimate before two steps have been seen."""
        now = time.monotonic()
        began, first = self._began = self._began or (now, step)
        estimate = {"estimatedRemainingSeconds": round((self.steps - step) * (now - began) / (step - first))} if step > first else {}
        metrics = {"step": step, "loss": values["training_loss"], "step_seconds": values["training_step_seconds"]}
        return {
            "progressPercentage": int(100 * step // self.steps),
            **estimate,
            "metrics": [{"name": name, "value": f"{value:.6g}"} for name, value in metrics.items()],
            "lastUpdatedTime": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        }
