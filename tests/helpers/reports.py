"""Run folders of made-up searches: real files, curves from a formula."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import yaml

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from search.engine.searcher import OptunaSampler
from search.halving.ending import Ending, Why
from search.halving.halving import Decision, Halving
from search.results.folder import RunFolder
from search.results.intervals import Windows
from search.results.record import COMPLETE, FAILED, STOPPED, TrialRecord
from search.space import load_space

SPACE = """
name: made-up
model:
  electrodes: {choice: [4, 8, 16]}
  mlp_features: 16
  features: {hop: 64}
  encoder:
    order: {permutation: [transformer, recurrent, conv]}
    transformer: {layers: {choice: [0, 2]}, heads: 4, feedforward: 32}
    recurrent: {cell: {choice: [gru, lstm]}, layers: {choice: [0, 4]}, hidden: {choice: [8, 16]}}
    conv: {layers: {choice: [0, 2, 4]}, channels: 8, kernel: 4}
training: {epochs: 24, learning_rate: {float: [3e-4, 3e-3], log: true}}
search: {sampler: random, seed: 5, scheduler: {name: asha, grace: 4, eta: 2}}
"""


def fixed(*architectures: str, repeats: int = 1) -> str:
    """Return a space that is a list of architectures, each trained whole."""
    models = [
        parse_notation(text).model_dump(mode="json", exclude_unset=True) for text in architectures
    ]
    search = {"sampler": "grid", "scheduler": "none", "repeats": repeats}
    space = {
        "name": "fixed",
        "model": {"choice": models},
        "training": {"epochs": 24},
        "search": search,
    }
    return yaml.safe_dump(space)


def made_up_curve(config: Config, rng: np.random.Generator) -> list[dict[str, float]]:
    """Return a training as CTC's go: a plateau, an exit, a slow approach."""
    model, epochs = config.model, config.training.epochs
    stages = dict(model.encoder.stages())
    floor = (
        14 + 40 / model.electrodes + 6 * ("recurrent" not in stages) + 3 * ("conv" not in stages)
    )
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


def make_run(
    parent: Path,
    text: str = SPACE,
    *,
    trials=30,
    fail=(),
    synthetic=True,
    val="c.hdf5",
    curve=made_up_curve,
) -> Path:
    """Write the folder that a search of made-up trainings leaves."""
    parent.mkdir(exist_ok=True)
    (parent / "space.yaml").write_text(text)
    space = load_space(parent / "space.yaml", overrides=[f"search.trials={trials}"])
    folder = RunFolder.create(parent, space.name)
    folder.write_space(space.resolved())
    folder.write_environment(
        {
            "command": [
                "python",
                "-m",
                "search.run",
                "spaces/made up.yaml",
                "--trials",
                str(trials),
            ],
            "seed": space.search.seed,
            "subject": "89335547",
            "synthetic": synthetic,
            "split": {
                "origin": "split.yaml",
                "train": ["a.hdf5", "b.hdf5"],
                "val": [f"{val}.hdf5"],
            },
            "resources_per_trial": {"cpus": 1.0, "gpus": 0.0},
        }
    )
    sampler = OptunaSampler(space, folder.path / "study.journal")
    rungs = [] if space.search.scheduler.name == "none" else [4, 8, 16]
    halving = Halving(rungs, 24, eta=2, pausing=False)
    rng = np.random.default_rng(space.search.seed)
    for index in range(sampler.trials):
        suggestion = sampler.suggest(f"t{index}")
        assert isinstance(suggestion, dict)
        record = TrialRecord(suggestion["number"], Config.model_validate_json(suggestion["config"]))
        folder.trials[record.number] = record
        if index in fail:
            record.state, record.ending = FAILED, Ending(Why.GPU_MEMORY)
            sampler.on_trial_complete(f"t{index}", error=True)
            continue
        train(record, sampler, halving, f"t{index}", curve(record.config, rng))
    folder.flush()
    return folder.path


def train(record, sampler, halving, trial_id, curve):
    halving.add(trial_id)
    characters = np.full(60, 20)
    for row in curve:
        record.add(row)
        if record.best is record.curve[-1]:
            edits = np.full(60, round(row["val_cer"] / 5)) + np.arange(60) % 3 - 1
            record.windows = Windows.of(row["epoch"], np.stack([edits, characters], axis=1))
        decision = halving.report(trial_id, row["epoch"], row["val_cer"], row["val_loss"])
        if decision is not Decision.CONTINUE:
            sampler.on_trial_complete(trial_id, row)
            break
        sampler.on_trial_result(trial_id, row)
    record.state = COMPLETE if record.epoch == record.config.training.epochs else STOPPED
    record.ending = halving.ending(trial_id)
