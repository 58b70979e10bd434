"""The checkpoint that all trainings of a space start from."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from emgmodels.config import Config, Frozen, ModelConfig
from emgmodels.config.own import code_of
from search.space.merging import Merge, is_distribution

_KEY = "start_from"


@dataclass(frozen=True)
class SpaceStart:
    """A checkpoint, without its weights.

    Attributes:
        path: where it lies.
        model: its architecture.
        weights: their hash.
    """

    path: Path
    model: ModelConfig
    weights: str


def take_start(
    values: dict[str, Any],
    path: Path,
    kind: type[Frozen],
    imports: bool,
    mistakes: list[str],
) -> SpaceStart | None:
    """Return the checkpoint that a space names, and note in its values which weights it has.

    There it has the name that a run folder's copy has. What a space leaves out of ``model`` is the
    checkpoint's, unless it has an order of stages of its own.

    Args:
        values: the space's plain values, which are altered.
        path: its file.
        kind: the class of the file.
        imports: read the checkpoint; a report does not need it.
        mistakes: what is wrong is appended.
    """
    training = values.get("training")
    if misplaced := [where for where in _places(values, "") if where != f"training.{_KEY}"]:
        mistakes.append(
            f"{misplaced[0]}: all trials start from one checkpoint: write it into training, as "
            f"{_KEY}: PATH"
        )
        return None
    if not isinstance(training, dict) or training.get(_KEY) is None:
        return None
    section = training[_KEY]
    section = {"path": section} if isinstance(section, str) else section
    if not isinstance(section.get("path", ""), str) or _varies(section):
        mistakes.append(f"training.{_KEY}: one checkpoint for the whole search: name one path")
        return None
    training[_KEY] = section
    if not imports:
        return None
    # These load PyTorch, which a report has no need of.
    from emgmodels.checkpoints.start import START
    from emgmodels.training.starting import chosen_start, model_of, place_of

    try:
        if (start := chosen_start(training, path.parent)) is None:
            mistakes.append(
                f"training.{_KEY}: names no checkpoint: give its path in the file, or by "
                f"--set training.{_KEY}=PATH"
            )
            return None
    except ValueError as problem:
        mistakes.append(str(problem))
        return None
    training[_KEY] = {**training[_KEY], "path": START}
    written = values.get("model", {})
    if isinstance(written, dict) and not _has_order(written):
        if code_of(start.config.model):
            mistakes.append("model: the checkpoint has stages of its own code: name them in model")
            return None
        merge = Merge(kind, {"model": model_of(start)})
        merge.add({"model": written}, str(path))
        values["model"] = merge.values["model"]
    return SpaceStart(place_of(section, path.parent), start.config.model, start.hash)


def start_mistakes(start: SpaceStart | None, drawn: Iterable[Config]) -> list[str]:
    """Return why no training of a space can start from its checkpoint, if all lack the same.

    Args:
        start: the checkpoint, if any.
        drawn: trainings of the space.
    """
    if start is None:
        return []
    from emgmodels.checkpoints.start import start_problem

    found = {start_problem(config, start.model) for config in drawn}
    return [problem for problem in found if problem] if len(found) == 1 else []


def _has_order(model: dict[str, Any]) -> bool:
    """Return whether a ``model`` section says by itself which stages there are."""
    encoder = model.get("encoder", {})
    return is_distribution(model) or not isinstance(encoder, dict) or "order" in encoder


def _varies(section: dict[str, Any]) -> bool:
    return any(isinstance(value, dict | list) for value in section.values())


def _places(values: Any, path: str) -> Iterator[str]:
    """Yield where a space names a checkpoint."""
    if isinstance(values, dict):
        for key, value in values.items():
            here = f"{path}.{key}" if path else str(key)
            if key == _KEY and value is not None:
                yield here
            else:
                yield from _places(value, here)
    elif isinstance(values, list):
        for index, value in enumerate(values):
            yield from _places(value, f"{path}[{index}]")
