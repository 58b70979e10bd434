"""The best of a search trained again, for real, through the command; and what it refuses."""

from __future__ import annotations

import re
import shutil
from collections import Counter
from pathlib import Path

import pyarrow.csv
import pyarrow.parquet
import pytest
import yaml
from conftest import make_session
from typer.testing import CliRunner

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.halving.ending import Ending, Why
from search.report import files
from search.report.page import report_page
from search.report.run import read_run
from search.results.folder import RunFolder
from search.results.reading import read_trials
from search.results.record import COMPLETE, CUT_OFF, STOPPED, TrialRecord
from search.run.command import app

EPOCHS = 2
TRAINING = {"epochs": EPOCHS, "batch_size": 4, "learning_rate": 1e-2, "warmup_steps": 1}
ARCHITECTURES = ("conv:1(channels=4,kernel=4)", "gru:1(hidden=8)", "gru:1(hidden=12)")


@pytest.fixture(scope="module")
def searched(tmp_path_factory) -> Path:
    """The folder of a search over three architectures, the last of them stopped early."""
    parent = tmp_path_factory.mktemp("confirmed")
    for i in range(2):
        write_session(parent / f"s{i}.hdf5", make_session(seed=i, name=f"s{i}"))
    paths = [str(parent / f"s{i}.hdf5") for i in range(2)]
    folder = RunFolder.create(parent, "tiny")
    models = [parse_notation(f"{text} hop:64 bins:6 mlp:8") for text in ARCHITECTURES]
    choices = [model.model_dump(mode="json", exclude_unset=True) for model in models]
    search = {"trials": 3, "sampler": "grid"}
    space = {"name": "tiny", "model": {"choice": choices}, "training": TRAINING, "search": search}
    folder.write_space(space)
    split = {"origin": "", "train": paths[:1], "val": paths[1:], "test": []}
    resources = {"cpus": 1.0, "gpus": 0.0}
    folder.write_environment(
        {"seed": 3, "synthetic": False, "split": split, "resources_per_trial": resources}
    )
    train, val = prepare([Path(paths[0])]), prepare([Path(paths[1])])
    for number, model in enumerate(models):
        config = Config.model_validate({"name": "tiny", "training": TRAINING, "seed": number})
        config = config.model_copy(update={"model": model})
        trial = TrialRecord(number, config, COMPLETE, Ending(Why.WHOLE, epoch=9), "here")
        for result in list(fit(config, train, val))[: EPOCHS - (number == 2)]:
            trial.add({**result.metrics(), "best_windows": result.best_windows})
        trial.state = STOPPED if trial.epoch < EPOCHS else COMPLETE
        folder.trials[number] = trial
    folder.flush()
    return folder.path


def run_search(*arguments: object) -> str:
    """Run the command in this process, in which Ray is running; return what it printed."""
    done = CliRunner().invoke(app, [str(argument) for argument in arguments])
    assert done.exit_code == 0, done.output
    return done.stdout


def test_a_dry_run_of_a_confirmation_says_what_is_missing_and_writes_nothing(searched):
    before = {path: path.stat().st_mtime_ns for path in searched.parent.rglob("*")}
    options = ["--confirm", "2", "--repeats", "3", "--dry-run"]
    done = CliRunner().invoke(app, [str(searched), *options])
    assert done.exit_code == 0, done.stderr
    assert re.search("trials +6 trainings of 2 winners", done.stdout)
    assert re.search("epochs +2 a trial, 12 in all at most; expected 12", done.stdout)
    assert f"{searched / 'confirm'}\n" in done.stdout
    assert {path: path.stat().st_mtime_ns for path in searched.parent.rglob("*")} == before


