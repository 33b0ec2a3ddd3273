"""The engine all verbs share: what an action is, what a plan is, and how one is applied.

An action either plans changes or streams records; there is no third kind. A plan is pure: the same picture and parameters give the
same plan, and what was confirmed is what is done.
"""

from __future__ import annotations

import dataclasses
import enum
import importlib
import json
import pkgutil
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from actions.core.params import Param, nearest, param, params_of, parse
from cockpit.errors import BadInput, CockpitError
from cockpit.model import Finding
from cockpit.snapshot import Snapshot

if TYPE_CHECKING:
    from cockpit.store import Fact

__all__ = [
    "Action",
    "Change",
    "Clients",
    "Column",
    "Outcome",
    "Param",
    "Plan",
    "Result",
    "Risk",
    "Target",
    "load",
    "names",
    "param",
    "params_of",
    "parse",
]

JSON_PATCH = "application/json-patch+json"
MERGE_PATCH = "application/merge-patch+json"
APPLY_PATCH = "application/apply-patch+yaml"


class Risk(enum.Enum):
    """How an action is confirmed: READ never, CHANGE by y, DESTROY by a dialog that names what dies, SPEND by typing the name next to $/h."""

    READ = "read"
    CHANGE = "change"
    DESTROY = "destroy"
    SPEND = "spend"


@dataclass(frozen=True)
class Target:
    """What a change touches: a Kubernetes object, or for `shell` the program."""

    kind: str
    name: str
    namespace: str = ""
    group: str = ""
    version: str = "v1"
    plural: str = ""

    @property
    def resource(self) -> str:
        """`plural.group`, as kubectl writes it."""
        return f"{self.plural}.{self.group}" if self.group else self.plural

    def path(self, with_name: bool = True) -> str:
        """The API path of the object, or of its collection."""
        root = f"/apis/{self.group}/{self.version}" if self.group else f"/api/{self.version}"
        space = f"/namespaces/{self.namespace}" if self.namespace else ""
        return f"{root}{space}/{self.plural}" + (f"/{self.name}" if with_name else "")

    def __str__(self) -> str:
        return f"{self.kind.lower()}/{self.name}" + (f" -n {self.namespace}" if self.namespace else "")


@dataclass(frozen=True)
class Change:
    """One step of a plan. `via` kube | shell | checkpoints | journal | aws | file.

    `verb` is create | apply | patch | delete | evict | wait | remove | run | keep | write.

    `line` is the command it stands for.
    `resource_version` is the one it was planned from: when the object has moved since, applying it is a Conflict. `inverse` undoes it, None when
    nothing can. `summary` is the one line a person reads; `argv` is for `shell`, whose program
    reads `body` as YAML on its standard input and has `env` besides ours; for `aws` the body says which call of cockpit.clients.aws it is. `holes`
    are names in the body that only an earlier AWS step of the same plan can fill. A delete with a `selector` takes every object of the target's
    kind that carries those labels and fields, however many there are; a wait is over when there is none, or, with a `body`, when the object says
    what the body says. `grace_seconds` is how long objects may take to end, or how long a wait or an eviction that is refused goes on. A `settling`
    step makes the ones before it take effect: it comes after them also when they are undone. `sealed` names keys of a Secret and where their
    values are read as it is made, `env:NAME` or `prompt`: no plan holds them.
    """

    via: str
    verb: str
    target: Target
    summary: str
    line: str = ""
    body: Mapping[str, Any] | None = None
    content_type: str = MERGE_PATCH
    resource_version: str = ""
    before: Mapping[str, Any] | None = None
    after: Mapping[str, Any] | None = None
    inverse: Change | None = None
    argv: tuple[str, ...] = ()
    env: Mapping[str, str] = field(default_factory=dict)
    holes: tuple[str, ...] = ()
    grace_seconds: int | None = None
    selector: str = ""
    field_selector: str = ""
    settling: bool = False
    wait_gone: bool = False
    sealed: Mapping[str, str] = field(default_factory=dict)

    def to_dict(self) -> dict[str, Any]:
        """The change as the JSON contract and the journal print it; the data of a Secret never leaves."""
        return {
            "via": self.via,
            "verb": self.verb,
            "object": {"kind": self.target.kind, "namespace": self.target.namespace, "name": self.target.name, "resource": self.target.resource},
            "summary": self.summary,
            "command": self.line,
            "before": self.before,
            "after": self.after,
        }


