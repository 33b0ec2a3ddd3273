"""How fast two nodes reach each other: a pair of pods, iperf3 between them, both ways."""

from __future__ import annotations

import dataclasses
import json
import threading
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from actions.core import Action, Change, Clients, Column, Plan, Risk, param
from actions.core.errands import ENDED, EVERYWHERE, LABELS, creation, free_name, last_line, literal, pod_path, until
from actions.core.lookups import nodes_named
from actions.core.render import manifest
from cockpit.errors import ActionFailed, BadInput
from cockpit.snapshot import Snapshot

IMAGE = "nicolaka/netshoot:v0.13"
PROBE = Path(__file__).parent / "core" / "tcp_probe.py"
SPARE_SECONDS = 300
SERVER = """\
if command -v iperf3 >/dev/null 2>&1; then exec iperf3 -s -p "$PORT"; fi
exec python3 -c "$PROBE" serve "$PORT"
"""
CLIENT = """\
address=$(nslookup "$PEER" 2>/dev/null | sed -n 's/^Address[^0-9]*\\([0-9.]*\\)$/\\1/p' | tail -n 1)
: "${address:=$PEER}"
if ! command -v iperf3 >/dev/null 2>&1; then exec python3 -c "$PROBE" measure "$address" "$PORT" "$SECONDS"; fi
for way in "" -R; do
  tries=60
  until iperf3 -c "$address" -p "$PORT" -t "$SECONDS" -P "$STREAMS" -J $way; do
    tries=$((tries - 1)); [ "$tries" -gt 0 ] || exit 1; sleep 1
  done
done
"""


@dataclass(frozen=True)
class Params:
    """Between which nodes, how long, and over which network."""

    node: tuple[str, ...] = param("the two nodes: a,b", picks="nodes")
    seconds: int = param("how long each direction is measured", 10, minimum=1)
    streams: int = param("TCP streams side by side (iperf3 only)", 8, minimum=1)
    host_network: bool = param("over the nodes' own network instead of the pods'", False)
    port: int = param("TCP port of the server", 5201, minimum=1)
    image: str = param("an image with iperf3, or at least python3, and sh", IMAGE)
    name: str = param("name of what is made; by default one that is free", "")
    namespace: str = param("namespace of the pods", "default", picks="namespaces")


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """A service, the server's pod on the second node, the client's on the first; all three go when the answer is there."""
    nodes = nodes_named(snapshot, params.node)
    if len(nodes) != 2:
        raise BadInput(f"--node names {len(nodes)} nodes", "two different ones: --node a,b")
    name = params.name or free_name(snapshot, params.namespace, "nettest", *params.node)
    first, second = (node.name for node in nodes)
    service = manifest("nettest-service", {"name": name, "namespace": params.namespace, "port": params.port})
    changes: tuple[Change, ...] = (
        creation(service, f"service {name}"),
        creation(_pod(params, name, "server", second, SERVER), f"pod {name}-server on {second}"),
        creation(_pod(params, name, "client", first, CLIENT), f"pod {name}-client on {first}, {2 * params.seconds} s of traffic"),
    )
    busy = [f"{node.name} runs {', '.join(key.name for key in keys)}: the test takes bandwidth from it" for node in nodes
            if (keys := snapshot.jobs_on(node.name))]  # fmt: skip
    return Plan(changes, warnings=tuple(busy), params=dataclasses.replace(params, name=name))


def _pod(params: Params, name: str, role: str, node: str, script: str) -> dict[str, Any]:
    probe = PROBE.read_text(encoding="utf-8")
    env = {"PEER": name, "PORT": params.port, "SECONDS": params.seconds, "STREAMS": params.streams, "PROBE": literal(probe)}
    holes = {
        "name": f"{name}-{role}",
        "namespace": params.namespace,
        "labels": LABELS | ({"cockpit.dev/nettest": name} if role == "server" else {"cockpit.dev/nettest-client": name}),
        "deadline": 2 * params.seconds + SPARE_SECONDS,
        "host_network": params.host_network or None,
        "dns_policy": "ClusterFirstWithHostNet" if params.host_network else "ClusterFirst",
        "node": node,
        "tolerations": EVERYWHERE,
        "image": params.image,
        "script": literal(script),
        "env": [{"name": key, "value": str(value)} for key, value in env.items()],
    }
    return manifest("nettest-pod", holes)


