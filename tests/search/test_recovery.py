"""Searches that are killed and go on: real processes, real signals, at fixed and random moments."""

from __future__ import annotations

import json
import os
import random
import time
from pathlib import Path

import optuna
import pytest
from helpers.searches import (
    ONE_AT_ONCE,
    checkpoints_of_ray,
    epochs_so_far,
    killed,
    results,
    search_command,
    told,
    wait_for_epochs,
)

from search import run
from search.results.reading import read_curves, read_trials
from search.run import conduct

pytestmark = pytest.mark.timeout(600)


def command(*arguments: object) -> list[str]:
    return [*search_command(*arguments), "--quiet"]


def end_while_saving(folder: Path) -> None:
    """Write into the snapshot what it has where trials were about to end, and being saved."""
    for path in (folder / ".ray").glob("experiment_state-*.json"):
        state = json.loads(path.read_text())
        trials = (json.loads(trial) for trial, _ in state["trial_data"])
        running = [trial["trial_id"] for trial in trials if trial["status"] == "RUNNING"]
        state["runner_data"]["_cached_trial_decisions"] = dict.fromkeys(running, "STOP")
        path.write_text(json.dumps(state))


@pytest.mark.slow
def test_a_search_killed_again_and_again_comes_to_what_an_uninterrupted_one_does(
    data, tiny_space, whole, tmp_path
):
    """The same trials, under the same numbers, with the same CER of every epoch."""
    folder = tmp_path / "tiny-001"
    start = command(tiny_space, "--data", data, "--out", tmp_path, *ONE_AT_ONCE)
    # Before the first snapshot, and with trials that ended since the last.
    for epochs in (1, 14):
        with killed(start):
            wait_for_epochs(folder, epochs)
        end_while_saving(folder)
        start = command("--resume", folder)
    run.resume(folder, cpus_per_trial=1, quiet=True)
    assert results(folder) == whole
    assert checkpoints_of_ray(folder) == []


@pytest.mark.slow
def test_checkpoints_that_are_deleted_on_the_way_are_never_missed(
    data, tiny_space, whole, tmp_path, monkeypatch
):
    """With a checkpoint at each epoch, and snapshots at each step that make them needless."""
    monkeypatch.setenv("TUNE_GLOBAL_CHECKPOINT_S", "0.1")
    folder = tmp_path / "tiny-001"
    options = ("--data", data, "--out", tmp_path, "--set", "search.save_every=0.001")
    with killed(command(tiny_space, *options, *ONE_AT_ONCE)):
        wait_for_epochs(folder, 13)
        assert len(checkpoints_of_ray(folder)) < 13, "some were deleted on the way"
    run.resume(folder, cpus_per_trial=1, quiet=True)
    assert results(folder) == whole
    assert checkpoints_of_ray(folder) == []
    assert len(list((folder / "checkpoints").glob("[0-9]*.pt"))) == 3


@pytest.mark.slow
@pytest.mark.parametrize("older", ["experiment_state-*", "search*"])
def test_a_snapshot_with_files_of_two_moments_goes_on_as_a_whole_one_does(
    older, data, tiny_space, whole, tmp_path
):
    """They are written one after another; a kill leaves those of the snapshot before."""
    folder = tmp_path / "tiny-001"
    with killed(command(tiny_space, "--data", data, "--out", tmp_path, *ONE_AT_ONCE)):
        wait_for_epochs(folder, 5)
        before = {path: path.read_bytes() for path in (folder / ".ray").glob(older)}
        wait_for_epochs(folder, 14)
    assert any(path.read_bytes() != content for path, content in before.items())
    for path, content in before.items():
        path.write_bytes(content)
    run.resume(folder, cpus_per_trial=1, quiet=True)
    assert results(folder) == whole
    assert len(told(folder)) == len(whole)


HALVED = ("--trials", 8, "--set", "search.scheduler={name: asha, grace: 1, eta: 2}")


