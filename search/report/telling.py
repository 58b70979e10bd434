"""Writes a report or a comparison, and tells a terminal what is in it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from rich.console import Console

from emgmodels.command import told
from search.report.display.ranking import View
from search.report.display.words import say
from search.report.files import write_comparison, write_report
from search.report.published import basis, compared, side_by_side
from search.report.run import Run, read_run, told_apart
from search.report.tables import comparison, ranking
from search.report.wording import cautions, further, outcome
from search.storage import local_run

_SHOWN = 15


def report(console: Console, run: Run, out: Path) -> None:
    """Write the report of a run, and print its ranking."""
    notes = write_report(run, out)
    title = f"{run.name}: ranking by validation CER, on {run.data}"
    shown = ranking(run, run.trials[:_SHOWN], View.BRIEF)
    console.print(shown.rich(title, console.width))
    if len(run.trials) > _SHOWN:
        say(console, f"... and {len(run.trials) - _SHOWN} more in {out / 'leaderboard.csv'}")
    say(console, outcome(run))
    if ahead := further(run):
        say(console, ahead)
    if compared(run):
        heading = "Beside the technical report"
        console.print(side_by_side(run).rich(heading, console.width))
        say(console, basis(run))
    for heading, text in cautions(run):
        say(console, f"{heading} {text}")
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


def read_all(console: Console, runs: Sequence[str]) -> list[Run]:
    """Return the runs of a comparison; those that cannot be in it are left out, and the why told.

    Raises:
        ValueError: none is left.
    """
    read: dict[Path, Run] = {}
    why: list[str] = []
    for name in runs:
        try:
            run = read_run(local_run(name))
        except Exception as error:  # whatever is wrong with one run must not hide the others
            why.append(f"{name} is left out: {told(error)}")
            continue
        if not run.ranked:
            why.append(f"{name} is left out: no trial has a validation CER yet")
        elif run.path.resolve() in read:
            why.append(f"{name} is named twice, and counts once")
        else:
            read[run.path.resolve()] = run
    if not read:
        raise ValueError("\n".join(["no run can be compared:", *why]))
    for line in why:
        say(console, f"note: {line}")
    return told_apart(list(read.values()))


def beside(runs: list[Run]) -> Path:
    """Return the folder of a comparison: beside the first run."""
    names = "-".join(run.name.replace("/", "-") for run in runs)
    return runs[0].path.resolve().parent / f"comparison-{names[:100]}"
