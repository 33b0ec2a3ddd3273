"""The one dialog between a plan and its doing; what it shows was captured when it opened, and that is what is done."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from textual.app import ComposeResult
from textual.binding import Binding, BindingType
from textual.containers import Horizontal, Vertical
from textual.content import Content
from textual.screen import ModalScreen
from textual.widgets import Button, Input, Static

from actions.core import Action, Plan, Risk
from cockpit.tui.cells import Part, Tone, dollars
from cockpit.tui.lines import content
from cockpit.tui.status import Place

HEADS: Mapping[Risk, tuple[str, Tone]] = {
    Risk.READ: ("", Tone.PLAIN),
    Risk.CHANGE: ("This can be undone.", Tone.MUTED),
    Risk.DESTROY: ("✖ This destroys what it names; nothing brings it back.", Tone.BAD),
    Risk.SPEND: ("▲ This spends money while it runs.", Tone.WARN),
}
INVENTED: Part = ("Its price is SIMULATED: nothing is spent.", Tone.WARN)


def plan_lines(plan: Plan) -> list[list[Part]]:
    """The preview: each change and the command it stands for, then warnings."""
    lines: list[list[Part]] = [[(note, Tone.MUTED)] for note in plan.notes]
    for change in plan.changes:
        lines.append([("• ", Tone.INFO), (change.summary, Tone.STRONG)])
        if change.line:
            lines.append([("  $ ", Tone.TRACK), (change.line, Tone.MUTED)])
    lines += [[("▲ ", Tone.WARN), (text, Tone.WARN)] for text in plan.warnings]
    lines += [[("✖ forbidden: ", Tone.BAD), (text, Tone.BAD)] for text in plan.denied]
    if plan.already:
        lines.append([("✓ ", Tone.GOOD), (plan.already, Tone.PLAIN)])
    return lines


def joined(lines: list[list[Part]]) -> Content:
    """Lines of pieces as one content."""
    return Content("\n").join([content(line) for line in lines])


class ConfirmScreen(ModalScreen[bool]):
    """CHANGE: y or n. DESTROY: Cancel has the focus. SPEND: the name must be typed next to its price.

    Whether this person may take every step is asked while the plan is read: an answer given before that is known waits for it (`judged`).
    """

    BINDINGS: ClassVar[list[BindingType]] = [
        Binding("escape,n", "answer(False)", "Cancel"),
        Binding("y", "answer(True)", "Yes"),
        Binding("left,up", "app.focus_previous", "Previous", show=False),
        Binding("right,down", "app.focus_next", "Next", show=False),
    ]

    def __init__(self, action: Action, plan: Plan, place: Place) -> None:
        super().__init__()
        self.verb, self.plan, self.place, self.risk = action, plan, place, action.risk_of(plan)
        self._known, self._agreed = False, False

    @property
    def typed(self) -> bool:
        """True when a word has to be typed."""
        return self.risk is Risk.SPEND and bool(self.plan.confirm)

    def compose(self) -> ComposeResult:
        danger = {Risk.DESTROY: "-danger", Risk.SPEND: "-spend"}.get(self.risk, "")
        with Vertical(classes=f"dialog {danger}", id="confirm") as box:
            targets = len(self.plan.changes)
            box.border_title = content([(self.verb.title, Tone.STRONG), (f" ({targets} changes)" if targets > 1 else "", Tone.MUTED)]).markup
            yield Static(joined([self._where(), self._head()]), id="where")
            yield Static(joined(plan_lines(self.plan)), classes="plan", id="plan")
            if self.typed:
                yield Static(joined([self._ask()]))
                yield Input(id="typed", placeholder=self.plan.confirm)
            with Horizontal(classes="buttons"):
                yield Button("Cancel (n)", id="no")
                yield Button(f"{self.verb.title} (y)", id="yes", classes=danger, disabled=self.typed)

    def judged(self, plan: Plan) -> None:
        """The same plan, with the steps that are forbidden: then it cannot be agreed to."""
        self._known, changed, self.plan = True, plan != self.plan, plan
        if not self.is_attached:
            return
        if changed:
            self.query_one("#plan", Static).update(joined(plan_lines(plan)))
        if plan.denied:
            self._agreed = False
            self.query_one("#yes", Button).disabled = True
            self.query_one("#no").focus()
        elif self._agreed:
            self.dismiss(True)

    def answer(self, yes: bool) -> None:
        """Leave with this answer; a yes waits until it is known that every step is allowed."""
        if not yes or (self._known and not self.plan.denied):
            self.dismiss(yes)
        elif not self._known:
            self._agreed = True

    def on_mount(self) -> None:
        """The safe thing has the focus."""
        self.query_one("#typed" if self.typed else "#no" if self.risk is Risk.DESTROY else "#yes").focus()

    def _where(self) -> list[Part]:
        parts: list[Part] = [("on ", Tone.MUTED), (self.place.cluster or "no cluster", Tone.STRONG)]
        spaces = sorted({change.target.namespace for change in self.plan.changes if change.target.namespace})
        if spaces:
            parts += [(" · namespace ", Tone.MUTED), (", ".join(spaces), Tone.STRONG)]
        if self.place.simulated:
            parts.append((" · SIMULATED", Tone.WARN))
        return parts

    def _head(self) -> list[Part]:
        return [INVENTED if self.risk is Risk.SPEND and self.plan.simulated else HEADS[self.risk]]

    def _ask(self) -> list[Part]:
        price = f"It costs {dollars(self.plan.dollars_per_hour)}. " if self.plan.dollars_per_hour is not None else "Its price is not known. "
        return [(price, Tone.WARN), ("Type ", Tone.PLAIN), (self.plan.confirm, Tone.STRONG), (" to go on.", Tone.PLAIN)]

    def on_input_changed(self, event: Input.Changed) -> None:
        """Only the whole word opens the way."""
        self.query_one("#yes", Button).disabled = event.value.strip() != self.plan.confirm or bool(self.plan.denied)

    def on_input_submitted(self, event: Input.Submitted) -> None:
        """Enter after the word goes on."""
        if event.value.strip() == self.plan.confirm:
            self.answer(True)

    def on_button_pressed(self, event: Button.Pressed) -> None:
        """A button is an answer."""
        self.answer(event.button.id == "yes")

    def action_answer(self, yes: bool) -> None:
        """y is an answer only where nothing has to be typed or read twice."""
        if not yes or self.risk in (Risk.CHANGE, Risk.READ) or not (self.typed or self.risk is Risk.DESTROY):
            self.answer(yes)
        elif self.risk is Risk.DESTROY and not self.plan.denied:
            self.query_one("#yes", Button).focus()
