"""Starting a training from a checkpoint: which one, and what of it is trained how."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import ConfigDict, Field

from emgmodels.config.base import Frozen
from emgmodels.config.model import ModelConfig
from emgmodels.config.stage_names import is_numbered

Factor = Annotated[float, Field(gt=0, le=100)]


class StartFrom(Frozen):
    """The checkpoint that a training starts from."""

    path: str = ""
    """A training's checkpoint, a run folder (its best model is taken), a file or folder of
    ``emgmodels.export``, or a checkpoint of emg2qwerty's baseline. It is looked for beside the
    file that names it, then from the current folder."""
    partial: bool = False
    """Take the weights that fit by name and shape, and let all others start afresh; otherwise a
    checkpoint of another model is refused."""
    weights: str = ""
    """Hash of its weights, which is written here; where it is given, a checkpoint with others is
    refused."""


class Factors(Frozen):
    """Factors of the learning rate, by part of the model."""

    model_config = ConfigDict(extra="allow")
    if not TYPE_CHECKING:  # which takes it for a field
        __pydantic_extra__: dict[str, Factor]

    features: Factor | None = None
    """Of learned filters."""
    norm: Factor | None = None
    """Of the spectrogram norm."""
    mlp: Factor | None = None
    """Of the rotation-invariant MLP."""
    head: Factor | None = None
    """Of the head. A stage's factor stands under its name in the order: ``conv``, ``conv_2``."""

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @classmethod
    def field_of(cls, key: str) -> str | None:
        """Return the field that says what may stand under a key: a stage may have any name."""
        return key if key in cls.model_fields else "head"

    def given(self) -> dict[str, float]:
        """Return the factors that differ from 1, by part."""
        values = {name: value for name, value in self if value is not None}
        return {name: value for name, value in values.items() if value != 1}


def starting_from(value: Any) -> Any:
    """Return the section that a path alone stands for."""
    return {"path": value} if isinstance(value, str) else value


def parts_of(model: ModelConfig) -> list[str]:
    """Return the names of a model's parts that have weights, input to output."""
    stages = [name for name, _ in model.encoder.stages()]
    learned = ["features"] if model.features.filters == "learned" else []
    norm = [] if model.norm == "rolling" else ["norm"]
    return [*learned, *norm, "mlp", *stages, "head"]


def part_problem(key: str, name: str, parts: Sequence[str]) -> str:
    """Return what to say of a name under a key that is no part of the model."""
    repeat = " (stages are numbered from input to output)" if is_numbered(name) else ""
    return f"{key}: {name!r} is no part of the model{repeat}: name some of {', '.join(parts)}"
