"""The page of one search: what came out on its first screen, then all that is behind it."""

from __future__ import annotations

import html
from collections.abc import Mapping, Sequence

from emgmodels.config import write_yaml
from emgmodels.saying import counted
from search.report import tables, wording
from search.report.display import seed_table
from search.report.display.chart import GREY_CURVES, Curve, chart
from search.report.display.page import Live, Page
from search.report.display.plot import CER_CEILING, Plot
from search.report.display.ranking import View
from search.report.display.words import setting
from search.report.live import now
from search.report.people import add_people
from search.report.published import basis, compared, side_by_side
from search.report.run import HIGHLIGHTED, Run, searched
from search.results.facts import ASKED, trials_left_out

_TESTED = " Test CERs are of whole sessions, validation CERs of windows: the two do not compare."
_TOP = 10
_LISTED = 1000
"""Trials in the table of all: more would make the page slow, and stand in the CSV."""


def report_page(
    run: Run, plots: Mapping[str, Plot], notes: Sequence[str], live: Live | None = None
) -> str:
    """Return the page of a search.

    Args:
        run: the search.
        plots: its figures by name; none of a page that is kept fresh.
        notes: why figures are missing.
        live: the page loads itself again, and says what runs.
    """
    lead = " ".join(filter(None, [wording.outcome(run), wording.further(run)]))
    page = Page(f"{run.name}: what the search found", lead, live)
    for heading, text in wording.cautions(run):
        if live is None or heading != "Still running.":
            page.banner(heading, text)
    page.facts(wording.facts(run))
    if live is not None:
        _add_now(page, run)
    _add_first_screen(page, run)
    add_people(page, run)
    _add_seeds(page, run)
    _add_all(page, run)
    _add_figures(page, run, plots, notes)
    _add_setup(page, run)
    _add_failures(page, run)
    _add_environment(page, run)
    return page.render()


def _add_now(page: Page, run: Run) -> None:
    """Say what runs where, what was given up and why, and when the search is expected to end."""
    state = now(run)
    found = (("What runs where", state.running), ("What was given up, and why", state.given_up))
    page.pair("Now", state.end, [(name, table) for name, table in found if table.rows])


def _add_first_screen(page: Page, run: Run) -> None:
    table = tables.ranking(run, run.trials[:_TOP], View.TOP)
    notes = [f"Note: {note}." for note in run.weights_notes]
    if len(run.trials) > _TOP:
        notes.append(f"The first {_TOP} of {len(run.trials)}; all are below.")
    notes.append(
        f"{wording.shared(run)} Small: what a trial does not share, and the 95 % interval of its "
        f"CER.{_TESTED if run.is_evaluated else ''}"
    )
    drawn = _curves(run, "val_cer", "validation CER (%)", " %", CER_CEILING)
    if drawn is None:
        page.section("Ranking")
        page.table(table)
        for note in filter(None, notes):
            page.text(note)
        return
    page.beside("Ranking", table, filter(None, notes), ("Learning curves", *drawn))


def _curves(
    run: Run, column: str, label: str, unit: str = "", ceiling: float = float("inf")
) -> tuple[str, str] | None:
    """Return a drawing of learning curves with its caption; None where there is nothing to draw."""
    curves = [
        Curve(
            trial.number,
            trial.name,
            list(zip(trial.curve["epoch"].tolist(), trial.curve[column].tolist(), strict=True)),
            trial.rank - 1 if trial.rank <= HIGHLIGHTED else None,
        )
        for trial in run.ranked
    ]
    title = f"{label.partition(' (')[0]} of every trial by epoch"
    try:
        svg = chart(
            curves,
            title=title[0].upper() + title[1:],
            label=label,
            epochs=run.max_epochs,
            unit=unit,
            ceiling=ceiling,
            rungs=run.rungs,
        )
    except ValueError:
        return None
    said = [f"The best {min(HIGHLIGHTED, len(curves))} are coloured, as in every figure here."]
    if len(curves) > GREY_CURVES + HIGHLIGHTED:
        said.append(f"Grey: the next {GREY_CURVES} of {len(curves)}.")
    if run.rungs:
        said.append("Dotted lines are rungs, at which most trials end.")
    if any((trial.curve[column] > ceiling).any() for trial in run.ranked):
        said.append(f"What is above {ceiling:.0f} % is drawn there.")
    return svg, " ".join(said)


def _add_seeds(page: Page, run: Run) -> None:
    if run.confirmed:
        page.section("The best again")
        page.text(f"{seed_table.verdict(run.confirmed)} {wording.CONFIRMED} {wording.OVER_SEEDS}")
        page.table(seed_table.over_seeds(run.confirmed))
    if run.over_seeds:
        page.section("Over seeds")
        page.text(f"{seed_table.verdict(run.over_seeds)} {wording.OVER_SEEDS}")
        page.table(seed_table.over_seeds(run.over_seeds))


