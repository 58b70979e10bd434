"""The report beside the numbers that were published."""

from __future__ import annotations

import re

import pytest
from helpers.reports import fixed, make_run

from emgmodels.notation import notation, parse_notation
from search.report.published import PUBLISHED, basis, compared, side_by_side
from search.report.replication import redrawn
from search.report.run import read_run

PUBLISHED_BY_NUMBER = [p.architecture for p in PUBLISHED if "pretrained" not in p.architecture]


@pytest.mark.parametrize("published", PUBLISHED)
def test_published_architectures_are_in_brief_notation(published):
    assert notation(parse_notation(published.architecture), brief=True) == published.architecture


def test_published_numbers_stand_beside_the_runs(tmp_path):
    names = (
        *("transformer:2 gru:4 conv:4 @16ch", "conv:4 @16ch", "gru:3 @16ch"),
        *("lstm:4(bidirectional=false)", "conv:4 transformer:2(positions=rotary)"),
    )
    run = read_run(make_run(tmp_path, fixed(*names), trials=5, synthetic=False))
    text = side_by_side(run).markdown()
    assert [p.architecture for p, _ in compared(run)] == ["conv:4 @16ch", names[0]]
    winner = next(trial for trial in run.trials if trial.label == names[0])
    assert re.search(rf"15.11 \| 17.63 \| {winner.val_cer:.2f} \| – \| 24/24", text)
    assert "Here: subject 89335547" in basis(run)
    other = fixed("conv:4(kernel=16) @16ch", "gru:4 @16ch")
    assert [
        p.architecture
        for p, _ in compared(read_run(make_run(tmp_path / "b", other, trials=2, synthetic=False)))
    ] == ["gru:4 @16ch"]


def test_a_synthetic_typist_is_compared_with_nobody(tmp_path):
    names = ("transformer:2 gru:4 conv:4 @16ch", "conv:2 transformer:2 @16ch", "lstm:4 @16ch")
    assert compared(read_run(make_run(tmp_path / "a", fixed(*names), trials=3))) == []
    real = read_run(make_run(tmp_path / "b", fixed(*names), trials=3, synthetic=False))
    assert len(compared(real)) == 3


def test_all_nine_figures_of_the_report_are_redrawn(tmp_path):
    architectures = [f"{name} mlp:16 hop:64" for name in PUBLISHED_BY_NUMBER]
    run = read_run(make_run(tmp_path, fixed(*architectures), trials=len(architectures)))
    plots = dict(redrawn(run))
    assert list(plots) == [f"report_figure_{number}" for number in (1, 2, 3, 4, 5, 6, 7, 8, 9)]
    for plot in plots.values():
        texts = [text.get_text() for text in plot.figure.texts]
        assert any("synthetic data" in text for text in texts)
    counts = plots["report_figure_9"].figure.axes[0].get_xticks()
    assert list(counts) == [4, 8, 16]
    bars = [label.get_text() for label in plots["report_figure_2"].figure.axes[0].get_yticklabels()]
    assert "conv:4 transformer:2" in bars
    assert "conv:4 (baseline)" in bars
