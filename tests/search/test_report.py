"""The report on run folders of made-up searches: real files, curves from a formula."""

from __future__ import annotations

import csv
import dataclasses
import io
import math
import re
import shutil
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet
import pytest
from helpers.reports import SPACE, fixed, make_run
from PIL import Image
from rich.console import Console
from typer.testing import CliRunner

from search.report import files
from search.report.__main__ import app
from search.report.display.ranking import View
from search.report.display.table import Table
from search.report.figures import orders
from search.report.files import write_comparison, write_report
from search.report.importance import importances
from search.report.page import report_page
from search.report.pareto import pareto, pareto_front
from search.report.run import read_run
from search.report.tables import ranking
from search.results.folder import RunFolder
from search.results.record import RUNNING
from search.run.ranking import print_ranking


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    """Return a run on synthetic data, with its report."""
    path = make_run(tmp_path_factory.mktemp("runs"), trials=60, fail=(7, 9))
    result = CliRunner().invoke(app, [str(path)])
    assert result.exit_code == 0, result.output
    (path / "printed.txt").write_text(result.output)
    return path


@pytest.fixture
def copy(run, tmp_path) -> Path:
    """Return a copy of the run without its report, to change."""
    return shutil.copytree(run, tmp_path / "made-up-001", ignore=shutil.ignore_patterns("report"))


# What is written


def test_report_writes_leaderboard_page_and_figures_as_picture_and_vector(run):
    names = {path.name for path in (run / "report").iterdir()}
    assert {"leaderboard.md", "leaderboard.csv", "report.html"} <= names
    figures = {"learning_curves", "progress", "importance", "orders", "effects", "pareto"}
    figures |= {"parallel_coordinates", "report_figure_9"}
    assert figures <= {name.removesuffix(".png") for name in names}
    assert {n.removesuffix(".pdf") for n in names if n.endswith("pdf")} >= figures
    for name in figures:
        assert (run / "report" / f"{name}.pdf").read_bytes().startswith(b"%PDF")
        with Image.open(run / "report" / f"{name}.png") as picture:
            inches = picture.width / 220
            assert inches == pytest.approx(3.5, abs=0.01) or inches == pytest.approx(7.2, abs=0.01)
            assert np.asarray(picture.convert("L")).std() > 5


def test_every_ranking_shows_the_interval_of_a_cer(run):
    best = read_run(run).ranked[0]
    assert best.val_cer_low < best.val_cer < best.val_cer_high
    text = f"{best.val_cer_low:.1f} to {best.val_cer_high:.1f}"
    for path in ("report/report.html", "report/leaderboard.md", "printed.txt"):
        assert text in (run / path).read_text()
    row = next(csv.DictReader((run / "report" / "leaderboard.csv").open()))
    assert float(row["val_cer_low"]) == best.val_cer_low


def test_seeds_of_one_architecture_are_ranked_by_their_mean(tmp_path):
    text = fixed("gru:4 conv:4 @16ch", "conv:4 @16ch", repeats=3)
    run = read_run(make_run(tmp_path, text, trials=2))
    assert len(run.trials) == 6
    first, second = run.over_seeds
    assert first["architecture"] == "gru:4 conv:4 @16ch"
    for row in run.over_seeds:
        cers = [t.val_cer for t in run.trials if str(t.number) in row["trials"].split()]
        assert len(cers) == row["trainings"] == 3
        assert row["mean_cer"] == pytest.approx(np.mean(cers))
        assert row["sd"] == pytest.approx(np.std(cers, ddof=1))
    assert second["p_best"] < 0.05
    for text in (report_page(run, {}, []), files._leaderboard(run)):  # no figures: fast
        assert "Over seeds" in text
        assert f"{first['mean_cer']:.2f}" in text
        assert "Rank 1 is better than all others" in text


def test_page_fetches_nothing_and_shows_every_figure(run):
    page = (run / "report" / "report.html").read_text()
    assert re.findall(r'(?:src|href)="(?!data:image/svg|#)', page) == []
    assert not re.search(r"<link|@import|url\(|\bfetch\(|XMLHttpRequest|<script[^>]+src", page)
    assert "default-src 'none'" in page
    # Learning curves are drawn as a part of the page, which a pointer can read.
    assert page.count("data:image/svg+xml") == len(list((run / "report").glob("*.png"))) - 1
    assert page.count('<svg class="chart"') == 2
    assert len(page) < 5_000_000


