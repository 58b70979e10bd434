"""The report's tables: made once, written as Markdown, CSV, HTML or to a terminal."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from search.report.display import ranking as columns
from search.report.display.ranking import About, View
from search.report.display.shared import without
from search.report.display.table import Table
from search.report.display.words import duration, lookahead, number
from search.report.run import HIGHLIGHTED, Run, Trial


def ranking(run: Run, trials: Sequence[Trial], view: View = View.PAGE) -> Table:
    """Return a ranking of trials.

    Args:
        run: theirs.
        trials: which, in their order.
        view: where it is shown.
    """
    objectives = run.space.search.objectives
    front = {trial.number for trial in run.front}
    rows = [replace(trial, on_front=trial.number in front) for trial in trials]
    if view in (View.TOP, View.PAGE):  # which say above or below it what all share
        rows = [replace(row, architecture=without(row.architecture, run.shared)) for row in rows]
    several = len(objectives) > 1
    about = About(view, rows, objectives, run.is_evaluated, several, marked=HIGHLIGHTED)
    return columns.ranking(about)


def failures(run: Run) -> Table:
    """Return why trials failed, the commonest reason first."""
    reasons: dict[str, list[Trial]] = {}
    for trial in run.failed:
        reasons.setdefault(trial.reason, []).append(trial)
    rows = [
        [reason, str(len(trials)), ", ".join(f"{trial.number:03d}" for trial in trials)]
        for reason, trials in sorted(reasons.items(), key=lambda item: -len(item[1]))
    ]
    return Table(["reason", "trials", "which"], rows, left=("reason", "which"))


def comparison(runs: Sequence[Run]) -> Table:
    """Return one row a search, the lowest CER first."""
    ordered = sorted(runs, key=lambda run: run.ranked[0].val_cer)
    rows = []
    for run in ordered:
        best = run.ranked[0]
        rows.append(
            [
                run.name,
                run.data,
                number(best.val_cer),
                best.label,
                f"{best.parameters:,}",
                lookahead(best.lookahead_ms),
                str(len(run.trials)),
                str(len(run.history.best)),
                duration(3600 * float(run.history.hours[-1])),
            ]
        )
    headers = ["run", "data", "best val CER %", "architecture", "parameters", "look-ahead"]
    headers += ["trials", "epochs", "training time"]
    return Table(headers, rows, left=("run", "data", "architecture"))
