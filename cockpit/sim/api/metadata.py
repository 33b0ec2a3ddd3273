"""ObjectMeta: names, labels, stamps, finalizers."""

from __future__ import annotations

import re
import secrets
import uuid
from typing import Any

from cockpit.sim.api import errors
from cockpit.sim.api.errors import cause
from cockpit.sim.api.kinds import Kind
from cockpit.sim.api.records import Record

SUBDOMAIN = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*\Z")
DNS_LABEL = re.compile(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?\Z")
DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")
QUALIFIED = re.compile(r"([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]\Z")
SUBDOMAIN_SAYS = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'example.com', regex used for validation is "
    "'[a-z0-9]([-a-z0-9]*[a-z0-9])?(\\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*')"
)
LABEL_SAYS = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with an "
    "alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is '[a-z0-9]([-a-z0-9]*[a-z0-9])?')"
)
DNS_1035_SAYS = (
    "a DNS-1035 label must consist of lower case alphanumeric characters or '-', start with an alphabetic character, and end with "
    "an alphanumeric character (e.g. 'my-name',  or 'abc-123', regex used for validation is '[a-z]([-a-z0-9]*[a-z0-9])?')"
)
VALUE_SAYS = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and end with an "
    "alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    "'(([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9])?')"
)
KEY_SAYS = (
    "name part must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    "(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]')"
)
SUFFIX_LETTERS = "bcdfghjklmnpqrstvwxz2456789"
ANNOTATIONS_MAX_BYTES = 256 * 1024
_NAME_RULES = {"namespaces": (DNS_LABEL, LABEL_SAYS, 63), "services": (DNS_1035, DNS_1035_SAYS, 63)}
_FREE_NAMES = {"rbac.authorization.k8s.io"}


def generated_name(prefix: str) -> str:
    """A name from generateName: the prefix, cut to fit, and five random letters."""
    return prefix[:58] + "".join(secrets.choice(SUFFIX_LETTERS) for _ in range(5))


def stamp_new(kind: Kind, metadata: dict[str, Any], now: str) -> None:
    """Give a new object its name, uid, creationTimestamp and generation, and take away what only the server sets."""
    if not metadata.get("name") and metadata.get("generateName"):
        metadata["name"] = generated_name(metadata["generateName"])
    metadata["uid"] = str(uuid.uuid4())
    metadata["creationTimestamp"] = now
    for server_set in ("deletionTimestamp", "deletionGracePeriodSeconds", "selfLink", "resourceVersion", "generation"):
        metadata.pop(server_set, None)
    if kind.generation:
        metadata["generation"] = 1
    if kind.namespaced:
        metadata["namespace"] = metadata.get("namespace") or "default"
    else:
        metadata.pop("namespace", None)


def carry_over(metadata: dict[str, Any], old: dict[str, Any]) -> None:
    """Restore in a changed object what an update may not change."""
    for fixed in ("name", "namespace", "uid", "creationTimestamp", "generateName", "deletionTimestamp", "deletionGracePeriodSeconds", "generation"):
        if fixed in old:
            metadata[fixed] = old[fixed]
        else:
            metadata.pop(fixed, None)


def metadata_causes(kind: Kind, metadata: dict[str, Any]) -> list[dict[str, str]]:
    """What is wrong with an object's metadata, as causes of a 422."""
    name = metadata.get("name")
    if not name:
        return [cause("metadata.name", "Required value: name or generateName is required", "FieldValueRequired")]
    causes = _name_causes(kind, name)
    for key, value in (metadata.get("labels") or {}).items():
        causes += label_causes("metadata.labels", key, value)
    annotations = metadata.get("annotations") or {}
    for key in annotations:
        causes += _key_causes("metadata.annotations", key.lower())
    if sum(len(key) + len(value) for key, value in annotations.items()) > ANNOTATIONS_MAX_BYTES:
        causes.append(cause("metadata.annotations", f"Too long: may not be more than {ANNOTATIONS_MAX_BYTES} bytes", "FieldValueTooLong"))
    for index, owner in enumerate(metadata.get("ownerReferences") or ()):
        for part in ("apiVersion", "kind", "name", "uid"):
            if not owner.get(part):
                causes.append(cause(f"metadata.ownerReferences[{index}].{part}", f"Required value: {part} must not be empty", "FieldValueRequired"))
    return causes


def _name_causes(kind: Kind, name: str) -> list[dict[str, str]]:
    if kind.group in _FREE_NAMES:
        bad = name in (".", "..") or "/" in name or "%" in name
        return [cause("metadata.name", f"Invalid value: \"{name}\": may not contain '/' or '%'")] if bad else []
    rule, says, longest = _NAME_RULES.get(kind.resource, (SUBDOMAIN, SUBDOMAIN_SAYS, 253))
    if len(name) > longest:
        return [cause("metadata.name", f'Invalid value: "{name}": must be no more than {longest} characters')]
    return [] if rule.match(name) else [cause("metadata.name", f'Invalid value: "{name}": {says}')]


def _key_causes(field: str, key: str) -> list[dict[str, str]]:
    prefix, slash, name = key.rpartition("/")
    if slash and (len(prefix) > 253 or not SUBDOMAIN.match(prefix)):
        return [cause(field, f'Invalid value: "{key}": prefix part {SUBDOMAIN_SAYS}')]
    if not name or len(name) > 63 or not QUALIFIED.match(name):
        return [cause(field, f'Invalid value: "{key}": {KEY_SAYS}')]
    return []


def label_causes(field: str, key: str, value: Any) -> list[dict[str, str]]:
    """What is wrong with one label."""
    causes = _key_causes(field, key)
    if not isinstance(value, str) or len(value) > 63:
        return [*causes, cause(field, f'Invalid value: "{value}": must be no more than 63 bytes')]
    if value and not QUALIFIED.match(value):
        causes.append(cause(field, f'Invalid value: "{value}": {VALUE_SAYS}'))
    return causes


def waits_foreground(record: Record) -> bool:
    """Whether an object is being deleted and waits for its dependents."""
    return b'"foregroundDeletion"' in record.body and "foregroundDeletion" in (record.object["metadata"].get("finalizers") or ())


def require_uid_match(kind: Kind, given: dict[str, Any], old: Record) -> None:
    """ApiError 409 when an update names another uid or an outdated resourceVersion."""
    uid = given.get("uid")
    if uid and uid != old.uid:
        raise errors.conflict(kind, old.name, f"Precondition failed: UID in precondition: {uid}, UID in object meta: {old.uid}")
    rv = given.get("resourceVersion")
    if rv and rv != str(old.rv):
        raise errors.stale(kind, old.name)
