"""Writes the report's files: of one search, and of several side by side."""

from __future__ import annotations

import html
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from emgmodels.config import write_yaml
from emgmodels.outputs import check_output, write_text
from search.display import seed_table
from search.display.page import Page
from search.display.plot import KINDS, MARK, Plot
from search.display.ranking import View
from search.display.words import duration, lookahead, number, setting
from search.report import figures, tables
from search.report.published import basis, matches, side_by_side
from search.report.replication import redrawn
from search.report.run import Run, searched

SYNTHETIC = (
    "These sessions were typed by a simulated typist. Error rates on them compare architectures "
    "with each other, and say nothing about people."
)
CONFIRMED = "Each was trained again, to its last epoch, with seeds that the search did not use."
OVER_SEEDS = (
    "Behind the mean CER: standard deviation and range over seeds. Above the best: 95 % interval "
    "of the distance (points). p: of being as good as the best, all that are compared considered."
)
FRONT = "No other trial beats these in all that was minimised:"
CSV_MARK = "rank,trial,architecture,val_cer,val_cer_low,val_cer_high,test_cer,"
"""A CSV has no place for a mark: it is known by its first columns."""
_ON_PAGE = 20
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
    table, plot, doubts = tables.comparison(runs), figures.comparison(runs), _doubts(runs)
    best = min(runs, key=lambda run: run.ranked[0].val_cer)
    lead = f"Lowest validation CER: {number(best.ranked[0].val_cer)} %, by {best.name}."
    title = "Searches compared: " + ", ".join(run.name for run in runs)
    page = Page(title, lead)
    _warn(page, runs)
    for doubt in doubts:
        page.banner("Not comparable.", doubt)
    page.section("Best of each search")
    page.table(table)
    page.section("Best so far")
    page.plots([plot])
    for run in runs:
        page.section(run.name)
        page.text(f"{_outcome(run)} {_cost(run)}")
        page.table(tables.ranking(run, run.trials[:5]))
    warnings = [SYNTHETIC] * any(run.synthetic for run in runs) + doubts
    lines = [f"# {title}", *(f"> {warning}" for warning in warnings), lead, table.markdown()]
    markdown = "\n\n".join([*lines, f"<!-- {MARK} -->\n"])
    texts = {"report.html": page.render(), "comparison.md": markdown}
    _write(out, {"best_so_far": plot}, texts)
    return doubts


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
        except ValueError as error:
            notes.append(str(error))
    return plots | dict(redrawn(run)), notes


def _leaderboard(run: Run) -> str:
    lines = [f"# {run.name}: ranking by validation CER"]
    if run.synthetic:
        lines.append(f"> **Synthetic data.** {SYNTHETIC}")
    lines += [_outcome(run), _cost(run), f"Data: {_data(run)}"]
    lines.append(tables.ranking(run, run.trials[:_IN_MARKDOWN]).markdown())
    lines += [f"Note: {note}." for note in run.weights_notes]
    if len(run.trials) > _IN_MARKDOWN:
        lines.append(f"All {len(run.trials)} trials are in `leaderboard.csv`.")
    if len(run.space.search.objectives) > 1:
        lines += ["## Pareto front", f"{FRONT} {', '.join(run.space.search.objectives)}."]
        lines.append(tables.ranking(run, run.front).markdown())
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
    if matches(run):
        lines += ["## Beside the technical report", basis(run), side_by_side(run).markdown()]
    if run.failed:
        lines += ["## Failures", tables.failures(run).markdown()]
    lines += ["## To repeat it", f"```\n{run.command}\n```", ""]
    return "\n\n".join(lines)


def _page(run: Run, plots: dict[str, Plot], notes: list[str]) -> str:
    page = Page(f"{run.name}: what the search found", _outcome(run))
    _warn(page, [run])
    page.facts(_facts(run))
    _add_setup(page, run)
    page.section("Ranking")
    long = len(run.trials) > _ON_PAGE
    page.table(
        tables.ranking(run, run.trials[:_ON_PAGE]),
        tables.ranking(run, run.trials) if long else None,
        f"all {len(run.trials)} trials",
    )
    for note in run.weights_notes:
        page.text(f"Note: {note}.")
    if run.over_seeds:
        page.section("Over seeds")
        page.text(f"{seed_table.verdict(run.over_seeds)} {OVER_SEEDS}")
        page.table(seed_table.over_seeds(run.over_seeds))
    if run.confirmed:
        page.section("The best again")
        page.text(f"{seed_table.verdict(run.confirmed)} {CONFIRMED} {OVER_SEEDS}")
        page.table(seed_table.over_seeds(run.confirmed))
    _add_plots(page, "Learning curves", plots, "learning_curves")
    _add_plots(page, "What it cost", plots, "progress")
    _add_plots(page, "What mattered", plots, "importance", "orders", "effects")
    for note in notes:
        page.text(f"Not drawn: {note}.")
    _add_plots(page, "How settings go together", plots, "parallel_coordinates")
    _add_plots(page, "Error rate against size", plots, "pareto")
    if plots and len(run.space.search.objectives) > 1:
        page.text(f"{FRONT} {', '.join(run.space.search.objectives)}.")
    if plots:
        page.table(tables.ranking(run, run.front))
    redrawn_names = [name for name in plots if name.startswith("report_figure")]
    if matches(run):
        page.section("Beside the technical report")
        page.text(basis(run))
        page.table(side_by_side(run))
    _add_plots(page, "The technical report's figures", plots, *redrawn_names)
    page.section("Failures")
    page.text(f"{len(run.failed)} of {len(run.trials)} trials failed.")
    if run.failed:
        page.table(tables.failures(run))
        page.text(f"Their tracebacks are in {run.path / 'failures'}.")
    _add_environment(page, run)
    return page.render()