def test_synthetic_data_is_named_on_page_leaderboard_and_terminal(run):
    for path in ("report/report.html", "report/leaderboard.md", "printed.txt"):
        assert "Synthetic data." in (run / path).read_text()


def test_real_data_is_named_and_not_called_synthetic(tmp_path):
    run = read_run(make_run(tmp_path, trials=2, fail=(0, 1), synthetic=False))  # no figures: fast
    write_report(run, tmp_path / "out")
    for name in ("report.html", "leaderboard.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "subject 89335547, 2 training sessions and 1 validation session" in text
        assert "Synthetic" not in text


def test_leaderboard_csv_ranks_all_trials_by_cer(run):
    with (run / "report" / "leaderboard.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [int(row["rank"]) for row in rows] == list(range(1, 61))
    cers = [float(row["val_cer"]) for row in rows]
    ranked = [cer for cer in cers if math.isfinite(cer)]
    assert ranked == sorted(ranked)
    assert len(ranked) == 58


def test_terminal_shows_the_best_first_and_where_the_page_is(run):
    printed = (run / "printed.txt").read_text()
    best = read_run(run).trials[0]
    assert printed.index(best.label) < printed.index(read_run(run).trials[1].label)
    assert f"{best.val_cer:.2f}" in printed
    assert "report.html" in printed


def test_failures_are_told_with_reason_and_trials(run):
    for name in ("report.html", "leaderboard.md"):
        text = (run / "report" / name).read_text()
        assert "out of GPU memory" in text
        assert "007, 009" in text


def test_page_repeats_the_command_and_the_space(run):
    page = (run / "report" / "report.html").read_text()
    assert "python -m search.run &#x27;spaces/made up.yaml&#x27; --trials 60" in page
    assert "{permutation: [transformer, recurrent, conv]}" in page


# What it says


def test_rungs_are_those_of_the_scheduler(run, tmp_path):
    assert read_run(run).rungs == [4, 8, 16]
    whole = make_run(tmp_path, fixed("conv:4 @16ch", "gru:4 @16ch"), trials=2)
    assert read_run(whole).rungs == []


def test_pareto_front_holds_what_nothing_beats(run):
    found = read_run(run)
    beaten = [
        trial
        for trial in found.ranked
        if any(
            other.parameters <= trial.parameters
            and other.val_cer <= trial.val_cer
            and other is not trial
            for other in found.ranked
        )
    ]
    assert set(pareto_front(found)) == set(found.ranked) - set(beaten)


def test_each_further_objective_has_a_panel_of_its_own(run):
    found = read_run(run)
    assert len(pareto(found).figure.axes) == 1
    objectives = ("val_cer", "macs", "electrodes")
    chosen = found.space.search.model_copy(update={"objectives": objectives})
    space = dataclasses.replace(found.space, search=chosen)
    both = pareto(dataclasses.replace(found, space=space))
    assert [axes.get_xlabel() for axes in both.figure.axes] == [
        "trainable parameters",
        "multiply-accumulates per second of EMG",
        "electrodes",
    ]


def test_of_several_objectives_the_front_is_that_of_all_of_them(tmp_path):
    objectives = "objectives: [val_cer, electrodes, macs]"
    path = make_run(tmp_path, SPACE.replace("seed: 5", f"seed: 5, {objectives}"), fail=(3,))
    run = read_run(path)
    points = {
        trial.number: np.array([trial.val_cer, trial.electrodes, trial.macs_per_second])
        for trial in run.ranked
    }
    front = [
        number
        for number, point in points.items()
        if not any((p <= point).all() and (p < point).any() for p in points.values())
    ]
    assert 1 < len(front) < len(points)
    rows = list(csv.DictReader((path / "trials.csv").read_text().splitlines()))
    assert [int(row["trial"]) for row in rows if row["front"] == "true"] == front
    text = files._leaderboard(run)
    section = text.split("## Pareto front")[1].split("##")[0]
    assert "all that was minimised: val_cer, electrodes, macs." in section
    assert re.findall(r"^\| \d+ \| (\d{3}) \|", section, re.M) == [f"{n:03d}" for n in front]
    assert {"electrodes", "MMAC/s"} <= set(re.findall(r"[\w/]+", section))
    assert text.split("## Pareto front")[0].count("●") == len(front)
    assert "all that was minimised" in report_page(run, {"pareto": pareto(run)}, [])


def test_of_several_objectives_a_search_ends_with_its_front(tmp_path):
    objectives = "objectives: [val_cer, electrodes]"
    path = make_run(tmp_path, SPACE.replace("seed: 5", f"seed: 5, {objectives}"))
    console = Console(file=io.StringIO(), width=140)
    print_ranking(console, RunFolder.open(path), synthetic=True)
    ranking, shown = console.file.getvalue().split("Pareto front")
    front = read_run(path).front
    rows = re.findall(r"^│ +(\d{3}) │.*│ +([\d.]+) │ +(\d+) │$", shown.split("└")[0], re.M)
    assert rows == [(f"{t.number:03d}", f"{t.val_cer:.2f}", str(t.electrodes)) for t in front]
    assert "●" in ranking


def test_every_order_of_stages_has_a_row(run):
    plot = orders(read_run(run))
    labels = {tick.get_text() for tick in plot.figure.axes[0].get_yticklabels()}
    assert "conv → recurrent" in labels
    assert labels <= {
        " → ".join(str(trial.values["model.encoder.order"]).split()) or "no stage"
        for trial in read_run(run).ranked
    }


def test_test_cers_appear_once_measured(copy):
    best = read_run(copy).trials[:2]
    assert "test CER" not in ranking(read_run(copy), best).markdown()
    table = pa.table({"trial": [trial.number for trial in best], "test_cer": [33.25, 44.5]})
    pyarrow.parquet.write_table(table, copy / "evaluation.parquet")
    evaluated = read_run(copy)
    text = ranking(evaluated, evaluated.trials[:3]).markdown()
    assert "test CER %" in text
    assert "33.25" in text
    assert "44.50" in text


# Searches that are not over, or went wrong


def test_report_of_a_running_search_reads_a_journal_that_is_being_written(copy):
    journal = copy / "study.journal"
    with journal.open("ab") as file:
        file.write(b'{"op_code": 7, "trial_id": 3, "intermediate_value": 4')
    table = pyarrow.parquet.read_table(copy / "trials.parquet")
    states = pa.array([RUNNING, *table["state"].to_pylist()[1:]])
    table = table.set_column(table.column_names.index("state"), "state", states)
    pyarrow.parquet.write_table(table, copy / "trials.parquet")
    before = journal.read_bytes()
    running = read_run(copy)
    assert running.is_running
    assert len(importances(running)) > 3
    assert len(running.history.best) == len(read_run(copy).history.best)
    assert journal.read_bytes() == before


def test_a_search_whose_trials_all_failed_has_a_report(tmp_path):
    run = read_run(make_run(tmp_path, trials=3, fail=(0, 1, 2)))
    [note] = write_report(run, tmp_path / "out")
    assert "no trial has a validation CER" in note
    assert "3 of 3 trials failed" in (tmp_path / "out" / "report.html").read_text()
    with pytest.raises(ValueError, match=str(run.path)):
        write_comparison([run, run], tmp_path / "out")


def empty(path):
    for file in path.glob("*.parquet"):
        file.unlink()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (shutil.rmtree, "made-up-001"),
        (empty, "trials.parquet"),
        (lambda path: (path / "environment.json").unlink(), "environment.json"),
        (lambda path: (path / "environment.json").write_text("{"), "environment.json"),
        (lambda path: (path / "curves.parquet").write_bytes(b"PAR1PAR1"), "damaged"),
        (lambda path: (path / "space.yaml").write_text("model: {depth: 3}"), "depth"),
        (lambda path: (path / "report").write_text("in the way"), "report"),
    ],
)
def test_bad_input_is_told_in_one_message_with_exit_code_2(copy, harm, said):
    harm(copy)
    result = CliRunner().invoke(app, [str(copy)])
    assert result.exit_code == 2
    assert result.output.startswith("error: ")
    assert said in result.output
    assert "Traceback" not in result.output


