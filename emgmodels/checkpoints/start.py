"""The weights that a training starts from: read, held against a model, put into it."""

from __future__ import annotations

import functools
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from emgmodels.checkpoints.exported import write_torch
from emgmodels.checkpoints.loading import load
from emgmodels.checkpoints.weights import shape_of, weights_hash
from emgmodels.config import Config, ModelConfig, StartFrom
from emgmodels.network.network import Network
from emgmodels.reading.reader import Origin, Reader
from emgmodels.saying import counted

START = "start.pt"
"""A run folder's own copy of the checkpoint that its trials start from."""
_SHOWN = 3
_FREE = ("dropout",)
"""How keys end that no weight depends on."""


@dataclass(frozen=True, eq=False)
class Start:
    """A checkpoint to start from.

    Attributes:
        config: of the training that it comes from.
        weights: its tensors, by name, on the CPU.
        hash: of the weights.
        origin: where they come from.
        path: file or folder that was read.
    """

    config: Config
    weights: dict[str, Tensor]
    hash: str
    origin: Origin
    path: Path = Path()

    def write(self, path: Path) -> None:
        """Write it as a file of ``emgmodels.export``, which has the same hash."""
        reader = Reader(self.config, Network(self.config.model), self.origin)
        reader.model.load_state_dict(self.weights)
        write_torch(reader, path)


def read_start(path: Path, expected: str = "") -> Start:
    """Return the checkpoint in a file or folder, without executing anything that it names.

    Args:
        path: of any format that ``emgmodels.load`` reads.
        expected: hash that its weights must have; empty: any.

    Raises:
        ValueError: it is missing, damaged, of other labels, or has other weights.
        CodeError: it names code that nobody has allowed.
    """
    reader = load(path)
    weights = {name: tensor.detach() for name, tensor in reader.model.state_dict().items()}
    start = Start(reader.config, weights, weights_hash(weights), reader.origin, path)
    if expected and start.hash != expected:
        raise ValueError(
            f"{path}: has weights {start.hash}, and the training began from {expected}: put that "
            f"checkpoint there"
        )
    return start


def check_start(config: Config, model: ModelConfig) -> None:
    """Refuse a training whose model the weights of another do not fit.

    Args:
        config: the training.
        model: the checkpoint's architecture.

    Raises:
        ValueError: it says what does not fit, and how to mend it.
    """
    if (problem := start_problem(config, model)) is not None:
        raise ValueError(problem)


def start_problem(config: Config, model: ModelConfig) -> str | None:
    """Return why a training cannot start from a checkpoint of a model, or None."""
    training = config.training
    assert training.start_from is not None
    return _problem(config.model, model, training.unshare, training.start_from.partial)


def start_in_words(config: Config, start: Start) -> str:
    """Return what a training takes of a checkpoint, for a person."""
    chosen = config.training.start_from
    assert chosen is not None
    sources = dict(_sources(config.model, start.config.model))
    here, there = _shapes(config.model), _shapes(start.config.model)
    taken = sum(there.get(source) == here[name] for name, source in sources.items())
    cer = start.origin.val_cer
    known = "" if cer is None else f", validation CER {cer:.2f} % there"
    new = f"; {len(here) - taken} start afresh" if taken < len(here) else ""
    return (
        f"Starts from {chosen.path} (weights {start.hash[:8]}{known}): "
        f"{counted(taken, 'tensor')}{new}."
    )


def put_start(model: Network, start: Start, chosen: StartFrom) -> list[str]:
    """Put the weights of a checkpoint into a model, and return the names of those that are new.

    Args:
        model: with random weights.
        start: the checkpoint.
        chosen: how it was asked for.
    """
    sources = dict(_sources(model.config, start.config.model))
    state, new = model.state_dict(), []
    for name, tensor in state.items():
        found = start.weights.get(sources[name])
        if found is not None and found.shape == tensor.shape:
            state[name] = found
        else:
            assert chosen.partial, f"{name} was checked before"
            new.append(name)
    model.load_state_dict(state)
    return new


