"""One real search, end to end, through the command that a user types; and every bad input."""

from __future__ import annotations

import json
import math
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import h5py
import numpy as np
import optuna
import pyarrow.csv
import pytest
import yaml
from conftest import make_session
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from emgmodels.config import Config, load_config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.sessions import Keystroke, write_session
from search.report.run import read_run
from search.results.reading import read_curves, read_trials, read_windows

ROOT = Path(__file__).resolve().parents[2]
SPACE = """
name: tiny
model:
  features: {hop: 64, bins: 6}
  norm: bin
  electrodes: {choice: [4, 16]}
  mlp_features: 12
  encoder:
    order: {permutation: [recurrent, conv]}
    recurrent: {layers: 1, hidden: {choice: [8, 12]}}
    conv: {layers: {choice: [0, 1]}, channels: 4, kernel: 4}
training:
  epochs: 6
  batch_size: 4
  learning_rate: {float: [3e-3, 1e-2], log: true}
  warmup_steps: 3
  aligned_start: {epochs: 6}
search:
  {trials: 6, sampler: random, seed: 3, checkpoints: 2, scheduler: {name: asha, grace: 2, eta: 2}}
"""


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """Session files as their owners have them: an odd key, one off-keyboard, one too short."""
    folder = tmp_path_factory.mktemp("data")
    for i in range(5):
        session = make_session(seed=i, name=f"s{i}", on_keyboard=i != 1)
        odd = (Keystroke("Key.f13", *[session.time[100]] * 2), *session.keystrokes)
        keys = odd if i != 1 else ()
        write_session(folder / f"s{i}.hdf5", type(session)(**{**vars(session), "keystrokes": keys}))
    write_session(folder / "short.hdf5", make_session(seconds=2, name="short"))
    split = {
        "user": "12345678",
        "dataset": {
            "train": [{"user": "12345678", "session": s} for s in ("s0", "s1", "s2", "short")],
            "val": [{"user": "12345678", "session": "s3"}],
            "test": [{"user": "12345678", "session": "s4"}],
        },
    }
    (folder / "split.yaml").write_text(yaml.safe_dump(split))
    return folder


@pytest.fixture(scope="module")
def space(tmp_path_factory) -> Path:
    path = tmp_path_factory.mktemp("space") / "tiny.yaml"
    path.write_text(SPACE)
    return path


def command(*arguments: object) -> list[str]:
    return [sys.executable, "-m", "search.run", *map(str, arguments)]


def run(*arguments: object, timeout: float = 120) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command(*arguments), capture_output=True, text=True, timeout=timeout, check=False
    )


def by_trial(table) -> dict[int, dict]:
    return {row["trial"]: row for row in sorted(table.to_pylist(), key=lambda row: row["trial"])}


@pytest.fixture(scope="module")
def finished(data, space, tmp_path_factory) -> tuple[Path, str]:
    """The run folder of a search, and what it printed."""
    out = tmp_path_factory.mktemp("runs")
    split = data / "split.yaml"
    done = run(space, "--data", data, "--split", split, "--out", out)
    assert done.returncode == 0, done.stderr
    return out / "tiny-001", done.stdout


