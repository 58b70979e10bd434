"""Whatever ends a search: its best trials are ranked by weights that were kept, or that is said."""

from __future__ import annotations

import signal
import subprocess
import threading
from pathlib import Path

import pytest
from helpers.searches import (
    assert_ranked_by_what_is_kept,
    search_command,
    wait_for_epochs,
)

import search.engine.tuning
from search import run
from search.engine.recorder import Recorder
from search.results.folder import RunFolder
from search.results.reading import read_trials

pytestmark = pytest.mark.timeout(600)

SPACE = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: 4
  mlp_features: {choice: [8, 10, 12]}
  encoder: {order: [recurrent], recurrent: {layers: 1, hidden: {choice: [8, 10, 12]}}}
training: {epochs: 400, batch_size: 4, learning_rate: 0.01, warmup_steps: 3}
search: {trials: 3, sampler: random, seed: 3, scheduler: none, checkpoints: 2}
"""


@pytest.fixture
def space(tmp_path) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE)
    return path


@pytest.mark.slow
def test_a_spent_budget_and_the_search_that_goes_on_keep_what_they_rank_by(
    all_cores, data, space, tmp_path, spent
):
    """The first part of it runs in a thread, as a notebook may do, where no signal is handled."""
    spent(12)
    options = {"data": data, "out": tmp_path, "quiet": True}
    searching = threading.Thread(target=run.search, args=(space,), kwargs=options)
    searching.start()
    searching.join(timeout=300)
    folder = tmp_path / "tiny-001"
    first = read_trials(folder).to_pylist()
    assert "cut off" in {row["state"] for row in first}
    assert_ranked_by_what_is_kept(folder)
    assert search.engine.tuning.check_snapshot(RunFolder.open(folder)) is None
    spent(sum(row["epochs"] for row in first) + 12)
    run.resume(folder, quiet=True)
    assert sum(row["epochs"] for row in read_trials(folder).to_pylist()) > sum(
        row["epochs"] for row in first
    )
    assert_ranked_by_what_is_kept(folder)


def test_sigterm_ends_a_search_with_its_best_weights_and_says_so_at_once(data, space, tmp_path):
    """As Ctrl-C does, in ``test_run.py``."""
    words = search_command(space, "--data", data, "--out", tmp_path)
    done = subprocess.Popen(words, stdout=subprocess.PIPE, text=True, start_new_session=True)
    folder = tmp_path / "tiny-001"
    wait_for_epochs(folder, 12, done)
    done.send_signal(signal.SIGTERM)
    printed, _ = done.communicate(timeout=120)
    assert done.returncode == 0
    assert "Ending, since the search was interrupted" in printed
    assert "the search was interrupted" in read_trials(folder)["reason"][0].as_py()
    assert_ranked_by_what_is_kept(folder)


@pytest.mark.slow
def test_a_part_of_the_search_that_fails_costs_no_weights(
    all_cores, data, space, tmp_path, monkeypatch
):
    def fail(recorder: Recorder, iteration: int, trials: list, **_: object) -> None:
        if sum(trial.epoch for trial in recorder.folder.trials.values()) >= 9:
            raise RuntimeError("a part of it broke")

    monkeypatch.setattr(Recorder, "on_step_end", fail)
    with pytest.raises(RuntimeError, match="a part of it broke"):
        run.search(space, data=data, out=tmp_path, quiet=True)
    folder = tmp_path / "tiny-001"
    assert "a part of it broke" in read_trials(folder)["reason"][0].as_py()
    assert_ranked_by_what_is_kept(folder)
