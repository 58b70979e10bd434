"""The report on run folders of made-up searches: real files, curves from a formula."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from emgmodels.config import Config
from search.halving import Decision, Halving
from search.results import COMPLETE, FAILED, STOPPED, RunFolder, TrialRecord
from search.sampler import OptunaSampler
from search.space import load_space

SPACE = """
name: made-up
model:
  electrodes: {choice: [4, 8, 16]}
  mlp_features: 16
  features: {hop: 64}
  encoder:
    order: {permutation: [transformer, recurrent, conv]}
    transformer: {layers: {choice: [0, 2]}, heads: 4, feedforward: {choice: [32, 64]}}
    recurrent: {cell: {choice: [gru, lstm]}, layers: {choice: [0, 4]}, hidden: {choice: [8, 16, 32]}}
    conv: {layers: {choice: [0, 2, 4]}, channels: 8, kernel: 4}
training: {epochs: 24, learning_rate: {float: [3e-4, 3e-3], log: true}}
search:
  trials: 30
  sampler: random
  seed: 5
  scheduler: {name: asha, grace: 4, eta: 2}
  start_with: ["conv:4(channels=8,kernel=4) mlp:16 hop:64 @16ch", "lstm:4 conv:4(channels=8,kernel=4) mlp:16 hop:64 @16ch"]
"""


def made_up_curve(config: Config, rng: np.random.Generator) -> list[dict[str, float]]:
    """Return a training as CTC's go: a plateau, an exit, a slow approach."""
    model, epochs = config.model, config.training.epochs
    stages = dict(model.encoder.stages())
    floor = 14 + 40 / model.electrodes + 6 * ("recurrent" not in stages) + 3 * ("conv" not in stages)
    floor += 8 * abs(math.log10(config.training.learning_rate / 1e-3)) + rng.normal(0, 1)
    leaves = 4 + 3 * ("transformer" in stages) + rng.integers(3)
    curve = []
    for epoch in range(1, epochs + 1):
        gone = max(0.0, epoch - leaves) / epochs
        cer = floor + (100 - floor) * math.exp(-9 * gone) + rng.normal(0, 0.3)
        curve.append(
            {"epoch": epoch, "train_loss": cer / 32, "val_loss": cer / 28, "val_cer": cer}
            | {"val_ier": 1.0, "val_der": cer / 2, "val_ser": cer / 2 - 1, "best_val_cer": cer}
            | {"learning_rate": 1e-3, "seconds": 20.0 + len(stages)}
        )
    return curve


def make_run(parent: Path, text: str = SPACE, *, trials=30, fail=(), synthetic=True) -> Path:
    """Write the folder that a search of made-up trainings leaves."""
    (parent / "space.yaml").write_text(text)
    space = load_space(parent / "space.yaml", overrides=[f"search.trials={trials}"])
    folder = RunFolder.create(parent, space.name)
    folder.write_space(space.resolved())
    folder.write_environment(
        {
            "command": ["run.py", "spaces/made up.yaml", "--trials", str(trials)],
            "seed": space.search.seed,
            "subject": "89335547",
            "synthetic": synthetic,
            "split": {"origin": "split.yaml", "train": ["/d/a.hdf5", "/d/b.hdf5"], "val": ["/d/c.hdf5"]},
            "resources_per_trial": {"cpus": 1.0, "gpus": 0.0},
        }
    )
    sampler = OptunaSampler(space, folder.path / "study.journal")
    halving = Halving([4, 8, 16], 24, eta=2, pausing=False)
    rng = np.random.default_rng(space.search.seed)
    for index in range(trials):
        suggestion = sampler.suggest(f"t{index}")
        assert isinstance(suggestion, dict)
        record = TrialRecord(suggestion["number"], Config.model_validate(suggestion["config"]))
        folder.trials[record.number] = record
        if index in fail:
            record.state, record.reason = FAILED, "out of GPU memory"
            sampler.on_trial_complete(f"t{index}", error=True)
            continue
        train(record, sampler, halving, f"t{index}", rng)
    folder.flush()
    return folder.path


def train(record, sampler, halving, trial_id, rng):
    halving.add(trial_id)
    for row in made_up_curve(record.config, rng):
        record.add(row)
        decision = halving.report(trial_id, row["epoch"], row["val_cer"], row["val_loss"])
        if decision is not Decision.CONTINUE:
            sampler.on_trial_complete(trial_id, row)
            break
        sampler.on_trial_result(trial_id, row)
    record.state = COMPLETE if record.epoch == record.config.training.epochs else STOPPED
    record.reason = halving.why(trial_id)
