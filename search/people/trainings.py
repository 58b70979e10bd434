"""What is trained to compare: each person, by each way, on so many minutes."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from emgmodels.checkpoints.start import START, Start, check_start
from emgmodels.config import Config, read_yaml
from emgmodels.config.files import explain, validated
from search.engine.trial import TrialData
from search.people.persons import Person

ZERO_SHOT, OWN, TUNED = "zero-shot", "own sessions", "fine-tuned"
"""The ways to a model for a person."""
WAYS = (ZERO_SHOT, OWN, TUNED)
_OF_A_START = ("start_from", "unshare", "freeze", "freeze_epochs", "learning_rate_factors")
"""Keys of a training that has a checkpoint; one from scratch has none of them."""


@dataclass(frozen=True)
class Training:
    """One training of a comparison.

    Attributes:
        person: for whom.
        way: ``OWN`` or ``TUNED``.
        minutes: of own data, all of it included in the last.
        is_all: whether these are all that there are.
        config: the training.
        data: its sessions.
    """

    person: Person
    way: str
    minutes: float
    is_all: bool
    config: Config
    data: TrialData


def from_scratch(winner: Config, seed: int, epochs: int | None) -> Config:
    """Return the training of a winner as it begins with random weights.

    Raises:
        ValueError: the winner's settings do not fit so many epochs.
    """
    training = winner.training.model_dump(mode="json", exclude=set(_OF_A_START))
    if epochs is not None:
        training["epochs"] = epochs
    model = winner.model.model_copy(update={"own_hands": False}).model_dump(mode="json")
    return _config({"seed": seed, "model": model, "training": training}, "the winner", epochs)


def fine_tuning(
    winner: Config, start: Start, seed: int, epochs: int | None, source: Path | None
) -> Config:
    """Return the training that begins with a winner's weights: all of them, as it was trained.

    Args:
        winner: its configuration.
        start: its checkpoint.
        seed: of the training.
        epochs: instead of those of the training.
        source: a training's YAML whose ``training`` section is taken instead.

    Raises:
        ValueError: the file is wrong, or the checkpoint does not fit.
    """
    training = winner.training.model_dump(mode="json", exclude=set(_OF_A_START))
    if source is not None:
        training = _section(source)
    if epochs is not None:
        training["epochs"] = epochs
    training["start_from"] = {"path": START, "weights": start.hash}
    values = {"seed": seed, "model": start.config.model.model_dump(mode="json")}
    where = str(source or "the winner")
    config = _config({**values, "training": training}, where, epochs)
    check_start(config, start.config.model)
    return config


def trainings(
    people: Sequence[Person], minutes: Sequence[float], scratch: Config, tuned: Config
) -> Iterator[Training]:
    """Yield what is trained: person by person, from few minutes to all."""
    for person in people:
        whole = person.seconds("train") / 60
        for each in [*(m for m in minutes if m < whole), None]:
            known = whole if each is None else each
            data = TrialData(_files(person.train), _files(person.val), minutes=each)
            for way, config in ((OWN, scratch), (TUNED, tuned)):
                label = "all" if each is None else f"{each:g}-min"
                name = f"{person.user}-{label}-{way.replace(' ', '-')}"
                named = config.model_copy(update={"name": name})
                yield Training(person, way, known, each is None, named, data)


def _config(values: dict[str, Any], where: str, epochs: int | None) -> Config:
    """Return a training, or say in whose settings it is wrong."""
    if epochs is not None:
        where = f"{where} with --epochs {epochs}"
    try:
        return validated(Config, values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, where, Config))) from None


def _files(paths: Sequence[Path]) -> tuple[str, ...]:
    return tuple(map(os.path.abspath, paths))


def _section(source: Path) -> dict[str, Any]:
    """Return the ``training`` section of a training's YAML."""
    try:
        values = read_yaml(source.read_text(encoding="utf-8"), str(source))
    except OSError as error:
        raise ValueError(f"--training {source}: cannot be read: {error.strerror}") from None
    except UnicodeDecodeError as error:
        raise ValueError(f"--training {source}: is not a text file: {error}") from None
    section = values.get("training") if isinstance(values, dict) else None
    if not isinstance(section, dict):
        raise ValueError(f"--training {source}: has no section training: name a best.yaml")
    return dict(section)
