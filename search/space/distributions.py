"""The grammar of a space file: what may stand for a value.

A node can be drawn from (``draw``), written as YAML (``plain``), counted, and asked which
parameters would have drawn a given value (``params``). Parameters are named by their path in the
space file: ``model.encoder.conv.layers``; inside a choice of mappings, the option's index is part
of the path: ``training.aligned_start.choice[1].epochs``.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import Any

from typing_extensions import override

from emgmodels.config import write_yaml_line
from search.space.draws import Draw


class OutsideError(ValueError):
    """A value that a space does not contain."""

    def __init__(self, path: str, value: Any, allowed: str) -> None:
        """Say where, what, and what would be inside."""
        super().__init__(f"{path}: {flow(value)} is not in the space (it has {allowed})")


class Node:
    """A part of a space."""

    def draw(self, trial: Draw, path: str) -> Any:
        """Return a value drawn by ``trial`` under parameter names that begin with ``path``."""
        raise NotImplementedError

    def plain(self) -> Any:
        """Return the node as it is written in YAML."""
        raise NotImplementedError

    def params(self, target: Any, path: str) -> dict[str, Any]:
        """Return the parameters under which ``draw`` returns ``target``.

        Raises:
            OutsideError: no parameters do.
        """
        raise NotImplementedError

    def count(self) -> float:
        """Return how many different values can be drawn; infinite where one is continuous."""
        raise NotImplementedError

    def continuous(self, path: str) -> str | None:
        """Return the path of a continuous distribution, if there is one."""
        return None


@dataclass(frozen=True)
class Fixed(Node):
    """A value that does not vary: a scalar, or a tuple of them.

    A value may be written in several ways: ``means`` has the one of the configuration, if it is
    another.
    """

    value: Any
    means: tuple[Any, ...] = ()

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        return self.plain()

    @override
    def plain(self) -> Any:
        return list(self.value) if isinstance(self.value, tuple) else self.value

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        target = tuple(target) if isinstance(target, list) else target
        if target not in (self.value, *self.means):
            raise OutsideError(path, target, f"only {flow(self.plain())}")
        return {}

    @override
    def count(self) -> float:
        return 1


@dataclass(frozen=True)
class Choice(Node):
    """One of several options, each a node of its own."""

    options: tuple[Node, ...]

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        # Optuna keeps categorical values as JSON, so mappings and lists are drawn by their text.
        labels = self.labels()
        index = labels.index(trial.suggest_categorical(path, labels))
        # With the index in the name, settings of two options are different parameters. Their
        # values need not fit each other.
        return self.options[index].draw(trial, f"{path}.choice[{index}]")

    def labels(self) -> list[Any]:
        """Return what stands for each option: scalars themselves, else their YAML in one line."""
        return [
            option.value
            if isinstance(option, Fixed) and not isinstance(option.value, tuple)
            else flow(option.plain())
            for option in self.options
        ]

    @override
    def plain(self) -> Any:
        return {"choice": [option.plain() for option in self.options]}

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        for index, (label, option) in enumerate(zip(self.labels(), self.options, strict=True)):
            try:
                inner = option.params(target, f"{path}.choice[{index}]")
            except OutsideError:
                continue
            return {path: label, **inner}
        raise OutsideError(path, target, ", ".join(map(flow, self.labels())))

    @override
    def count(self) -> float:
        return sum(option.count() for option in self.options)

    @override
    def continuous(self, path: str) -> str | None:
        inner = (o.continuous(f"{path}.choice[{i}]") for i, o in enumerate(self.options))
        return next(filter(None, inner), None)


@dataclass(frozen=True)
class IntRange(Node):
    """Integers from low to high, both included."""

    low: int
    high: int
    step: int = 1
    log: bool = False

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        return trial.suggest_int(path, self.low, self.high, step=self.step, log=self.log)

    @override
    def plain(self) -> Any:
        return _range("int", self.low, self.high, None if self.step == 1 else self.step, self.log)

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        inside = isinstance(target, int | float) and self.low <= target <= self.high
        if not inside or (target - self.low) % self.step:
            raise OutsideError(path, target, flow(self.plain()))
        return {path: int(target)}

    @override
    def count(self) -> float:
        return (self.high - self.low) // self.step + 1


@dataclass(frozen=True)
class FloatRange(Node):
    """Real numbers from low to high, both included."""

    low: float
    high: float
    step: float | None = None
    log: bool = False

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        return trial.suggest_float(path, self.low, self.high, step=self.step, log=self.log)

    @override
    def plain(self) -> Any:
        return _range("float", self.low, self.high, self.step, self.log)

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        inside = isinstance(target, int | float) and self.low <= target <= self.high
        if not inside or (self.step is not None and not on_step(target - self.low, self.step)):
            raise OutsideError(path, target, flow(self.plain()))
        return {path: float(target)}

    @override
    def count(self) -> float:
        if self.low == self.high:
            return 1
        return math.inf if self.step is None else round((self.high - self.low) / self.step) + 1

    @override
    def continuous(self, path: str) -> str | None:
        return path if math.isinf(self.count()) else None


def flow(value: Any) -> str:
    """Return the YAML of a value in one line."""
    return write_yaml_line(value)


def on_step(distance: float, step: float) -> bool:
    """Return whether a distance is a whole number of steps, rounding aside."""
    # 0.3 / 0.1 is 2.9999999999999996.
    return math.isclose(distance / step, round(distance / step), rel_tol=1e-9, abs_tol=1e-9)


def _range(kind: str, low: float, high: float, step: float | None, log: bool) -> dict[str, Any]:
    plain: dict[str, Any] = {kind: [low, high]}
    if step is not None:
        plain["step"] = step
    if log:
        plain["log"] = True
    return plain


def above_zero(layers: Node) -> Node | None:
    """Return a distribution without its 0, None where nothing is left."""
    if isinstance(layers, IntRange) and layers.low == 0:
        return replace(layers, low=layers.step) if layers.high else None
    if isinstance(layers, Choice):
        kept = tuple(option for each in layers.options if (option := above_zero(each)) is not None)
        return Choice(kept) if kept else None
    return None if layers == Fixed(0) else layers
