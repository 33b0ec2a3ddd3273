"""One palette: slate and one blue while all is well; amber and red only when something is not."""

from __future__ import annotations

from textual.theme import Theme

BACKGROUND = "#10141b"
FRAME = "#2b3543"
ACCENT = "#7aa7e0"
TEXT = "#c3ccd8"
QUIET = "#6f7d8f"

COCKPIT = Theme(
    name="cockpit",
    primary=ACCENT,
    secondary="#5fb3a6",
    accent=ACCENT,
    success="#7fae83",
    warning="#e0b15c",
    error="#ea6a70",
    foreground=TEXT,
    background=BACKGROUND,
    surface="#151b24",
    panel="#1b2330",
    dark=True,
    variables={
        "frame": FRAME,
        "frame-focus": ACCENT,
        "quiet": QUIET,
        "text-muted": QUIET,
        "strong": "#e6edf5",
        "track": "#2c3848",
        "bar": "#5b8fc9",
        "cursor": "#243449",
        "cursor-idle": "#182029",
        "heat0": "#3a4657",
        "heat1": "#3f6277",
        "heat2": "#428089",
        "heat3": "#4b9e93",
        "heat4": "#69bb94",
        "heat5": "#96d699",
        "scrollbar": "#2b3543",
        "scrollbar-hover": "#3a4759",
        "scrollbar-active": ACCENT,
        "scrollbar-background": BACKGROUND,
        "scrollbar-background-hover": BACKGROUND,
        "scrollbar-background-active": BACKGROUND,
        "scrollbar-corner-color": BACKGROUND,
        "border": ACCENT,
        "border-blurred": FRAME,
        "input-cursor-background": ACCENT,
        "input-selection-background": "#7aa7e0 30%",
    },
)
