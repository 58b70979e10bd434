"""What a range in a space file must be, and which of its values are checked."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

from search.space.distributions import FloatRange, IntRange, flow, on_step

_MOST_CHECKED = 2000
"""Values of a range that are all checked, one by one."""


def range_problem(what: str, bounds: list[Any], step: Any, log: Any) -> str | None:
    """Return what is wrong with a range in itself."""
    wanted = "an integer" if what == "int" else "a finite number"

    def is_number(value: Any) -> bool:
        return _is_int(value) or (what == "float" and _is_float(value))

    if len(bounds) != 2 or not all(map(is_number, bounds)):
        return f"must be [low, high], each {wanted}"
    low, high = bounds
    if low > high:
        return f"the range is reversed: write [{high}, {low}]"
    if not isinstance(log, bool):
        return f"log: {shown(log)} must be true or false"
    if log and low <= 0:
        return "a logarithmic range must begin above 0"
    if step is None:
        return None
    if not is_number(step) or step <= 0:
        return f"step: {shown(step)} must be {wanted} above 0"
    if log:
        return "a logarithmic range has no step: leave out log or step"
    if not on_step(high - low, step):
        return f"steps of {step} from {low} do not reach {high}"
    return None


def checked_values(node: IntRange | FloatRange) -> Iterator[float]:
    """Yield the values of a range that are checked: both ends, then all, or one between."""
    yield node.low
    yield node.high
    if isinstance(node, FloatRange):
        yield node.low + (node.step or 0.618 * (node.high - node.low))
    elif node.count() <= _MOST_CHECKED:
        yield from range(node.low, node.high, node.step)
    else:
        yield node.low + node.step


def shown(value: Any) -> str:
    """Return a value as YAML in one line, cut where it is long."""
    text = flow(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def _is_int(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _is_float(value: Any) -> bool:
    return isinstance(value, float) and math.isfinite(value)
