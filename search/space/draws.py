"""What chooses the values of a space: an Optuna trial, a random generator, or every combination.

A space is walked once per suggestion and asks for one value after another; which values it asks
for may depend on those it was given.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from emgmodels.config import Config
from search.space.settings import SearchConfig

T = TypeVar("T")


class Draw(Protocol):
    """The part of ``optuna.trial.BaseTrial`` that a space asks."""

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Return an integer in a range, both ends included."""

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """Return a real number in a range."""


class UnitDraw:
    """Draws each value by a number between 0 and 1, on the logarithm where the range says so.

    Attributes:
        params: the values drawn so far, by parameter name.
    """

    def __init__(
        self, unit: Callable[[str], float], fixed: Mapping[str, Any] | None = None
    ) -> None:
        """Draw by ``unit``, a number in [0, 1) for a name, what ``fixed`` does not give."""
        self.params: dict[str, Any] = {}
        self._unit = unit
        self._fixed = fixed or {}

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        """Return one of the choices."""
        return self._keep(name, lambda unit: choices[int(unit * len(choices))])

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        """Return an integer in a range, both ends included."""
        if log:
            # Half a step beyond the ends, so that the ends are drawn as often as their
            # neighbours.
            between = _logarithmic(low - 0.5, high + 0.5)
            return self._keep(name, lambda unit: min(max(round(between(unit)), low), high))
        count = (high - low) // step + 1
        return self._keep(name, lambda unit: low + step * int(unit * count))

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        """Return a real number in a range."""
        if step is not None:
            count = round((high - low) / step) + 1
            return self._keep(name, lambda unit: min(low + step * int(unit * count), high))
        if log:
            between = _logarithmic(low, high)
            return self._keep(name, lambda unit: min(max(between(unit), low), high))
        return self._keep(name, lambda unit: low + unit * (high - low))

    def _keep(self, name: str, value: Callable[[float], T]) -> T:
        # A parameter that is asked for twice has one value, as with Optuna.
        if name not in self.params:
            fixed = name in self._fixed
            self.params[name] = self._fixed[name] if fixed else value(self._unit(name))
        return self.params[name]


class RandomDraw(UnitDraw):
    """Draws each value independently and uniformly."""

    def __init__(self, rng: np.random.Generator, fixed: Mapping[str, Any] | None = None) -> None:
        """Draw with ``rng`` what ``fixed`` does not give."""
        super().__init__(lambda name: rng.random(), fixed)


class Drawable(Protocol):
    """The part of a space that ``drawn`` asks."""

    @property
    def search(self) -> SearchConfig:
        """How it is searched."""

    def suggest(self, trial: Draw) -> Config:
        """Return a configuration."""

    def violation(self, config: Config) -> str | None:
        """Return why it must not be trained."""


def drawn(space: Drawable, tries: int) -> Iterator[Config]:
    """Yield the configurations that can be trained among some drawn at random, always the same.

    Args:
        space: the space.
        tries: how many are drawn.
    """
    rng = np.random.default_rng(space.search.seed)
    for _ in range(tries):
        with contextlib.suppress(ValueError):
            config = space.suggest(RandomDraw(rng))
            if space.violation(config) is None:
                yield config


def combinations(walk: Callable[[Draw], T]) -> Iterator[tuple[dict[str, Any], T]]:
    """Yield the parameters and the result of a walk for every combination of values.

    Args:
        walk: asks for finitely many values; those it asks for may depend on earlier ones.
    """
    digits: list[int] = []
    while True:
        counter = _Counter(digits)
        result = walk(counter)
        yield counter.params, result
        # Counting up: which values are asked for may depend on earlier ones, so the number of
        # digits changes on the way.
        digits, sizes = counter.digits, counter.sizes
        while digits and digits[-1] == sizes[-1] - 1:
            digits.pop()
            sizes.pop()
        if not digits:
            return
        digits[-1] += 1


class _Counter:
    """Answers by the digits of a number whose digits each have their own base."""

    def __init__(self, digits: list[int]) -> None:
        self.params: dict[str, Any] = {}
        self.digits: list[int] = []
        self.sizes: list[int] = []
        self._given = digits

    def suggest_categorical(self, name: str, choices: Sequence[Any]) -> Any:
        self.params[name] = choices[self._digit(len(choices))]
        return self.params[name]

    def suggest_int(self, name: str, low: int, high: int, *, step: int, log: bool) -> int:
        self.params[name] = low + step * self._digit((high - low) // step + 1)
        return self.params[name]

    def suggest_float(
        self, name: str, low: float, high: float, *, step: float | None, log: bool
    ) -> float:
        if step is None and low != high:
            raise ValueError(f"{name} is continuous")
        count = 1 if step is None else round((high - low) / step) + 1
        self.params[name] = min(low + (step or 0.0) * self._digit(count), high)
        return self.params[name]

    def _digit(self, size: int) -> int:
        place = len(self.digits)
        self.digits.append(self._given[place] if place < len(self._given) else 0)
        self.sizes.append(size)
        return self.digits[-1]


def _logarithmic(low: float, high: float) -> Callable[[float], float]:
    return lambda unit: low * (high / low) ** unit