def test_help_has_examples():
    result = CliRunner().invoke(app, ["--help"])
    assert result.exit_code == 0
    assert "python -m search.report runs/deep-001" in result.output


# Several searches


def test_comparison_ranks_searches_and_warns_of_other_data(run, tmp_path):
    other = make_run(tmp_path, SPACE.replace("made-up", "other"), trials=6, val="elsewhere.hdf5")
    out = tmp_path / "out"
    result = CliRunner().invoke(app, [str(run), str(other), "--out", str(out)])
    assert result.exit_code == 0, result.output
    assert "not comparable" in result.output
    assert "elsewhere" in result.output
    assert {"best_so_far.png", "best_so_far.pdf", "report.html"} <= {p.name for p in out.iterdir()}
    best = [read_run(path).ranked[0].val_cer for path in (run, other)]
    text = (out / "comparison.md").read_text()
    rows = [line for line in text.splitlines() if line.startswith(("| made-up", "| other"))]
    assert rows[0].split(" | ")[2] == f"{min(best):.2f}"
    assert rows[1].split(" | ")[2] == f"{max(best):.2f}"


def test_runs_that_cannot_be_read_hide_no_others_from_a_comparison(run, tmp_path):
    """They are named with the reason, as is one that is named twice; odd names are shown."""
    empty, damaged, lacking = (tmp_path / name for name in ("[red]empty", "damaged", "lacking"))
    for path in (empty, damaged, lacking):
        shutil.copytree(run, path)
    for table in empty.glob("*.parquet"):
        table.unlink()
    (damaged / "curves.parquet").write_bytes(b"PAR1PAR1")
    trials = pyarrow.parquet.read_table(lacking / "trials.parquet").drop_columns("reason")
    pyarrow.parquet.write_table(trials, lacking / "trials.parquet")
    again = run / ".." / run.name
    good = tmp_path / "[bold]good-001"
    make_run(tmp_path, SPACE.replace("made-up", "good"), trials=6).rename(good)
    named = (empty, run, damaged, again, lacking, good)
    result = CliRunner().invoke(app, [*map(str, named), "--out", str(tmp_path / "out")])
    assert result.exit_code == 0, result.output
    said = result.output.replace("\n", "")
    assert f"note: {empty} is left out: {empty}: holds no trials.parquet" in said
    assert f"note: {damaged} is left out: {damaged / 'curves.parquet'}: is no Parquet file" in said
    assert (
        f"note: {lacking} is left out: {lacking / 'trials.parquet'}: has no column reason" in said
    )
    assert f"note: {again} is named twice" in said
    assert "[bold]good-001" in said
    alone = CliRunner().invoke(app, [str(empty), str(damaged)])
    assert alone.exit_code == 2
    assert alone.output.startswith("error: no run can be compared:")
    for path in (empty, damaged):
        assert str(path) in alone.output
        assert CliRunner().invoke(app, [str(path)]).exit_code == 2