def _add_plots(page: Page, heading: str, plots: dict[str, Plot], *names: str) -> None:
    found = [plots[name] for name in names if name in plots]
    if found:
        page.section(heading)
        page.plots(found)


def _add_setup(page: Page, run: Run) -> None:
    page.section("What was searched")
    search = run.space.search
    page.text(
        f"Data: {_data(run)} Up to {search.trials} trials of {run.max_epochs} epochs at most; "
        f"sampler {search.sampler.name}, scheduler {search.scheduler.name}, seed {search.seed}."
    )
    rows = [[setting(name), text] for name, text in searched(run).items()]
    page.table(tables.Table(["setting", "values"], rows, left=("setting", "values")))
    text = write_yaml(run.space.resolved())
    page.folded("the whole space file", f"<pre>{html.escape(text)}</pre>")


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
        "Python": f"{known.get('python')} on {known.get('platform')}",
        "packages": versions,
        "machine": f"{known.get('cpus')} CPUs; GPUs: {', '.join(known.get('gpus', [])) or 'none'}",
        "a trial was given": known.get("resources_per_trial"),
    }
    rows = [[name, str(value)] for name, value in facts.items() if value]
    page.table(tables.Table(["what", "value"], rows, left=("what", "value")))


def _warn(page: Page, runs: Sequence[Run]) -> None:
    if any(run.synthetic for run in runs):
        page.banner("Synthetic data.", SYNTHETIC)
    for run in runs:
        if run.is_running:
            page.banner("Still running.", f"{run.name} is as it stood when this page was written.")


def _facts(run: Run) -> list[tuple[str, str]]:
    facts = [("trials", str(len(run.trials))), ("ended early", str(len(run.stopped)))]
    facts.append(("failed", str(len(run.failed))))
    if run.ranked:
        history, best = run.history, run.ranked[0]
        facts.insert(0, ("best validation CER", f"{number(best.val_cer)} %"))
        facts.append(("epochs trained", f"{len(history.best)} of {history.whole_epochs}"))
        facts.append(("training time", duration(3600 * float(history.hours[-1]))))
        if math.isfinite(run.elapsed):
            facts.append(("time of the search", duration(run.elapsed)))
        facts.append(("best: parameters", f"{best.parameters:,}"))
        facts.append(("best: look-ahead", lookahead(best.lookahead_ms)))
    return facts


def _outcome(run: Run) -> str:
    if not run.ranked:
        return "No trial has a validation CER yet."
    best = run.ranked[0]
    test = f", test CER {number(best.test_cer)} %" if best.test_cer == best.test_cer else ""
    return (
        f"Best: {best.label} (trial {best.number:03d}) with a validation CER of "
        f"{number(best.val_cer)} %{test} after {best.best_epoch} epochs, {best.parameters:,} "
        f"parameters, look-ahead {lookahead(best.lookahead_ms)}."
    )


def _cost(run: Run) -> str:
    history = run.history
    return (
        f"{len(run.trials)} trials, {len(run.stopped)} ended early, {len(run.failed)} failed; "
        f"{len(history.best)} epochs of the {history.whole_epochs} that training all to the end "
        f"takes."
    )


def _data(run: Run) -> str:
    split = run.environment.get("split", {})
    train, val = (split.get(part, []) for part in ("train", "val"))
    origin = f" ({split['origin']})" if "origin" in split else ""
    kind = "synthetic, subject" if run.synthetic else "subject"
    return (
        f"{kind} {run.environment.get('subject', 'unknown')}, {len(train)} training and "
        f"{len(val)} validation sessions{origin}.{_prompted(split)}"
    )


def _prompted(split: Mapping[str, Any]) -> str:
    """Say which sessions counted by prompts, after a space; nothing where none did."""
    train, val = split.get("prompted", (0, 0))
    if not (train or val):
        return ""
    return (
        f" {train} of the training and {val} of the validation sessions have no key times: they "
        f"count by whole prompts, the others by 4 s windows."
    )


def _doubts(runs: Sequence[Run]) -> list[str]:
    """Say why CERs of runs don't compare."""
    # CERs on other sessions are CERs of another text. The comparison still shows both, because it
    # is often asked for.
    validated = {
        (run.synthetic, run.environment.get("subject"), *sorted(_validation(run))) for run in runs
    }
    if len(validated) == 1:
        return []
    said = "; ".join(f"{run.name}: {run.data}, {', '.join(_validation(run))}" for run in runs)
    return [f"These searches validated on different sessions ({said})."]


def _validation(run: Run) -> list[str]:
    return [Path(path).stem for path in run.environment.get("split", {}).get("val", [])]
