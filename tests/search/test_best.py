"""``checkpoints/best.pt``: of the weights that were kept, those of the lowest CER."""

from __future__ import annotations

import dataclasses
import os
import shutil
from pathlib import Path

import pyarrow as pa
import pytest
from typer.testing import CliRunner

import emgmodels
from emgmodels.checkpoints.weights import weights_hash
from emgmodels.config import Config
from emgmodels.export.__main__ import app as export_app
from emgmodels.notation import parse_notation
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.engine.checkpoints import BestCheckpoints
from search.results.record import COMPLETE, TrialRecord, Weights
from search.storage import StoredFile


@pytest.fixture(scope="module")
def trained(session_paths, tmp_path_factory) -> dict[int, tuple[Config, Path, dict]]:
    """Return configuration, checkpoint and metrics of three trainings of one epoch."""
    folder, recordings, found = tmp_path_factory.mktemp("trained"), prepare(session_paths[:1]), {}
    for seed in range(3):
        model = parse_notation("conv:1(channels=4,kernel=4) norm:bin mlp:8 bins:6 hop:64 @4ch")
        config = Config(model=model, seed=seed)
        training = config.training.model_copy(update={"epochs": 1, "batch_size": 4})
        config = config.model_copy(update={"training": training})
        (result,) = fit(config, recordings, recordings)
        result.save(folder / f"{seed}.pt")
        found[seed] = (
            config,
            folder / f"{seed}.pt",
            {**result.metrics(), "best_weights": result.best_weights},
        )
    return found


@pytest.fixture
def run(trained, tmp_path) -> tuple[Path, dict[int, TrialRecord]]:
    """Return a run folder and its three trials, of which number 1 is made the best."""
    trials = {}
    for number, (config, path, metrics) in trained.items():
        trial = TrialRecord(number, config, COMPLETE)
        cer = 20.0 if number == 1 else 30.0 + number
        trial.add({**metrics, "val_cer": cer, "best_val_cer": cer, "best_epoch": 1})
        trial.checkpoint = StoredFile(pa.fs.LocalFileSystem(), str(path))
        trial.saved = Weights(1, cer, metrics["best_weights"])
        trials[number] = trial
    return tmp_path / "run-001", trials


def keep(path: Path, trials: dict[int, TrialRecord], count: int = 2) -> None:
    path.mkdir(exist_ok=True)
    BestCheckpoints(path, count).keep(trials.values())


def hash_in(path: Path) -> str:
    return weights_hash(emgmodels.load(path).model.state_dict())


def test_a_run_folder_its_checkpoints_and_best_pt_load_as_the_best_trial(run):
    path, trials = run
    keep(path, trials)
    for place in (path, path / "checkpoints", path / "checkpoints" / "best.pt", str(path)):
        assert hash_in(Path(place)) == trials[1].weights.hash
    (path / "checkpoints" / "best.pt").unlink()  # of an older version
    states = [emgmodels.load(each) for each in (path / "checkpoints").glob("*.pt")]
    lowest = min(state.origin.val_cer for state in states)
    assert emgmodels.load(path).origin.val_cer == lowest


def test_weights_that_are_not_those_that_a_trial_is_ranked_by_count_by_their_own_cer(run):
    path, trials = run
    trials[1].saved = Weights(1, 39.0, "other")  # ranked by 20 %, and these were lost
    trials[1].reported = Weights(2, 20.0, "lost")
    keep(path, trials)
    assert hash_in(path) == trials[0].weights.hash
    trials[1].saved = trials[1].reported = Weights(1, 20.0, "saved after a resume")
    keep(path, trials)
    assert hash_in(path) == hash_in(path / "checkpoints" / f"{trials[1].slug}.pt")


def test_it_follows_a_new_best_a_move_and_a_copy_of_the_folder(run):
    path, trials = run
    keep(path, {0: trials[0]})
    assert hash_in(path) == trials[0].weights.hash
    keep(path, trials)
    assert hash_in(path) == trials[1].weights.hash
    moved = path.with_name("moved")
    shutil.copytree(path, moved, copy_function=shutil.copy)
    for file in (moved / "checkpoints").iterdir():
        os.utime(file, (1, 1))  # as some archives give all files one time
    shutil.rmtree(path)
    others = {number: dataclasses.replace(trial) for number, trial in trials.items()}
    for trial in others.values():
        trial.checkpoint = None  # of an earlier process
    del others[1]
    (moved / "checkpoints" / f"{trials[1].slug}.pt").unlink()
    keep(moved, others)
    assert hash_in(moved) == trials[0].weights.hash
    assert not path.exists()


@pytest.mark.parametrize("content", [None, "space.yaml", "checkpoints"])
def test_a_folder_without_a_model_is_refused_by_name(tmp_path, content):
    folder = tmp_path / "no model"
    folder.mkdir()
    if content == "checkpoints":
        (folder / content).mkdir()
    elif content:
        (folder / content).write_text("name: a")
    with pytest.raises(ValueError, match="no model: holds no model"):
        emgmodels.load(folder)


def test_export_takes_a_run_folder(run):
    path, trials = run
    keep(path, trials)
    done = CliRunner().invoke(export_app, [str(path), "--to", "torch"])
    assert done.exit_code == 0, done.output
    assert hash_in(path / "checkpoints" / "best-model.pt") == trials[1].weights.hash
    keep(path, trials)
    assert (path / "checkpoints" / "best-model.pt").is_file()
