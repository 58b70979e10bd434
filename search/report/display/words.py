"""Values in words: numbers, durations, intervals, names of settings."""

from __future__ import annotations

import math

from rich.console import Console

from emgmodels.saying import say


def setting(name: str) -> str:
    """Return a setting's dotted name as a reader says it: ``recurrent layers``."""
    short = name.removeprefix("model.").removeprefix("encoder.").removeprefix("training.")
    return short.replace("features.", "").replace(".", " ").replace("_", " ")


def number(value: float, digits: int = 2) -> str:
    """Return a number for a person, a dash where there is none."""
    return f"{value:.{digits}f}" if math.isfinite(value) else "–"


def interval(low: float, high: float) -> str:
    """Return an interval for a person, a dash where there is none."""
    return f"{low:.1f} to {high:.1f}" if math.isfinite(low) else "–"


def lookahead(milliseconds: float) -> str:
    """Return a look-ahead for a person."""
    return f"{milliseconds:.0f} ms" if math.isfinite(milliseconds) else "whole window"


__all__ = [
    "duration",
    "interval",
    "lookahead",
    "number",
    "say",
    "setting",
    "with_room",
]
_PIPED_WIDTH = 140
"""Characters of a line where output goes into a file or a pipe, at least."""


def with_room(console: Console) -> Console:
    """Return a console on which tables have room, also where no terminal says how wide it is."""
    if console.is_terminal:
        return console
    width = max(console.width, _PIPED_WIDTH)
    return Console(file=console.file, width=width, quiet=console.quiet)


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 42s, 7m 05s, 3h 20m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"