@pytest.mark.slow
@pytest.mark.timeout(180)
class TestFinishedSearch:
    def test_the_folder_holds_what_it_should(self, finished):
        folder, _ = finished
        names = {path.name for path in folder.iterdir()}
        assert {
            *("space.yaml", "environment.json", "study.journal", "trials.parquet", "trials.csv"),
            *("curves.parquet", "tensorboard", "checkpoints", "best.yaml"),
        } <= names
        environment = json.loads((folder / "environment.json").read_text())
        assert environment["seed"] == 3
        assert environment["command"][:3] == ["python", "-m", "search.run"]
        assert read_run(folder).command == shlex.join(environment["command"])
        assert environment["versions"]["ray"]
        assert environment["synthetic"] is False
        assert [Path(p).stem for p in environment["split"]["val"]] == ["s3"]
        assert not any("s4" in path for path in environment["split"]["train"])
        assert [Path(p).stem for p in environment["split"]["test"]] == ["s4"]

    def test_tables_agree_with_each_other(self, finished):
        folder, _ = finished
        trials, curves = read_trials(folder), read_curves(folder)
        assert trials.num_rows == 6
        assert trials["rank"].to_pylist() == [1, 2, 3, 4, 5, 6]
        csv = pyarrow.csv.read_csv(folder / "trials.csv")
        assert csv["trial"].to_pylist() == trials["trial"].to_pylist()
        cers = trials["val_cer"].to_pylist()
        assert cers == sorted(cers)
        stopped = 0
        for row in trials.to_pylist():
            curve = [c for c in curves.to_pylist() if c["trial"] == row["trial"]]
            assert [c["epoch"] for c in curve] == list(range(1, row["epochs"] + 1))
            assert min(c["val_cer"] for c in curve) == row["val_cer"]
            assert curve[row["best_epoch"] - 1]["val_cer"] == row["val_cer"]
            assert row["state"] == ("complete" if row["epochs"] == 6 else "stopped")
            assert row["reason"]
            assert row["parameters"] == describe(parse_notation(row["architecture"])).parameters
            stopped += row["state"] == "stopped"
        assert 1 <= stopped <= 5

    def test_every_cer_has_an_interval_from_its_windows(self, finished):
        folder, printed = finished
        windows = by_trial(read_windows(folder))
        for row in read_trials(folder).to_pylist():
            found = windows[row["trial"]]
            assert found["epoch"] == row["best_epoch"]
            cer = 100 * sum(found["edits"]) / sum(found["characters"])
            assert cer == pytest.approx(row["val_cer"])
            assert row["val_cer_low"] <= row["val_cer"] <= row["val_cer_high"]
            assert f"{row['val_cer_low']:.1f} to {row['val_cer_high']:.1f}" in printed
        (snapshot,) = (folder / ".ray").glob("experiment_state-*.json")
        assert "best_windows" not in snapshot.read_text()

    def test_the_study_agrees_with_the_tables(self, finished):
        folder, _ = finished
        backend = optuna.storages.journal.JournalFileBackend(str(folder / "study.journal"))
        study = optuna.load_study(
            study_name="tiny", storage=optuna.storages.JournalStorage(backend)
        )
        told = {trial.number: trial for trial in study.trials if "skipped" not in trial.user_attrs}
        for row in read_trials(folder).to_pylist():
            trial = told[row["trial"]]
            complete = row["state"] == "complete"
            state = optuna.trial.TrialState.COMPLETE if complete else optuna.trial.TrialState.PRUNED
            assert trial.state == state
            assert len(trial.intermediate_values) == row["epochs"]
            assert trial.value == pytest.approx(row["val_cer"]) or not complete

    def test_the_space_reads_back(self, finished):
        folder, _ = finished
        resolved = yaml.safe_load((folder / "space.yaml").read_text())
        assert resolved["training"]["epochs"] == 6
        assert resolved["search"]["seed"] == 3

    def test_tensorboard_has_scalars_and_parameters_of_every_trial(self, finished):
        folder, _ = finished
        for row in read_trials(folder).to_pylist():
            (board,) = (folder / "tensorboard").glob(f"{row['trial']:03d}-*")
            events = EventAccumulator(str(board))
            events.Reload()
            scalars = events.Scalars("cer/validation")
            assert [event.step for event in scalars] == list(range(1, row["epochs"] + 1))
            assert min(event.value for event in scalars) == pytest.approx(row["val_cer"], rel=1e-5)
            tag = metadata.SESSION_START_INFO_TAG
            content = events.summary_metadata[tag].plugin_data.content
            start = plugin_data_pb2.HParamsPluginData.FromString(content).session_start_info
            assert start.hparams["model.electrodes"].number_value == row["model.electrodes"]
            assert "model.encoder.conv.layers" in start.hparams  # a column even where it is absent

    def test_as_many_checkpoints_are_kept_as_the_space_says(self, finished):
        folder, _ = finished
        kept = sorted(path.name[:3] for path in (folder / "checkpoints").iterdir())
        best = sorted(f"{n:03d}" for n in read_trials(folder)["trial"].to_pylist()[:2])
        assert kept == best

    def test_what_was_printed(self, finished):
        folder, printed = finished
        assert "short is left out" in printed
        assert "1 of 3 training sessions have no key times and count by whole prompts" in printed
        assert "Ranking by validation CER" in printed
        assert str(folder) in printed
        assert "synthetic" not in printed
        assert "\x1b" not in printed

    def test_the_best_trains_again_to_the_same_cer(self, finished, tmp_path):
        """By the command in its head, in the folder wherever that was moved."""
        folder = tmp_path / "moved"
        shutil.copytree(finished[0], folder)
        head = (folder / "best.yaml").read_text().splitlines()[2]
        command = head.removeprefix("# Train it again, in this folder: python -m ")
        best = read_trials(folder).to_pylist()[0]
        assert load_config(folder / "best.yaml").seed == best["seed"]
        done = subprocess.run(
            [sys.executable, "-m", *shlex.split(command)],
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(ROOT)},
            cwd=folder,
        )
        assert done.returncode == 0, done.stderr
        assert "no key times and count by" in done.stdout
        found = re.search(r"best validation CER ([\d.]+) %", done.stdout)
        assert found
        if best["state"] == "complete":
            assert float(found[1]) == pytest.approx(best["val_cer"], abs=0.01)

    def test_the_same_command_gives_the_same_trials(self, finished, data, space, tmp_path):
        """The same suggestions, and as far as both trained one, the same CERs."""
        folder, _ = finished
        split = data / "split.yaml"
        again = run(space, "--data", data, "--split", split, "--out", tmp_path, "--quiet")
        assert again.returncode == 0, again.stderr
        assert again.stdout == ""
        first, second = (by_trial(read_trials(f)) for f in (folder, tmp_path / "tiny-001"))
        assert list(first) == list(second)
        for number, row in first.items():
            for name in ("architecture", "training.learning_rate", "seed"):
                assert row[name] == second[number][name]
        for number in first:
            pair = [
                [c["val_cer"] for c in read_curves(f).to_pylist() if c["trial"] == number]
                for f in (folder, tmp_path / "tiny-001")
            ]
            shared = min(map(len, pair))
            assert shared > 0
            assert pair[0][:shared] == pair[1][:shared]


