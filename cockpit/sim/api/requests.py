"""One API request: its path taken apart, its verb, who asks, and what form of answer it accepts."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec
import yaml

from cockpit.sim.api import errors
from cockpit.sim.api.errors import ApiError
from cockpit.sim.api.kinds import Kind, Kinds
from cockpit.sim.api.protobufs import decode_protobuf

MASTERS = "system:masters"


class User(NamedTuple):
    """Who asks, and as member of which groups."""

    name: str
    groups: tuple[str, ...]

    @property
    def is_admin(self) -> bool:
        return MASTERS in self.groups


ADMIN = User("system:admin", (MASTERS, "system:authenticated"))
ANONYMOUS = User("system:anonymous", ("system:unauthenticated",))


@dataclass
class Target:
    """What a resource path names."""

    kind: Kind
    version: str
    namespace: str | None = None
    name: str = ""
    subresource: str = ""
    rest: str = ""

    @property
    def api_version(self) -> str:
        return self.kind.api_version_of(self.version)


@dataclass
class Call:
    """A request as the handlers see it."""

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""
    user: User = ADMIN
    target: Target | None = None
    warnings: list[str] = field(default_factory=list)

    @property
    def where(self) -> Target:
        if self.target is None:
            raise errors.no_such_path()
        return self.target

    def flag(self, name: str) -> bool:
        """A boolean query parameter; ApiError 400 when it is neither true nor false."""
        text = self.query.get(name, "")
        if text.lower() not in ("", "0", "1", "t", "f", "true", "false"):
            raise errors.bad_request(f'Invalid value for query parameter {name}: strconv.ParseBool: parsing "{text}": invalid syntax')
        return text.lower() in ("1", "t", "true")

    def number(self, name: str) -> int | None:
        """An integer query parameter, None when absent; ApiError 400 when it is none."""
        text = self.query.get(name, "")
        if not text:
            return None
        if not re.fullmatch(r"-?\d{1,18}", text):
            raise errors.bad_request(f'invalid query parameter {name}: strconv.ParseInt: parsing "{text}": invalid syntax')
        return int(text)

    @property
    def dry_run(self) -> bool:
        asked = self.query.get("dryRun")
        if asked not in (None, "", "All"):
            raise errors.bad_request(f'Invalid value: "{asked}": dryRun: supported values: "All"')
        return asked == "All"

    @property
    def verb(self) -> str:
        """The RBAC verb of the request."""
        named = bool(self.target and self.target.name)
        if self.method == "GET":
            if self.target is None:
                return "get"
            return "get" if named and not self.flag("watch") else "watch" if self.flag("watch") else "list"
        return {"POST": "create", "PUT": "update", "PATCH": "patch", "DELETE": "delete" if named else "deletecollection"}.get(
            self.method, self.method.lower()
        )

    def document(self) -> Any:
        """The decoded body, JSON or YAML; ApiError 400 or 415."""
        return decoded(self.body, self.headers.get("Content-Type", ""))


def decoded(body: bytes, content_type: str) -> Any:
    """A request body as Python values."""
    if "protobuf" in content_type:
        return decode_protobuf(body)
    if "cbor" in content_type:
        raise ApiError(415, "UnsupportedMediaType", f"the body of the request was in an unknown format - accepted media types include: {_TYPES}", {})
    try:
        if "yaml" in content_type:
            return yaml.load(body, Loader=getattr(yaml, "CSafeLoader", yaml.SafeLoader))
        return msgspec.json.decode(body)
    except (msgspec.DecodeError, yaml.YAMLError, UnicodeDecodeError) as problem:
        raise errors.bad_request(f"the object provided is unrecognized (must be of type JSON or YAML): {problem}") from problem


_TYPES = "application/json, application/yaml, application/vnd.kubernetes.protobuf"


def duplicate_fields(body: bytes) -> list[str]:
    """Names that occur twice in one JSON object of the body."""
    found: list[str] = []

    def note(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        names = [name for name, _ in pairs]
        found.extend(name for name in dict.fromkeys(names) if names.count(name) > 1)
        return dict(pairs)

    try:
        json.loads(body, object_pairs_hook=note)
    except ValueError:
        return []
    return found


def parse_target(kinds: Kinds, path: str) -> Target | None:
    """The target of a path below /api/v1 or /apis/GROUP/VERSION; None when it names no served resource."""
    parts = path.strip("/").split("/")
    if parts[0] == "api" and len(parts) >= 3:
        group, version, rest = "", parts[1], parts[2:]
    elif parts[0] == "apis" and len(parts) >= 4:
        group, version, rest = parts[1], parts[2], parts[3:]
    else:
        return None
    namespace: str | None = None
    if rest[0] == "namespaces" and len(rest) > 2 and not (group == "" and rest[2] in ("status", "finalize")):
        namespace, rest = rest[1], rest[2:]
    if rest[0] == "watch" and len(rest) > 1:
        return None
    kind = kinds.at(group, version, rest[0])
    if kind is None or (namespace is not None and not kind.namespaced):
        return None
    name = rest[1] if len(rest) > 1 else ""
    if name and kind.namespaced and namespace is None:
        return None
    subresource = rest[2] if len(rest) > 2 else ""
    return Target(kind, version, namespace, name, subresource, "/".join(rest[3:]))


def impersonated(headers: Mapping[str, str], groups: list[str]) -> User | None:
    """The user that the Impersonate headers ask for."""
    name = headers.get("Impersonate-User")
    if not name:
        return None
    given = list(groups)
    if name.startswith("system:serviceaccount:"):
        given += ["system:serviceaccounts", "system:serviceaccounts:" + name.split(":")[2]]
    if name != ANONYMOUS.name:
        given.append("system:authenticated")
    return User(name, tuple(dict.fromkeys(given)))


class Form(NamedTuple):
    """How an answer should look: as Table, PartialObjectMetadata or the plain object."""

    name: str = ""
    version: str = ""
    group: str = ""

    @property
    def content_type(self) -> str:
        return "application/json"


PLAIN = Form()


def accepted_form(accept: str, choices: tuple[str, ...]) -> Form:
    """The first acceptable form of an Accept header; ApiError 406 when JSON is not acceptable in any."""
    if not accept:
        return PLAIN
    for one in accept.split(","):
        media, *parameters = [part.strip() for part in one.split(";")]
        if media not in ("application/json", "*/*", "application/*", "application/yaml"):
            continue
        options = dict(part.split("=", 1) for part in parameters if "=" in part)
        form = Form(options.get("as", ""), options.get("v", ""), options.get("g", ""))
        if not form.name:
            return PLAIN
        if form.name in choices:
            return form
    raise ApiError(406, "NotAcceptable", f"only the following media types are accepted: {_TYPES}", {})
