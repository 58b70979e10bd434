"""What every part of the configuration builds on: immutable models, units and bounded numbers."""

from __future__ import annotations

import functools
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field

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
    """Return the class of a field that is a section of its own, or None for any other field."""
    annotation = kind.model_fields[name].annotation
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


PerLayer = Annotated[
    PositiveInt | tuple[PositiveInt, ...],
    BeforeValidator(as_tuple),  # a list of YAML, also where no value may be turned into another
    AfterValidator(_check_per_layer),
]
"""One number for every layer of a stage, or a list with one for each."""
