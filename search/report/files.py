"""Writes the report's files: of one search, and of several side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from emgmodels.outputs import check_output, write_text
from emgmodels.saying import counted
from search.report import figures, people, tables
from search.report.display import seed_table
from search.report.display.page import Page
from search.report.display.plot import KINDS, MARK, NothingToDrawError, Plot
from search.report.display.ranking import View
from search.report.display.words import number
from search.report.page import report_page as _page
from search.report.published import basis, compared, side_by_side
from search.report.replication import redrawn
from search.report.run import Run
from search.report.wording import (
    CONFIRMED,
    FRONT,
    OVER_SEEDS,
    SYNTHETIC,
    cautions,
    cost,
    data,
    doubts,
    further,
    outcome,
    shared,
)

CSV_MARK = "rank,trial,architecture,val_cer,val_cer_low,val_cer_high,test_cer,"
"""A CSV has no place for a mark: it is known by its first columns."""
_IN_MARKDOWN = 50


def write_report(run: Run, out: Path) -> list[str]:
    """Write the report of one search.

    Writes ``leaderboard.md``, ``leaderboard.csv``, ``report.html`` and every figure that the run
    has the trials for, as PNG and PDF.

    Args:
        run: the search.
        out: folder to write to; made where it is missing.

    Returns:
        Why figures were left out, in words.

    Raises:
        ValueError: ``out`` holds a file of that name which is not a report's.
    """
    # Everything is made before the first file is written, so that an error leaves the old report
    # whole.
    plots, notes = _draw(run)
    texts = {
        "leaderboard.csv": tables.ranking(run, run.trials, View.FILE).csv(),
        "leaderboard.md": f"{_leaderboard(run)}\n<!-- {MARK} -->\n",
        "report.html": _page(run, plots, notes),
    }
    _write(out, plots, texts)
    return notes


def write_comparison(runs: Sequence[Run], out: Path) -> list[str]:
    """Write ``comparison.md``, ``report.html`` and the best-so-far figure of several searches.

    Returns:
        Why the searches can't be compared, where that is so.

    Raises:
        ValueError: a search has no validation CER yet, or ``out`` holds a file of that name which
            is not a comparison's.
    """
    for run in runs:
        if not run.ranked:
            raise ValueError(f"{run.path}: no trial has a validation CER yet: leave it out")
    table, plot, doubted = tables.comparison(runs), figures.comparison(runs), doubts(runs)
    best = min(runs, key=lambda run: run.ranked[0].val_cer)
    lead = f"Lowest validation CER: {number(best.ranked[0].val_cer)} %, by {best.name}."
    title = "Searches compared: " + ", ".join(run.name for run in runs)
    page = Page(title, lead)
    for heading, text in dict.fromkeys(each for run in runs for each in cautions(run)):
        page.banner(heading, text)
    for doubt in doubted:
        page.banner("Not comparable.", doubt)
    page.section("Best of each search")
    page.table(table)
    page.section("Best so far")
    page.plots([plot])
    for run in runs:
        page.section(run.name)
        page.text(f"{outcome(run)} {cost(run)}")
        page.table(tables.ranking(run, run.trials[:5]))
    warnings = [SYNTHETIC] * any(run.synthetic for run in runs) + doubted
    lines = [f"# {title}", *(f"> {warning}" for warning in warnings), lead, table.markdown()]
    markdown = "\n\n".join([*lines, f"<!-- {MARK} -->\n"])
    texts = {"report.html": page.render(), "comparison.md": markdown}
    _write(out, {"best_so_far": plot}, texts)
    return doubted


def _write(out: Path, plots: Mapping[str, Plot], texts: Mapping[str, str]) -> None:
    """Write a report's files, all of them or, where one would replace another's file, none."""
    # All names are checked before anything is written: half of a new report beside half of an old
    # one would mislead.
    for name in (*texts, *(f"{name}.{kind}" for name in plots for kind in KINDS)):
        check_output(out / name, CSV_MARK if name.endswith(".csv") else MARK)
    for name, plot in plots.items():
        plot.save(out / name)
    for name, text in texts.items():
        write_text(out / name, text)


def _draw(run: Run) -> tuple[dict[str, Plot], list[str]]:
    """Return the figures that a run has enough trials for, and why others are missing."""
    if not run.ranked:
        return {}, ["no trial has a validation CER yet, so there is nothing to draw"]
    plots, notes = {}, []
    for name, draw in figures.FIGURES.items():
        try:
            plots[name] = draw(run)
        # A search of three trials has no importance to draw, and is worth a report all the same.
        except NothingToDrawError as error:
            notes.append(str(error))
    return plots | dict(redrawn(run)), notes


def _leaderboard(run: Run) -> str:
    lines = [f"# {run.name}: ranking by validation CER"]
    lines += (f"> **{heading}** {text}" for heading, text in cautions(run))
    lines += [outcome(run), *filter(None, [further(run)]), cost(run), f"Data: {data(run)}"]
    lines += filter(None, [shared(run)])
    lines.append(tables.ranking(run, run.trials[:_IN_MARKDOWN]).markdown())
    lines += [f"Note: {note}." for note in run.weights_notes]
    if len(run.trials) > _IN_MARKDOWN:
        lines.append(f"All of them, {counted(len(run.trials), 'trial')}, are in `leaderboard.csv`.")
    if len(run.space.search.objectives) > 1:
        lines += ["## Pareto front", f"{FRONT} {', '.join(run.space.search.objectives)}."]
        lines.append(tables.ranking(run, run.front).markdown())
    lines += people.markdown(run)
    if run.over_seeds:
        lines += ["## Over seeds", seed_table.verdict(run.over_seeds), OVER_SEEDS]
        lines.append(seed_table.over_seeds(run.over_seeds).markdown())
    if run.confirmed:
        lines += [
            "## The best again",
            seed_table.verdict(run.confirmed),
            f"{CONFIRMED} {OVER_SEEDS}",
        ]
        lines.append(seed_table.over_seeds(run.confirmed).markdown())
    if compared(run):
        lines += ["## Beside the technical report", basis(run), side_by_side(run).markdown()]
    if run.failed:
        lines += ["## Failures", tables.failures(run).markdown()]
    lines += ["## To repeat it", f"```\n{run.command}\n```", ""]
    return "\n\n".join(lines)
