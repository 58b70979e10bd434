"""Searches that go on: for longer, elsewhere, when their time was up; and after other searches."""

from __future__ import annotations

import importlib
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from helpers.searches import results
from typer.testing import CliRunner

from search import run
from search.halving.ending import Ending, Why
from search.results.facts import training_command
from search.results.folder import RunFolder
from search.results.listing import list_runs
from search.results.reading import read_curves, read_trials
from search.results.record import COMPLETE, CUT_OFF
from search.run import searching, sessions
from search.space import load_space

pytestmark = pytest.mark.timeout(600)


@pytest.mark.parametrize(
    ("budget", "was_up", "given", "goes_on"),
    [(4.0, False, None, 3.0), (0.5, False, None, 0.5), (4.0, True, None, 4.0), (4.0, False, 9, 9)],
    ids=["what is left", "again where it is used up", "again where it was up", "as it is told"],
)
def test_a_resumed_search_goes_on_for_what_is_left_of_its_time_budget(
    budget, was_up, given, goes_on, whole_folder, tmp_path, monkeypatch
):
    """Times are in durations of the search so far."""
    folder = tmp_path / "tiny-001"
    shutil.copytree(whole_folder, folder)
    opened = RunFolder.open(folder)
    lasted = max(read_curves(folder)["arrived"].to_pylist())
    resolved = yaml.safe_load((folder / "space.yaml").read_text())
    resolved["search"]["time_budget"] = budget * lasted
    opened.write_space(resolved)
    if was_up:
        opened.trials[0].state = CUT_OFF
        opened.trials[0].ending = Ending(Why.TIME_BUDGET).cut("running", 1)
        opened.flush()
    asked = []

    def note(plan, console, opened, **_):
        asked.append(plan.space.search.time_budget)
        return opened

    monkeypatch.setattr(searching, "conduct", note)
    run.resume(folder, time_budget=given and given * lasted, quiet=True)
    assert asked == [pytest.approx(goes_on * lasted, rel=0.05)]


def test_a_dry_run_of_a_resume_says_what_is_left_and_writes_nothing(whole_folder, capsys):
    before = {path: path.stat().st_mtime_ns for path in whole_folder.rglob("*")}
    run.resume(whole_folder, add_trials=2, dry_run=True)
    printed = capsys.readouterr().out
    assert "7, suggested by random from" in printed
    assert "5 have ended already" in printed
    assert "10 in all at most; expected 10" in printed
    assert {path: path.stat().st_mtime_ns for path in whole_folder.rglob("*")} == before


def test_the_command_beside_the_winner_trains_it_to_the_same_figures(whole_folder, tmp_path):
    """With the threads that a trial of the search had, on the sessions of the search."""
    words = shlex.split(training_command(whole_folder))
    command = [sys.executable, *words[1:], "--out", str(tmp_path / "model.pt")]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    best = read_trials(whole_folder)["trial"][0].as_py()
    rows = read_curves(whole_folder).to_pylist()
    curve = [f"{row['val_cer']:.2f}" for row in rows if row["trial"] == best]
    assert re.findall(r"^epoch .* CER (\S+) %", done.stdout, re.M) == curve


def test_a_search_that_a_trial_in_training_ended_goes_on(data, tiny_space, tmp_path, monkeypatch):
    """The trial that reached the target is cut off then, so it is not among those that ended."""
    monkeypatch.setattr("search.engine.recorder._LOOK", 0.0)  # all may end between two looks
    rules = ["search.stop={target_cer: 100000}", "search.trials=2", "search.scheduler=none"]
    before = run.search(tiny_space, data=data, out=tmp_path, overrides=rules, quiet=True)
    assert CUT_OFF in before["state"].to_pylist()
    run.resume(tmp_path / "tiny-001", add_trials=1, quiet=True)
    assert read_trials(tmp_path / "tiny-001")["state"].to_pylist() == [COMPLETE] * 3


