"""What a person sees while a search runs: a live table in a terminal or notebook, else lines."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from search.display.ranking import About, View, ranking
from search.display.table import Table
from search.display.words import duration, say
from search.results.record import TrialRecord
from search.results.trial_row import rows_of

_SHOWN = 12
_CELL_WIDTH = 110
_CELL = '<pre style="white-space:pre;overflow-x:auto;line-height:normal">{code}</pre>'
_REFRESH = 0.5
"""Seconds between drawings of the live table."""
_HEARTBEAT = 30.0
"""Seconds between progress lines where there is no terminal."""


class Progress:
    """Shows a search's trials: a live table in a terminal or a notebook, else a line an event.

    Args:
        console: where to write.
        trials: trials that the search may train; None: unknown.
        time_budget: seconds that the search may take; None: unlimited.
        verbose: write a line for each epoch too.
    """

    def __init__(
        self,
        console: Console,
        trials: int | None,
        time_budget: float | None = None,
        verbose: bool = False,
    ) -> None:
        self.console, self.trials, self.time_budget = console, trials, time_budget
        self.verbose = verbose
        self._begin = time.monotonic()
        self._drawn = 0.0
        self._live: Live | _Cell | None = None

    def __enter__(self) -> Progress:
        self._begin = self._drawn = time.monotonic()
        if self.console.is_terminal:
            self._live = Live(console=self.console, auto_refresh=False, transient=True)
            self._live.start()
        elif self.console.is_jupyter and not self.console.quiet:
            self._live = _Cell()
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
            say(self.console, self._status(ranking()))

    def reported(self, trial: TrialRecord) -> None:
        """Show an epoch, where the user asked for every one."""
        if self.verbose:
            row = trial.curve[-1]
            say(
                self.console,
                f"{trial.name}: epoch {trial.epoch}/{trial.config.training.epochs}, "
                f"CER {row['val_cer']:.2f} %, loss {row['train_loss']:.3f} in training and "
                f"{row['val_loss']:.3f} in validation, {duration(row['seconds'])} on {trial.node}",
            )

    def ended(self, trial: TrialRecord) -> None:
        """Show that a trial ended, where there is no live table that does."""
        if self._live is None:
            self._drawn = time.monotonic()
            say(self.console, f"{trial.name}: {_score(trial)}; {trial.reason}")

    def ending(self, why: str) -> None:
        """Say at once that the search ends before its time, and what is waited for."""
        say(
            self.console,
            f"Ending, since {why}: saving the weights of the best trials, and the tables. Ctrl-C "
            f"leaves out what takes longer.",
        )

    def _view(self, ranking: list[TrialRecord]) -> Group:
        table = trials_table(ranking[:_SHOWN], self.console.width).rich(None)
        return Group(table, Text(self._status(ranking), style="bold"))

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


class _Cell:
    """A notebook's output that is drawn anew in its place."""

    def __init__(self) -> None:
        from IPython.display import display

        self._handle = display(self._page(Text("")), display_id=True)

    def update(self, view: Any, refresh: bool = True) -> None:
        self._handle.update(self._page(view))

    def stop(self) -> None:
        self._handle.update(self._page(Text("")))

    def _page(self, view: Any) -> Any:
        from IPython.display import HTML

        page = Console(record=True, file=io.StringIO(), width=_CELL_WIDTH, force_jupyter=False)
        page.print(view)
        return HTML(page.export_html(inline_styles=True, code_format=_CELL))


def trials_table(
    trials: list[TrialRecord], width: int = _CELL_WIDTH, front: Collection[int] = ()
) -> Table:
    """Return a table of trials in the order given.

    Args:
        trials: the first of a ranking.
        width: characters that it may take; what a narrow terminal has no room for is left out.
        front: numbers of the trials on the Pareto front of several objectives.
    """
    return ranking(About(View.LIVE, rows_of(trials, front), width=width, has_front=bool(front)))


def _score(trial: TrialRecord) -> str:
    best = trial.best
    return f"CER {best['val_cer']:.2f} % at epoch {best['epoch']:.0f}" if best else "no CER"
