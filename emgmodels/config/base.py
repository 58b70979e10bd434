"""What every part of the configuration builds on: immutable models, units and bounded numbers."""

from __future__ import annotations

import functools
import re
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, WithJsonSchema
from pydantic.fields import FieldInfo
from pydantic_core import PydanticCustomError

SAMPLE_RATE = 2000
"""Samples a second of both wristbands (Hz)."""
BANDS = 2
"""Wristbands: left, right."""
BAND_ELECTRODES = 16
"""Electrodes around one wristband."""
LEAST_FRAME_RATE = 10
"""Frames a second that CTC needs to keep up with a fast typist, one key each."""


class Frozen(BaseModel):
    """Base of every configuration: immutable, hashable, no unknown keys."""

    model_config = ConfigDict(extra="forbid", frozen=True, use_attribute_docstrings=True)

    @classmethod
    def field_of(cls, key: str) -> str | None:
        """Return the field that says what may stand under a key, None for an unknown key."""
        return key if key in cls.model_fields else None


_Section = TypeVar("_Section", bound=Frozen)


def share_sections(config: _Section) -> _Section:
    """Return an equal configuration, of which sections that others have too exist once.

    A configuration is 9 kB, and the thousands of a search differ in a few values.
    """
    sections = {
        name: _first_of_equals(share_sections(value))
        for name, value in config
        if isinstance(value, Frozen)
    }
    return config.model_copy(update=sections) if sections else config


# Bounded, since a long search has ever more different sections.
@functools.lru_cache(maxsize=4096)
def _first_of_equals(section: Frozen) -> Frozen:
    return section


def section_kind(kind: type[BaseModel], name: str) -> type[Frozen] | None:
    """Return the class of a key's section; None for any other key, and for one without a field."""
    field = kind.field_of(name) if issubclass(kind, Frozen) else name
    if field is None:
        return None
    annotation = kind.model_fields[field].annotation
    for candidate in getattr(annotation, "__args__", (annotation,)):
        if isinstance(candidate, type) and issubclass(candidate, Frozen):
            return candidate
    return None


def _whole(value: Any) -> Any:
    # Beyond 2**53 a float no longer says which integer was meant.
    exact = isinstance(value, float) and value.is_integer() and abs(value) <= 2**53
    return int(value) if exact else value


Whole = Annotated[int, BeforeValidator(_whole)]
"""An integer, which may be written as a whole number with a point or exponent: ``4.0e7``."""
PositiveInt = Annotated[Whole, Field(gt=0)]
Count = Annotated[Whole, Field(ge=0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


def _check_per_layer(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(value, tuple) and len(set(value)) < 2:
        raise ValueError("must be one number for all layers, or a list in which they differ")
    return value


def as_tuple(value: Any) -> Any:
    """Return a list as a tuple: strict validation of Python values takes no list for one."""
    return tuple(value) if isinstance(value, list) else value


def is_per_layer(field: FieldInfo) -> bool:
    """Return whether a field takes a number for each layer."""
    # A list may mean something else, such as in settings of the user's own.
    rules = (getattr(each, "func", None) for each in field.metadata)
    return any(each is _check_per_layer for each in rules)


def _kernels(value: Any) -> int | str:
    """Return kernels side by side in their one form: ``8+32``, and 8 for ``8+8``."""
    value = _whole(value)
    if isinstance(value, str):
        widths = value.replace(" ", "").split("+")
        if len(widths) > 1 and all(re.fullmatch(r"[1-9]\d{0,5}", width) for width in widths):
            found = sorted(map(int, widths))
            return found[0] if len(set(found)) == 1 else "+".join(map(str, found))
    if not isinstance(value, int) or isinstance(value, bool):
        rule = "Input should be a valid integer, or several side by side, as in 8+32"
        raise PydanticCustomError("int_type", rule)
    if value <= 0:
        raise PydanticCustomError("greater_than", "Input should be greater than 0")
    return value


if TYPE_CHECKING:
    Kernels = int | str
else:
    _SCHEMA = {"anyOf": [{"type": "integer", "minimum": 1}, {"type": "string"}]}
    Kernels = Annotated[Any, BeforeValidator(_kernels), WithJsonSchema(_SCHEMA)]
    """Width of a convolution, or of several side by side: ``8+32``."""


PerLayer = Annotated[
    PositiveInt | tuple[PositiveInt, ...],
    BeforeValidator(as_tuple),  # a list of YAML, also where no value may be turned into another
    AfterValidator(_check_per_layer),
]
"""One number for every layer of a stage, or a list with one for each."""
