"""Freeze-thaw: a free slot goes to the trial that may end lowest, as far as a forecast can tell.

Swersky, Snoek, Adams (2014), "Freeze-Thaw Bayesian Optimization". Their Gaussian process is
replaced by curves of the other recorded sets: what is left to fall is what fell for those alike.
It is no part of the product, since it did not do better there.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Callable

import numpy as np

from benchmarks.forecasts import WIDTH, Set, features
from benchmarks.searchers.problem import Chooser, Event, Job, Machines, Problem
from benchmarks.searchers.tables import TABLES
from search.simulate.curves import read_curves, whole

VERSIONS: dict[str, str] = {}
STEPS = 16
"""Parts of a training after which a trial may be frozen."""
_SPREAD = 0.15
"""Standard deviation of the logarithm of a last CER, at least; of too few recorded curves."""


class Forecast:
    """What is left to fall, by the curves of other sets."""

    def __init__(self, others: list[Set]) -> None:
        self._others = others
        self._known = functools.cache(self._at)

    def __call__(self, problem: Problem, trial: int, epoch: int) -> tuple[float, float]:
        """Return mean and standard deviation of the logarithm of a trial's lowest CER."""
        own = np.array(features(problem.cer[trial][:epoch], problem.loss[trial][:epoch]))
        seen, falls = self._known(epoch / problem.epochs)
        likeness = np.exp(-0.5 * np.sum(((own - seen) / WIDTH) ** 2, axis=1)) + 1e-9
        mean = float(np.average(falls, weights=likeness))
        spread = math.sqrt(float(np.average((falls - mean) ** 2, weights=likeness)))
        return own[0] + mean, max(spread, _SPREAD * (1 - epoch / problem.epochs))

    def _at(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        pairs = [each.at(share) for each in self._others]
        seen = np.concatenate([each for each, _ in pairs])
        return seen, np.concatenate([best for _, best in pairs]) - seen[:, 0]


class FreezeThaw:
    """Draws an end for each trial, a new one among them, and trains the lowest for a step."""

    def __init__(self, problem: Problem, forecast: Forecast) -> None:
        self._problem, self._forecast = problem, forecast
        self._chooser = Chooser(problem)
        self._rng = np.random.default_rng(problem.repeat)
        self._step = max(1, problem.epochs // STEPS)
        self._frozen: dict[int, int] = {}
        self._ends: dict[int, tuple[float, float]] = {}

    def ask(self) -> Job | None:
        drawn = {
            trial: self._rng.normal(*self._ends[trial])
            for trial, epoch in self._frozen.items()
            if epoch < self._problem.epochs
        }
        means = [mean for mean, _ in self._ends.values()]
        # A new trial is as those before it were; of the first few nothing is known.
        few = len(means) < max(3, self._problem.slots)
        new = -math.inf if few else self._rng.normal(np.mean(means), np.std(means))
        if self._chooser.free and new < min(drawn.values(), default=math.inf):
            trial = self._chooser.take()
            assert trial is not None
            return self._job(trial, 0)
        if not drawn:
            return None
        trial = min(drawn, key=drawn.__getitem__)
        return self._job(trial, self._frozen.pop(trial))

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        self._frozen[job.trial] = epoch
        self._ends[job.trial] = self._forecast(self._problem, job.trial, epoch)
        return None

    def _job(self, trial: int, epoch: int) -> Job:
        # Before the aligned start is over a curve says little.
        until = max(epoch + self._step, self._problem.aligned)
        return Job(trial, min(self._problem.epochs, until))


@functools.cache
def forecast_without(name: str) -> Forecast:
    """Return a forecast that the recorded sets teach but for one table's."""
    sets = []
    for table in TABLES:
        for path in table.paths if table.name != name else ():
            curves = read_curves(path)
            epochs = max(len(curve.cer) for curve in curves)
            sets.append(Set(whole(curves, epochs), epochs))
    return Forecast(sets)


def play(problem: Problem) -> list[Event]:
    """Return what it trains."""
    return Machines(problem).run(FreezeThaw(problem, forecast_without(problem.table)))


PLAYERS: dict[str, Callable[[Problem], list[Event]]] = {"freeze-thaw by recorded curves": play}
"""What plays a problem, by name."""
