"""Failures of the API, in the words and codes of a real kube-apiserver."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from cockpit.sim.api.kinds import Kind


class ApiError(Exception):
    """A request the API refuses: HTTP code, Status reason, message and details as a real server sends them."""

    def __init__(self, code: int, reason: str, message: str, details: dict[str, Any] | None = None) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason
        self.message = message
        self.details = details
        self.continue_token: str | None = None


def status_of(error: ApiError) -> dict[str, Any]:
    """The metav1.Status object of a failure."""
    metadata = {"continue": error.continue_token} if error.continue_token else {}
    status: dict[str, Any] = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": metadata,
        "status": "Failure",
        "message": error.message,
    }
    if error.reason:
        status["reason"] = error.reason
    if error.details:
        status["details"] = error.details
    return {**status, "code": error.code}


def _details(kind: Kind, name: str, **more: Any) -> dict[str, Any]:
    group = {"group": kind.group} if kind.group else {}
    return {"name": name, **group, "kind": kind.plural, **more}


def not_found(kind: Kind, name: str) -> ApiError:
    return ApiError(404, "NotFound", f'{kind.resource} "{name}" not found', _details(kind, name))


def no_such_path() -> ApiError:
    return ApiError(404, "NotFound", "the server could not find the requested resource", {})


def already_exists(kind: Kind, name: str) -> ApiError:
    return ApiError(409, "AlreadyExists", f'{kind.resource} "{name}" already exists', _details(kind, name))


def conflict(kind: Kind, name: str, why: str) -> ApiError:
    message = f'Operation cannot be fulfilled on {kind.resource} "{name}": {why}'
    return ApiError(409, "Conflict", message, _details(kind, name))


def stale(kind: Kind, name: str) -> ApiError:
    return conflict(kind, name, "the object has been modified; please apply your changes to the latest version and try again")


def bad_request(message: str) -> ApiError:
    return ApiError(400, "BadRequest", message)


def forbidden(kind: Kind, name: str, why: str) -> ApiError:
    subject = f'{kind.resource} "{name}"' if name else kind.resource
    return ApiError(403, "Forbidden", f"{subject} is forbidden: {why}", _details(kind, name))


def cause(field: str, why: str, reason: str = "FieldValueInvalid") -> dict[str, str]:
    """One entry of Status.details.causes; `why` is the message without the field."""
    return {"reason": reason, "message": why, "field": field}


def invalid(kind: Kind, name: str, causes: list[dict[str, str]]) -> ApiError:
    """A 422 that lists every field at fault the way apimachinery's field.ErrorList prints."""
    lines = [f"{one['field']}: {one['message']}" for one in causes]
    text = lines[0] if len(lines) == 1 else "[" + ", ".join(lines) + "]"
    subject = f"{kind.kind}.{kind.group}" if kind.group else kind.kind
    details = {**_details(kind, name, causes=causes), "kind": kind.kind}
    return ApiError(422, "Invalid", f'{subject} "{name}" is invalid: {text}', details)


def expired(message: str) -> ApiError:
    return ApiError(410, "Expired", message)


def too_old(asked: int, oldest: int) -> ApiError:
    return ApiError(410, "Expired", f"too old resource version: {asked} ({oldest})")


def method_not_allowed(message: str = "the server does not allow this method on the requested resource") -> ApiError:
    return ApiError(405, "MethodNotAllowed", message, {})
