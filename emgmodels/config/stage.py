"""What the configurations of all stages have in common."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated

from pydantic import Field

from emgmodels.config.base import Frozen, Whole, is_per_layer
from emgmodels.saying import counted

Layers = Annotated[Whole, Field(ge=0, le=1000)]
"""Layers of a stage; nobody waits for more to be built."""


class StageConfig(Frozen):
    """What the configurations of all stages have in common."""

    layers: Layers = 1
    """Stacked layers. 0: the stage is absent."""

    def reduction(self) -> int:
        """Return how many input frames there are for one output frame."""
        return 1

    def of_each(self, name: str) -> tuple[int, ...]:
        """Return the values of a setting, layer by layer."""
        value = getattr(self, name)
        return value if isinstance(value, tuple) else (value,) * self.layers

    def mistakes(self) -> Iterator[str]:
        """Yield what is wrong between values that are each allowed."""
        for name, field in type(self).model_fields.items():
            value = getattr(self, name)
            wrong = isinstance(value, tuple) and len(value) != self.layers
            if wrong and is_per_layer(field):
                yield (
                    f"{name} {list(value)} names {counted(len(value), 'layer')} of {self.layers}: "
                    f"give one number for each, or one for all"
                )


def undivided(width: int | None, heads: int, rotary: bool) -> Iterator[str]:
    """Yield what is wrong with a width that attention heads do not divide, and what would fit."""
    whole = heads * (2 if rotary else 1)
    if width is None or width % whole == 0:
        return
    below, above = width // whole * whole, (width // whole + 1) * whole
    fitting = [n for n in range(1, 33) if width % (n * (2 if rotary else 1)) == 0]
    pairs = " of pairs, as rotary positions need" if rotary else ""
    yield (
        f"width {width} does not divide into {counted(heads, 'head')}{pairs}: take width "
        f"{f'{below} or ' if below else ''}{above}, or heads {', '.join(map(str, fitting))}"
    )
