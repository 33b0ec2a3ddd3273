"""The add-ons, each alone or all together, in their pinned versions."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from actions.core import Change, Clients, Plan, Risk, Target
from actions.core.provisioning import Params, applied, fetched, heard, look, may_write, place, scope_of, the_kube, told, tool_note
from actions.core.provisioning.helm import Access, Release, access_to, installs, releases, same_version
from actions.core.provisioning.pins import Addon, chosen
from actions.core.render import ROOT, manifest
from cockpit.errors import BadInput, Forbidden, NotFound
from cockpit.snapshot import Snapshot
from cockpit.store import Fact

KINDS = {
    "DaemonSet": ("apps", "v1", "daemonsets"),
    "Service": ("", "v1", "services"),
    "ServiceMonitor": ("monitoring.coreos.com", "v1", "servicemonitors"),
    "Namespace": ("", "v1", "namespaces"),
}
FSX_POLICY = "AmazonFSxFullAccess"


def ask(clients: Clients, snapshot: Snapshot, params: Params, stop: threading.Event) -> Iterator[Fact]:
    """Which releases are there, and the objects of ours."""
    scope, kube = scope_of(params), the_kube(clients)
    access, wanted = access_to(kube), chosen(params.addon)
    _, region = place(params, clients)
    yield look(scope, "access", lambda: access)
    yield look(scope, "region", lambda: clients.aws.at(region).region if params.bucket else region)
    for program in dict.fromkeys(_program(one) for one in wanted if _program(one)):
        yield look(scope, f"tool:{program}", clients.shell.which, program)
    yield look(scope, "helm", lambda: releases(clients.shell, access))
    for addon in wanted:
        for target, _ in _objects(addon) if addon.objects else ():
            yield look(scope, f"object:{target}", fetched, kube, target.path())
            yield look(scope, f"may:{target.resource}:{target.namespace}", may_write, kube, target)


def _program(addon: Addon) -> str:
    return "helm" if addon.chart else "kubectl" if addon.kustomize else ""


def _objects(addon: Addon) -> list[tuple[Target, dict[str, Any]]]:
    """The objects of an add-on that is no chart, its namespace first."""
    made = manifest(f"addons/{addon.objects}", {"namespace": addon.namespace, "version": addon.version})["items"]
    space = {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": addon.namespace}}
    return [(_target(body), body) for body in (space, *made)]


def _target(body: Mapping[str, Any]) -> Target:
    group, version, plural = KINDS[body["kind"]]
    return Target(body["kind"], body["metadata"]["name"], body["metadata"].get("namespace", ""), group, version, plural)


def plan(snapshot: Snapshot, params: Params) -> Plan:
    """What is not there yet in its pinned version."""
    scope, wanted = scope_of(params), chosen(params.addon)
    access: Access = told(snapshot, scope, "access")
    there, unseen = _installed(snapshot, scope)
    names = {one.name for one in wanted}
    changes: list[Change] = []
    notes: list[str] = []
    warnings = [text for program in dict.fromkeys(_program(one) for one in wanted) if program for text in tool_note(snapshot, scope, program)]
    if unseen and any(one.chart for one in wanted):
        warnings.append(f"what is installed is not known: {unseen}")
    for addon in wanted:
        made = list(_changes(snapshot, scope, addon, params, there, access))
        changes += made
        if not made:
            notes.append(f"{addon.name} is there" + ("" if addon.release in there else ", installed by others; --again installs ours over it"))
        warnings += [f"{addon.name} needs {need}, which is not there" for need in addon.needs if need not in names and not _has(need, there, unseen)]
    warnings += _of_aws(names, changes, params)
    if not changes:
        return Plan(already=f"{', '.join(one.name for one in wanted)}: there in the pinned version (--again installs anew)", notes=tuple(notes))
    return Plan(tuple(changes), notes=tuple(notes), warnings=tuple(warnings), risk=Risk.CHANGE)


def _installed(snapshot: Snapshot, scope: str) -> tuple[Mapping[str, Release], str]:
    """Releases by name, and why they are not known; a cluster that refuses stops the plan, a helm that is not there does not."""
    try:
        return {one.name: one for one in told(snapshot, scope, "helm")}, ""
    except NotFound as error:
        return {}, error.message


def _has(need: str, there: Mapping[str, Release], unseen: str) -> bool:
    return bool(unseen) or any(one.release in there for one in chosen((need,)))


def _changes(snapshot: Snapshot, scope: str, addon: Addon, params: Params, there: Mapping[str, Release], access: Access) -> Iterator[Change]:
    if addon.objects:
        yield from _applied(snapshot, scope, addon, params, access)
    elif addon.kustomize:
        if params.again or addon.serves not in snapshot.served:
            yield _kustomized(addon, access)
    else:
        found = there.get(addon.release)
        whole = found is not None and found.state == "deployed" and same_version(found.version, addon.version)
        others = found is None and addon.serves in snapshot.served
        if not (whole or others) or params.again:
            yield from installs(addon, values_of(addon, params, heard(snapshot, scope, "region", "")[0]), found, access)


def _applied(snapshot: Snapshot, scope: str, addon: Addon, params: Params, access: Access) -> Iterator[Change]:
    for target, body in _objects(addon):
        if target.kind == "ServiceMonitor" and target.resource not in snapshot.served:
            if "prometheus" in {one.name for one in chosen(params.addon)}:
                yield _later(target, body, addon, access)
            continue
        allowed, _ = heard(snapshot, scope, f"may:{target.resource}:{target.namespace}", True)
        if not allowed:
            raise Forbidden(f"you may not create or patch {target.resource} in {target.namespace or 'the cluster'}", f"{addon.name} needs it")
        before = told(snapshot, scope, f"object:{target}")
        if target.kind == "Namespace" and before is not None:
            continue
        change = applied(target, body, before, f"{target.kind} {target.name} of {addon.name} {addon.version}")
        if change is not None:
            yield change


def _later(target: Target, body: dict[str, Any], addon: Addon, access: Access) -> Change:
    """An object of a kind that an earlier step brings: the server cannot judge it yet, so kubectl applies it."""
    argv = ("kubectl", "apply", "--server-side", "--field-manager=cockpit", "-f", "-", *access.kubectl())
    summary = f"create {target.kind} {target.name} of {addon.name}"
    return Change("shell", "run", target, summary, " ".join(argv), body, after=body, argv=argv)


def _kustomized(addon: Addon, access: Access) -> Change:
    argv = ("kubectl", "apply", "--server-side", "--force-conflicts", "-k", addon.kustomize, *access.kubectl())
    target = Target("Kustomization", addon.name, addon.namespace)
    return Change(
        "shell", "run", target, f"install {addon.name} {addon.version}: {addon.about}", " ".join(argv), after={"version": addon.version}, argv=argv
    )


def values_of(addon: Addon, params: Params, region: str = "") -> dict[str, Any]:
    """The values of a chart, from manifests/addons/NAME.yaml."""
    if params.bucket and ("/" in params.bucket or ":" in params.bucket):
        raise BadInput(f"--bucket {params.bucket!r} is no name of a bucket", "without s3:// and without a path")
    holes: dict[str, Any] = {}
    if addon.name == "dcgm-exporter":
        holes["counters"] = (ROOT / "manifests" / "addons" / "dcgm-counters.csv").read_text(encoding="utf-8")
    if addon.name == "loki":
        buckets = {"bucketNames": {"chunks": params.bucket, "ruler": params.bucket, "admin": params.bucket}, "s3": {"region": region}}
        holes["storage"] = {"type": "s3", **buckets} if params.bucket else {"type": "filesystem"}
        holes["object_store"] = "s3" if params.bucket else "filesystem"
    return manifest(f"addons/{addon.name}", holes)


def _of_aws(names: set[str], changes: list[Change], params: Params) -> list[str]:
    """Rights in AWS that a chart cannot give itself."""
    touched = {change.target.name for change in changes}
    found = []
    if "fsx-csi" in names and "aws-fsx-csi-driver" in touched:
        found.append(
            f"static volumes need no rights; to make file systems itself, fsx-csi-controller-sa in kube-system needs {FSX_POLICY} by pod identity"
        )
    if "loki" in names and "loki" in touched and params.bucket:
        found.append(f"the service account loki in monitoring needs to read and write the bucket {params.bucket}, by pod identity")
    return found
