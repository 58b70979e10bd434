"""A search whose trials are trained when a searcher asks for them, in place of recorded ones."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from typing_extensions import override

from benchmarks.searchers.problem import Config as Values
from benchmarks.searchers.problem import Problem
from benchmarks.searchers.trainings import MEASURES, Column, Trainings
from emgmodels.config import Config
from search.halving.rungs import aligned_epochs
from search.space import Space, load_space
from search.space.draws import RandomDraw

SPACE = Path(__file__).with_name("live.yaml")
BUDGET = 0.3
"""Share of all epochs that a search may train."""


@dataclass(frozen=True)
class Live(Problem):
    """A search over a space. Each suggestion is a trial of its own, and is trained.

    Attributes:
        space: the space.
        overrides: what was changed of the space file.
        places: the configuration of each trial: one drawn at random, the same for every searcher,
            until a suggestion takes its place.
    """

    space: Space
    overrides: tuple[str, ...]
    places: list[Config]

    @override
    def trial_for(self, values: Values, among: Iterable[int]) -> int:
        trial = min(among)
        self.places[trial] = _seeded(self._config(values), self.repeat)
        return trial

    @override
    def suggested(self, trial: Any) -> Values:
        self.space.draw(trial)
        values: Values = trial.params
        return values

    def space_with(self, *overrides: str) -> Space:
        """Return the space with further settings."""
        return load_space(SPACE, overrides=[*self.overrides, *overrides])

    def values_of(self, config: Config) -> Values:
        """Return the values of a configuration by parameter."""
        return self.space.params_of(config)

    def _config(self, values: Values) -> Config:
        return self.space.suggest(optuna.trial.FixedTrial(dict(values)))


def live(trainings: Trainings, repeat: int, overrides: Sequence[str] = (), slots: int = 1) -> Live:
    """Return a search that has trained nothing yet.

    Args:
        trainings: make and keep what is trained.
        repeat: seed of the searcher, of the random order, and of each training.
        overrides: what to change of the space, which also says how many trials there are.
        slots: trials that train at a time. With one, the order of epochs does not depend on the
            time that they take, and so the search follows from the seed alone.
    """
    space = load_space(SPACE, overrides=overrides)
    count = space.search.trials
    rng = np.random.default_rng([repeat, count])
    places = [_seeded(space.suggest(RandomDraw(rng)), repeat) for _ in range(count)]
    columns = {
        name: [Column(trainings, places, trial, name) for trial in range(count)]
        for name in MEASURES
    }
    return Live(
        table=space.name,
        repeat=repeat,
        slots=slots,
        budget=round(BUDGET * count * places[0].training.epochs),
        aligned=aligned_epochs(space.training.plain()),
        parameters=[],
        configs=[],
        space=space,
        overrides=tuple(overrides),
        places=places,
        **columns,
    )


def _seeded(config: Config, seed: int) -> Config:
    # Without it a suggestion that two searchers make would be two trainings.
    return config.model_copy(update={"seed": seed})
