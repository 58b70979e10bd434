"""Trials that are logged to Weights & Biases and MLflow too, both without a network."""

from __future__ import annotations

import importlib.util
import os
import subprocess
from pathlib import Path

import pytest
from helpers.searches import search_command
from ray.tune.experiment import Trial

from emgmodels.config import Config
from emgmodels.installing import how_to_install
from emgmodels.notation import parse_notation
from search.engine import elsewhere
from search.engine.elsewhere import Elsewhere, check_log_to
from search.results.record import TrialRecord
from search.space import load_space

SPACE = """
name: tiny
model:
  mlp_features: 8
  features: {hop: 64}
  encoder: {order: [conv], conv: {layers: 1, channels: 4, kernel: 4}}
training: {epochs: 1, batch_size: 8, learning_rate: {float: [1e-3, 5e-3], log: true}}
search: {trials: 2, sampler: random, scheduler: none}
typist: {sessions: 3, minutes: 0.25}
"""


def space_of(tmp_path: Path, log_to: str) -> Path:
    path = tmp_path / "tiny.yaml"
    path.write_text(SPACE.replace("scheduler: none", f"scheduler: none, log_to: {log_to}"))
    return path


@pytest.mark.parametrize(
    ("written", "meant"),
    {
        "wandb": ("wandb",),
        "[mlflow, wandb]": ("mlflow", "wandb"),
        "[]": (),
        "null": (),
    }.items(),
)
def test_a_space_names_one_service_or_several(written, meant, tmp_path):
    assert load_space(space_of(tmp_path, written)).search.log_to == meant


@pytest.mark.parametrize("written", ["tensorbord", "[wandb, comet]", "[wandb, wandb]", "3"])
def test_other_names_are_refused_with_what_there_is(written, tmp_path):
    with pytest.raises(ValueError, match=r"search\.log_to") as told:
        load_space(space_of(tmp_path, written))
    assert "mlflow" in str(told.value) or "each once" in str(told.value)


@pytest.mark.parametrize("name", ["wandb", "mlflow"])
def test_a_missing_package_is_told_with_what_to_install(name, monkeypatch):
    monkeypatch.setitem(elsewhere._PACKAGES, name, "emgsearch_has_no_such_package")
    with pytest.raises(ValueError, match=rf"-m pip install .*\[{name}\]'"):
        check_log_to([name])


def needs(package: str) -> None:
    if importlib.util.find_spec(package) is None:
        pytest.skip(f"no {package}: {how_to_install(package)}")


@pytest.fixture
def record() -> TrialRecord:
    model = parse_notation("gru:1(hidden=8) hop:64 mlp:8 @4ch").model_dump(mode="json")
    return TrialRecord(3, Config.model_validate({"model": model, "training": {"epochs": 2}}))


def log(callback: Elsewhere) -> None:
    trial = Trial("stub", trial_id="a1", stub=True)
    callback.setup()
    callback.on_trial_start(0, [trial], trial)
    for epoch, cer in ((1, 80.0), (2, 40.0)):
        result = {"epoch": epoch, "training_iteration": epoch, "val_cer": cer, "val_loss": 1.0}
        callback.on_trial_result(epoch, [trial], trial, result | {"config": {}, "texts": ["a"]})
        callback.on_trial_start(epoch, [trial], trial)  # as after a pause
    callback.on_trial_complete(2, [trial], trial)
    callback.on_experiment_end([trial])


def test_mlflow_has_a_trial_with_name_settings_and_epochs(record, tmp_path, monkeypatch):
    needs("mlflow")
    import mlflow

    monkeypatch.setenv("MLFLOW_ALLOW_FILE_STORE", "true")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", (tmp_path / "store").as_uri())
    monkeypatch.delenv("MLFLOW_EXPERIMENT_NAME", raising=False)
    said: list[str] = []
    log(Elsewhere("mlflow", tmp_path / "tiny-001", lambda trial: record, said.append))
    assert said == []
    client = mlflow.MlflowClient((tmp_path / "store").as_uri())
    experiment = client.get_experiment_by_name("tiny-001")
    [run] = client.search_runs([experiment.experiment_id])
    assert run.info.run_name == "003 gru:1 @4ch"
    assert run.info.status == "FINISHED"
    assert run.data.params["model.encoder.recurrent.hidden"] == "8"
    assert run.data.params["training.epochs"] == "2"
    history = client.get_metric_history(run.info.run_id, "cer/validation")
    assert [(each.step, each.value) for each in history] == [(1, 80.0), (2, 40.0)]
    assert "texts" not in run.data.metrics


def test_a_service_that_fails_is_told_once_and_ends_nothing(record, tmp_path, monkeypatch):
    needs("mlflow")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "nonsense://nowhere")
    said: list[str] = []
    log(Elsewhere("mlflow", tmp_path / "tiny-001", lambda trial: record, said.append))
    [note] = said
    assert note.startswith("note: nothing more is logged to mlflow: ")


def test_a_user_of_wandb_is_asked_for_before_anything_is_trained(tmp_path):
    needs("wandb")
    known = {name: value for name, value in os.environ.items() if not name.startswith("WANDB")}
    known |= {"HOME": str(tmp_path), "NETRC": str(tmp_path / "netrc")}
    told = subprocess.run(
        [*search_command(space_of(tmp_path, "wandb"), "--out", tmp_path / "runs")],
        env=known,
        capture_output=True,
        text=True,
        timeout=200,
        check=False,
    )
    assert told.returncode == 2, told.stderr
    assert "WANDB_MODE=offline" in told.stderr
    assert not (tmp_path / "runs").exists()


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_logs_to_both_without_a_network(tmp_path):
    needs("wandb")
    needs("mlflow")
    own = {"WANDB_MODE": "offline", "WANDB_SILENT": "true"}
    done = subprocess.run(
        [*search_command(space_of(tmp_path, "[wandb, mlflow]"), "--out", tmp_path / "runs")],
        env=os.environ | own,
        capture_output=True,
        text=True,
        timeout=500,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    run = tmp_path / "runs" / "tiny-001"
    assert "nothing more is logged" not in done.stdout
    assert len(list((run / "wandb").glob("offline-run-*/*.wandb"))) == 2
    import mlflow

    client = mlflow.MlflowClient(f"sqlite:///{run / 'mlflow.db'}")
    found = client.search_runs([client.get_experiment_by_name("tiny-001").experiment_id])
    assert sorted(each.info.run_name[:3] for each in found) == ["000", "001"]
    assert all("cer/validation" in each.data.metrics for each in found)