def wait_for_epochs(run_folder: Path, epochs: int, process: subprocess.Popen[str]) -> None:
    """Wait until a running search has trained so many epochs."""
    deadline = time.monotonic() + 60
    while not (
        (run_folder / "curves.parquet").is_file() and read_curves(run_folder).num_rows > epochs
    ):
        assert time.monotonic() < deadline, "too few epochs within a minute"
        assert process.poll() is None, "the search ended by itself"
        time.sleep(0.2)


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_ctrl_c_ends_the_search_with_the_ranking_so_far(data, space, tmp_path):
    process = subprocess.Popen(
        command(space, "--data", data, "--out", tmp_path, "--epochs", 2000, "--trials", 50),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    wait_for_epochs(tmp_path / "tiny-001", 3, process)
    process.send_signal(signal.SIGINT)
    printed, errors = process.communicate(timeout=60)
    assert process.returncode == 0, errors
    assert "Ranking by validation CER" in printed
    assert "Traceback" not in errors
    trials = read_trials(tmp_path / "tiny-001").to_pylist()
    assert trials[0]["val_cer"] is not None
    assert any(row["state"] == "cut off" for row in trials)
    assert f"--resume {tmp_path}" in printed


@pytest.mark.slow
@pytest.mark.timeout(240)
@pytest.mark.parametrize("how", [signal.SIGINT, signal.SIGKILL])
def test_an_ended_search_goes_on(how, data, space, tmp_path):
    """Whatever ended it: the same trials as an uninterrupted search, none lost, none twice."""
    options = ("--data", data, "--epochs", 30, "--set", "search.scheduler={name: asha, grace: 4}")
    process = subprocess.Popen(
        command(space, *options, "--out", tmp_path, "--quiet"), start_new_session=True
    )
    run_folder = tmp_path / "tiny-001"
    wait_for_epochs(run_folder, 25, process)
    if how == signal.SIGKILL:
        time.sleep(11)  # a snapshot is stored by then
        os.killpg(process.pid, how)
    else:
        process.send_signal(how)
    process.wait(timeout=60)
    before = by_trial(read_trials(run_folder))
    done = run("--resume", run_folder, timeout=150)
    assert done.returncode == 0, done.stderr
    after = by_trial(read_trials(run_folder))
    assert len(after) == 6
    for number, row in before.items():
        assert after[number]["architecture"] == row["architecture"]
        assert after[number]["epochs"] >= row["epochs"] or how == signal.SIGKILL
    for number, row in after.items():
        epochs = [c["epoch"] for c in read_curves(run_folder).to_pylist() if c["trial"] == number]
        assert epochs == list(range(1, row["epochs"] + 1))
        assert row["state"] in ("complete", "stopped")
        assert "interrupted" not in row["reason"]
    assert any(row["state"] == "complete" for row in after.values())
    assert not list(run_folder.glob(".ray/*/checkpoint_*")), "no trial can go on"


@pytest.mark.slow
@pytest.mark.timeout(120)
def test_the_function_does_what_the_command_does(data, space, tmp_path):
    from search.run.searching import search

    table = search(
        space, data=data, trials=2, epochs=3, out=tmp_path, overrides=["model.electrodes=4"]
    )
    assert table.num_rows == 2
    assert set(table["model.electrodes"].to_pylist()) == {4}
    assert all(math.isfinite(cer) for cer in table["val_cer"].to_pylist())


def edited(path: Path, change) -> Path:
    with h5py.File(path, "r+") as file:
        change(file["emg2qwerty"])
    return path


def with_nan(group):
    rows = group["timeseries"][:]
    rows["emg_left"][1234, 3] = np.nan
    group["timeseries"][:] = rows


def backwards(group):
    rows = group["timeseries"][:]
    rows["time"][500] -= 1
    group["timeseries"][:] = rows


def broken_json(group):
    group.attrs["keystrokes"] = '[{"key": "a", '


def no_keys(group):
    group.attrs["keystrokes"] = "[]"


def without_field(group):
    rows = group["timeseries"][:]
    del group["timeseries"]
    group["timeseries"] = rows[["time", "emg_left"]]


SESSION_DAMAGE = {
    "nan": (with_nan, "NaN|finite"),
    "backwards": (backwards, "backwards|decreas"),
    "json": (broken_json, "JSON"),
    "field": (without_field, "emg_right"),
    "no keys": (no_keys, "no keys"),
}


@pytest.fixture
def two_sessions(tmp_path) -> Path:
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(2):
        write_session(folder / f"s{i}.hdf5", make_session(seconds=6, seed=i, name=f"s{i}"))
    return folder


def refused(space: Path, *arguments: object, tmp_path: Path) -> str:
    """Run the command in this process and return its error; nothing may have been written."""
    from typer.testing import CliRunner

    from search.run.command import app

    out = tmp_path / "runs"
    done = CliRunner().invoke(app, [str(a) for a in (space, *arguments, "--out", out)])
    assert done.exit_code == 2, done.output
    assert not out.exists()
    assert "Traceback" not in done.output
    return done.stderr


@pytest.mark.parametrize("damage", SESSION_DAMAGE)
def test_a_damaged_session_is_named(damage, space, two_sessions, tmp_path):
    change, message = SESSION_DAMAGE[damage]
    for path in two_sessions.glob("*.hdf5"):
        edited(path, change)
    error = refused(space, "--data", two_sessions, tmp_path=tmp_path)
    assert re.search(message, error)


def test_a_file_that_is_not_hdf5_is_named(space, two_sessions, tmp_path):
    (two_sessions / "s0.hdf5").write_text("no HDF5")
    assert "s0.hdf5" in refused(space, "--data", two_sessions, tmp_path=tmp_path)


def test_a_truncated_file_is_named(space, two_sessions, tmp_path):
    path = two_sessions / "s0.hdf5"
    path.write_bytes(path.read_bytes()[:100_000])
    assert "s0.hdf5" in refused(space, "--data", two_sessions, tmp_path=tmp_path)


def test_folders_and_subjects_that_are_not_there(space, two_sessions, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "no session files" in refused(space, "--data", tmp_path / "empty", tmp_path=tmp_path)
    assert "does not exist" in refused(space, "--data", tmp_path / "none", tmp_path=tmp_path)
    error = refused(space, "--data", two_sessions, "--subject", "999", tmp_path=tmp_path)
    assert "999" in error
    assert "12345678" in error
    assert "give --data" in refused(space, "--subject", "1", tmp_path=tmp_path)


def test_sessions_that_are_all_too_short(space, tmp_path):
    folder = tmp_path / "data"
    folder.mkdir()
    for i in range(2):
        write_session(folder / f"s{i}.hdf5", make_session(seconds=2, seed=i, name=f"s{i}"))
    assert "window of 4 s" in refused(space, "--data", folder, tmp_path=tmp_path)


def test_every_mistake_in_a_space_is_reported_at_once(two_sessions, tmp_path):
    path = tmp_path / "bad.yaml"
    path.write_text(
        "name: bad\n"
        "model:\n"
        "  electrodes: {choice: []}\n"
        "  mlp_featurs: 3\n"
        "  encoder: {order: [conv], conv: {layers: {int: [4, 1]}, kernel: wide}}\n"
    )
    error = refused(path, "--data", two_sessions, tmp_path=tmp_path)
    for part in ("electrodes", "mlp_featurs", "mlp_features", "conv.layers", "conv.kernel"):
        assert part in error
    assert error.count("bad.yaml") >= 4


def test_a_space_in_which_nothing_can_be_built(space, two_sessions, tmp_path):
    error = refused(
        *(space, "--data", two_sessions, "--set", "constraints.max_parameters=10"),
        tmp_path=tmp_path,
    )
    assert "max_parameters" in error


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--gpus-per-trial", 99], "99"),
        (["--cpus-per-trial", 999], "999"),
        (["--cpus-per-trial", 0], "above 0"),
        (["--gpus-per-trial", -1], "give it 1, a part of one"),
        (["--time-budget", "soon"], "8m"),
        (["--trials", 0], "trials"),
        (["--set", "model.electrodes"], "path"),
        (["--set", "training.epochs={int: [2, 4]}"], "must be|varies"),
        (["--set", "search.scheduler={name: asha, grace: 90}"], "grace"),
    ],
)
def test_options_out_of_range(options, message, space, two_sessions, tmp_path):
    assert re.search(message, refused(space, "--data", two_sessions, *options, tmp_path=tmp_path))


