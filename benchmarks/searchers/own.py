"""This project's search, random search, and Ray Tune's schedulers, which need no other environment.

Ray's schedulers are the objects that Ray Tune itself drives; ``search.simulate.Replay`` stands
where its controller stands.
"""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any, overload

import ray
from ray.tune.schedulers import (
    AsyncHyperBandScheduler,
    HyperBandScheduler,
    MedianStoppingRule,
    TrialScheduler,
)
from typing_extensions import override

from benchmarks.searchers.live import Live
from benchmarks.searchers.problem import Chooser, Event, Job, Machines, Problem
from benchmarks.searchers.problem import Config as Values
from benchmarks.searchers.tables import TABLES, UNSEEN, settings
from emgmodels.config import Config
from search.engine.schedulers import make_scheduler
from search.engine.searcher import OptunaSampler
from search.simulate.replay import Curve, Replay, ReplayTrial
from search.space import Space, load_space

VERSIONS = {"Ray": ray.__version__}
_RAY_AHEAD = 200
"""Trials that Ray Tune suggests ahead where nothing learns from results."""


class Whole:
    """Random search: every trial to its last epoch, in the order drawn."""

    def __init__(self, problem: Problem) -> None:
        self._chooser = Chooser(problem)
        self._epochs = problem.epochs

    def ask(self) -> Job | None:
        trial = self._chooser.take()
        return None if trial is None else Job(trial, self._epochs)

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        return None


class Suggested(Sequence[Curve]):
    """The trials of a search, each suggested by this project's sampler when its turn comes."""

    def __init__(self, problem: Problem, curves: Sequence[Curve]) -> None:
        self._chooser, self._curves = Chooser(problem), curves
        overrides = [f"search.trials={len(curves)}", f"search.seed={problem.repeat}"]
        self.sampler = OptunaSampler(_space(problem, *overrides, "search.sampler=tpe"))
        self._taken: list[Curve] = []

    def __len__(self) -> int:
        return len(self._curves)

    def __iter__(self) -> Iterator[Curve]:
        return iter(self._curves)

    @overload
    def __getitem__(self, index: int) -> Curve: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Curve]: ...
    def __getitem__(self, index: int | slice) -> Curve | Sequence[Curve]:
        assert isinstance(index, int)
        while len(self._taken) <= index:
            found = self.sampler.suggest(f"{len(self._taken):05d}")
            assert not isinstance(found, str)
            config = Config.model_validate_json(found["config"])
            trial = self._chooser.take(_values(self._chooser.problem, config))
            assert trial is not None
            self._taken.append(self._curves[trial])
        return self._taken[index]


class Unknown(Curve):
    """A training whose best nobody knows before it ends; asking for it would train all of it."""

    @property
    @override
    def best(self) -> float:
        return math.inf


class BudgetSpentError(Exception):
    """All epochs that a search may train are trained."""


class Told(Replay):
    """A replay whose trials' results a sampler is told, as Ray Tune tells it."""

    budget = math.inf
    """Epochs after which it raises ``BudgetSpentError``."""

    @override
    def _decide(self, trial: ReplayTrial) -> str:
        if len(self.trained) >= self.budget:
            raise BudgetSpentError
        if isinstance(self.curves, Suggested):
            self.curves.sampler.on_trial_result(trial.trial_id, self._metrics(trial))
        return super()._decide(trial)

    @override
    def stop_trial(self, trial: ReplayTrial) -> None:
        super().stop_trial(trial)
        if isinstance(self.curves, Suggested):
            self.curves.sampler.on_trial_complete(trial.trial_id, self._metrics(trial))

    @staticmethod
    def _metrics(trial: ReplayTrial) -> dict[str, Any]:
        return {**trial.result(), "best_val_cer": min(trial.curve.cer[: trial.epoch])}


def replayed(
    problem: Problem,
    make: Callable[[Problem], TrialScheduler],
    ahead: int = 1,
    learns: bool = False,
) -> list[Event]:
    """Return what a scheduler of Ray Tune trains.

    Args:
        problem: the search.
        make: makes the scheduler.
        ahead: trials that are suggested before a slot is free.
        learns: this project's sampler says which trial comes next.
    """
    both = zip(problem.cer, problem.loss, problem.seconds, strict=True)
    # Any sequence will do: what is trained when it is read must not be copied.
    curves: list[Curve] = [
        Unknown(str(trial), "", *columns)  # type: ignore[arg-type]
        for trial, columns in enumerate(both)
    ]
    order = Suggested(problem, curves) if learns else curves
    replay = Told(order, make(problem), problem.epochs, problem.slots, ahead=ahead)
    replay.budget = problem.budget
    with contextlib.suppress(BudgetSpentError):
        replay.run()
    names = {trial.trial_id: int(trial.curve.name) for trial in replay.trials}
    events = [
        Event(end, names[name], epoch, problem.cer[names[name]][epoch - 1])
        for (name, epoch), end in zip(replay.trained, replay.ends, strict=True)
    ]
    return events[: problem.budget]


def _space(problem: Problem, *overrides: str) -> Space:
    if isinstance(problem, Live):
        return problem.space_with(*overrides)
    file = next(table.space for table in (*TABLES, *UNSEEN) if table.name == problem.table)
    return load_space(file, overrides=overrides)


def _values(problem: Problem, config: Config) -> Values:
    if isinstance(problem, Live):
        return problem.values_of(config)
    found = settings(config.model_dump(mode="json"))
    return {each.name: found.get(each.name) for each in problem.parameters}


def asha(problem: Problem) -> TrialScheduler:
    """Return this project's default scheduler."""
    return make_scheduler("asha", max_epochs=problem.epochs, aligned=problem.aligned)


def ray_asha(problem: Problem, **options: Any) -> TrialScheduler:
    """Return Ray Tune's ASHA."""
    return AsyncHyperBandScheduler("epoch", max_t=problem.epochs, **options)


def ray_hyperband(problem: Problem) -> TrialScheduler:
    """Return Ray Tune's HyperBand, as it comes."""
    return HyperBandScheduler("epoch", max_t=problem.epochs)


def ray_median(problem: Problem) -> TrialScheduler:
    """Return Ray Tune's median rule, as it comes but for its grace, which is in seconds there."""
    return MedianStoppingRule("epoch", grace_period=1)


RAY: dict[str, Callable[[Problem], TrialScheduler]] = {
    "Ray Tune: ASHA": ray_asha,
    "Ray Tune: ASHA, rungs 4 / 3": functools.partial(ray_asha, grace_period=4, reduction_factor=3),
    "Ray Tune: HyperBand": ray_hyperband,
    "Ray Tune: median": ray_median,
}

PLAYERS: dict[str, Callable[[Problem], list[Event]]] = {
    "emgsearch": lambda problem: replayed(problem, asha, learns=True),
    "emgsearch, trials in random order": lambda problem: replayed(problem, asha),
    "random search": lambda problem: Machines(problem).run(Whole(problem)),
    **{
        name: functools.partial(replayed, make=make, ahead=_RAY_AHEAD) for name, make in RAY.items()
    },
}
"""What plays a problem, by name."""
