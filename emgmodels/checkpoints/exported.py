"""The files that a model travels in."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import torch

from emgmodels.atomic import whole
from emgmodels.checkpoints.emg2qwerty import to_emg2qwerty
from emgmodels.config import with_sources
from emgmodels.outputs import mark_of
from emgmodels.reading.reader import Reader
from emgmodels.stages.pretrained import PretrainedStage

TORCH_MARK = mark_of("model")
EMG2QWERTY_MARK = mark_of("checkpoint for emg2qwerty")


def write_torch(reader: Reader, path: Path) -> None:
    """Write weights and card to one file, which ``emgmodels.load`` reads."""
    _save({"writer": TORCH_MARK, **carried_state(reader)}, path)


def carried_state(reader: Reader) -> dict[str, Any]:
    """Return what a model is made of again: card as JSON, weights, code and shape of its own."""
    state: dict[str, Any] = {
        "card": json.dumps(reader.card(), ensure_ascii=False),
        "model": _weights(reader),
    }
    state |= with_sources(reader.config.model)
    for stage in reader.model.modules():
        if isinstance(stage, PretrainedStage):
            # With the shape inside, the language model's folder is not needed where the file
            # goes.
            state["shape"] = stage.model.config.to_json_string(use_diff=False)
    return state


def write_emg2qwerty(reader: Reader, path: Path) -> None:
    """Write a checkpoint that emg2qwerty's Lightning module loads, and ``emgmodels.load`` too.

    Raises:
        ValueError: its module can't have this architecture.
    """
    state = to_emg2qwerty(reader.config, _weights(reader), reader.origin.epoch)
    _save({"writer": EMG2QWERTY_MARK, **state}, path)


def _weights(reader: Reader) -> dict[str, torch.Tensor]:
    return {name: tensor.cpu() for name, tensor in reader.model.state_dict().items()}


def _save(state: dict[str, Any], path: Path) -> None:
    with whole(path) as scratch:
        torch.save(state, scratch)
