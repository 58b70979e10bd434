"""One real search, end to end, through the command that a user types; and every bad input."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pyarrow.csv
import pytest
import yaml
from conftest import make_session
from helpers.searches import (
    ONE_AT_ONCE,
    assert_ranked_by_what_is_kept,
    refused,
    run_search,
    search_command,
    told,
    wait_for_epochs,
)
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.plugins.hparams import metadata, plugin_data_pb2

from emgmodels.config import Config, load_config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.sessions import Keystroke, write_session
from search import run
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


def by_trial(table) -> dict[int, dict]:
    return {row["trial"]: row for row in sorted(table.to_pylist(), key=lambda row: row["trial"])}


@pytest.fixture(scope="module")
def finished(data, space, tmp_path_factory) -> tuple[Path, str]:
    """The run folder of a search, and what it printed."""
    out = tmp_path_factory.mktemp("runs")
    split = data / "split.yaml"
    done = run_search(space, "--data", data, "--split", split, "--out", out)
    assert done.returncode == 0, done.stderr
    return out / "tiny-001", done.stdout


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
        trials = told(folder)
        for row in read_trials(folder).to_pylist():
            trial = trials[row["trial"]]
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
        kept = sorted(path.name[:4] for path in (folder / "checkpoints").iterdir())
        best = sorted(f"{n:03d}-" for n in read_trials(folder)["trial"].to_pylist()[:2])
        assert kept == [*best, "best"]

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

    @pytest.mark.slow
    def test_the_function_gives_the_same_trials_as_the_command(
        self, finished, engine, data, space, tmp_path, capsys
    ):
        """The same suggestions, and as far as both trained one, the same CERs."""
        folder, _ = finished
        split = data / "split.yaml"
        table = run.search(space, data=data, split=split, out=tmp_path, quiet=True)
        assert capsys.readouterr().out == ""
        assert table.equals(read_trials(tmp_path / "tiny-001"))
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


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_ctrl_c_ends_the_search_with_its_ranking_and_weights_and_it_goes_on(
    engine, data, space, tmp_path
):
    """The same trials as an uninterrupted search, none lost, none twice."""
    options = ("--data", data, "--epochs", 12, "--set", "search.scheduler={name: asha, grace: 3}")
    process = subprocess.Popen(
        search_command(space, *options, *ONE_AT_ONCE, "--out", tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    folder = tmp_path / "tiny-001"
    wait_for_epochs(folder, 12, process)
    os.killpg(process.pid, signal.SIGINT)  # a terminal sends it to all
    printed, errors = process.communicate(timeout=120)
    assert process.returncode == 0, errors
    assert "Ending, since the search was interrupted" in printed
    assert "Ranking by validation CER" in printed
    assert f"--resume {tmp_path}" in printed
    assert "Traceback" not in errors
    before = by_trial(read_trials(folder))
    assert any(row["state"] == "cut off" for row in before.values())
    assert_ranked_by_what_is_kept(folder)
    goes_on(folder, before)


def goes_on(folder: Path, before: dict[int, dict]) -> None:
    """Resume a search, and assert that nothing is missing."""
    run.resume(folder, cpus_per_trial=1, quiet=True)
    after = by_trial(read_trials(folder))
    assert len(after) == 6
    for number, row in before.items():
        assert after[number]["architecture"] == row["architecture"]
        assert after[number]["epochs"] >= row["epochs"]
    for number, row in after.items():
        epochs = [c["epoch"] for c in read_curves(folder).to_pylist() if c["trial"] == number]
        assert epochs == list(range(1, row["epochs"] + 1))
        assert row["state"] in ("complete", "stopped")
        assert "interrupted" not in row["reason"]
    assert any(row["state"] == "complete" for row in after.values())
    assert not list(folder.glob(".ray/*/checkpoint_*")), "no trial can go on"


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
        (["--resume", tmp_path / "none"], "none: does not exist"),
        (["--resume", tmp_path], "holds no space.yaml"),
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


def test_a_missing_space_file(two_sessions, tmp_path):
    error = refused(tmp_path / "none.yaml", "--data", two_sessions, tmp_path=tmp_path)
    assert "none.yaml" in error