@pytest.mark.timeout(600)
def test_trainings_that_ended_by_their_cost_are_confirmed_at_that_cost(engine, searched, tmp_path):
    run = tmp_path / "tiny-001"
    shutil.copytree(searched, run, ignore=shutil.ignore_patterns("confirm*"))
    space = yaml.safe_load((run / "space.yaml").read_text())
    spent = {"name": "asha", "resource": "macs", "max_macs": 2000.0, "grace": 1000, "eta": 2}
    space["search"] |= {"scheduler": spent}
    (run / "space.yaml").write_text(yaml.safe_dump(space))
    planned = run_search(run, "--confirm", 1, "--repeats", 2, "--dry-run")
    assert "every trial trains for 2e+03 MACs, as long as one of the search may" in planned
    printed = run_search(run, "--confirm", 1, "--repeats", 2)
    assert "2 trainings for 2e+03 MACs each, as long as a trial of the search may" in printed
    rows = read_trials(run / "confirm").to_pylist()
    assert [(row["state"], row["epochs"]) for row in rows] == [("complete", 1)] * 2
    assert all("trained for 2000 MACs" in row["reason"] for row in rows)
    assert pyarrow.parquet.read_table(run / "confirm.parquet")["trainings"].to_pylist() == [2]


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_winners_are_trained_again_compared_and_extended(engine, searched):
    printed = run_search(searched, "--confirm", 2, "--repeats", 2)
    own = {row["trial"]: row for row in read_trials(searched).to_pylist()}
    winners = [row["trial"] for row in list(own.values())[:2]]
    rows = pyarrow.parquet.read_table(searched / "confirm.parquet").to_pylist()
    assert sorted(row["trial"] for row in rows) == sorted(winners)
    assert pyarrow.csv.read_csv(searched / "confirm.csv").num_rows == 2
    trainings = {row["trial"]: row for row in read_trials(searched / "confirm").to_pylist()}
    assert len(trainings) == 4
    assert {row["state"] for row in trainings.values()} == {"complete"}
    seeds = {row["seed"] for row in trainings.values()}
    assert len(seeds) == 2
    assert not seeds & {row["seed"] for row in own.values()}
    for row in rows:
        cers = [trainings[int(number)]["val_cer"] for number in row["trials"].split()]
        assert row["mean_cer"] == pytest.approx(sum(cers) / 2)
        assert row["sd"] == pytest.approx(abs(cers[0] - cers[1]) / 2**0.5)
        assert (row["lowest_cer"], row["highest_cer"]) == (min(cers), max(cers))
        assert row["search_cer"] == own[row["trial"]]["val_cer"]
        assert row["cer_low"] <= row["mean_cer"] <= row["cer_high"]
        assert f"{row['mean_cer']:.2f}" in printed
    assert rows[0]["p_best"] == 1
    assert re.search("Can't be told apart from rank 1|Rank 1 is better", printed)

    into = RunFolder.open(searched / "confirm")
    into.trials[3].state = CUT_OFF
    into.flush()
    kept = {number: trainings[number]["seconds"] for number in range(3)}
    elsewhere = searched.parent / "elsewhere"
    elsewhere.mkdir()
    for session in list(searched.parent.glob("*.hdf5")):
        session.rename(elsewhere / session.name)
    here = ("--data", elsewhere, "--cpus-per-trial", 0.8)
    printed = run_search(searched, "--confirm", 2, "--repeats", 3, *here)
    facts = RunFolder.open(searched / "confirm").read_environment()
    assert facts["split"]["train"] == [str(elsewhere / "s0.hdf5")]
    assert facts["resources_per_trial"] == {"cpus": 0.8, "gpus": 0.0}
    assert "3 trainings to the end" in printed  # the one cut off, and a third seed for both
    after = {row["trial"]: row for row in read_trials(searched / "confirm").to_pylist()}
    assert {number: after[number]["seconds"] for number in range(3)} == kept
    rows = pyarrow.parquet.read_table(searched / "confirm.parquet").to_pylist()
    assert [row["trainings"] for row in rows] == [3, 3]

    run = read_run(searched)
    for text in (report_page(run, {}, []), files._leaderboard(run)):  # no figures: fast
        assert f"{rows[0]['mean_cer']:.2f}" in text

    refused = CliRunner().invoke(app, ["--resume", str(searched / "confirm")])
    assert refused.exit_code == 2
    assert f"{searched} --confirm K" in refused.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_over_seeds_is_confirmed_at_its_end(engine, searched, tmp_path):
    sessions = [{"user": "12345678", "session": f"s{i}"} for i in range(2)]
    split = {"user": "12345678", "dataset": {"train": sessions[:1], "val": sessions[1:]}}
    (tmp_path / "split.yaml").write_text(yaml.safe_dump(split))
    printed = run_search(
        *(searched / "space.yaml", "--data", searched.parent, "--split", tmp_path / "split.yaml"),
        *("--set", "search={sampler: grid, scheduler: none, trials: 2, repeats: 2}"),
        *("--confirm", 1, "--repeats", 3, "--out", tmp_path),
    )
    rows = read_trials(tmp_path / "tiny-001").to_pylist()
    assert len(rows) == 4
    assert len({row["seed"] for row in rows}) == 4
    assert sorted(Counter(row["architecture"] for row in rows).values()) == [2, 2]
    assert "Ranking by mean CER over seeds" in printed
    (row,) = pyarrow.parquet.read_table(tmp_path / "tiny-001" / "confirm.parquet").to_pylist()
    assert row["trial"] == rows[0]["trial"]
    assert row["trainings"] == 3
    assert row["cer_low"] < row["mean_cer"] < row["cer_high"]


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ((), "is a folder"),
        (("--confirm", "0"), "0"),
        (("--confirm", "2", "--repeats", "1"), "2 or more"),
        (("--confirm", "2", "--epochs", "9"), "leave out --epochs"),
        (("--confirm", "2", "--out", "o", "--verbose"), "leave out --out, --verbose"),
    ],
)
def test_what_makes_no_sense_is_refused(searched, arguments, says):
    done = CliRunner().invoke(app, [str(searched), *arguments])
    assert done.exit_code == 2
    assert says in done.stderr
    assert "Traceback" not in done.output


def test_a_folder_without_a_cer_has_no_winner(tmp_path):
    (tmp_path / "space.yaml").write_text(yaml.safe_dump({"name": "empty"}))
    done = CliRunner().invoke(app, [str(tmp_path), "--confirm", "2"])
    assert done.exit_code == 2
    assert "no trial has a validation CER" in done.stderr