def test_what_cannot_be_resumed(space, tmp_path):
    from typer.testing import CliRunner

    from search.run.command import app

    for arguments, message in (
        (["--resume", tmp_path / "none"], "space.yaml"),
        ([space, "--resume", tmp_path], "leave out"),
        (["--resume", tmp_path, "--seed", 0, "--set", "a=1"], "leave out --seed, --set"),
        (["--resume", tmp_path, "--warm-start", tmp_path], "leave out --warm-start"),
        (["--resume", tmp_path, "--repeats", 2], "leave out --repeats"),
        ([], "name a space file"),
    ):
        done = CliRunner().invoke(app, [str(a) for a in arguments])
        assert done.exit_code == 2
        assert message in done.stderr


def test_a_refused_resume_leaves_the_search_as_long_as_it_was(space, tmp_path):
    from search.results.folder import RunFolder
    from search.results.record import TrialRecord
    from search.run.searching import resume

    folder = RunFolder(tmp_path)
    folder.write_space({"name": "tiny", "search": {"trials": 3}})
    sessions = {"train": [], "val": [], "test": []}
    folder.write_environment({"split": sessions, "resources_per_trial": {"cpus": 1, "gpus": 0}})
    folder.append(TrialRecord(0, Config()))
    before = (tmp_path / "space.yaml").read_text()
    with pytest.raises(ValueError, match="no snapshot"):
        resume(tmp_path, add_trials=2, quiet=True)
    assert (tmp_path / "space.yaml").read_text() == before


def test_a_demo_goes_on_where_its_typist_never_was(space, monkeypatch, tmp_path):
    from search.run import sessions
    from search.space import load_space

    monkeypatch.setenv("EMGSEARCH_CACHE", str(tmp_path / "first"))
    typist = ["typist.sessions=3", "typist.minutes=0.5"]
    demo = load_space(space, demo=True, overrides=typist)
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


def test_a_missing_space_file(two_sessions, tmp_path):
    error = refused(tmp_path / "none.yaml", "--data", two_sessions, tmp_path=tmp_path)
    assert "none.yaml" in error
