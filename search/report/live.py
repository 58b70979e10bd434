"""What a running search is at: what runs where, what was given up and why, when it may end."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from dataclasses import dataclass

from search.halving.ending import Why, level
from search.report.display.table import Table
from search.report.display.words import duration, number
from search.report.run import Run, Trial
from search.results.growing_tables import curves_of
from search.results.record import CUT_OFF, FAILED, PAUSED, RUNNING, STOPPED, WAITING
from search.results.time_left import Standing, pace, time_left

_SHOWN = 12
"""Trials that are named one by one."""


@dataclass(frozen=True)
class Now:
    """How a running search stands.

    Attributes:
        end: when it is expected to end, in a sentence or two.
        running: what trains, and where.
        given_up: trials that will not go on, by the reason.
    """

    end: str
    running: Table
    given_up: Table


def now(run: Run, at: float | None = None) -> Now:
    """Return how a running search stands.

    Args:
        run: the search.
        at: unix time; None: now.
    """
    return Now(_end(run, time.time() if at is None else at), _running(run), _given_up(run))


def _running(run: Run) -> Table:
    trials = [trial for trial in run.trials if trial.state == RUNNING]
    trials.sort(key=lambda trial: trial.number)
    rows = [
        [
            f"{trial.number:03d}",
            trial.label,
            _node(trial),
            f"{trial.epochs} of {trial.max_epochs}",
            number(trial.val_cer),
            str(trial.rank) if trial.has_cer else "–",
        ]
        for trial in trials
    ]
    headers = ["trial", "architecture", "runs on", "epochs", "best CER %", "rank"]
    numbers = [trial.number for trial in trials]
    return Table(headers, rows, left=("architecture", "runs on"), trials=numbers)


def _node(trial: Trial) -> str:
    return "this machine" if trial.node in ("", "127.0.0.1") else trial.node


def _given_up(run: Run) -> Table:
    """Return trials by why they ended before their last epoch, the commonest reason first."""
    reasons: dict[str, list[int]] = defaultdict(list)
    for trial in run.trials:
        if trial.state in (STOPPED, FAILED, CUT_OFF):
            reasons[_why(trial)].append(trial.number)
    rows = []
    for reason, numbers in sorted(reasons.items(), key=lambda item: -len(item[1])):
        names = ", ".join(f"{number:03d}" for number in sorted(numbers)[:_SHOWN])
        more = f" and {len(numbers) - _SHOWN} more" if len(numbers) > _SHOWN else ""
        rows.append([reason, str(len(numbers)), names + more])
    return Table(["why", "trials", "which"], rows, left=("why", "which"))


def _why(trial: Trial) -> str:
    """Return why a trial ended, alike for all that ended by the same rule."""
    if trial.ending is not None and trial.ending.why is Why.OUTRANKED:
        rung = level(trial.ending.rung or 0, trial.ending.unit)
        return f"too many others were better at rung {rung}"
    return trial.reason or trial.state


def _end(run: Run, at: float) -> str:
    """Say when a search is expected to end."""
    states = [trial.state for trial in run.trials]
    planned = run.space.search.trials * run.space.search.repeats
    begun = (
        f"Trials: {states.count(RUNNING)} running, {states.count(PAUSED)} paused at a rung, "
        f"{states.count(WAITING)} waiting; {len(states)} of {planned} have begun."
    )
    # What has passed since the last epoch was written counts too.
    since = max(0.0, at - _changed(run))
    spent = (run.elapsed if math.isfinite(run.elapsed) else 0.0) + since
    left = _left(run, planned)
    budget = run.space.search.time_budget
    over = None if budget is None else max(0.0, budget - spent)
    if left is not None:
        left = max(0.0, left - since)
    if left is None and over is None:
        return f"{begun} No epoch has ended yet, so nothing says when the search will."
    if left is None or (over is not None and over < left):
        assert over is not None
        known = "" if left is None else f"; all trials would take {_about(left)}"
        return (
            f"{begun} Expected to end at {_clock(at + over)}, in {_about(over)}, when its time "
            f"budget is spent{known}."
        )
    latest = "" if over is None else f"; its time budget is spent at {_clock(at + over)}"
    return f"{begun} Expected to end at about {_clock(at + left)}, in {_about(left)}{latest}."


def _left(run: Run, planned: int) -> float | None:
    """Return the seconds that the search takes from the last written epoch on; None: not known."""
    begun = [
        Standing(trial.state, trial.epochs, pace(trial.curve["seconds"].tolist()))
        for trial in run.trials
    ]
    return time_left(run.schedule, planned, begun)


def _changed(run: Run) -> float:
    """Return when the last epoch was written (unix seconds)."""
    table = curves_of(run.path)
    there = [path for path in (table.path, table.rows_path) if path.is_file()]
    return max((path.stat().st_mtime for path in there), default=time.time())


def _about(seconds: float) -> str:
    return duration(seconds) if seconds < 3600 else duration(60 * round(seconds / 60))


def _clock(at: float) -> str:
    """Return a time of day, with the day where it is not today's."""
    there, today = time.localtime(at), time.localtime()
    return time.strftime("%H:%M" if there[:3] == today[:3] else "%a %d %b, %H:%M", there)