def test_trials_added_later_and_elsewhere_are_those_of_a_longer_search(
    data, tiny_space, whole, tmp_path, capsys
):
    """With sessions that were moved, and other cores."""
    here, there, folder = tmp_path / "here", tmp_path / "there", tmp_path / "tiny-001"
    shutil.copytree(data, here)
    run.search(tiny_space, data=here, out=tmp_path, trials=2, quiet=True)
    here.rename(there)
    with pytest.raises(ValueError, match="training sessions are missing; say with --data DIR"):
        run.resume(folder, add_trials=1, quiet=True)
    run.resume(folder, data=there, add_trials=1, cpus_per_trial=0.8, quiet=True)
    facts = RunFolder.open(folder).read_environment()
    assert facts["resources_per_trial"] == {"cpus": 0.8, "gpus": 0.0}
    files = [path for subset in ("train", "val", "test") for path in facts["split"][subset]]
    assert {Path(path).parent for path in files} == {there}
    with pytest.raises(ValueError, match="--cpus-per-trial 999: this machine has"):
        run.resume(folder, cpus_per_trial=999, quiet=True)
    run.resume(folder, add_trials=2, quiet=True)
    assert results(folder) == whole
    run.resume(folder)
    assert f"All trials of {folder} have ended: --add-trials N" in capsys.readouterr().out
    assert results(folder) == whole


def test_a_search_learns_from_an_earlier_one_and_trains_none_of_its_trials(
    data, tiny_space, tmp_path, capsys
):
    options = {"data": data, "out": tmp_path, "epochs": 1, "trials": 2}
    small = ["search.sampler=grid", "model.encoder.recurrent.hidden=8", "model.mlp_features=8"]
    first = run.search(tiny_space, overrides=small, quiet=True, **options)
    second = run.search(tiny_space, overrides=small, warm_start=[tmp_path / "tiny-001"], **options)
    printed = capsys.readouterr().out
    assert f"{tmp_path / 'tiny-001'}: 2 of its 2 trials fit this space; 2 are not" in printed
    assert "grid learns nothing" in printed
    assert second.num_rows == 1, "two of the three configurations were trained before"
    assert second["architecture"][0] not in first["architecture"]


@pytest.mark.slow
def test_a_search_whose_time_was_up_before_its_first_trial_and_amid_others_goes_on(
    data, tiny_space, whole, tmp_path, capsys, spent
):
    table = run.search(tiny_space, data=data, out=tmp_path, time_budget=1e-6)
    folder = tmp_path / "tiny-001"
    assert table.num_rows == 0
    printed = capsys.readouterr().out
    assert "ended before its first trial" in printed
    assert f"--resume {folder}" in printed
    for reader, says in {
        "search.report.__main__": "its search has begun no trial yet",
        "search.evaluate.__main__": "holds no checkpoint",
        "search.simulate.__main__": "holds no learning curve",
    }.items():
        done = CliRunner().invoke(importlib.import_module(reader).app, [str(folder)])
        assert done.exit_code == 2
        assert says in done.stderr
    [listed] = list_runs(tmp_path)
    assert (listed.state, listed.trials, listed.val_cer) == ("interrupted", 0, None)

    spent(7)
    run.resume(folder, time_budget=600, quiet=True)
    cut_off = [row for row in read_trials(folder).to_pylist() if row["state"] == CUT_OFF]
    assert cut_off
    assert all(row["ending"] == Why.TIME_BUDGET for row in cut_off)
    spent(1000)
    run.resume(folder, time_budget=600, quiet=True)
    assert results(folder) == whole


def test_a_demo_goes_on_where_its_typist_never_was(tiny_space, monkeypatch, tmp_path):
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "first"))
    typist = ["typist.sessions=3", "typist.minutes=0.5"]
    demo = load_space(tiny_space, demo=True, overrides=typist)
    split = sessions.choose_sessions(demo, None, None, None)
    subsets = {"train": split.train, "val": split.val, "test": split.test}
    facts = {"synthetic": True, "split": {name: [*map(str, subsets[name])] for name in subsets}}
    (tmp_path / "first").rename(tmp_path / "gone")
    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "second"))
    trial_data, again = sessions.sessions_again(tmp_path, facts, None, demo)
    assert (trial_data.train, trial_data.val) == (again["train"], again["val"])
    for name, files in subsets.items():
        for old, new in zip(files, map(Path, again[name]), strict=True):
            assert new.is_relative_to(tmp_path / "second")
            moved = tmp_path / "gone" / old.relative_to(tmp_path / "first")
            assert new.read_bytes() == moved.read_bytes()
    monkeypatch.setattr("emgmodels.synthetic.VERSION", 99)
    with pytest.raises(ValueError, match="1 of 1 training sessions are missing"):
        sessions.sessions_again(tmp_path, facts, None, demo)