def test_runs_of_one_name_are_told_apart_in_a_comparison(copy, tmp_path):
    other = shutil.copytree(copy, tmp_path / "elsewhere" / copy.name)
    result = CliRunner().invoke(app, [str(copy), str(other), "--out", str(tmp_path / "both")])
    assert result.exit_code == 0, result.output
    text = (tmp_path / "both" / "comparison.md").read_text()
    assert f"| elsewhere/{copy.name} |" in text
    assert f"| {copy.parent.name}/{copy.name} |" in text


def test_searches_on_the_same_sessions_compare_without_warning(run, copy, tmp_path):
    assert write_comparison([read_run(run), read_run(copy)], tmp_path / "out") == []


# Tables


def test_tables_survive_what_cells_contain():
    table = Table(["why", "n"], [["a | b\n<c>", "1"]], left=("why",))
    assert table.markdown() == "| why | n |\n| :-- | --: |\n| a \\| b <c> | 1 |\n"
    assert "&lt;c&gt;" in table.html()


def test_a_narrow_terminal_keeps_rank_architecture_and_cer(run):
    found = read_run(run)
    console = Console(width=60, record=True, file=io.StringIO())
    console.print(ranking(found, found.trials[:3], View.BRIEF).rich("Ranking", console.width))
    lines = console.export_text().splitlines()
    assert max(map(len, lines)) <= 60
    assert f"{found.trials[0].val_cer:.2f}" in "".join(lines)
    assert found.trials[0].label.split()[0] in "".join(lines)
    assert "state" not in "".join(lines)
