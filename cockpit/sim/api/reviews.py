"""Access reviews: may I, may they, what may I, who am I."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aiohttp import web

from cockpit.sim.api import fields, rbac
from cockpit.sim.api.discovery import REVIEWS
from cockpit.sim.api.rbac import Ask
from cockpit.sim.api.requests import MASTERS, Call, User
from cockpit.sim.api.responses import json_response

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

ALL = {"verbs": ["*"], "apiGroups": ["*"], "resources": ["*"]}
ALL_PATHS = {"verbs": ["*"], "nonResourceURLs": ["*"]}
_BY_PLURAL = {kind.plural: kind for kind in REVIEWS}


def review_at(path: str) -> str:
    """The plural of the review a path asks for; '' for any other path."""
    parts = path.strip("/").split("/")
    known = len(parts) in (4, 6) and parts[0] == "apis" and parts[-1] in _BY_PLURAL
    return parts[-1] if known and parts[1] == _BY_PLURAL[parts[-1]].group and parts[2] == "v1" else ""


def answer(cluster: Cluster, call: Call, plural: str) -> web.Response:
    """The review with its status filled in."""
    review = fields.require_object(call.document() if call.body.strip() else {})
    kind = _BY_PLURAL[plural]
    spec = review.get("spec") or {}
    if plural == "selfsubjectrulesreviews":
        status = _rules(cluster, call.user, spec.get("namespace") or "")
    elif plural == "selfsubjectreviews":
        status = {"userInfo": {"username": call.user.name, "groups": list(call.user.groups)}}
    else:
        mine = plural == "selfsubjectaccessreviews"
        user = call.user if mine else User(spec.get("user") or "", tuple(spec.get("groups") or ()))
        status = _access(cluster, user, spec)
    made = {"kind": kind.kind, "apiVersion": kind.api_version, "metadata": {"creationTimestamp": None}, "spec": spec, "status": status}
    return json_response(made, 201)


def _access(cluster: Cluster, user: User, spec: dict[str, Any]) -> dict[str, Any]:
    resource, path = spec.get("resourceAttributes"), spec.get("nonResourceAttributes")
    if path:
        ask = Ask(path.get("verb", ""), path=path.get("path", ""))
    else:
        part = resource or {}
        ask = Ask(
            part.get("verb", ""),
            part.get("group", ""),
            part.get("resource", ""),
            part.get("subresource", ""),
            part.get("namespace", ""),
            part.get("name", ""),
        )
    if rbac.allowed(cluster, user, ask):
        return {"allowed": True, "reason": f'RBAC: allowed by group "{MASTERS}"' if user.is_admin else "RBAC: allowed"}
    return {"allowed": False}


def _rules(cluster: Cluster, user: User, namespace: str) -> dict[str, Any]:
    rules = [ALL, ALL_PATHS] if user.is_admin else list(rbac.rules_for(cluster, user, namespace))
    return {
        "resourceRules": [rule for rule in rules if rule.get("resources")],
        "nonResourceRules": [rule for rule in rules if rule.get("nonResourceURLs")],
        "incomplete": False,
    }
