"""A winner on people that it has never seen: zero-shot, from scratch and fine-tuned, for real."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
import sys
from pathlib import Path

import pyarrow.csv
import pytest
from conftest import make_session
from helpers.searches import killed, wait_until
from pydantic import ValidationError
from typer.testing import CliRunner

from emgmodels.checkpoints.start import START, read_start
from emgmodels.config import Config, TrainingConfig
from emgmodels.notation import parse_notation
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from emgmodels.windows.recording import beginning
from search.halving.ending import Ending, Why
from search.people.__main__ import app
from search.people.comparing import compare_people
from search.people.persons import find_people, parse_minutes
from search.people.results import Found, summaries
from search.people.trainings import WAYS, fine_tuning, from_scratch
from search.results.folder import RunFolder
from search.results.reading import read_trials
from search.results.record import COMPLETE, TrialRecord

TRAINING = {"epochs": 2, "batch_size": 2, "learning_rate": 1e-2, "warmup_steps": 1}
MODEL = "gru:1(hidden=6) hop:64 bins:6 mlp:6 @2ch"
USERS = ("anna", "ben", "carl")


@pytest.fixture(scope="module")
def made(tmp_path_factory) -> Path:
    """Sessions of three people, and a search that has trained on the first of them."""
    place = tmp_path_factory.mktemp("people")
    for number, user in enumerate(USERS):
        for i in range(3):
            session = make_session(8, 10 * number + i, f"{user}-{i}", user, keys="ab")
            write_session(place / "data" / f"{user}-{i}.hdf5", session)
    files = [str(place / "data" / f"anna-{i}.hdf5") for i in range(3)]
    folder = RunFolder.create(place, "run")
    config = Config.model_validate({"model": parse_notation(MODEL), "training": TRAINING})
    model = config.model.model_dump(mode="json", exclude_unset=True)
    folder.write_space({"name": "run", "model": model, "training": TRAINING})
    tested = [str(place / "data" / f"{user}-2.hdf5") for user in USERS[1:]]
    split = {"origin": "", "train": files[:2], "val": files[2:], "test": tested}
    resources = {"cpus": 1.0, "gpus": 0.0}
    emg = {"training": 16.0, "validation": 8.0}
    facts = {"seed": 3, "split": split, "resources_per_trial": resources, "emg_seconds": emg}
    folder.write_environment(facts)
    trial = TrialRecord(0, config, COMPLETE, Ending(Why.WHOLE, epoch=2), "here")
    recordings = prepare(map(Path, files))
    for result in fit(config, recordings[:2], recordings[2:]):
        trial.add({**result.metrics(), "best_weights": result.best_weights})
    result.save(folder.path / "checkpoints" / f"{trial.slug}.pt")
    folder.trials[0] = trial
    folder.flush()
    return place


@pytest.fixture
def run(made, tmp_path) -> Path:
    """A copy of that search."""
    shutil.copytree(made / "run-001", tmp_path / "run-001")
    return tmp_path / "run-001"


def table_of(run: Path) -> list[dict]:
    return pyarrow.csv.read_csv(run / "people" / "people.csv").to_pylist()


@pytest.fixture(scope="module")
def compared(engine, made, tmp_path_factory) -> Path:
    """A copy of it whose winner was compared on the split's other people, undisturbed."""
    run = tmp_path_factory.mktemp("compared") / "run-001"
    shutil.copytree(made / "run-001", run)
    compare_people(run, data=made / "data", minutes=(0.07,), quiet=True)
    return run


def test_people_of_the_splits_test_role_are_compared(compared):
    """Each way on each amount; and nothing is trained or opened a second time."""
    run, rows = compared, table_of(compared)
    ways = ["zero-shot", *("own sessions", "fine-tuned") * 2]
    assert [(row["user"], row["way"]) for row in rows] == [(u, w) for u in USERS[1:] for w in ways]
    assert {row["sessions"] for row in rows} == {"ben-2", "carl-2"}
    assert {row["seed"] for row in rows if row["way"] != "zero-shot"} == {3}
    start = read_start(run / "people" / START)
    assert {row["weights"] for row in rows if row["way"] == "zero-shot"} == {start.hash}
    trained = {row["config"]: row for row in read_trials(run / "people").to_pylist()}
    begins = [Config.model_validate_json(text).training.start_from for text in trained]
    assert sorted(begin.weights for begin in begins if begin) == [start.hash] * 4
    (look,) = json.loads((run / "evaluation.json").read_text())
    assert look["sessions"] == {"test": ["ben-2", "carl-2"]}
    for name in ("people.md", "people.csv", "people.png", "people.pdf"):
        assert (run / "people" / name).stat().st_size
    before = (run / "people" / "trials.parquet").read_bytes()
    # Where the sessions are is known from the first time.
    compare_people(run, minutes=(0.07,), quiet=True)
    assert table_of(run) == rows
    assert (run / "people" / "trials.parquet").read_bytes() == before
    assert len(json.loads((run / "evaluation.json").read_text())) == 1


