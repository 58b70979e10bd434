"""What a person sees while a search runs: a live table in a terminal or notebook, else lines."""

from __future__ import annotations

import io
import time
from collections import Counter
from collections.abc import Callable, Collection
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from emgmodels.notation import notation
from search.display.words import duration
from search.results.record import COMPLETE, FAILED, PAUSED, RUNNING, STOPPED, TrialRecord

_STYLES = {RUNNING: "cyan", PAUSED: "dim", COMPLETE: "green", STOPPED: "dim", FAILED: "red"}
_SHOWN = 12
_WIDE, _NARROW = 96, 72
"""Characters below which a table has no room for losses, and none for intervals."""
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
            self._print(self._status(ranking()))

    def reported(self, trial: TrialRecord) -> None:
        """Show an epoch, where the user asked for every one."""
        if self.verbose:
            row = trial.curve[-1]
            self._print(
                f"{trial.name}: epoch {trial.epoch}/{trial.config.training.epochs}, "
                f"CER {row['val_cer']:.2f} %, loss {row['train_loss']:.3f} in training and "
                f"{row['val_loss']:.3f} in validation, {duration(row['seconds'])} on {trial.node}"
            )

    def ended(self, trial: TrialRecord) -> None:
        """Show that a trial ended, where there is no live table that does."""
        if self._live is None:
            self._drawn = time.monotonic()
            self._print(f"{trial.name}: {_score(trial)}; {trial.reason}")

    def ending(self, why: str) -> None:
        """Say at once that the search ends before its time, and what is waited for."""
        self._print(
            f"Ending, since {why}: saving the weights of the best trials, and the tables. Ctrl-C "
            f"leaves out what takes longer."
        )

    def _view(self, ranking: list[TrialRecord]) -> Group:
        table = trials_table(ranking[:_SHOWN], width=self.console.width)
        return Group(table, Text(self._status(ranking), style="bold"))

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
    ranking: list[TrialRecord],
    title: str | None = None,
    width: int = _WIDE,
    front: Collection[int] = (),
) -> Table:
    """Return a table of trials in the order given.

    Args:
        ranking: the trials.
        title: above the table.
        width: characters that it may take; what a narrow terminal has no room for is left out.
        front: numbers of the trials on the Pareto front of several objectives.
    """
    columns: dict[str, Callable[[TrialRecord], str]] = {
        "epoch": lambda trial: f"{trial.epoch}/{trial.config.training.epochs}",
        "loss": lambda trial: f"{trial.curve[-1]['val_loss']:.3f}" if trial.curve else "",
        "CER %": lambda trial: f"{trial.best['val_cer']:.2f}" if trial.best else "",
        "95 %": lambda trial: "{:.1f} to {:.1f}".format(*trial.interval) if trial.interval else "",
        "front": lambda trial: "●" if trial.number in front else "",
    }
    left_out = {"loss"} if width < _WIDE else set()
    left_out |= {"95 %"} if width < _NARROW else set()
    left_out |= set() if front else {"front"}
    table = Table(title=title, title_justify="left", expand=False)
    table.add_column("#", justify="right", no_wrap=True)
    table.add_column("trial", justify="right", no_wrap=True)
    table.add_column("architecture", overflow="fold", ratio=1)
    shown = [text for name, text in columns.items() if name not in left_out]
    for name in columns:
        if name not in left_out:
            table.add_column(name, justify="right", no_wrap=True)
    table.add_column("state", no_wrap=True)
    for rank, trial in enumerate(ranking, start=1):
        state = Text(trial.state, style=_STYLES.get(trial.state, ""))
        architecture = notation(trial.config.model, brief=True)
        texts = (text(trial) for text in shown)
        table.add_row(str(rank), f"{trial.number:03d}", architecture, *texts, state)
    return table


def _score(trial: TrialRecord) -> str:
    best = trial.best
    return f"CER {best['val_cer']:.2f} % at epoch {best['epoch']:.0f}" if best else "no CER"
