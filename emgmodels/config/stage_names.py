"""Names of stages in ``order``: ``conv``, and ``conv_2`` where a second one stands behind it."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Annotated, Any

from pydantic import BeforeValidator, WithJsonSchema
from pydantic_core import PydanticCustomError

_NUMBERED = re.compile(r"(?P<stage>.+)_(?P<number>[1-9]\d{0,2})")


class OwnName(str):
    """The name of a stage of the user's own, which its section has made known."""


def name_type(allowed: Collection[str]) -> Any:
    """Return the type of a stage's name: one of some stages, or a repeat of one."""

    def check(value: Any) -> Any:
        if isinstance(value, OwnName):
            return str(value)
        if isinstance(value, str) and stage_of(value, allowed) in allowed:
            return value
        *names, last = map(repr, allowed)
        raise PydanticCustomError("literal_error", f"Input should be {', '.join(names)} or {last}")

    schema = {"type": "string", "enum": list(allowed)}
    return Annotated[str, BeforeValidator(check), WithJsonSchema(schema)]


def stage_of(name: str, known: Collection[str]) -> str:
    """Return the stage that a name repeats, ``conv`` for ``conv_2``; any other name as it is.

    Args:
        name: the name.
        known: the stages that there are. One that is called ``conv_2`` itself repeats nothing.
    """
    match = _NUMBERED.fullmatch(name)
    if name in known or match is None or match["number"] == "1" or match["stage"] not in known:
        return name
    return match["stage"]


def is_numbered(name: str) -> bool:
    """Return whether a name looks like that of a repeat."""
    return _NUMBERED.fullmatch(name) is not None


def before(name: str) -> str:
    """Return the name that must stand before a repeat: ``conv`` before ``conv_2``."""
    stage, _, number = name.rpartition("_")
    return stage if number == "2" else f"{stage}_{int(number) - 1}"


def numbered(stages: Iterable[str]) -> list[str]:
    """Return the names of stages in their order: ``conv``, ``recurrent``, ``conv_2``."""
    seen: dict[str, int] = {}
    names = []
    for stage in stages:
        seen[stage] = number = seen.get(stage, 0) + 1
        names.append(stage if number == 1 else f"{stage}_{number}")
    return names


def in_turn(order: Iterable[str], known: Collection[str]) -> bool:
    """Return whether no repeat stands before the stage that it repeats.

    Args:
        order: names of stages.
        known: all names that may stand there.
    """
    numbers: dict[str, int] = {}
    for name in order:
        stage = stage_of(name, {*known} - {name})
        number = int(name.rpartition("_")[2]) if stage != name else 1
        if numbers.get(stage, 0) > number:
            return False
        numbers[stage] = number
    return True