def test_trainings_of_other_epochs_leave_those_before_their_models(made, compared, tmp_path):
    """Each is read when all are trained, so none may be deleted for a better one."""
    run = tmp_path / "run-001"
    shutil.copytree(compared, run)
    before = table_of(run)
    compare_people(run, data=made / "data", users=("ben",), minutes=(), epochs=1, quiet=True)
    ways = {"zero-shot", "own sessions", "fine-tuned"}
    assert {(row["user"], row["way"]) for row in table_of(run)} == {("ben", way) for way in ways}
    kept = {path.stem for path in (run / "people" / "checkpoints").glob("[0-9]*.pt")}
    assert kept == {trial.slug for trial in RunFolder.open(run / "people").trials.values()}
    compare_people(run, data=made / "data", minutes=(0.07,), quiet=True)
    assert table_of(run) == before


def test_a_dry_run_trains_and_writes_nothing(made, run):
    before = sorted(run.rglob("*"))
    done = CliRunner().invoke(app, [str(run), "--data", str(made / "data"), "--dry-run"])
    assert done.exit_code == 0, done.output
    assert "4 trainings, 4 of them left" in done.output
    assert re.search(r"Training takes about [01]s, if", done.output)
    assert sorted(run.rglob("*")) == before


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--users", "dora"], "has no session of that user: it has anna, ben, carl"),
        (["--users", "anna"], "is no stranger: name some of ben, carl"),
        (["--users", "ben,,carl"], "expected names with commas"),
        (["--minutes", "2,x"], "expected numbers above 0"),
        (["--minutes", "0"], "expected numbers above 0"),
        (["--data", "nowhere"], "nowhere: does not exist"),
        (["--data", "s3://bucket/data"], "is a URI"),
        (["--training", "nowhere.yaml"], "nowhere.yaml: cannot be read"),
        (["--epochs", "0"], "--epochs"),
    ],
)
def test_what_cannot_be_compared_is_refused(made, run, words, said):
    data = [] if "--data" in words else ["--data", str(made / "data")]
    done = CliRunner().invoke(app, [str(run), *data, *words])
    assert done.exit_code == 2, done.output
    assert said in done.stderr
    assert not (run / "people").exists()


def test_a_search_of_one_person_names_the_others(made, run):
    facts = json.loads((run / "environment.json").read_text())
    facts["split"]["test"] = []
    with pytest.raises(ValueError, match=r"name people with --users U,V .*: ben, carl"):
        find_people(made / "data", run, facts, (), 0)
    (person,) = find_people(made / "data", run, facts, ("ben",), 0)
    parts = [*person.train, *person.val, *person.test]
    assert sorted(path.stem for path in parts) == ["ben-0", "ben-1", "ben-2"]


def test_epochs_that_do_not_fit_the_winners_settings_are_told_in_one_message(made):
    start = read_start(next((made / "run-001" / "checkpoints").glob("0*.pt")))
    training = {**TRAINING, "epochs": 20, "average": {"last_epochs": 10}}
    winner = start.config.model_copy(update={"training": TrainingConfig.model_validate(training)})
    said = r"\Athe winner with --epochs 3: training.*average"
    for make in (
        lambda: from_scratch(winner, 0, 3),
        lambda: fine_tuning(winner, start, 0, 3, None),
    ):
        with pytest.raises(ValueError, match=said) as told:
            make()
        assert not isinstance(told.value, ValidationError)
        assert "pydantic" not in str(told.value)
    assert from_scratch(winner, 0, None).training.epochs == 20


@pytest.fixture(scope="module")
def alike(tmp_path_factory) -> Path:
    """Sessions of three people, named alike, in a folder of each."""
    place = tmp_path_factory.mktemp("alike")
    for number, user in enumerate(USERS):
        for i in range(3):
            session = make_session(4, 10 * number + i, f"day-{i}", user, keys="ab")
            write_session(place / "data" / user / f"day-{i}.hdf5", session)
    return place / "data"


def split_of(data: Path, **users: str) -> dict:
    return {part: [f"{data}/{user}/day-{i}.hdf5" for i in range(3)] for part, user in users.items()}


