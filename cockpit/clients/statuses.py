"""What an API server said no with -> the error that says it to a person."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cockpit.errors import ActionFailed, CockpitError, Conflict, Forbidden, Gone, Invalid, NotAuthorised, NotFound, NotServed, Unreachable

MESSAGE_CHARS = 2000
UNSERVED = "the server could not find the requested resource"


def error_of(code: int, body: bytes, method: str, path: str, retry_after: str = "") -> CockpitError:
    """The error for an answer of 400 or more; the Status message is kept, cut to 2000 characters.

    409 AlreadyExists is an ActionFailed with the code `already-exists`, 429 one with `too-many-requests`.
    """
    status = _status(body)
    message = _message(status, body, code, method, path)
    if code == 404:
        return _not_found(status, message, path)
    if code == 409:
        if status.get("reason") == "AlreadyExists":
            return coded(ActionFailed(message, "choose another name, or remove the object first"), "already-exists")
        return Conflict(message, "the object changed meanwhile: look again and repeat")
    if code == 429:
        return coded(ActionFailed(message, f"try again in {retry_after} s" if retry_after.isdigit() else "try again later"), "too-many-requests")
    kind, hint = _KINDS.get(code, (ActionFailed, "") if code < 500 else (ActionFailed, "the API server failed; see its log"))
    return kind(message, hint)


_KINDS: Mapping[int, tuple[type[CockpitError], str]] = {
    400: (Invalid, ""),
    401: (NotAuthorised, "the credentials are not accepted or have expired: log in again"),
    403: (Forbidden, "ask for a role that allows it (kubectl auth can-i shows what you may)"),
    406: (Invalid, ""),
    410: (Gone, ""),
    413: (Invalid, "the object is too large"),
    415: (Invalid, ""),
    422: (Invalid, ""),
    502: (Unreachable, "what the API server should reach for us does not answer"),
    503: (Unreachable, "the API server, or what it should reach for us, is not ready"),
    504: (Unreachable, "the API server ran out of time; try again"),
}


def coded(error: CockpitError, code: str) -> CockpitError:
    """The same error under a code of its own."""
    error.code = code
    return error


def _status(body: bytes) -> Mapping[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) and (found.get("kind") == "Status" or "reason" in found) else {}


def _message(status: Mapping[str, Any], body: bytes, code: int, method: str, path: str) -> str:
    said = status.get("message") or body.decode("utf-8", "replace").strip() or "no reason given"
    text = str(said)[:MESSAGE_CHARS]
    return text if status.get("message") else f"{method} {path.split('?', 1)[0]} answered {code}: {text[:300]}"


def _not_found(status: Mapping[str, Any], message: str, path: str) -> CockpitError:
    details = status.get("details")
    named = isinstance(details, dict) and bool(details.get("name"))
    if not status or (not named and UNSERVED in message):
        return unserved(path)
    return NotFound(message)


def unserved(path: str) -> NotServed:
    """What is said of a path that the cluster has no resource for."""
    return NotServed(f"{_resource(path)} is not served by this cluster", "install its controller and CRDs, or choose another cluster")


def _resource(path: str) -> str:
    """`plural.group` of an API path."""
    parts = [part for part in path.split("?", 1)[0].split("/") if part]
    group = parts[1] if len(parts) > 1 and parts[0] == "apis" else ""
    rest = parts[3:] if parts[:1] == ["apis"] else parts[2:]
    if rest[:1] == ["namespaces"] and len(rest) > 2:
        rest = rest[2:]
    plural = rest[0] if rest else path
    return f"{plural}.{group}" if group else plural
