"""The training of a YAML file that starts from a checkpoint: which one, and whether it fits."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from emgmodels.checkpoints.start import Start, check_start, read_start
from emgmodels.config import Config, load_config
from emgmodels.paths import local_path


def load_training(
    path: Path, start_from: Path | None = None, epochs: int | None = None
) -> tuple[Config, Start | None]:
    """Return the training of a YAML file, and the checkpoint that it starts from, if any.

    Args:
        path: the file. What it leaves out of ``model`` as a whole is the checkpoint's.
        start_from: the checkpoint, instead of the file's.
        epochs: epochs, instead of the file's.

    Raises:
        ValueError: a file is missing or wrong, or the checkpoint does not fit the model.
    """
    found: list[Start] = []

    def complete(values: dict[str, Any]) -> None:
        training = values.setdefault("training", {})
        if not isinstance(training, dict):
            return  # which is told by validation
        if epochs is not None:
            training["epochs"] = epochs
        if (start := chosen_start(training, path.parent, start_from)) is not None:
            found.append(start)
            if "model" not in values:
                values["model"] = model_of(start)

    config = load_config(path, complete)
    if not found:
        return config, None
    try:
        check_start(config, found[0].config.model)
    except ValueError as problem:
        raise ValueError(f"{path}: {problem}") from None
    return config, found[0]


def chosen_start(
    training: dict[str, Any], beside: Path, instead: Path | None = None
) -> Start | None:
    """Return the checkpoint that a ``training`` section names, and note its hash in the section.

    The section then has the file's name alone: its weights are known by their hash, wherever they
    lie.

    Args:
        training: plain values, which are altered.
        beside: folder of the file that has the section.
        instead: a checkpoint that is taken instead.

    Raises:
        ValueError: there is no such checkpoint, or it has other weights than the section says.
    """
    section = training.get("start_from")
    section = {"path": section} if isinstance(section, str) else section
    if instead is not None:
        # Of another checkpoint the hash is another.
        kept = section if isinstance(section, dict) else {}
        section = {"path": str(instead), "partial": kept.get("partial", False)}
    if not isinstance(section, dict) or not isinstance(section.get("path"), str):
        return None  # none, or a mistake that validation tells
    if not section["path"]:
        return None
    place = Path(section["path"]) if instead else place_of(section, beside)
    try:
        start = read_start(place, str(section.get("weights", "")))
    except ValueError as problem:
        raise type(problem)(f"training.start_from: {problem}") from None
    training["start_from"] = {**section, "path": place.name, "weights": start.hash}
    return start


def place_of(section: dict[str, Any], beside: Path) -> Path:
    """Return where the checkpoint of a ``start_from`` section lies.

    It is looked for beside the file that has the section, then from the current folder. Where it is
    in neither, one whose weights are recorded belongs beside the file, as in a run folder.
    """
    here = local_path(section["path"])
    near = beside / here
    if near.exists() or (section.get("weights") and not here.exists()):
        return near
    return here


def model_of(start: Start) -> dict[str, Any]:
    """Return the ``model`` section of a checkpoint, as plain values without what is null."""
    return _without_nulls(json.loads(start.config.model.model_dump_json(exclude_defaults=True)))


def _without_nulls(values: Any) -> Any:
    if not isinstance(values, dict):
        return values
    return {name: _without_nulls(value) for name, value in values.items() if value is not None}