@pytest.mark.parametrize("way", ["there", "folders moved", "folders renamed", "others"])
def test_people_whose_sessions_are_named_alike_are_told_apart(alike, tmp_path, way):
    data, run = tmp_path / "data", tmp_path / "run"
    shutil.copytree(alike, data)
    run.mkdir()
    split = split_of(data if way == "there" else Path("/elsewhere"), train="anna", val="ben")
    split |= split_of(data if way == "there" else Path("/elsewhere"), test="carl")
    if way == "folders renamed":  # then only the file of the split knows
        sets = {
            part: [{"user": Path(each).parent.name, "session": Path(each).stem} for each in files]
            for part, files in split.items()
        }
        (run / "split.yaml").write_text(json.dumps({"dataset": sets}))
        for user in USERS:
            (data / user).rename(data / f"person of {len(user)} letters, {user[::-1]}")
    if way == "others":  # the search's own are where they were; here lies one stranger's
        split = split_of(alike, train="anna", val="ben")
        for user in USERS[:2]:
            shutil.rmtree(data / user)
    for users in ((), ("carl",)) if way != "others" else (("carl",),):
        (person,) = find_people(data, run, {"split": split}, users, 0)
        assert person.user == "carl"
        parts = [*person.train, *person.val, *person.test]
        assert sorted(path.stem for path in parts) == ["day-0", "day-1", "day-2"]
    if way != "others":
        with pytest.raises(ValueError, match=r"--users ben: .* is no stranger: name some of carl"):
            find_people(data, run, {"split": split}, ("ben",), 0)


def test_another_winner_or_other_sessions_begin_no_old_comparison(made, run):
    folder = run / "people"
    shutil.copytree(made / "run-001", folder)
    facts = json.loads((folder / "environment.json").read_text())
    hash_ = read_start(next((run / "checkpoints").glob("0*.pt"))).hash
    for people, said in (
        ({"weights": "12", "people": {}}, "compares another winner"),
        ({"weights": hash_, "people": {"ben": {}}}, "the sessions of ben were others"),
    ):
        (folder / "environment.json").write_text(json.dumps({**facts, "people_compared": people}))
        with pytest.raises(ValueError, match=said):
            compare_people(run, data=made / "data", quiet=True)
    with pytest.raises(ValueError, match=r"python -m search\.people"):
        compare_people(folder, data=made / "data", quiet=True)


def test_another_seed_of_training_reads_the_same_test_sessions(made, run):
    """Else seeds could not be told apart from sessions, and the comparison would not go on."""
    folder = run / "people"
    shutil.copytree(made / "run-001", folder)
    facts = json.loads((run / "environment.json").read_text())
    facts["split"]["test"] = []  # so that sessions are drawn
    (run / "environment.json").write_text(json.dumps(facts))
    (ben,) = find_people(made / "data", run, facts, ("ben",), facts["seed"])
    hash_ = read_start(next((run / "checkpoints").glob("0*.pt"))).hash
    people = {"weights": hash_, "people": {"ben": ben.names()}}
    (folder / "environment.json").write_text(json.dumps({**facts, "people_compared": people}))
    drawn = [find_people(made / "data", run, facts, ("ben",), seed) for seed in range(6)]
    assert len({each[0].test for each in drawn}) > 1
    for seed in range(6):
        compare_people(run, data=made / "data", users=("ben",), seed=seed, dry_run=True, quiet=True)


def test_the_first_minutes_are_of_the_first_sessions(made):
    recordings = prepare([made / "data" / f"ben-{i}.hdf5" for i in range(2)])
    found = beginning(recordings, 10.0)
    assert [each.samples for each in found] == [16_000, 4_000]
    assert (found[1].first < 4_000).all()
    assert len(found[1].labels) == len(found[1].first) == len(found[1].last)
    assert beginning(recordings, 99.0) == recordings
    assert parse_minutes("5,2,2") == (2, 5)


def test_means_are_over_people():
    def found(user, minutes, cer, is_all=False):
        return Found(user, "fine-tuned", minutes, is_all, cer, 0, 0, 9, "", 1, "s")

    rows = [
        found("a", 2, 10.0),
        found("b", 2, 20.0),
        found("a", 7, 5, True),
        found("b", 9, 7, True),
    ]
    first, last = summaries(rows, WAYS)
    assert (first.minutes, first.mean, first.people) == (2, 15, 2)
    assert first.sd == pytest.approx(7.07, abs=0.01)
    assert (last.minutes, last.mean) == (8, 6)


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_killed_comparison_goes_on_to_the_undisturbed_table(made, run, compared):
    words = (run, "--data", made / "data", "--minutes", "0.07", "--quiet")

    def trained() -> bool:
        with contextlib.suppress(ValueError, OSError):  # before the first result
            return "complete" in read_trials(run / "people")["state"].to_pylist()
        return False

    with killed([sys.executable, "-m", "search.people", *map(str, words)]):
        wait_until(trained, "a training")
    compare_people(run, data=made / "data", minutes=(0.07,), quiet=True)
    assert table_of(run) == table_of(compared)
    assert len(table_of(run)) == 10
    assert len(json.loads((run / "evaluation.json").read_text())) == 1
