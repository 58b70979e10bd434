"""What ``make pictures`` records of the search that it draws."""

from __future__ import annotations

import pytest
from helpers.reports import make_run

from benchmarks.pictures import BEGIN, END, captioned, facts_of
from search.results.folder import RunFolder


def test_numbers_of_a_search_are_those_of_its_table(tmp_path):
    folder = RunFolder.open(make_run(tmp_path, trials=9))
    facts = facts_of(folder.path)
    trials = list(folder.trials.values())
    assert facts["trials"] == len(trials)
    assert facts["epochs"] == sum(trial.epoch for trial in trials)
    assert facts["epochs_of_all"] == sum(trial.config.training.epochs for trial in trials)
    best = min(trial.best["val_cer"] for trial in trials if trial.best)
    assert facts["val_cer"] == pytest.approx(best, abs=0.05)


def test_the_block_shows_the_pictures_that_were_drawn():
    facts = {"trials": 16, "epochs": 96, "epochs_of_all": 192, "val_cer": 12.8}
    facts |= {"architecture": "gru:2 @16ch", "pictures": {"search.png": "", "report.png": ""}}
    text = captioned(f"before\n{BEGIN}\nold\n{END}\nafter", facts)
    assert text.startswith("before\n")
    assert text.endswith("\nafter")
    assert "old" not in text
    assert "16 architectures,\n96 of 192 epochs, best validation CER 12.8 % (gru:2 @16ch)" in text
    assert "| report.html |\n| --- |\n| ![" in text
    assert "tensorboard" not in text
    assert captioned(text, facts) == text
