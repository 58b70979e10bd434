"""What every part of the configuration builds on: immutable models, units and bounded numbers."""

from __future__ import annotations

import functools
from typing import Annotated, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

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


@functools.lru_cache(maxsize=4096)
def _first_of_equals(section: Frozen) -> Frozen:
    return section


PositiveInt = Annotated[int, Field(gt=0)]
Count = Annotated[int, Field(ge=0)]
Probability = Annotated[float, Field(ge=0.0, lt=1.0)]


def _check_per_layer(value: int | tuple[int, ...]) -> int | tuple[int, ...]:
    if isinstance(value, tuple) and len(set(value)) < 2:
        raise ValueError("must be one number for all layers, or a list in which they differ")
    return value


PerLayer = Annotated[PositiveInt | tuple[PositiveInt, ...], AfterValidator(_check_per_layer)]
"""One number for every layer of a stage, or a list with one for each."""
