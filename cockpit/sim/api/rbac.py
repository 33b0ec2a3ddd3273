"""Role-based access control for users other than the admin, from the Role and Binding objects of the cluster."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, NamedTuple

from cockpit.sim.api.errors import ApiError
from cockpit.sim.api.requests import Call, User

if TYPE_CHECKING:
    from cockpit.sim.store import Cluster

GROUP = "rbac.authorization.k8s.io"
Rule = dict[str, Any]


class Ask(NamedTuple):
    """What somebody wants to do: on a resource, or on a path outside the resources."""

    verb: str
    group: str = ""
    resource: str = ""
    subresource: str = ""
    namespace: str = ""
    name: str = ""
    path: str = ""

    @property
    def full_resource(self) -> str:
        return f"{self.resource}/{self.subresource}" if self.subresource else self.resource


def _subject_matches(subject: dict[str, Any], user: User, namespace: str) -> bool:
    kind, name = subject.get("kind"), subject.get("name")
    if kind == "User":
        return name in (user.name, "*")
    if kind == "Group":
        return name in user.groups
    return user.name == f"system:serviceaccount:{subject.get('namespace') or namespace}:{name}"


def _rules_of(cluster: Cluster, binding: dict[str, Any]) -> list[Rule]:
    ref = binding.get("roleRef") or {}
    if ref.get("kind") == "ClusterRole":
        role = cluster.find(f"clusterroles.{GROUP}", None, ref.get("name", ""))
    else:
        role = cluster.find(f"roles.{GROUP}", binding["metadata"].get("namespace"), ref.get("name", ""))
    return list((role or {}).get("rules") or ())


def rules_for(cluster: Cluster, user: User, namespace: str) -> Iterator[Rule]:
    """Every rule that applies to a user in a namespace ('' for cluster scope)."""
    bindings = cluster.list(f"clusterrolebindings.{GROUP}")
    if namespace:
        bindings = [*bindings, *cluster.list(f"rolebindings.{GROUP}", namespace)]
    for binding in bindings:
        home = binding["metadata"].get("namespace", "")
        if any(_subject_matches(subject, user, home) for subject in binding.get("subjects") or ()):
            yield from _rules_of(cluster, binding)


def _covers(rule: Rule, ask: Ask) -> bool:
    verbs = rule.get("verbs") or ()
    if "*" not in verbs and ask.verb not in verbs:
        return False
    if ask.path:
        return any(path in ("*", ask.path) or (path.endswith("*") and ask.path.startswith(path[:-1])) for path in rule.get("nonResourceURLs") or ())
    groups, resources, names = rule.get("apiGroups") or (), rule.get("resources") or (), rule.get("resourceNames") or ()
    return (
        ("*" in groups or ask.group in groups)
        and ("*" in resources or ask.full_resource in resources or (bool(ask.subresource) and f"*/{ask.subresource}" in resources))
        and (not names or ask.name in names)
    )


def allowed(cluster: Cluster, user: User, ask: Ask) -> bool:
    """Whether the user may."""
    return user.is_admin or any(_covers(rule, ask) for rule in rules_for(cluster, user, ask.namespace))


def ask_of(call: Call) -> Ask:
    """What a request wants."""
    target = call.target
    if target is None:
        return Ask(call.verb, path=call.path)
    namespace = target.namespace or (target.name if target.kind.resource == "namespaces" else "")
    return Ask(call.verb, target.kind.group, target.kind.plural, target.subresource, namespace, target.name)


def require(cluster: Cluster, call: Call) -> None:
    """ApiError 403 with the real message when the user may not."""
    ask = ask_of(call)
    if not allowed(cluster, call.user, ask):
        raise refusal(call.user, ask)


def refusal(user: User, ask: Ask) -> ApiError:
    """The 403 for something a user may not do."""
    if ask.path:
        return ApiError(403, "Forbidden", f'forbidden: User "{user.name}" cannot {ask.verb} path "{ask.path}"', {})
    full = f"{ask.resource}.{ask.group}" if ask.group else ask.resource
    subject = f'{full} "{ask.name}"' if ask.name else full
    scope = f'in the namespace "{ask.namespace}"' if ask.namespace else "at the cluster scope"
    message = f'{subject} is forbidden: User "{user.name}" cannot {ask.verb} resource "{ask.full_resource}" in API group "{ask.group}" {scope}'
    group = {"group": ask.group} if ask.group else {}
    name = {"name": ask.name} if ask.name else {}
    return ApiError(403, "Forbidden", message, {**name, **group, "kind": ask.resource})
