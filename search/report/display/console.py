"""What a person sees while a search runs: a live table in a terminal or notebook, else lines."""

from __future__ import annotations

import io
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.live import Live
from rich.text import Text

from emgmodels.saying import counted
from search.report.display.ranking import About, View, ranking
from search.report.display.table import Table
from search.report.display.words import duration, say
from search.results.pulse import Pulse
from search.results.record import FAILED, PAUSED, RUNNING, WAITING, TrialRecord
from search.results.trial_row import rows_of

_SHOWN = 12
_FIRST_SHOWN = 5
_AT_WORK = 6
"""Trials whose epoch is shown at most."""
_FIRST = 60.0
"""Seconds after which a first ranking is printed where there is no live table."""
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

    Attributes:
        pulse: how far trials on this machine are within an epoch; kept as long as it is shown.
        time_left: says how many seconds the search still takes, from the trials that have begun
            and the seconds since it began; None: unknown.
        called: what some trials are called beside number and architecture, by number.
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
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        self._is_ranking_shown = False
        self.pulse = Pulse(None)
        self.time_left: Callable[[Sequence[TrialRecord], float], float | None] = _unknown
        self.called: Mapping[int, str] = {}

    def __enter__(self) -> Progress:
        self._begin = self._drawn = time.monotonic()
        if not self.console.quiet:
            self._scratch = tempfile.TemporaryDirectory(prefix="emgsearch-")
            self.pulse = Pulse(self._scratch.name)
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
        if self._scratch is not None:
            self._scratch.cleanup()
            self._scratch, self.pulse = None, Pulse(None)

    def update(self, ranking: Callable[[], list[TrialRecord]]) -> None:
        """Show the trials, best first, if it is time to."""
        now = time.monotonic()
        wait = _REFRESH if self._live is not None else _HEARTBEAT
        if self._is_first_due(now) and (known := ranking()) and known[0].best:
            self._is_ranking_shown = True
            doing = "training" if self.called else "searching"
            title = f"Ranking after {duration(now - self._begin)} of {doing}"
            table = trials_table(known[:_FIRST_SHOWN], self.console.width)
            self.console.print(table.rich(title))
        if now - self._drawn < wait:
            return
        self._drawn = now
        if self._live is not None:
            self._live.update(self._view(ranking()), refresh=True)
        else:
            known = ranking()
            said = [self._clock(known), self._status(known), *self._at_work(known, brief=True)]
            say(self.console, "; ".join(said))

    def reported(self, trial: TrialRecord) -> None:
        """Show an epoch, where the user asked for every one."""
        if self.verbose:
            row = trial.curve[-1]
            say(
                self.console,
                f"{self._name(trial)}: epoch {trial.epoch}/{trial.config.training.epochs}, "
                f"CER {row['val_cer']:.2f} %, loss {row['train_loss']:.3f} in training and "
                f"{row['val_loss']:.3f} in validation, {duration(row['seconds'])} on {trial.node}",
            )

    def ended(self, trial: TrialRecord) -> None:
        """Show that a trial ended, where there is no live table that does."""
        if self._live is None:
            best = "best " if trial.best else ""
            say(self.console, f"{self._name(trial)}: {best}{_score(trial)}; {trial.reason}")

    def ending(self, why: str) -> None:
        """Say at once that the search ends before its time, and what is waited for."""
        say(
            self.console,
            f"Ending, since {why}: saving the weights of the best trials, and the tables. Ctrl-C "
            f"leaves out what takes longer.",
        )

    def _view(self, ranking: list[TrialRecord]) -> Group:
        if not ranking:
            return Group(Text(f"{self._clock(ranking)}; the trials' processes start"))
        table = trials_table(ranking[:_SHOWN], self.console.width).rich(None)
        lines = [Text(line, no_wrap=True, overflow="ellipsis") for line in self._at_work(ranking)]
        lines += [Text(self._status(ranking), style="bold"), Text(self._clock(ranking))]
        return Group(table, *lines)

    def _is_first_due(self, now: float) -> bool:
        waits = self._live is None and not self.console.quiet and not self._is_ranking_shown
        return waits and now - self._begin >= _FIRST

    def _at_work(self, trials: Sequence[TrialRecord], brief: bool = False) -> list[str]:
        """Return how far the running trials are within their epochs, those of this machine."""
        said = []
        for trial in sorted(trials, key=lambda trial: trial.number):
            beat = self.pulse.read(trial.number) if trial.state == RUNNING else None
            if beat is not None and beat.epoch > trial.epoch:
                name = f"{trial.number:03d}" if brief else self._name(trial)
                whole = trial.config.training.epochs
                said.append(f"{name}: epoch {beat.epoch}/{whole}, {beat.share:.0%} of it")
        more = len(said) - _AT_WORK
        return [*said[:_AT_WORK], *([f"and {more} more"] if more > 0 else [])]

    def _name(self, trial: TrialRecord) -> str:
        """Return a trial's name, with what it is called where architectures look alike."""
        called = self.called.get(trial.number)
        return f"{trial.name} ({called})" if called else trial.name

    def _clock(self, ranking: list[TrialRecord]) -> str:
        """Return how long the search has taken, and how long it still takes."""
        elapsed = time.monotonic() - self._begin
        left = self.time_left(ranking, elapsed)
        rest = self.time_budget - elapsed if self.time_budget else None
        if left is not None and rest is not None:
            left = min(left, max(0.0, rest))
        parts = [] if left is None else [f"about {duration(left)} left"]
        parts += [f"budget {duration(self.time_budget)}"] if self.time_budget else []
        return ", ".join([duration(elapsed), *parts])

    def _status(self, ranking: list[TrialRecord]) -> str:
        """Return how many trials ended, what the others do, and the best CER."""
        states = Counter(trial.state for trial in ranking)
        under_way = {state: states.pop(state, 0) for state in (RUNNING, PAUSED, WAITING)}
        ended = counted(states.total(), "trial")
        if self.trials is not None:
            ended = f"{states.total()} of {counted(self.trials, 'trial')}"
        failed = f" ({states[FAILED]} failed)" if states[FAILED] else ""
        rest = [f"{count} {state}" for state, count in under_way.items() if count]
        best = [f"best {_score(ranking[0])}"] if ranking and ranking[0].best else []
        return "; ".join([", ".join([f"{ended} ended{failed}", *rest]), *best])


def _unknown(trials: Sequence[TrialRecord], elapsed: float) -> None:
    return None


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
