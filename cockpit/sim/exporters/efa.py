"""EFA devices of a node: their hardware counters, moved by the bytes that ranks reduce across nodes, and the exporter's text."""

from __future__ import annotations

PACKET_BYTES = 8192
WRITE_BYTES = 1 << 20
SIMULATED = "# SIMULATED: no EFA device exists; counters follow the bytes that ranks of the practice cluster reduce across nodes\n"
COUNTERS = (
    "tx_bytes", "tx_pkts", "rx_bytes", "rx_pkts", "rx_drops",
    "send_bytes", "send_wrs", "recv_bytes", "recv_wrs",
    "rdma_read_bytes", "rdma_read_resp_bytes", "rdma_read_wrs", "rdma_read_wr_err",
    "rdma_write_bytes", "rdma_write_recv_bytes", "rdma_write_wrs", "rdma_write_wr_err",
    "retrans_bytes", "retrans_pkts", "retrans_timeout_events", "impaired_remote_conn_events", "unresponsive_remote_events",
    "alloc_pd_err", "alloc_ucontext_err", "cmds_err", "completed_cmds", "submitted_cmds", "no_completion_cmds",
    "create_ah_err", "create_cq_err", "create_qp_err", "mmap_err", "reg_mr_err", "keep_alive_rcvd", "lifespan",
)  # fmt: skip
RETRANSMITS_PER_SECOND, TIMEOUTS_PER_SECOND, IMPAIRED_PER_SECOND = 6000.0, 400.0, 8.0  # of a device with no speed left


def device_names(count: int) -> list[str]:
    """Device names in the order of the PCI buses of a p5: four in a row per GPU, spread evenly when there are fewer."""
    buses = [79 + 17 * group + lane for group in range(8) for lane in range(4)]
    if count > len(buses):
        return [f"rdmap{index + 1}s0" for index in range(count)]
    step = len(buses) // max(count, 1)
    return [f"rdmap{buses[index * step]}s0" for index in range(count)]


def wire_bytes(payload_bytes: float, world_size: int) -> float:
    """Bytes a node sends to the next one in the ring (and receives from the one before) for an all-reduce of `payload_bytes`.

    A ring all-reduce over N ranks is a reduce-scatter and an all-gather of N-1 hops each, every hop moving payload/N: each rank
    passes 2 (N-1)/N x payload to its neighbour. Rings enter and leave a node once, so that is also what crosses the node's edge,
    whatever the number of ranks on it.
    """
    return 2 * (world_size - 1) / world_size * payload_bytes if world_size > 1 else 0.0


class EfaDevice:
    """Counters of one device."""

    def __init__(self, name: str, now: float) -> None:
        self.name = name
        self.values = dict.fromkeys(COUNTERS, 0.0)
        self.values |= {"submitted_cmds": 74.0, "completed_cmds": 74.0, "lifespan": 12.0}
        self._then = now

    def carry(self, sent: float, received: float) -> None:
        """Count RDMA writes of these many bytes out and in."""
        values = self.values
        values["tx_bytes"] += sent
        values["rx_bytes"] += received
        values["tx_pkts"] += sent / PACKET_BYTES
        values["rx_pkts"] += received / PACKET_BYTES
        values["rdma_write_bytes"] += sent
        values["rdma_write_recv_bytes"] += received
        values["rdma_write_wrs"] += sent / WRITE_BYTES

    def advance(self, now: float, loss: float) -> float:
        """Move to `now`; `loss` 0-1 is how bad its retransmissions are. Seconds since it was last moved."""
        seconds, self._then = max(0.0, now - self._then), now
        values = self.values
        values["keep_alive_rcvd"] += seconds
        values["retrans_pkts"] += RETRANSMITS_PER_SECOND * loss * seconds
        values["retrans_bytes"] += RETRANSMITS_PER_SECOND * loss * seconds * PACKET_BYTES
        values["retrans_timeout_events"] += TIMEOUTS_PER_SECOND * loss * seconds
        values["impaired_remote_conn_events"] += IMPAIRED_PER_SECOND * loss * seconds
        return seconds


def text(devices: list[EfaDevice]) -> bytes:
    """The exporter's page for a node's devices."""
    info = "# HELP node_amazonefa_info Non-numeric data from /sys/class/infiniband/<device>\n# TYPE node_amazonefa_info gauge\n"
    lines = [SIMULATED, info]
    lines += [f'node_amazonefa_info{{device="{device.name}"}} 1\n' for device in devices]
    for counter in COUNTERS:
        name = f"node_amazonefa_{counter}"
        lines.append(f"# HELP {name} Amazon EFA hardware counter {counter}\n# TYPE {name} counter\n")
        lines += [f'{name}{{device="{device.name}",port="1"}} {int(device.values[counter])}\n' for device in devices]
    return "".join(lines).encode()
