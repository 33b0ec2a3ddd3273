"""The job kinds a cluster takes, and the runtime a TrainJob needs."""

from __future__ import annotations

from cockpit.errors import NotServed
from cockpit.model import Runtime, Served
from cockpit.snapshot import Snapshot

KINDS = {"PyTorchJob": "pytorchjobs.kubeflow.org", "TrainJob": "trainjobs.trainer.kubeflow.org"}


def kind_of(snapshot: Snapshot, wanted: str) -> tuple[str, Served]:
    """The job kind to create and how it is served: the one asked for, else PyTorchJob, else TrainJob."""
    for kind in [wanted] if wanted in KINDS else KINDS:
        served: Served | None = snapshot.served.get(KINDS[kind])
        if served is not None:
            return kind, served
    if wanted in KINDS:
        other = next((kind for kind in KINDS if KINDS[kind] in snapshot.served), "")
        raise NotServed(f"this cluster does not serve {wanted}", f"it serves {other}: --kind {other}" if other else "install its operator")
    raise NotServed(
        "this cluster serves neither PyTorchJob nor TrainJob",
        "install the Kubeflow training-operator (PyTorchJob) or Kubeflow Trainer (TrainJob), or try it on the practice cluster with --sim",
    )


def runtime_of(snapshot: Snapshot, namespace: str) -> Runtime | None:
    """The torch runtime a TrainJob refers to; NotServed when the cluster lists runtimes and none of them is torch's."""
    known = [one for one in snapshot.runtimes.values() if one.key.namespace in ("", namespace) and not one.deprecated]
    if not known:
        return None
    named = [one for one in known if one.key.name == "torch-distributed"]
    torch = [one for one in known if one.framework == "torch"]
    if not named and not torch:
        names = ", ".join(sorted(one.key.name for one in known))
        raise NotServed("no training runtime of this cluster runs torch", f"install torch-distributed; there are: {names}")
    return (named or torch)[0]
