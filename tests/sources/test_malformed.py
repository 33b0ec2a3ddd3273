"""Objects that hold null wherever they can do no harm."""

from __future__ import annotations

from typing import Any

import msgspec
import pytest

from cockpit.sources import events, jobs, nodeclaims, nodepools, nodes, pods, queues
from tests.sources.objects import read

KINDS = [
    (nodes.RawNode, nodes.to_node),
    (pods.RawPod, pods.to_pod),
    (jobs.RawPyTorchJob, jobs.to_pytorchjob),
    (jobs.RawTrainJob, jobs.to_trainjob),
    (jobs.RawJobSet, jobs.to_below),
    (nodepools.RawNodePool, nodepools.to_nodepool),
    (nodeclaims.RawNodeClaim, nodeclaims.to_nodeclaim),
    (queues.RawQueue, queues.to_queue),
    (queues.RawWorkload, queues.to_workload),
    (events.RawEvent, events.to_event),
]


def filled(kind: Any, leaf: Any) -> Any:
    """A value of the struct in which every list has one null and every field at the bottom is `leaf`."""
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        return {one.encode_name: filled(one.type, leaf) for one in msgspec.structs.fields(kind)}
    arguments = [one for one in getattr(kind, "__args__", ()) if one is not type(None)]
    structs = [one for one in arguments if isinstance(one, type) and issubclass(one, msgspec.Struct)]
    if structs:
        return filled(structs[0], leaf)
    lists = [one for one in arguments if getattr(one, "__origin__", None) is list]
    if lists:
        return [None, filled(lists[0].__args__[0], leaf)]
    if any(getattr(one, "__origin__", None) is dict for one in arguments):
        return {"nvidia.com/gpu": None, "": None}
    return leaf


@pytest.mark.parametrize(("kind", "to_row"), KINDS, ids=lambda value: getattr(value, "__name__", ""))
def test_null_anywhere_does_no_harm(kind: Any, to_row: Any) -> None:
    to_row(read(kind, {}))
    to_row(read(kind, {one.encode_name: None for one in msgspec.structs.fields(kind)}))
    to_row(read(kind, {"metadata": {}, "spec": {}, "status": {}}))
    to_row(read(kind, filled(kind, None)))
