"""Parts of a configuration whose code is the user's own: which code, and values for it.

A configuration is read without its code: by a report, or on a machine that has none. Where the code
is loaded, its own class of settings checks the values and fills in defaults.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from pydantic import ConfigDict, ValidationError, model_validator
from pydantic_core import PydanticCustomError

from emgmodels.config.base import Frozen
from emgmodels.own_code import CodeError, carried, is_installed, load

CODE = "code"
"""The key that names the code of a part."""
SOURCES = "code"
"""The entry of a checkpoint that carries it."""


class OwnPart(Frozen):
    """A part of the user's own: its code, and its settings as plain values."""

    model_config = ConfigDict(extra="allow")

    code: str
    """File or module, name in it and sha256: ``my_blocks.py:GatedStage@...``."""

    @model_validator(mode="before")
    @classmethod
    def _complete(cls, values: Any) -> Any:
        if not isinstance(values, dict):
            return values
        code = values.get(CODE)
        given = {name: value for name, value in values.items() if name != CODE}
        if isinstance(code, str) and is_installed(code):
            kind = settings_of(load(code), cls.least())
            try:
                found = kind.model_validate_json(json.dumps(given), strict=True)
            except ValidationError as error:
                raise ValueError("; ".join(_lines(error))) from None
            given = found.model_dump(mode="json")
        plain = {k: tuple(v) if isinstance(v, list) else v for k, v in given.items()}
        return {CODE: code, **plain} if CODE in values else plain

    def __hash__(self) -> int:
        return hash(self.model_dump_json())

    @classmethod
    def least(cls) -> type[Frozen]:
        """Return the class that settings of such a part derive from."""
        return Frozen

    def settings(self) -> Frozen:
        """Return the values as the code's own class has them.

        Raises:
            CodeError: the code is not loaded in this process.
        """
        kind = settings_of(load(self.code), self.least())
        values = self.model_dump(mode="json", exclude={CODE})
        return kind.model_validate_json(json.dumps(values), strict=True)


def names_code(value: Any) -> Any:
    """Return a section that names its code; refuse any other as an unknown key."""
    if isinstance(value, OwnPart) or (isinstance(value, dict) and CODE in value):
        return value
    raise PydanticCustomError("extra_forbidden", "Extra inputs are not permitted")


def settings_of(part: Any, least: type[Frozen] = Frozen) -> type[Frozen]:
    """Return the class of the settings that sits with a part, as its attribute ``settings``.

    Args:
        part: a class of the user's own.
        least: what its settings derive from, and what they are without the attribute.

    Raises:
        CodeError: it is no class, or its settings are none.
    """
    what = getattr(part, "__qualname__", repr(part))
    if not isinstance(part, type):
        raise CodeError(f"{what}: is {type(part).__name__}: a class is needed")
    kind = getattr(part, "settings", least)
    if not (isinstance(kind, type) and issubclass(kind, least)):
        raise CodeError(
            f"{part.__qualname__}.settings: must be a class that derives from "
            f"emgmodels.config.{least.__name__}"
        )
    if required := [name for name, field in kind.model_fields.items() if field.is_required()]:
        raise CodeError(
            f"{kind.__qualname__}.{required[0]}: has no default, which every setting of a space has"
        )
    if CODE in kind.model_fields:
        raise CodeError(f"{kind.__qualname__}.{CODE}: has another meaning here: rename the setting")
    return kind


def own_sections(section: Frozen) -> Iterator[tuple[str, OwnPart]]:
    """Yield the parts of the user's own in a section, by name."""
    for name, value in (section.model_extra or {}).items():
        if isinstance(value, OwnPart):
            yield name, value


def with_sources(config: Frozen) -> dict[str, Any]:
    """Return the entry of a checkpoint that carries the code of a model, none where it has none.

    Args:
        config: a ``ModelConfig``.
    """
    sources = carried(code_of(config))
    return {SOURCES: sources} if sources else {}


def code_of(config: Any) -> list[str]:
    """Return the references to code in a configuration, or in its values as YAML or JSON has it."""
    if isinstance(config, Frozen):
        config = config.model_dump(mode="json")
    return [part[CODE] for part in parts_with_code(config)]


def parts_with_code(values: Any) -> list[dict[str, Any]]:
    """Return the sections that name their code, of a configuration's or a model's values."""
    sections = _path(values, "encoder"), _path(values, "model", "encoder")
    found = (*sections, _path(values, "training", "augmentation"))
    parts = [part for section in found for part in section.values() if isinstance(part, dict)]
    return [part for part in parts if isinstance(part.get(CODE), str)]


def _path(values: Any, *keys: str) -> dict[str, Any]:
    for key in keys:
        values = values.get(key) if isinstance(values, dict) else None
    return values if isinstance(values, dict) else {}


def _lines(error: ValidationError) -> Iterator[str]:
    for item in error.errors():
        path = ".".join(map(str, item["loc"]))
        yield f"{path}: {item['msg'].removeprefix('Value error, ')}" if path else item["msg"]
