"""Distributions of an encoder's order: any order of some stages, or any sequence of them."""

from __future__ import annotations

import functools
import itertools
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from typing_extensions import override

from emgmodels.config.stage_names import in_turn, numbered, stage_of
from emgmodels.saying import counted
from search.space.distributions import Choice, Fixed, Node, OutsideError, flow
from search.space.draws import Draw, combinations

MOST_SEQUENCES = 2000
"""Sequences of one parameter; each trial of the study's journal has them all."""


@dataclass(frozen=True)
class Permutation(Node):
    """Any order of some names, each once.

    Orders are one categorical parameter. Where some of the names are absent, only the order of
    the others is drawn, under a name that says which: ``model.encoder.order[recurrent conv]``. So
    a sampler learns which order is good, and the same architecture has one name only.
    """

    items: tuple[str, ...]

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        return self.draw_among(self.items, trial, path)

    def draw_among(self, present: Collection[str], trial: Draw, path: str) -> list[str]:
        """Return an order of those items that are present."""
        # Only stages that are present count, since orders that differ in where absent ones stand
        # are the same architecture.
        items = [item for item in self.items if item in present]
        if len(items) < 2:
            return items
        # One categorical instead of a rank for each stage: a sampler can learn that one order is
        # good. Ranks would have many names for the same order.
        orders = [" ".join(order) for order in self.orders(items)]
        return trial.suggest_categorical(f"{path}[{' '.join(items)}]", orders).split(" ")

    def orders(self, present: Collection[str]) -> list[tuple[str, ...]]:
        """Return every order of those items that are present; ``conv_2`` stands behind ``conv``."""
        items = [item for item in self.items if item in present]
        return [order for order in itertools.permutations(items) if in_turn(order, self.items)]

    @override
    def plain(self) -> Any:
        return {"permutation": list(self.items)}

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        if not isinstance(target, list | tuple) or not set(target) <= set(self.items):
            raise OutsideError(path, target, flow(self.plain()))
        items = [item for item in self.items if item in target]
        return {f"{path}[{' '.join(items)}]": " ".join(target)} if len(items) > 1 else {}

    @override
    def count(self) -> float:
        return len(self.orders(self.items))


@dataclass(frozen=True)
class StageSequence(Node):
    """Any sequence of some stages, each as often as you like, but never twice side by side.

    Two neighbours of one stage would be one stage. All sequences are one categorical parameter,
    whose values name the stages from input to output: ``conv recurrent conv``.
    """

    stages: tuple[str, ...]
    length: Node

    @override
    def draw(self, trial: Draw, path: str) -> Any:
        sequences = _sequences(self.stages, self.lengths)
        return numbered(trial.suggest_categorical(path, sequences).split(" "))

    @functools.cached_property
    def lengths(self) -> tuple[int, ...]:
        """How many stages there may be."""
        drawn = combinations(lambda trial: self.length.draw(trial, "length"))
        return tuple(sorted({length for _, length in drawn}))

    @override
    def plain(self) -> Any:
        return {"sequence": {"of": list(self.stages), "length": self.length.plain()}}

    @override
    def params(self, target: Any, path: str) -> dict[str, Any]:
        named = [stage_of(name, self.stages) for name in target]
        if (text := " ".join(named)) not in _sequences(self.stages, self.lengths):
            raise OutsideError(path, target, flow(self.plain()))
        return {path: text}

    def mistakes(self, path: str) -> Iterator[str]:
        """Yield what is wrong with the number of sequences."""
        if not self.count():
            yield (
                f"{path}.length: {flow(self.length.plain())} is not allowed: neighbours are never "
                f"the same stage, so a sequence of {self.stages[0]} alone has length 1"
            )
        elif self.count() > MOST_SEQUENCES:
            yield (
                f"{path}: {counted(self.count(), 'sequence')} of "
                f"{counted(len(self.stages), 'stage')} are "
                f"more than {MOST_SEQUENCES:,}: name fewer stages, or take a smaller length"
            )

    @override
    def count(self) -> float:
        return sum(len(self.stages) * (len(self.stages) - 1) ** (n - 1) for n in self.lengths)


@functools.lru_cache(maxsize=64)
def _sequences(stages: tuple[str, ...], lengths: tuple[int, ...]) -> tuple[str, ...]:
    """Return every sequence of stages of some lengths, without equal neighbours."""
    return tuple(
        " ".join(sequence)
        for length in lengths
        for sequence in itertools.product(stages, repeat=length)
        if all(a != b for a, b in itertools.pairwise(sequence))
    )


@functools.lru_cache(maxsize=64)
def orders_of(order: Node, path: str) -> tuple[tuple[dict[str, Any], tuple[str, ...]], ...]:
    """Return the parameters and the names of every list of stages that can be drawn."""
    drawn = combinations(lambda trial: order.draw(trial, path))
    return tuple((params, tuple(listed)) for params, listed in drawn)


def makes_sequences(order: Node) -> bool:
    """Return whether an order, or an option of it, is a sequence."""
    if isinstance(order, Choice):
        return any(map(makes_sequences, order.options))
    return isinstance(order, StageSequence)


def written_out(order: Node) -> Iterator[Sequence[str]]:
    """Yield the lists of stages that an order names itself; a sequence makes its own."""
    if isinstance(order, Choice):
        for option in order.options:
            yield from written_out(option)
    elif isinstance(order, Permutation):
        yield order.items
    elif isinstance(order, Fixed):
        yield order.value