@functools.lru_cache(maxsize=1024)
def _problem(
    model: ModelConfig, start: ModelConfig, unshares: bool, is_partial: bool
) -> str | None:
    if unshares and not start.shares:
        why = "has each hand's own already" if start.share_bands else "has share_bands: false"
        return (
            f"training.unshare: the checkpoint shares no weights of the hands, it {why}: leave "
            f"unshare out, or start from one trained with share_bands"
        )
    if model.features != start.features:
        # Frames of another length or rate mean something else, whatever the shapes say.
        return (
            f"training.start_from: other features: {_differences(model, start, 'features')}: set "
            f"model.features as the checkpoint has them"
        )
    there, here = _shapes(start), _shapes(model)
    sources = dict(_sources(model, start))
    fitting = [name for name, source in sources.items() if there.get(source) == here[name]]
    if is_partial:
        if not fitting:
            return "training.start_from: no weight of the checkpoint fits the model"
        return None
    if wrong := list(_misfits(model, start, sources, here, there)):
        more = f"; and {len(wrong) - _SHOWN} more" if len(wrong) > _SHOWN else ""
        return (
            f"training.start_from: the checkpoint is of another model: "
            f"{'; '.join(wrong[:_SHOWN])}{more}: leave model out of the file to take the "
            f"checkpoint's, or take what fits with start_from: {{path: ..., partial: true}}"
        )
    if other := _differences(model, start):
        return (
            f"training.start_from: the checkpoint is of another model: {other}: set them as the "
            f"checkpoint has them, or take what fits with start_from: {{path: ..., partial: true}}"
        )
    return None


def _misfits(
    model: ModelConfig,
    start: ModelConfig,
    sources: Mapping[str, str],
    here: Mapping[str, tuple[int, ...]],
    there: Mapping[str, tuple[int, ...]],
) -> Iterator[str]:
    """Yield the tensors of a model and of a checkpoint that do not fit, with their shapes."""
    for name, source in sources.items():
        label = _label(model, name)
        if source not in there:
            yield f"it has no {label} ({shape_of(here[name])})"
        elif there[source] != here[name]:
            yield f"{label} is {shape_of(there[source])} there and {shape_of(here[name])} here"
    for name in sorted(there.keys() - sources.values()):
        yield f"its {_label(start, name)} ({shape_of(there[name])}) has no place in the model"


def _sources(model: ModelConfig, start: ModelConfig) -> Iterator[tuple[str, str]]:
    """Yield each tensor of a model with that of a checkpoint which it is taken from.

    Stages are known by their names: one may stand at another place in the order.
    """
    places = {name: place for place, (name, _) in enumerate(start.encoder.stages())}
    names = [name for name, _ in model.encoder.stages()]
    parting = model.own_hands and start.shares
    for name in _shapes(model):
        source = name
        head, _, rest = name.partition(".")
        if head == "stages":
            place, _, rest = rest.partition(".")
            source = f"stages.{places.get(names[int(place)], 'none')}.{rest}"
        if parting:
            # Each hand gets a copy of what both had.
            if model.hands == 1:
                for part in ("mlp.bands.", "mlp.deeper."):
                    if source.startswith(part):
                        source = f"{part}0.{source.removeprefix(part).partition('.')[2]}"
            else:
                source = _without_hand(source)
        yield name, source


def _without_hand(name: str) -> str:
    """Return the name of a tensor without the hand that has it."""
    parts = name.split(".")
    at = 1 if parts[0] == "mlp" else 2
    if len(parts) > at and parts[at] == "hands":
        del parts[at : at + 2]
    return ".".join(parts)


def _label(model: ModelConfig, name: str) -> str:
    """Return a tensor's name with that of its stage: ``conv.blocks.0.conv.weight``."""
    parts = name.split(".")
    if parts[0] == "stages":
        return ".".join([model.encoder.stages()[int(parts[1])][0], *parts[2:]])
    return name


@functools.lru_cache(maxsize=1024)
def _shapes(model: ModelConfig) -> dict[str, tuple[int, ...]]:
    """Return the shapes of a model's tensors by name, without allocating any."""
    with torch.device("meta"):
        network = Network(model)
    return {name: tuple(tensor.shape) for name, tensor in network.state_dict().items()}


def _differences(model: ModelConfig, start: ModelConfig, section: str = "") -> str:
    """Return the settings that differ, but for those that no weight depends on."""
    mine, its = (_flat(each.model_dump(mode="json")) for each in (model, start))
    names = [
        name
        for name in sorted({*mine, *its})
        if mine.get(name) != its.get(name)
        and name.startswith(section)
        and not name.endswith(_FREE)
        and name != "own_hands"
    ]
    return ", ".join(
        f"model.{name} is {mine.get(name)} here and {its.get(name)} in the checkpoint"
        for name in names[:_SHOWN]
    )


def _flat(values: Any, path: str = "") -> dict[str, Any]:
    if not isinstance(values, dict):
        return {path: values}
    found: dict[str, Any] = {}
    for name, value in values.items():
        found |= _flat(value, f"{path}.{name}" if path else name)
    return found
