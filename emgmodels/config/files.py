"""Configurations as YAML files, and what pydantic found wrong in plain words."""

from __future__ import annotations

import shlex
from pathlib import Path
from typing import Any

import yaml
from pydantic import ValidationError

from emgmodels.config.base import Frozen
from emgmodels.config.training import Config

_SPACES_ONLY = {"search", "constraints", "extends", "demo", "typist"}
"""Keys of a space file that no configuration has."""


def load_config(path: str | Path) -> Config:
    """Read a training's YAML file (such as a run's ``best.yaml``).

    Raises:
        ValueError: the file is missing, is not YAML, or a key or value in it is wrong; the message
            names the file, each path inside it, the value and the rule.
    """
    path = Path(path)
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise ValueError(f"{path}: is not YAML: {error}") from None
    if isinstance(values, dict) and _SPACES_ONLY & set(values):
        raise ValueError(
            f"{path}: is a space file, which holds many models: search it with python -m "
            f"search.run {shlex.quote(str(path))}, and take best.yaml of the run"
        )
    try:
        return Config.model_validate(values if values is not None else {})
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, str(path)))) from None


def dump_config(config: Frozen) -> str:
    """Return the YAML text of a configuration; ``load_config`` reads a ``Config`` back equal."""
    return yaml.safe_dump(_plain(config), sort_keys=False)


def explain(error: ValidationError, where: str) -> list[str]:
    """Return one line for each mistake that pydantic found: file, path, value, rule."""
    lines = []
    for item in error.errors():
        path = ".".join(str(part) for part in item["loc"]) or "top level"
        rule = item["msg"].removeprefix("Value error, ")
        value = item["input"]
        shown = f" (got {value!r})" if not isinstance(value, dict | list | tuple) else ""
        lines.append(f"{where}: {path}: {rule}{shown}")
    return lines


def _plain(config: Frozen) -> dict[str, Any]:
    """Return nested dicts and lists without the keys that are null by default."""
    plain: dict[str, Any] = {}
    for name, field in type(config).model_fields.items():
        value = getattr(config, name)
        if value is None and field.default is None:
            continue
        if isinstance(value, Frozen):
            value = _plain(value)
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
