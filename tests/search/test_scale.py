"""Three hundred trials that do nothing: all is kept, and little is written of each."""

from __future__ import annotations

import json

import pytest
from helpers.searches import study
from optuna.trial import TrialState

from benchmarks.idle import search_idly
from search.engine.recorder import Recorder
from search.results.folder import RunFolder
from search.results.reading import read_curves, read_trials

TRIALS = 300
saved: list[int] = []
"""Numbers of the trials that wrote a checkpoint as they ended."""


class Saves(Recorder):
    def on_trial_save(self, iteration, trials, trial, **more):
        super().on_trial_save(iteration, trials, trial, **more)
        if trial.last_result["epoch"] == 2:
            saved.append(trial.config["number"])


@pytest.fixture(scope="module")
def folder(engine, tmp_path_factory) -> RunFolder:
    return search_idly(
        tmp_path_factory.mktemp("runs"),
        [
            *(f"search.trials={TRIALS}", "training.epochs=2", "search.sampler=random"),
            "search.scheduler={name: asha, grace: 1, eta: 2}",
        ],
        recorder=Saves,
    )


@pytest.mark.slow
class TestManyTrials:
    def test_tables_are_whole(self, folder):
        trials, curves = read_trials(folder.path), read_curves(folder.path)
        assert sorted(trials["trial"].to_pylist()) == list(range(TRIALS))
        assert trials["rank"].to_pylist() == list(range(1, TRIALS + 1))
        assert curves.num_rows == sum(trials["epochs"].to_pylist())
        cers = trials["val_cer"].to_pylist()
        assert cers == sorted(cers)
        whole = [row for row in trials.to_pylist() if row["state"] == "complete"]
        assert TRIALS // 2 <= len(whole) <= 2 * TRIALS // 3
        assert all(row["epochs"] == 2 for row in whole)
        assert set(trials["state"].to_pylist()) == {"complete", "stopped"}
        assert not list(folder.path.glob(".*.rows"))

    def test_the_study_has_every_trial(self, folder):
        trials = study(folder.path, "deep").trials
        assert len(trials) >= TRIALS
        known = {"skipped", "trial_id"}
        told = [t for t in trials if known & set(t.user_attrs) == {"trial_id"}]
        assert len(told) == TRIALS
        assert {t.state for t in told} == {TrialState.COMPLETE, TrialState.PRUNED}

    def test_ray_keeps_little_of_an_ended_trial(self, folder):
        (state,) = (folder.path / ".ray").glob("experiment_state-*.json")
        trials = json.loads(state.read_text())["trial_data"]
        assert len(trials) == TRIALS
        assert state.stat().st_size / TRIALS < 10_000

    def test_the_journal_grows_evenly(self, folder):
        """A suggestion late in a search costs as many lines as an early one."""
        lines = (folder.path / "study.journal").read_bytes().splitlines()
        begun = [i for i, line in enumerate(lines) if b'"op_code":4' in line]
        middle = len(begun) // 2
        early, late = begun[middle] / middle, (len(lines) - begun[middle]) / (len(begun) - middle)
        assert late < 1.3 * early

    def test_a_trial_that_ends_behind_the_best_writes_no_checkpoint(self, folder):
        assert 3 <= len(saved) < TRIALS // 6
        assert set(read_trials(folder.path)["trial"].to_pylist()[:3]) <= set(saved)

    def test_only_the_best_few_keep_a_checkpoint(self, folder):
        kept = sorted(int(path.name[:3]) for path in (folder.path / "checkpoints").glob("[0-9]*"))
        assert kept == sorted(read_trials(folder.path)["trial"].to_pylist()[:3])