def _add_all(page: Page, run: Run) -> None:
    page.section("All trials")
    if run.shared:
        page.text(wording.shared(run))
    page.table(tables.ranking(run, run.trials[:_LISTED]))
    if len(run.trials) > _LISTED:
        page.text(
            f"The best {_LISTED:,} of {counted(len(run.trials), 'trial')}; leaderboard.csv has "
            f"them all."
        )


def _add_figures(page: Page, run: Run, plots: Mapping[str, Plot], notes: Sequence[str]) -> None:
    loss = _curves(run, "val_loss", "validation CTC loss")
    if loss is not None:
        page.section("Loss")
        page.chart(*loss)
    _add_plots(page, "What it cost", plots, "progress")
    _add_plots(page, "What mattered", plots, "importance", "orders", "effects")
    for note in notes:
        page.text(f"Not drawn: {note}.")
    _add_plots(page, "How settings go together", plots, "parallel_coordinates")
    _add_plots(page, "Error rate against size", plots, "pareto")
    objectives = run.space.search.objectives
    if plots and len(objectives) > 1:
        page.text(f"{wording.FRONT} {', '.join(objectives)}.")
    if plots:
        page.table(tables.ranking(run, run.front))
    if compared(run):
        page.section("Beside the technical report")
        page.text(basis(run))
        page.table(side_by_side(run))
    again = [name for name in plots if name.startswith("report_figure")]
    _add_plots(page, "As Agrawal et al. drew it", plots, *again)


def _add_plots(page: Page, heading: str, plots: Mapping[str, Plot], *names: str) -> None:
    found = [plots[name] for name in names if name in plots]
    if found:
        page.section(heading)
        page.plots(found)


def _add_setup(page: Page, run: Run) -> None:
    page.section("What was searched")
    search = run.space.search
    page.text(
        f"Data: {wording.data(run)} Up to {counted(search.trials, 'trial')}{_asked(run)} of "
        f"{counted(run.max_epochs, 'epoch')} at most; sampler {search.sampler.name}, scheduler "
        f"{search.scheduler.name}, seed {search.seed}.{_start_points(run)}"
    )
    rows = [[setting(name), text] for name, text in searched(run).items()]
    page.table(tables.Table(["setting", "values"], rows, left=("setting", "values")))
    text = write_yaml(run.space.resolved())
    page.folded("the whole space file", f"<pre>{html.escape(text)}</pre>")


def _asked(run: Run) -> str:
    """Say how many trials were asked for, where some were left out."""
    asked = run.environment.get(ASKED, 0)
    return f", where {asked} were asked for," if trials_left_out(run.environment) else ""


def _start_points(run: Run) -> str:
    """Say which trials the space named to start with, where it named any."""
    given = len(run.space.search.start_with)
    if not given:
        return ""
    trials = counted(given, "first trial is", "first trials are")
    return f" Its {trials} what the space names to start with (search.start_with)."


def _add_failures(page: Page, run: Run) -> None:
    page.section("Failures")
    page.text(f"{len(run.failed)} of {counted(len(run.trials), 'trial')} failed.")
    if run.failed:
        page.table(tables.failures(run))
        page.text(f"Their tracebacks are in {run.path / 'failures'}.")


def _add_environment(page: Page, run: Run) -> None:
    page.section("Environment")
    page.text("The command that repeats the search:")
    page.code(run.command)
    known = run.environment
    versions = ", ".join(f"{name} {version}" for name, version in known.get("versions", {}).items())
    facts = {
        "started": known.get("started"),
        "run folder": run.path.resolve(),
        "commit": known.get("commit"),
        "Python": f"{known.get('python')} on {known.get('platform')}" if "python" in known else "",
        "packages": versions,
        "machine": _machine(known.get("cpus"), known.get("gpus", ())),
        "a trial was given": _given(known.get("resources_per_trial") or {}),
    }
    rows = [[name, str(value)] for name, value in facts.items() if value]
    page.table(tables.Table(["what", "value"], rows, left=("what", "value")))


def _machine(cpus: int | None, gpus: Sequence[str]) -> str:
    if cpus is None:
        return ""
    return f"{counted(cpus, 'CPU core')}, {', '.join(gpus) or 'no GPU'}"


def _given(resources: Mapping[str, float]) -> str:
    """Return what a trial was given, in words.

    >>> _given({"cpus": 1.0, "gpus": 0.5})
    '1 CPU core, 0.5 GPU'
    """
    words = {"cpus": "CPU core", "gpus": "GPU"}
    return ", ".join(
        counted(amount, words[name]) if amount >= 1 else f"{amount:g} {words[name]}"
        for name, amount in resources.items()
        if name in words and amount
    )
