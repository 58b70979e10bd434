"""Searches whose trials start from one checkpoint."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from helpers.searches import refused

from emgmodels.checkpoints.start import START, read_start
from emgmodels.config import Config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.training.starting import load_training
from search.results import read_trials
from search.space import load_space
from search.space.draws import RandomDraw

MODEL = "gru:1(hidden=6) conv:1(channels=2,kernel=4) mlp:6 hop:64 bins:6 share_bands:mlp @2ch"
SPACE = """
training:
  epochs: 1
  batch_size: 4
  start_from: before.pt
  freeze: {choice: [[], [conv]]}
  learning_rate_factors: {recurrent: {float: [0.1, 1.0]}}
  unshare: {choice: [false, true]}
search: {trials: 2, sampler: random, scheduler: none}
"""


def write_checkpoint(path: Path, text: str = MODEL, seed: int = 7) -> str:
    """Write random weights of an architecture, and return their hash."""
    from emgmodels.checkpoints.exported import write_torch

    config = Config(model=parse_notation(text))
    write_torch(Reader(config, build(config.model, seed), Origin()), path)
    return read_start(path).hash


@pytest.fixture
def space(tmp_path) -> Path:
    write_checkpoint(tmp_path / "before.pt")
    (tmp_path / "mine.yaml").write_text(SPACE)
    return tmp_path / "mine.yaml"


def test_a_space_takes_the_checkpoints_model_and_searches_training_alone(space):
    found = load_space(space)
    assert found.parameters() == [
        "training.unshare",
        "training.freeze",
        "training.learning_rate_factors.recurrent",
    ]
    assert found.check().feasible == 200
    config = found.suggest(RandomDraw(np.random.default_rng(1)))
    assert config.model.mlp_features == 6
    assert config.model.own_hands == config.training.unshare
    assert found.suggest(RandomDraw(np.random.default_rng(0), found.params_of(config))) == config
    # As a run folder has it, beside its own copy.
    assert found.resolved()["training"]["start_from"]["path"] == START


def test_a_key_of_the_model_is_held_against_the_checkpoints(space):
    text = "model.encoder.recurrent.dropout={choice: [0.0, 0.3]}"
    assert "model.encoder.recurrent.dropout" in load_space(space, overrides=text).parameters()
    with pytest.raises(
        ValueError, match=r"recurrent\.layers\.weight_ih_l0 is 18 x 12 there and 27"
    ):
        load_space(space, overrides="model.encoder.recurrent.hidden=9")


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ("training.start_from=nowhere.pt", "nowhere.pt: cannot be read"),
        ("training.start_from={choice: [a.pt, b.pt]}", "one checkpoint for the whole search"),
        ("training.start_from.path=''", "names no checkpoint"),
        ("training.start_from.weights='12'", "began from 12"),
        ("model.features.hop=32", "other features"),
        ("model.norm=bin", "norm.norm.weight is 4 there and 24 here"),
        ("training.freeze=[covn]", "'covn' is no part of the model"),
        ("training.freeze=[norm, mlp, recurrent, conv, head]", "nothing would be trained"),
        ("training.freeze_epochs=7", "7 are more than the training's 1"),
        ("training.learning_rate_factors.covn=0.1", "'covn' is no part of the model"),
    ],
)
def test_a_space_that_contradicts_its_checkpoint_is_refused(space, override, said, tmp_path):
    data = tmp_path / "data"
    assert said in refused(space, "--data", data, "--set", override, tmp_path=tmp_path)


def test_an_entry_has_no_checkpoint_of_its_own(space):
    entry = "{training: {start_from: before.pt}}"
    space.write_text(f"model: {{choice: [{entry}, {{}}]}}\ntraining: {{epochs: 1}}\n")
    with pytest.raises(ValueError, match="all trials start from one checkpoint"):
        load_space(space)


@pytest.mark.slow
def test_a_run_carries_its_checkpoint_and_goes_on_where_it_lies(engine, space, data, tmp_path):
    """Its copy is all that a moved run needs: to go on, and to train its best again."""
    from search import run

    before = space.parent / "before.pt"
    weights = read_start(before).hash
    run.search(space, data=data, out=tmp_path / "runs", quiet=True)
    before.unlink()
    moved = tmp_path / "elsewhere"
    shutil.move(tmp_path / "runs" / "mine-001", moved)
    assert read_start(moved / START).hash == weights
    assert json.loads((moved / "environment.json").read_text())["start_from"]["weights"] == weights
    table = run.resume(moved, add_trials=2, quiet=True)
    rows = read_trials(moved).to_pylist()
    assert [row["state"] for row in rows] == ["complete"] * 4 == ["complete"] * table.num_rows
    assert {row["training.start_from.weights"] for row in rows} == {weights}
    config, start = load_training(moved / "best.yaml")
    assert start is not None
    assert config.training.start_from.weights == weights
    state = torch.load(moved / "checkpoints" / "best.pt", weights_only=True)
    if "conv" in config.training.freeze:
        name = "stages.1.blocks.0.conv.weight"
        assert torch.equal(state["model"][name], start.weights[name])
    write_checkpoint(moved / START, seed=8)
    with pytest.raises(ValueError, match="put that checkpoint there"):
        run.resume(moved, add_trials=1, quiet=True)
    (moved / START).unlink()
    with pytest.raises(ValueError, match=r"elsewhere/start\.pt: cannot be read"):
        run.resume(moved, add_trials=1, quiet=True)