@dataclass(frozen=True)
class Plan:
    """What will be done, in order; its lines are the preview. `confirm` is the word to type where typing is asked for.

    `simulated` says that what it spends is invented: a SPEND that needs no confirming. `already` says that there is nothing to do. `params` are the
    parameters with every default settled, which is what a wait follows. `risk` is set where this plan is confirmed otherwise than its
    action. `attaches` says that a program takes the terminal over once the changes are made. `undoes` and `finishes` name the journal's entry that it
    undoes or goes on with. `denied` says which steps this person may not take. `real` says that it acts beyond the cluster: what it spends is real
    whatever the cluster says of itself.
    """

    changes: tuple[Change, ...] = ()
    warnings: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    dollars_per_hour: float | None = None
    simulated: bool = False
    confirm: str = ""
    already: str = ""
    params: Any = None
    risk: Risk | None = None
    attaches: bool = False
    undoes: str = ""
    finishes: str = ""
    denied: tuple[str, ...] = ()
    real: bool = False

    def on(self, simulated: bool | None) -> Plan:
        """The plan on a cluster that says of itself that it is SIMULATED: what it spends is invented there."""
        return dataclasses.replace(self, simulated=True, confirm="") if simulated and not self.simulated and not self.real else self

    def lines(self) -> list[str]:
        """The preview: notes, changes, warnings, and what is forbidden."""
        warnings = (f"warning: {text}" for text in self.warnings)
        return [*self.notes, *(change.summary for change in self.changes), *warnings, *(f"forbidden: {text}" for text in self.denied)]


@dataclass(frozen=True)
class Outcome:
    """How a wait stands: `done` with a result, or a line that says what it waits for."""

    done: bool
    ok: bool = True
    line: str = ""
    result: Any = None


@dataclass
class Result:
    """What came of an action; `to_dict` is the JSON object scripts rely on."""

    action: str | None
    ok: bool = True
    dry_run: bool = False
    cluster: str | None = None
    simulated: bool | None = None
    changes: list[dict[str, Any]] = field(default_factory=list)
    result: Any = None
    findings: list[Finding] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)
    error: dict[str, str] | None = None
    journal_id: str | None = None

    def to_dict(self) -> dict[str, Any]:
        """The contract's object."""
        shown = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return shown | {"findings": [finding.to_dict() for finding in self.findings]}


@dataclass(frozen=True)
class Column:
    """A column of a view: the key in its records, the heading, and whether numbers align right; wide ones are shown by `-o wide` only."""

    key: str
    title: str
    right: bool = False
    wide: bool = False


@dataclass(frozen=True)
class Clients:
    """The outside world, handed in: `kube` is a connected cockpit.clients.kube.Kube, `shell` runs programs; None when not asked for.

    `buckets` is a cockpit.clients.object_store.ObjectStore, `aws` a cockpit.clients.aws.Aws. `readonly` says that nothing may be created, not even
    for a moment. `unconnected` is why there is no `kube` for an action that does without. `ask` asks a person for a secret, unseen; None when nobody
    can be asked.
    """

    kube: Any = None
    shell: Any = None
    buckets: Any = None
    aws: Any = None
    readonly: bool = False
    unconnected: CockpitError | None = None
    ask: Callable[[str], str | None] | None = None


def _never(snapshot: Snapshot, params: Any) -> str | None:
    return None


def _no_more(params: Any) -> tuple[str, ...]:
    return ()


