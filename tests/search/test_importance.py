"""What the report says of a search's course, and of what decides."""

from __future__ import annotations

import math

import numpy as np
import pytest
from helpers.reports import SPACE, made_up_curve, make_run

from emgmodels.config import Config
from search.engine.searcher import OptunaSampler
from search.report.drawing import is_scale
from search.report.files import write_report
from search.report.importance import LEAST_TRIALS, importances
from search.report.run import read_run
from search.results.folder import RunFolder
from search.results.record import RUNNING, TrialRecord
from search.space import load_space


def test_history_follows_the_order_in_which_epochs_ended(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    space = load_space(tmp_path / "space.yaml")
    folder = RunFolder(tmp_path)
    folder.write_environment({})
    sampler = OptunaSampler(space, tmp_path / "study.journal")
    records = []
    for name in ("a", "b"):
        config = Config.model_validate_json(sampler.suggest(name)["config"])
        records.append(TrialRecord(len(records), config, RUNNING))
        folder.trials[len(records) - 1] = records[-1]
    row = made_up_curve(records[0].config, np.random.default_rng(0))[0]
    for which, epoch, cer in ((0, 1, 90), (1, 1, 80), (1, 2, math.nan), (0, 2, 85), (1, 3, 40)):
        metrics = row | {"epoch": epoch, "val_cer": cer, "best_val_cer": cer, "seconds": 36}
        records[which].add(metrics)
        sampler.on_trial_result("ab"[which], metrics)
    folder.flush()
    told = read_run(tmp_path)
    assert math.isnan(told.elapsed)
    history = told.history
    assert history.best.tolist() == [90, 80, 80, 80, 40]
    assert history.hours.tolist() == pytest.approx([0.01, 0.02, 0.03, 0.04, 0.05])
    assert history.whole_epochs == 48
    assert history.whole_hours == pytest.approx(0.48)


def test_history_follows_the_time_of_arrival_where_the_curves_have_it(tmp_path):
    (tmp_path / "space.yaml").write_text(SPACE)
    folder = RunFolder(tmp_path)
    folder.write_environment({})
    for number in range(2):
        folder.trials[number] = TrialRecord(number, Config(), RUNNING)
    row = made_up_curve(Config(), np.random.default_rng(0))[0]
    for trial, epoch, cer, when in ((1, 1, 80, 20.0), (0, 1, 90, 30.0), (0, 2, 50, 7200.0)):
        folder.trials[trial].add(row | {"epoch": epoch, "val_cer": cer, "arrived": when})
    folder.flush()
    run = read_run(tmp_path)
    assert run.history.best.tolist() == [80, 80, 50]
    assert run.elapsed == 7200
    write_report(run, tmp_path / "report")
    assert "time of the search</dt><dd>2h 00m" in (tmp_path / "report/report.html").read_text()


def test_importance_tells_what_decides_from_what_does_not(tmp_path):
    def cer_by_electrodes(config, rng):
        cer = 100 / config.model.electrodes + rng.normal(0, 0.1)
        return [row | {"val_cer": cer} for row in made_up_curve(config, rng)]

    run = read_run(make_run(tmp_path, trials=40, curve=cer_by_electrodes))
    found = {item.name: item for item in importances(run)}
    assert sum(item.share for item in found.values()) == pytest.approx(1)
    first, *others = importances(run)
    assert first.name == "model.electrodes"
    assert first.share > first.chance
    assert first.share > 2 * others[0].share
    idle = found["model.encoder.recurrent.hidden"]
    assert idle.share < idle.chance
    assert set(found) <= set(run.space.parameters())


def test_importance_says_that_trials_are_too_few(tmp_path):
    few = read_run(make_run(tmp_path, trials=LEAST_TRIALS - 1))
    with pytest.raises(ValueError, match=f"at least {LEAST_TRIALS} .* has {LEAST_TRIALS - 1}"):
        importances(few)


def test_numbers_of_a_range_are_a_scale_and_a_few_that_were_named_are_not():
    assert is_scale([0.00117834, None, 0.0021])
    assert is_scale([16, 24, 32, 40, 48, 56, 64, 72, 80, 88])
    assert not is_scale([0.001, 0.0005, None])
    assert not is_scale([4, 8, 16])
    assert not is_scale(["gru", 0.00117834])
