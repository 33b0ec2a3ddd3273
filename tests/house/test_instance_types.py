"""The practice cluster sells what the cockpit's own table knows: the two tables stand alone, and may not drift apart."""

from __future__ import annotations

from cockpit.instance_types import MIB, instance_types
from cockpit.sim import instance_types as sold


def test_both_tables_say_the_same_of_a_type() -> None:
    known = instance_types()
    differ = {}
    for one in sold.GPU_TYPES:
        ours = known[one.name]
        theirs = (one.gpus, one.gpu_memory_mib * MIB, one.efa_devices, one.vcpus, one.memory_mib * MIB, one.price_per_hour)
        mine = (ours.gpus, ours.gpu_memory_bytes, ours.efa, ours.vcpu, ours.memory_bytes, ours.dollars_per_hour)
        if theirs != mine:
            differ[one.name] = (theirs, mine)
    assert not differ
