"""The samplers by name: Optuna's, and those that know their points in advance."""

from __future__ import annotations

import functools
import hashlib
import importlib.util
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import optuna
from optuna.samplers import BaseSampler

from emgmodels.installing import how_to_install
from emgmodels.own_code import explained, load_class
from search.sampler.tpe import Tpe
from search.space import SearchConfig, Space
from search.space.choices import Chosen
from search.space.draws import UnitDraw

# Stages that are absent have no dimension in use, so dimensions are given to parameters as they
# first appear.
_SOBOL_DIMENSIONS = 1024
_SOBOL_POINTS = 2**16


def make_sampler(search: SearchConfig) -> BaseSampler:
    """Return Optuna's sampler for a search.

    Raises:
        ValueError: it needs a package that is not installed, or one of the user's own is none.
    """
    if (chosen := search.sampler.chosen()) is not None:
        return _own(search, chosen)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        return SAMPLERS[search.sampler.name](search)


def trial_seed(seed: int, number: int) -> int:
    """Return the seed of a trial: a hash of the search's seed and the trial's number."""
    # From seed and number alone, so that a trial has the same seed when it is suggested again
    # after a kill.
    digest = hashlib.blake2b(f"{seed}/{number}".encode(), digest_size=4).digest()
    return int.from_bytes(digest, "big")


def planned_points(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the parameters that a sampler knows in advance, if it knows any."""
    if space.search.sampler.name in POINTS:
        yield from POINTS[space.search.sampler.name](space)


def _own(search: SearchConfig, chosen: Chosen) -> BaseSampler:
    """Return a sampler of the user's own; it is given its settings and those of the search."""
    what = f"search.sampler: {search.sampler.name}"
    kind = load_class(chosen.code, BaseSampler, what, "optuna.samplers.BaseSampler")
    with explained(what, chosen.code, "its settings and a SearchConfig"):
        return kind(chosen.settings, search)


def _tpe(search: SearchConfig) -> BaseSampler:
    return Tpe(search.seed)


# Optuna's own would draw from where its generator stands, which a killed process takes with it.
class _NumberedRandom(optuna.samplers.RandomSampler):
    """Values that follow from seed and number of a trial alone.

    So a search that was killed and resumed draws what it would have drawn.
    """

    def __init__(self, seed: int) -> None:
        super().__init__(seed)
        self._seed = seed

    def before_trial(self, study: optuna.Study, trial: optuna.trial.FrozenTrial) -> None:
        super().__init__(trial_seed(self._seed, trial.number))


def _random(search: SearchConfig) -> BaseSampler:
    return _NumberedRandom(search.seed)


def _gp(search: SearchConfig) -> BaseSampler:
    _need("scipy", "gp")
    # It warns of each parameter that only some architectures have. Such parameters are the rule
    # here.
    return optuna.samplers.GPSampler(seed=search.seed, warn_independent_sampling=False)


def _cmaes(search: SearchConfig) -> BaseSampler:
    _need("cmaes", "cmaes")
    return optuna.samplers.CmaEsSampler(seed=search.seed, warn_independent_sampling=False)


def _nsga2(search: SearchConfig) -> BaseSampler:
    # Five generations at least: with Optuna's 50 a search of 64 trials would be random almost to
    # its end.
    population = max(8, min(50, search.trials // 5))
    return optuna.samplers.NSGAIISampler(seed=search.seed, population_size=population)


def _need(package: str, sampler: str) -> None:
    if importlib.util.find_spec(package) is None:
        raise ValueError(
            f"search.sampler: {sampler} needs the package {package}: {how_to_install('samplers')}"
        )


def _grid(space: Space) -> Iterator[dict[str, Any]]:
    """Yield the points of a finite space in random order: its beginning is a fair sample."""
    # The first part of a grid in its own order would have one value of the first parameter only.
    points = [params for params, _ in space.grid_points()]
    for index in np.random.default_rng(space.search.seed).permutation(len(points)):
        yield points[index]


def _quasirandom(space: Space) -> Iterator[dict[str, Any]]:
    """Yield scrambled Sobol points (Owen 1998), each parameter a dimension of its own."""
    # Loads PyTorch, which reading a space does without.
    from torch.quasirandom import SobolEngine

    sobol = SobolEngine(_SOBOL_DIMENSIONS, scramble=True, seed=space.search.seed)
    dimensions: dict[str, int] = {}

    def coordinate(point: list[float], name: str) -> float:
        return point[dimensions.setdefault(name, len(dimensions) % _SOBOL_DIMENSIONS)]

    for _ in range(_SOBOL_POINTS):
        draw = UnitDraw(functools.partial(coordinate, sobol.draw(1)[0].tolist()))
        try:
            space.suggest(draw)
        except ValueError:
            continue
        yield draw.params


SAMPLERS: dict[str, Callable[[SearchConfig], BaseSampler]] = {
    "tpe": _tpe,
    "random": _random,
    "gp": _gp,
    "cmaes": _cmaes,
    "nsga2": _nsga2,
    "grid": _random,
    "quasirandom": _random,
}
"""Every sampler by the name it has in a space file; what is not planned is drawn by it."""

POINTS: dict[str, Callable[[Space], Iterator[dict[str, Any]]]] = {
    "grid": _grid,
    "quasirandom": _quasirandom,
}
"""Samplers that know their points in advance."""

CANNOT_LEARN = ("random", *POINTS)
"""Samplers that suggest the same whatever was trained before."""
