"""Every failure the cockpit can name, and the exit code a script sees for it.

CockpitError                    exit 1
├── BadInput                    exit 2   a flag, parameter, manifest or choice that cannot be right
│   └── BadKubeconfig           exit 3   the kubeconfig is there and cannot be used
├── Unreachable                 exit 3   the API (or AWS, Prometheus, ...) did not answer
│   ├── NoKubeconfig            exit 3   nothing to connect to
│   └── Gone                    exit 3   410: the resourceVersion or continue token has expired; list again
├── NotAuthorised               exit 3   401 or an exec plugin that failed
│   └── Forbidden               exit 3   403
├── ActionFailed                exit 1   the server or a tool said no half-way
│   ├── NotFound                exit 1   404
│   ├── NotServed               exit 1   the resource (a CRD) is not served by this cluster
│   └── Invalid                 exit 1   422 or 400: the server will not take this object
├── Refused                     exit 4   the cockpit itself will not: read-only, needs --yes, arithmetic
│   ├── Conflict                exit 4   409: the world moved since the plan was made
│   └── Disabled                exit 4   the action does not apply to this row, with its reason
├── VerdictBad                  exit 5   done, and the answer is bad
├── TimedOut                    exit 124
└── Interrupted                 exit 130
"""

from __future__ import annotations


class CockpitError(Exception):
    """A failure with a stable code, one clear line, and how to mend it."""

    code = "failed"
    exit_code = 1

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def to_dict(self) -> dict[str, str]:
        """The `error` object of the JSON contract: code, message, hint."""
        return {"code": self.code, "message": self.message, "hint": self.hint}


class BadInput(CockpitError):
    """What was given cannot be right; the hint names the nearest valid choice."""

    code = "bad-input"
    exit_code = 2


class BadKubeconfig(BadInput):
    """A kubeconfig that cannot be read or lacks what it names."""

    code = "bad-kubeconfig"
    exit_code = 3


class Unreachable(CockpitError):
    """Nothing answered at the address that was tried."""

    code = "unreachable"
    exit_code = 3


class NoKubeconfig(Unreachable):
    """There is no kubeconfig, and this is not a pod."""

    code = "no-kubeconfig"


class Gone(Unreachable):
    """410: the resourceVersion or continue token is too old."""

    code = "gone"


class NotAuthorised(CockpitError):
    """401, or a credential plugin that failed."""

    code = "not-authorised"
    exit_code = 3


class Forbidden(NotAuthorised):
    """403: known to the API, and not allowed."""

    code = "forbidden"


class ActionFailed(CockpitError):
    """The server or a tool refused after the plan was confirmed."""

    code = "action-failed"


class NotFound(ActionFailed):
    """404: the named object does not exist."""

    code = "not-found"


class NotServed(ActionFailed):
    """The cluster serves no such resource: a CRD is missing."""

    code = "not-served"


class Invalid(ActionFailed):
    """400 or 422: the server will not take this object."""

    code = "invalid"


class Refused(CockpitError):
    """The cockpit will not do this, and says why."""

    code = "refused"
    exit_code = 4


class Conflict(Refused):
    """409: the object changed since the plan was made."""

    code = "conflict"


class Disabled(Refused):
    """The action does not apply to its target now."""

    code = "disabled"


class VerdictBad(CockpitError):
    """The question was answered, and the answer is bad."""

    code = "verdict-bad"
    exit_code = 5


class TimedOut(CockpitError):
    """The time allowed has passed."""

    code = "timeout"
    exit_code = 124


class Interrupted(CockpitError):
    """The person pressed ctrl-c."""

    code = "interrupted"
    exit_code = 130
