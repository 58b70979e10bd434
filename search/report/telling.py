"""Writes a report or a comparison, and tells a terminal what is in it."""

from __future__ import annotations

from pathlib import Path

from rich.console import Console

from search.display.ranking import View
from search.display.words import say
from search.report.files import SYNTHETIC, write_comparison, write_report
from search.report.published import basis, matches, side_by_side
from search.report.run import Run
from search.report.tables import comparison, ranking

_SHOWN = 15


def report(console: Console, run: Run, out: Path) -> None:
    """Write the report of a run, and print its ranking."""
    notes = write_report(run, out)
    title = f"{run.name}: ranking by validation CER, on {run.data}"
    shown = ranking(run, run.trials[:_SHOWN], View.BRIEF)
    console.print(shown.rich(title, console.width))
    if len(run.trials) > _SHOWN:
        say(console, f"... and {len(run.trials) - _SHOWN} more in {out / 'leaderboard.csv'}")
    if matches(run):
        heading = "Beside the technical report"
        console.print(side_by_side(run).rich(heading, console.width))
        say(console, basis(run))
    if run.synthetic:
        say(console, f"Synthetic data. {SYNTHETIC}")
    for note in [*run.weights_notes, *notes]:
        say(console, f"note: {note}")
    say(console, f"Written: {out / 'report.html'}, with leaderboard and figures beside it")


def compare(console: Console, runs: list[Run], out: Path) -> None:
    """Write the comparison of several runs, and print it."""
    doubts = write_comparison(runs, out)
    console.print(comparison(runs).rich("Best of each search", console.width))
    for doubt in doubts:
        say(console, f"warning: not comparable: {doubt}")
    say(console, f"Written: {out / 'report.html'}")


def beside(runs: list[Run]) -> Path:
    """Return the folder of a comparison: beside the first run."""
    names = "-".join(run.name for run in runs)
    return runs[0].path.resolve().parent / f"comparison-{names[:100]}"
