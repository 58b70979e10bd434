"""The report's tables: made once, written as Markdown, CSV, HTML or to a terminal."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from search.display import seed_table
from search.display.table import Table
from search.display.words import duration, interval, lookahead, number
from search.report.run import Run, Trial

if TYPE_CHECKING:
    pass


def ranking(run: Run, trials: Sequence[Trial], *, brief: bool = False) -> Table:
    """Return a ranking of trials.

    Args:
        run: theirs.
        trials: which, in their order.
        brief: leave out what a terminal has no room for.
    """
    objectives = run.space.search.objectives
    cells: dict[str, list[str]] = {
        "rank": [str(trial.rank) for trial in trials],
        "trial": [f"{trial.number:03d}" for trial in trials],
        "architecture": [trial.label if brief else trial.architecture for trial in trials],
        "val CER %": [number(trial.val_cer) for trial in trials],
        "95 % interval": [interval(trial.val_cer_low, trial.val_cer_high) for trial in trials],
        "test CER %": [number(trial.test_cer) for trial in trials],
        "epochs": [f"{trial.epochs}/{trial.max_epochs}" for trial in trials],
        "parameters": [f"{trial.parameters:,}" for trial in trials],
        "MMAC/s": [f"{trial.macs_per_second / 1e6:,.1f}" for trial in trials],
        "look-ahead": [lookahead(trial.lookahead_ms) for trial in trials],
        "electrodes": [str(trial.electrodes) for trial in trials],
        "front": ["●" if trial in run.front else "" for trial in trials],
        "time": [duration(trial.seconds) for trial in trials],
        "state": [trial.state for trial in trials],
        "how it ended": [trial.reason or trial.state for trial in trials],
    }
    left_out = {"test CER %"} if not run.is_evaluated else set()
    if not any(trial.val_cer_low == trial.val_cer_low for trial in trials):
        left_out |= {"95 % interval"}
    for header, objective in (("MMAC/s", "macs"), ("electrodes", "electrodes")):
        left_out |= set() if objective in objectives else {header}
    left_out |= set() if len(objectives) > 1 else {"front"}
    left_out |= {"time", "how it ended"} if brief else {"state"}
    shown = {header: column for header, column in cells.items() if header not in left_out}
    rows = list(zip(*shown.values(), strict=True))
    return Table(list(shown), rows, left=("architecture", "state", "how it ended"))


def ranking_csv(run: Run) -> str:
    """Return the whole ranking as CSV, with numbers as they are."""
    columns: dict[str, list[Any]] = {
        name: [getattr(trial, name) for trial in run.trials]
        for name in (
            *("rank", "number", "architecture", "val_cer", "val_cer_low", "val_cer_high"),
            *("test_cer", "best_epoch", "kept_epoch", "epochs"),
            *("max_epochs", "state", "reason", "parameters", "macs_per_second", "lookahead_ms"),
            *("electrodes", "seconds"),
        )
    }
    if len(run.space.search.objectives) > 1:
        columns["front"] = [trial in run.front for trial in run.trials]
    written = io.StringIO()
    writer = csv.writer(written, lineterminator="\n")
    writer.writerow("trial" if name == "number" else name for name in columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return written.getvalue()


def over_seeds(rows: Sequence[dict[str, Any]]) -> Table:
    """Return a ranking of configurations by their mean CER over seeds."""
    columns = seed_table.cells(rows)
    return Table(list(columns), list(zip(*columns.values(), strict=True)), left=("architecture",))


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
                f"{run.history.hours[-1]:.3g}",
            ]
        )
    headers = ["run", "data", "best val CER %", "architecture", "parameters", "look-ahead"]
    headers += ["trials", "epochs", "hours"]
    return Table(headers, rows, left=("run", "data", "architecture"))