def killed_at_random(folder: Path, options: tuple, lasts: float) -> None:
    """Begin a search, and kill it at any moment after trials were compared and paused."""
    moment = random.Random(time.time_ns()).uniform(0, lasts)
    with killed(command(*options, "--out", folder.parent)):
        wait_for_epochs(folder, 4)
        time.sleep(moment)
    print(f"killed {moment:.2f} s after its fourth epoch, at {epochs_so_far(folder)} epochs")


def halving_of_resumed(folder: Path, monkeypatch):
    """Go on with a search; return the decisions that its scheduler has taken in."""
    made = []
    known = conduct.scheduler_of
    monkeypatch.setattr(conduct, "scheduler_of", lambda *of: made.append(known(*of)) or made[-1])
    run.resume(folder, quiet=True)
    return made[-1].halving


def assert_ended_once(folder: Path, halving) -> None:
    """Assert that each trial ended, with every epoch once, and that its rungs know all trials."""
    trials = read_trials(folder).to_pylist()
    assert {row["state"] for row in trials} == {"complete", "stopped"}
    for number, (_, _, curve) in results(folder).items():
        epochs = next(row["epochs"] for row in trials if row["trial"] == number)
        assert [epoch for epoch, *_ in curve] == list(range(1, epochs + 1))
    for index, (rung, epoch) in enumerate(zip(halving._rungs, halving.rungs, strict=True)):
        entered = [entry.trial_id for entry in rung.entries]
        assert len(set(entered)) == len(entered)
        # What was trained since the last snapshot may not be trained again.
        assert len(entered) <= sum(row["epochs"] >= epoch for row in trials)
        assert index or len(entered) == len(trials)
    assert checkpoints_of_ray(folder) == []


@pytest.mark.slow
def test_a_halving_search_on_two_slots_killed_at_any_moment_loses_nothing(
    all_cores, data, tiny_space, tmp_path, monkeypatch
):
    """The trials of an uninterrupted search, and the same CER of each epoch that both trained."""
    options = (tiny_space, "--data", data, *HALVED, "--cpus-per-trial", os.cpu_count() / 2)
    overrides = ["search.trials=8", HALVED[-1]]
    run.search(tiny_space, data=data, out=tmp_path / "whole", overrides=overrides, quiet=True)
    whole = results(tmp_path / "whole" / "tiny-001")
    arrived = read_curves(tmp_path / "whole" / "tiny-001")["arrived"].to_pylist()
    folder = tmp_path / "tiny-001"
    killed_at_random(folder, options, max(arrived) - sorted(arrived)[3])
    halving = halving_of_resumed(folder, monkeypatch)
    found = results(folder)
    assert sorted(found) == sorted(whole)
    for number, (config, _, curve) in found.items():
        assert config == whole[number][0]
        assert all(mine == its for mine, its in zip(curve, whole[number][2], strict=False))
    assert_ended_once(folder, halving)


@pytest.mark.slow
def test_a_learning_search_killed_at_any_moment_agrees_with_its_study(
    all_cores, data, tiny_space, tmp_path, monkeypatch
):
    """What is suggested afterwards may differ; nothing is missing, and nothing there twice."""
    options = (tiny_space, "--data", data, *HALVED, "--cpus-per-trial", os.cpu_count())
    folder = tmp_path / "tiny-001"
    killed_at_random(folder, (*options, "--set", "search.sampler=tpe"), lasts=5)
    halving = halving_of_resumed(folder, monkeypatch)
    assert_ended_once(folder, halving)
    rows = {row["trial"]: row for row in read_trials(folder).to_pylist()}
    assert len(rows) == 8
    assert len({row["config"].split('"model":')[1] for row in rows.values()}) == 8
    trials = told(folder)
    assert sorted(trials) == sorted(rows)
    for number, (_, state, curve) in results(folder).items():
        ended = optuna.trial.TrialState.COMPLETE if state == "complete" else None
        assert trials[number].state == (ended or optuna.trial.TrialState.PRUNED)
        assert trials[number].intermediate_values == {epoch: cer for epoch, cer, _ in curve}
