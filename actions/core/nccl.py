"""How NCCL is told to talk: one profile a purpose, each variable with what it does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

Profile = Mapping[str, tuple[str, str]]

NCCL: Mapping[str, Profile] = {
    "default": {},
    "efa": {
        "FI_PROVIDER": ("efa", "libfabric takes EFA and nothing slower: a node without it fails at once, and does not crawl over TCP"),
        "NCCL_NET_GDR_LEVEL": ("PHB", "the network reads GPU memory directly when both hang on one CPU's host bridge"),
        "NCCL_BUFFSIZE": ("8388608", "8 MiB a channel: the few large messages that EFA is fast with"),
    },
    "tree": {
        "NCCL_ALGO": ("Tree", "all-reduce climbs a tree: its time grows with the logarithm of the nodes, and a slow switch layer is crossed seldom"),
        "NCCL_BUFFSIZE": ("2097152", "2 MiB a channel, half of NCCL's own: less in flight where links are oversubscribed"),
    },
    "debug": {
        "NCCL_DEBUG": ("INFO", "which network, rings and versions each rank takes, in its log"),
        "NCCL_DEBUG_SUBSYS": ("INIT,NET,GRAPH", "of the start, the network and the topology alone"),
        "TORCH_NCCL_TRACE_BUFFER_SIZE": ("2000", "PyTorch keeps the last 2000 collectives of each rank"),
        "TORCH_NCCL_DUMP_ON_TIMEOUT": ("1", "and writes them down when one runs out of time, which tells the rank that hung"),
    },
}
"""Values and reasons: aws-ofi-nccl and EFA's own guides, NCCL's and PyTorch's documentation of their environment."""
PROFILES = tuple(NCCL)


def variables(profile: str) -> dict[str, str]:
    """The environment of a profile."""
    return {name: value for name, (value, _) in NCCL[profile].items()}


def explained(profile: str, efa: int, gpus: int) -> Iterator[str]:
    """One line a variable; and what the profile does not fit."""
    if profile != "default" and not gpus:
        yield f"--nccl {profile} does nothing on CPUs, where gloo talks"
    for name, (value, why) in NCCL[profile].items():
        yield f"{name}={value}: {why}"
    if profile == "efa" and not efa:
        yield "--nccl efa and no EFA device a pod: the ranks will not find a network; --efa or another --nccl"
