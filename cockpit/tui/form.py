"""A form out of a params dataclass: one field a parameter, errors on the field they are about, and the plan itself while typing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from textual import events
from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical, VerticalScroll
from textual.screen import ModalScreen
from textual.suggester import SuggestFromList
from textual.widgets import Input, Static

from actions.core import Action, Param, Plan, params_of, parse
from cockpit.errors import CockpitError
from cockpit.inert import inert
from cockpit.snapshot import Snapshot
from cockpit.tui.cells import Part, Tone, dollars
from cockpit.tui.confirm import joined, plan_lines
from cockpit.tui.lines import content

FLAG = re.compile(r"--([a-z][a-z0-9-]*)")
PREVIEW_SECONDS = 0.15
MANIFEST_LINES = 300
LATER: list[Part] = [("what is there is read first, then the plan is shown", Tone.MUTED)]
KEYS: list[Part] = [
    ("⏎", Tone.INFO),
    (" go on  ", Tone.MUTED),
    ("→", Tone.INFO),
    (" take the suggestion  ", Tone.MUTED),
    ("^n", Tone.INFO),
    (" next choice  ", Tone.MUTED),
    ("esc", Tone.INFO),
    (" leave", Tone.MUTED),
]


def picks(snapshot: Snapshot, kind: str) -> list[str]:
    """The names a field offers: rows of the snapshot by kind."""
    if kind == "namespaces":
        return sorted({key.namespace for key in snapshot.jobs} | {key.namespace for key in snapshot.queues if key.namespace} | {"default"})
    if kind == "devices":
        return sorted(inert(gpu.uuid, 253) for gpu in snapshot.gpus.values() if gpu.uuid)
    rows = getattr(snapshot, kind, None)
    return sorted({inert(str(getattr(key, "name", key)), 253) for key in rows}) if rows is not None else []


def blamed(error: CockpitError, names: Mapping[str, Any]) -> str:
    """The field an error is about; empty when it is about the whole."""
    for flag in FLAG.findall(f"{error.message} {error.hint}"):
        name = flag.replace("-", "_")
        if name in names:
            return str(name)
    return ""


class Field(Vertical):
    """One parameter: its name, an input that completes from what is there, its help, and its error."""

    def __init__(self, one: Param, value: str, offers: list[str]) -> None:
        super().__init__(classes="field", id=f"field-{one.name}")
        self.one, self.value, self.offers = one, value, offers

    def compose(self) -> ComposeResult:
        with Horizontal(classes="row"):
            yield Static(content([(self.one.name.replace("_", " "), Tone.MUTED), (" *" if self.one.required else "", Tone.INFO)]), classes="name")
            suggester = SuggestFromList(self.offers, case_sensitive=False) if self.offers else None
            yield Input(self.value, placeholder=self._placeholder(), suggester=suggester, id=f"input-{self.one.name}")
        yield Static("", classes="error -empty")

    def _placeholder(self) -> str:
        default = self.one.default
        shown = "" if self.one.required or default in (None, "", ()) else ", ".join(default) if isinstance(default, tuple) else str(default)
        return shown or inert(self.one.help, 80)

    def complain(self, text: str) -> None:
        """Show or clear the error under the field."""
        error = self.query_one(".error", Static)
        error.set_class(not text, "-empty")
        error.update(content([("✖ " + text, Tone.BAD)]) if text else "")


class FormScreen(ModalScreen[tuple[Any, Plan] | None]):
    """Gives (params, plan) when everything is right, None when left."""

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape", "leave", "Leave", priority=True),
        Binding("ctrl+j,ctrl+s", "go", "Go on", priority=True),
        # Taken before the field gets them, so that what is typed in the same breath goes into the next field.
        Binding("down,tab", "app.focus_next", "Next field", show=False, priority=True),
        Binding("up,shift+tab", "app.focus_previous", "Previous field", show=False, priority=True),
        Binding("ctrl+n", "offer(1)", "Next choice", show=False, priority=True),
    ]

    def __init__(self, action: Action, snapshot: Snapshot, values: Mapping[str, str]) -> None:
        super().__init__()
        self.verb, self.snapshot, self.given = action, snapshot, dict(values)
        self.ready: tuple[Any, Plan] | None = None
        self._timer: Any = None

    def compose(self) -> ComposeResult:
        with Vertical(classes="dialog", id="form") as box:
            box.border_title = content([(self.verb.title, Tone.STRONG)]).markup
            with VerticalScroll(id="fields", can_focus=False):
                for one in params_of(self.verb.params):
                    yield Field(one, self.given.get(one.name, ""), list(one.choices) or picks(self.snapshot, one.picks))
            yield Static("", id="preview")
            yield Static(content(KEYS), id="form-keys")
            yield Static("", id="form-help")

    def on_mount(self) -> None:
        """Start at the first field that needs a value."""
        inputs = list(self.query(Input))
        first = next((one for one in inputs if not one.value), inputs[0] if inputs else None)
        if first is not None:
            first.focus()
        self.judge()

    def on_descendant_focus(self, event: events.DescendantFocus) -> None:
        """Say what the focused field is for."""
        field = next((one for one in self.query(Field) if event.widget in list(one.query(Input))), None)
        if field is not None:
            offers = " · ".join(field.offers[:8])
            parts: list[Part] = [(field.one.help, Tone.PLAIN), (f"  {offers}" if offers else "", Tone.MUTED)]
            self.query_one("#form-help", Static).update(content(parts, 200), layout=False)

    def on_input_changed(self) -> None:
        """Plan again shortly after the last key."""
        if self._timer is not None:
            self._timer.stop()
        self._timer = self.set_timer(PREVIEW_SECONDS, self.judge)

    def on_input_submitted(self) -> None:
        """Enter goes on when everything is right."""
        self.action_go()

    def values(self) -> dict[str, str]:
        """What the fields say; empty fields are left to their defaults."""
        return {field.one.name: text for field in self.query(Field) if (text := field.query_one(Input).value.strip())}

    def judge(self) -> None:
        """Parse and plan what stands in the fields; the same plan is what will be confirmed."""
        fields = {field.one.name: field for field in self.query(Field)}
        self.ready, blame, text = None, "", ""
        yaml: list[list[Part]] = []
        try:
            params = parse(self.verb.params, self.values())
            plan = self.verb.plan(self.snapshot, params) if self.verb.plan and self.verb.look is None else Plan()
            self.ready = (params, plan)
            lines = plan_lines(plan) if self.verb.look is None else [LATER]
            yaml = manifest_lines(plan)
            if plan.dollars_per_hour is not None and not any("/h" in note for note in plan.notes):
                lines.append([("costs ", Tone.MUTED), (dollars(plan.dollars_per_hour), Tone.STRONG)])
        except CockpitError as error:
            blame, text = blamed(error, fields), f"{error.message}. {error.hint}".rstrip(". ")
            lines = [[("nothing to do yet", Tone.MUTED)]] if blame else _failed(error)
        for name, field in fields.items():
            field.complain(text if name == blame else "")
        self.query_one("#preview", Static).update(joined([[("What will be done", Tone.MUTED)], [("", Tone.PLAIN)], *lines, *yaml]))

    def action_leave(self) -> None:
        self.dismiss(None)

    def action_go(self) -> None:
        self.judge()
        if self.ready is not None:
            self.dismiss(self.ready)

    def action_offer(self, step: int) -> None:
        """Turn through what the focused field offers."""
        entry = self.focused
        field = next((one for one in self.query(Field) if entry is not None and one.query_one(Input) is entry), None)
        if field is None or not field.offers:
            return
        box = field.query_one(Input)
        at = field.offers.index(box.value) if box.value in field.offers else -1
        box.value = field.offers[(at + step) % len(field.offers)]


def manifest_lines(plan: Plan) -> list[list[Part]]:
    """The objects a plan makes, as YAML under a heading; what a change keeps to itself, as the data of a Secret, is not in it."""
    import yaml

    made = [dict(change.after) for change in plan.changes if change.verb in ("create", "apply") and change.after and "kind" in change.after]
    if not made:
        return []
    dumper = getattr(yaml, "CSafeDumper", yaml.SafeDumper)
    text = yaml.dump_all(made, Dumper=dumper, sort_keys=False, default_flow_style=False, width=160)
    return [[("", Tone.PLAIN)], [("Manifest", Tone.MUTED)], *([(line, Tone.TRACK)] for line in text.splitlines()[:MANIFEST_LINES])]


def _failed(error: CockpitError) -> list[list[Part]]:
    lines: list[list[Part]] = [[("✖ ", Tone.BAD), (error.message, Tone.BAD)]]
    return [*lines, [("→ " + error.hint, Tone.MUTED)]] if error.hint else lines