@dataclass(frozen=True)
class Action:
    """A verb: `plan` (changes), or `records` (a view or a stream).

    With both, the plan's changes last only as long as its records are read, with the plan's own `params`: they are taken back in every ending.
    `attach` gives the command that takes the terminal over instead, where the plan says so. `verdict` says why the answer that the records give is
    bad, empty when it is not; `finding` is what a record says as the contract words it.

    `needs` names the sources whose rows the plan or view reads, `more_needs` those that only some parameters ask for; one that failed stops the
    action, unless it is among `can_lack` and merely may not be read. `disabled` gives the reason why it does not apply now. `fills` maps the row
    under the cursor to parameters: (row kind, parameter). `follow` says how a wait stands, `explain` why it ended badly. `line` writes one record
    of a stream for a person; where `pipes` says that these parameters make a file of stdout, that is the `text` of a record, and lines go to stderr.
    `look` reads from outside what the plan needs and no source keeps (the checkpoints in a volume): it takes seconds, changes nothing that stays, and
    its facts are applied to the store before `plan` is asked; a plan of a picture without them refuses and says so. `front` names what the action
    works with ("kube" | "shell"; "kube-if-any", "kube-or-why": a cluster where one answers, else it goes without). With `form` its form is always
    shown, with False only where something required is missing. `mends` is the key under which it is offered for a plan that was cut short.
    """

    name: str
    title: str
    params: type
    risk: Risk = Risk.READ
    key: str = ""
    panes: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    more_needs: Callable[[Any], tuple[str, ...]] = _no_more
    look: Callable[[Clients, Snapshot, Any, threading.Event], Iterable[Fact]] | None = None
    can_lack: tuple[str, ...] = ()
    front: tuple[str, ...] = ("kube",)
    plan: Callable[[Snapshot, Any], Plan] | None = None
    records: Callable[[Clients, Snapshot, Any, threading.Event], Iterable[Mapping[str, Any]]] | None = None
    columns: tuple[Column, ...] = ()
    streams: bool = False
    fills: Mapping[str, str] = field(default_factory=dict)
    form: bool | None = None
    mends: str = ""
    disabled: Callable[[Snapshot, Any], str | None] = lambda snapshot, params: None
    follow: Callable[[Snapshot, Any], Outcome] | None = None
    follow_needs: tuple[str, ...] = ()
    explain: Callable[[Clients, Snapshot, Any], str] | None = None
    line: Callable[[Mapping[str, Any], Any], str] | None = None
    attach: Callable[[Clients, Snapshot, Any, threading.Event], tuple[str, ...]] | None = None
    verdict: Callable[[Sequence[Mapping[str, Any]]], str] | None = None
    finding: Callable[[Mapping[str, Any]], Finding | None] | None = None
    pipes: Callable[[Any], bool] = lambda params: False
    doc: str = ""

    def needs_of(self, params: Any) -> tuple[str, ...]:
        """Every source these parameters need."""
        return self.needs + tuple(name for name in self.more_needs(params) if name not in self.needs)

    def risk_of(self, plan: Plan) -> Risk:
        """How this plan is confirmed."""
        return plan.risk or self.risk

    def describe(self) -> dict[str, Any]:
        """The action as `--describe` prints it."""
        return {
            "name": self.name,
            "title": self.title,
            "key": self.key,
            "risk": self.risk.value,
            "doc": self.doc,
            "needs": list(self.needs),
            "params": [one.to_dict() for one in params_of(self.params)],
        }


def names() -> list[str]:
    """Every action's name, read from the folder without importing one."""
    import actions

    return sorted(module.name.replace("_", "-") for module in pkgutil.iter_modules(actions.__path__) if not module.ispkg)


def load(name: str) -> Action:
    """One action by name; BadInput with the nearest name when there is none."""
    known = names()
    if name not in known:
        raise BadInput(f"unknown action {name!r}", nearest(name, known))
    action: Action = importlib.import_module("actions." + name.replace("-", "_")).ACTION
    return action


def all_actions() -> Iterator[Action]:
    """Every action, by name."""
    return map(load, names())


def as_json(value: Any) -> str:
    """Compact JSON, keys as given."""
    return json.dumps(value, separators=(",", ":"), default=str)
