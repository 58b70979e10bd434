"""From a file of weights to a model that reads."""

from __future__ import annotations

import json
import math
import tempfile
from pathlib import Path
from typing import Any

import torch
from pydantic import ValidationError
from torch import Tensor

from emgmodels.charset import CLASSES
from emgmodels.checkpoints.emg2qwerty import from_emg2qwerty
from emgmodels.checkpoints.inert_unpickler import load_inert
from emgmodels.checkpoints.shared import WEIGHTS, read_folder
from emgmodels.checkpoints.weights import load_weights, read_state
from emgmodels.compute.devices import find_device
from emgmodels.config import SOURCES, Config, ModelConfig, code_of
from emgmodels.factory import build
from emgmodels.network.network import Network
from emgmodels.own_code import CodeError, asks_for_code, unpack
from emgmodels.reading.reader import FORMAT, Origin, Reader
from emgmodels.saying import counted

BEST, CHECKPOINTS = "best.pt", "checkpoints"
"""The best model of a search, and the folder of its run folder that holds it."""


@asks_for_code
def load(
    path: str | Path, device: str | torch.device = "cpu", *, allow_code: bool = False
) -> Reader:
    """Return a trained model, ready to read.

    A model with stages of somebody's own carries their source. It is imported only if you allow it,
    or where the checkpoint lies in a run below the current folder that keeps the same source.

    Args:
        path: a training's checkpoint (its best epoch is taken), a file or folder of
            ``emgmodels.export``, or a checkpoint of emg2qwerty's baseline. Of a search's run folder
            its best model is taken.
        device: where to compute.
        allow_code: import code that the file names and carries.

    Raises:
        CodeError: it names code that nobody has allowed, or that it lacks.
        ValueError: the file is missing or is none of these, or there is no such device.
    """
    path = find_model(Path(path))
    where = find_device(device)
    is_shared = path.name == WEIGHTS
    state = read_folder(path) if is_shared else read_state(path, otherwise=load_inert)
    try:
        # Told apart by what they hold, not by their names, which people change.
        if {"config", "model", "best"} <= set(state):
            unpack(code_of(json.loads(state["config"])["model"]), state.get(SOURCES, {}), path)
            reader = _from_training(state)
        elif {"card", "model"} <= set(state):
            named = code_of(json.loads(state["card"])["config"]["model"])
            unpack(named, state.get(SOURCES, {}), path)
            reader = _from_export(state)
        elif isinstance(state.get("state_dict"), dict):
            config, weights = from_emg2qwerty(state["state_dict"], path.stem)
            epoch = state.get("epoch")
            # Lightning counts epochs from 0, and notes the one that it has just trained
            origin = Origin(epoch=epoch + 1 if isinstance(epoch, int) else None)
            reader = Reader(config, _built(config.model, weights), origin)
        else:
            raise ValueError(
                f"holds {', '.join(map(str, list(state)[:4])) or 'nothing'}: expected a checkpoint "
                f"of a training, a file of emgmodels.export, or a checkpoint of emg2qwerty"
            )
    except ValidationError as error:
        raise ValueError(f"{path}: its configuration is not of this version: {error}") from None
    except (KeyError, TypeError, AttributeError) as error:
        what = f"{type(error).__name__}: {error}"
        raise ValueError(f"{path}: is not as emgsearch writes checkpoints: {what}") from None
    except CodeError:
        raise
    except (RuntimeError, ValueError) as error:
        raise ValueError(f"{path}: {error}") from None
    reader.model.to(where)
    return reader


def find_model(path: Path) -> Path:
    """Return the file of a model; of a run folder, or its ``checkpoints/``, that of its best.

    A folder of ``emgmodels.export`` has one model.

    Raises:
        ValueError: the folder holds no model.
    """
    if not path.is_dir():
        return path
    if (path / WEIGHTS).is_file():
        return path / WEIGHTS
    folder = path / CHECKPOINTS if (path / CHECKPOINTS).is_dir() else path
    if (folder / BEST).is_file():
        return folder / BEST
    # A folder of an older search, which named none of its files the best.
    found = {file: _cer_of(file) for file in sorted(folder.glob("*.pt"))}
    known = {file: cer for file, cer in found.items() if cer is not None}
    if not known:
        is_run = (path / "space.yaml").is_file()
        raise ValueError(
            f"{path}: holds no model: "
            + ("no trial of this search has saved weights" if is_run else "expected a run folder")
            + ": name a checkpoint, or a run folder with a best.pt in its checkpoints/"
        )
    return min(known, key=lambda file: known[file])


def _cer_of(path: Path) -> float | None:
    """Return the validation CER that a model's file tells of its weights; None: it has no model."""
    state = read_state(path, otherwise=load_inert)
    if state.get("best"):
        return float(state["best_cer"])
    if "card" not in state:
        return None
    cer = json.loads(state["card"]).get("origin", {}).get("val_cer")
    return math.inf if cer is None else float(cer)


def _from_training(state: dict[str, Any]) -> Reader:
    sessions = state.get("sessions", {})
    known = bool(state["best"])
    config = Config.model_validate_json(state["config"])
    origin = Origin(
        val_cer=state["best_cer"] if known else None,
        epoch=state["best_epoch"] if known else state["epoch"],
        train=tuple(sessions.get("train", ())),
        val=tuple(sessions.get("val", ())),
    )
    # A training that had no CER yet has no best epoch, and its weights are still a model.
    return Reader(config, _built(config.model, state["best"] or state["model"]), origin)


def _from_export(state: dict[str, Any]) -> Reader:
    card = json.loads(state["card"])
    expected = f"emgsearch model {FORMAT}"
    # With other labels each key would be read as another one.
    if card["format"] != expected or card["labels"] != list(CLASSES):
        raise ValueError(
            f"is of the format {card['format']!r} with {counted(len(card['labels']), 'label')}: "
            f"this version reads {expected!r} with its own {len(CLASSES)}"
        )
    config = Config.model_validate(card["config"])
    origin = card["origin"]
    origin = Origin(**{**origin, "train": tuple(origin["train"]), "val": tuple(origin["val"])})
    return Reader(config, _built(config.model, state["model"], state.get("shape")), origin)


def _built(config: ModelConfig, weights: dict[str, Tensor], shape: str | None = None) -> Network:
    """Return a model with its weights.

    Args:
        config: the architecture.
        weights: its state.
        shape: ``config.json`` of its language model, which then need not be on this machine.
    """
    if shape is None:
        model = build(config)
    else:
        values = config.model_dump()
        with tempfile.TemporaryDirectory() as folder:
            # transformers reads a model's shape from a folder only.
            (Path(folder) / "config.json").write_text(shape, encoding="utf-8")
            values["encoder"]["pretrained"].update(name=folder, weights="random")
            model = build(ModelConfig.model_validate(values))
        model.config = config
    load_weights(model, weights)
    return model
