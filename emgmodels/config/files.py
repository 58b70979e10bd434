"""Configurations as YAML files, and what pydantic found wrong in plain words."""

from __future__ import annotations

import difflib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

from emgmodels.config.base import Frozen, section_kind
from emgmodels.config.own import CODE, parts_with_code
from emgmodels.config.training import Config
from emgmodels.config.yaml_text import read_yaml, write_yaml
from emgmodels.own_code import (
    FOLDER,
    CodeError,
    NotAllowedError,
    Reference,
    check_allowed,
    find_code,
    install,
    is_installed,
    load,
)
from emgmodels.paths import unread

_SPACES_ONLY = {"search", "constraints", "extends", "demo", "typist"}
"""Keys of a space file that no configuration has."""
_Kind = TypeVar("_Kind", bound=BaseModel)


def load_config(path: str | Path, change: Callable[[dict[str, Any]], None] | None = None) -> Config:
    """Read a training's YAML file (such as a run's ``best.yaml``).

    Args:
        path: the file.
        change: completes or alters the plain values, before they are validated.

    Raises:
        ValueError: the file is missing, is not YAML, or a key or value in it is wrong; the message
            names the file, each path inside it, the value and the rule.
    """
    path = Path(path)
    try:
        values = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except OSError as error:
        raise ValueError(unread(path, error)) from None
    except UnicodeDecodeError as error:
        raise ValueError(f"{path}: is not a text file: {error}") from None
    if isinstance(values, dict) and _SPACES_ONLY & set(values):
        raise ValueError(
            f"{path}: is a space file, which holds many models: search it with python -m "
            f"search.run {shlex.quote(str(path))}, and take best.yaml of the run"
        )
    try:
        values = values if values is not None else {}
        if change is not None and isinstance(values, dict):
            change(values)
        _load_code(values, path)
        return validated(Config, values)
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, str(path), Config))) from None


def _load_code(values: Any, path: Path) -> None:
    """Load the code that a file's sections name, and name it in them with its hash."""
    for part in parts_with_code(values):
        if is_installed(part[CODE]):  # as a checkpoint brings it
            continue
        try:
            reference = Reference.read(part[CODE])
            kept = (path.parent / FOLDER / reference.path).is_file()  # as beside a run's best.yaml
            code, found = find_code(reference, path.parent / FOLDER if kept else path.parent)
            check_allowed(code, path)
            install(code)
            load(str(found))
        except NotAllowedError:
            raise
        except CodeError as error:
            raise CodeError(f"{path}: {error}") from None
        part[CODE] = str(found)


def dump_config(config: Frozen) -> str:
    """Return the YAML text of a configuration; ``load_config`` reads a ``Config`` back equal."""
    return write_yaml(_plain(config))


def validated(kind: type[_Kind], values: Any) -> _Kind:
    """Return ``kind`` of plain values, without turning a value of one type into another.

    Raises:
        ValidationError: a value is wrong.
    """
    # Through JSON, because strict reading of Python values would refuse a list where a tuple is
    # wanted.
    return kind.model_validate_json(json.dumps(values), strict=True)


def explain(error: ValidationError, where: str, kind: type[BaseModel] | None = None) -> list[str]:
    """Return one line for each mistake that pydantic found: file, path, value, rule.

    Args:
        error: what it found.
        where: the file, or what else was read.
        kind: the class that it was read as; an unknown key is then answered with a similar one.
    """
    lines = []
    for item in error.errors():
        parts = [str(part) for part in item["loc"]]
        path = ".".join(p for p in parts if "[" not in p) or "top level"  # no names of types
        rule = item["msg"].removeprefix("Value error, ")
        value = item["input"]
        if item["type"] == "extra_forbidden" and kind is not None:
            *above, key = item["loc"]
            lines.append(f"{where}: {path}: {unknown_key(key, _keys(kind, above))}")
            continue
        shown = f" (got {value!r})" if not isinstance(value, dict | list | tuple) else ""
        lines.append(f"{where}: {path}: {rule}{meant(item)}{shown}")
    # A union of types gives the same mistake once for each of its members.
    return list(dict.fromkeys(lines))


def unknown_key(key: object, allowed: Sequence[str]) -> str:
    """Return what to say of a key that is not among those allowed."""
    return f"unknown key{similar(key, allowed)}"


def similar(word: object, allowed: Sequence[str]) -> str:
    """Return the end of a message about a word that is not known: what it may have been."""
    return f"{_nearest(word, allowed)} (allowed: {', '.join(allowed)})"


def meant(item: ErrorDetails) -> str:
    """Return which name a value that is not among those allowed may have been; else nothing."""
    if item["type"] != "literal_error":
        return ""
    return _nearest(item["input"], re.findall("'([^']*)'", item["msg"]))


def _nearest(word: object, allowed: Sequence[str]) -> str:
    near = difflib.get_close_matches(str(word), allowed, n=1)
    return f"; did you mean '{near[0]}'?" if near else ""


def _keys(kind: type[BaseModel], path: Sequence[int | str]) -> list[str]:
    """Return the keys of the section at a path."""
    for name in path:
        kind = section_kind(kind, str(name)) or kind
    return list(kind.model_fields)


def _plain(config: Frozen) -> dict[str, Any]:
    """Return nested dicts and lists without the keys that are null by default."""
    plain: dict[str, Any] = {}
    fields = type(config).model_fields
    for name, value in config:  # sections of the user's own are no fields
        if value is None and name in fields and fields[name].default is None:
            continue
        if isinstance(value, Frozen):
            value = _plain(value)
        plain[name] = list(value) if isinstance(value, tuple) else value
    return plain
