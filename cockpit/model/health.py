"""What is said about the cluster: events, what it serves, findings, what an action read, and how far a source may be believed."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Any

from msgspec import Struct, field

from cockpit.errors import CockpitError, Forbidden
from cockpit.model.keys import PodKey


class Event(Struct, frozen=True, gc=False):
    """A Kubernetes event, kept also after its object is gone."""

    key: PodKey
    involved_kind: str
    involved_namespace: str
    involved_name: str
    reason: str
    message: str
    type: str = "Normal"
    count: int = 1
    at: float | None = None
    source: str = ""


class Served(Struct, frozen=True, gc=False):
    """A resource (`plural.group`) this cluster serves; `fields` maps dotted spec paths of its schema, three levels deep, to their types."""

    resource: str
    group: str
    version: str
    kind: str
    namespaced: bool = True
    fields: Mapping[str, str] = field(default_factory=dict)


class Runtime(Struct, frozen=True, gc=False):
    """A TrainingRuntime (namespace set) or ClusterTrainingRuntime (namespace empty)."""

    key: PodKey
    resource_version: str
    framework: str = ""
    deprecated: bool = False


class Answer(Struct, frozen=True):
    """What something outside the cluster, or an object that no source keeps, said when an action looked; `why` it said nothing, None when it did.

    `key` names the question (`aws:subnets`, `helm`, `tool:eksctl`); `value` is plain data or nouns of cloud.py.
    """

    key: str
    value: Any = None
    why: CockpitError | None = None


class Applied(Struct, frozen=True):
    """A plan of the past, out of the journal: `entry` as it was read back, `here` whether it was applied to this cluster."""

    id: str
    at: float
    entry: Any
    here: bool | None = None


class Observed(Struct, frozen=True):
    """An object as it was read just now, by its API path: None when it is not there, `error` when it could not be read."""

    path: str
    object: Mapping[str, Any] | None = None
    error: str = ""


class Finding(Struct, frozen=True, gc=False):
    """Something wrong or worth saying: stable id, severity error | warning | info, one sentence, evidence lines, and how to mend it."""

    id: str
    severity: str
    message: str
    object: str = ""
    evidence: tuple[str, ...] = ()
    remedy: str = ""

    def to_dict(self) -> dict[str, Any]:
        """The finding as the JSON contract prints it."""
        return {
            "id": self.id,
            "severity": self.severity,
            "message": self.message,
            "object": self.object,
            "evidence": list(self.evidence),
            "remedy": self.remedy,
        }


class State(enum.Enum):
    """How much a source may be believed now."""

    STARTING = "starting"
    LIVE = "live"
    STALE = "stale"
    DOWN = "down"
    ABSENT = "absent"


class Health(Struct, frozen=True):
    """A source's state: `since` is when it last heard from the outside (epoch seconds), `error` why it is stale, down or absent.

    `scope` is the only namespace that may be listed (empty: all of them), `unread` the resources of the source that may not be listed at all,
    `part` says how much is read where the source does not read everything (empty: all of it).
    """

    state: State = State.STARTING
    since: float | None = None
    error: CockpitError | None = None
    scope: str = ""
    unread: tuple[str, ...] = ()
    part: str = ""

    @property
    def believed(self) -> bool:
        """True when the rows of this source are fresh and complete within its scope."""
        return self.state is State.LIVE

    @property
    def forbidden(self) -> bool:
        """True when nothing of the source may be listed."""
        return self.state is State.DOWN and isinstance(self.error, Forbidden)

    def limits(self) -> str:
        """What is not seen and why, in words; empty when all is."""
        scope = f"only namespace {self.scope}: listing all is forbidden" if self.scope else ""
        unread = f"{', '.join(self.unread)} may not be listed" if self.unread else ""
        return "; ".join(filter(None, (scope, unread, self.part)))
