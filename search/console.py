"""What a person sees while a search runs: one live table, or plain lines in a pipe."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emgmodels.factory import notation
from search.results import COMPLETE, FAILED, PAUSED, RUNNING, STOPPED, TrialRecord

_STYLES = {RUNNING: "cyan", PAUSED: "dim", COMPLETE: "green", STOPPED: "dim", FAILED: "red"}
_SHOWN = 12
_REFRESH = 0.5
"""Seconds between drawings of the live table."""
_HEARTBEAT = 30.0
"""Seconds between progress lines where there is no terminal."""


class Progress:
    """Shows a search's trials: a live table in a terminal, a line an event anywhere else.

    Args:
        console: where to write.
        trials: trials that the search may train; None: unknown.
        time_budget: seconds that the search may take; None: unlimited.
    """

    def __init__(
        self, console: Console, trials: int | None, time_budget: float | None = None
    ) -> None:
        self.console, self.trials, self.time_budget = console, trials, time_budget
        self._begin = time.monotonic()
        self._drawn = 0.0
        self._live: Live | None = None

    def __enter__(self) -> Progress:
        self._begin = self._drawn = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        return self

    def __exit__(self, *exception: object) -> None:
        if self._live is not None:
            self._live.stop()
            self._live = None

    def update(self, ranking: Callable[[], list[TrialRecord]]) -> None:
        """Show the trials, best first, if it is time to."""
        now = time.monotonic()
        wait = _REFRESH if self._live is not None else _HEARTBEAT
        if now - self._drawn < wait:
            return
        self._drawn = now
        if self._live is not None:
            self._live.update(self._view(ranking()), refresh=True)
        else:
            self._print(self._status(ranking()))

    def ended(self, trial: TrialRecord) -> None:
        """Show that a trial ended, where there is no live table that does."""
        if self._live is None:
            self._drawn = time.monotonic()
            self._print(f"{trial.name}: {_score(trial)}; {trial.reason}")

    def _view(self, ranking: list[TrialRecord]) -> Group:
        return Group(trials_table(ranking[:_SHOWN]), Text(self._status(ranking), style="bold"))

    def _print(self, line: str) -> None:
        self.console.print(line, highlight=False, markup=False, soft_wrap=True)

    def _status(self, ranking: list[TrialRecord]) -> str:
        states = Counter(trial.state for trial in ranking)
        counts = ", ".join(f"{count} {state}" for state, count in sorted(states.items()))
        begun = (
            f"{len(ranking)} of {self.trials} trials" if self.trials else f"{len(ranking)} trials"
        )
        elapsed = duration(time.monotonic() - self._begin)
        left = f" of {duration(self.time_budget)}" if self.time_budget else ""
        best = f"; best {_score(ranking[0])}" if ranking and ranking[0].best else ""
        return f"{elapsed}{left}; {begun} ({counts or 'none yet'}){best}"


def trials_table(ranking: list[TrialRecord], title: str | None = None) -> Table:
    """Return a table of trials in the order given."""
    table = Table(title=title, title_justify="left", expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    table.add_column("epoch", justify="right", no_wrap=True)
    table.add_column("loss", justify="right", no_wrap=True)
    table.add_column("CER %", justify="right", no_wrap=True)
    table.add_column("95 %", justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for rank, trial in enumerate(ranking, start=1):
        last, best = (trial.curve[-1] if trial.curve else None), trial.best
        table.add_row(
            str(rank),
            f"{trial.number:03d}",
            notation(trial.config.model, brief=True),
            f"{trial.epoch}/{trial.config.training.epochs}",
            f"{last['val_loss']:.3f}" if last else "",
            f"{best['val_cer']:.2f}" if best else "",
            f"{trial.interval[0]:.1f} to {trial.interval[1]:.1f}" if trial.interval else "",
            Text(trial.state, style=_STYLES.get(trial.state, "")),
        )
    return table


def duration(seconds: float) -> str:
    """Return seconds as a person says them: 42s, 7m 05s, 3h 20m."""
    whole = int(seconds)
    if whole < 60:
        return f"{whole}s"
    if whole < 3600:
        return f"{whole // 60}m {whole % 60:02d}s"
    return f"{whole // 3600}h {whole % 3600 // 60:02d}m"


def _score(trial: TrialRecord) -> str:
    best = trial.best
    return f"CER {best['val_cer']:.2f} % at epoch {best['epoch']:.0f}" if best else "no CER"