def records(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[dict[str, Any]]:
    """One record a direction, once the client is through; ActionFailed with the last word of the pod that failed."""
    kube, name = clients.kube, params.name
    server, client = (pod_path(params.namespace, f"{name}-{role}") for role in ("server", "client"))
    hint = "--image names one with iperf3 or python3"
    until(kube, server, ("Running",), stop, "the server's pod", hint)
    ended = until(kube, client, ENDED, stop, "the client's pod", hint)
    if ended["status"]["phase"] == "Failed":
        broken = server if until(kube, server, ("Running",), stop, "the server's pod")["status"]["phase"] == "Failed" else client
        raise ActionFailed(f"{broken.rpartition('/')[2]} failed: {last_line(kube, broken)}", "a busy --port, or --image without iperf3 and python3")
    text = kube.read(f"{client}/log").decode("utf-8", "replace")
    found = list(measured(text))
    if not found:
        raise ActionFailed("the client's pod printed no measurement", text[-400:])
    yield from (_record(one, params.node, kube.simulated) for one in found)


def measured(text: str) -> Iterator[Mapping[str, Any]]:
    """The `iperf3 -J` objects in a log that measured something, in their order; those of a try that failed are left out."""
    decoder, at = json.JSONDecoder(), 0
    while (at := text.find("{", at)) >= 0:
        try:
            found, at = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            at += 1
            continue
        if isinstance(found, dict) and isinstance(found.get("end"), dict) and "sum_received" in found["end"] and not found.get("error"):
            yield found


def _record(one: Mapping[str, Any], nodes: tuple[str, ...], simulated: bool | None) -> dict[str, Any]:
    test = (one.get("start") or {}).get("test_start") or {}
    first, second = (nodes[1], nodes[0]) if test.get("reverse") else nodes[:2]
    sent, received = one["end"].get("sum_sent") or {}, one["end"]["sum_received"]
    return {
        "kind": "Direction",
        "name": f"{first}-{second}",
        "from": first,
        "to": second,
        "bits_per_second": received.get("bits_per_second"),
        "retransmits": sent.get("retransmits"),
        "seconds": test.get("duration"),
        "streams": test.get("num_streams"),
        "tool": one.get("tool") or "iperf3",
        "simulated": simulated,
        "note_on_it": "SIMULATED: loopback of one machine" if simulated else None,
    }


def line(record: Mapping[str, Any], params: Params) -> str:
    """One direction, for a person."""
    rate = record["bits_per_second"]
    speed = "?" if rate is None else f"{rate / 1e9:.2f} Gbit/s"
    again = "?" if record["retransmits"] is None else record["retransmits"]
    mark = "  SIMULATED" if record["simulated"] else ""
    return f"{record['from']} → {record['to']}  {speed}  {again} retransmits  {record['streams']} streams  {record['tool']}{mark}"


ACTION = Action(
    name="nettest",
    title="Network test",
    key="N",
    params=Params,
    risk=Risk.CHANGE,
    panes=("cluster",),
    needs=("nodes", "pods"),
    plan=plan,
    records=records,
    columns=(
        Column("from", "FROM"),
        Column("to", "TO"),
        Column("bits_per_second", "RATE", right=True),
        Column("retransmits", "RETRANSMITS", right=True),
        Column("streams", "STREAMS", right=True),
        Column("seconds", "TIME", right=True),
        Column("tool", "TOOL"),
        Column("note_on_it", "NOTE"),
    ),
    fills={"node": "node"},
    line=line,
    doc="Measures TCP between two nodes, both ways: two pods run iperf3, or a small Python program where the image lacks it, and are removed after.",
)
