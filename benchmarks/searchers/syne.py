"""Syne Tune's schedulers as they come, through the interface by which its own tuner drives them.

Those that can be restricted to given configurations are, so that what they suggest was recorded.
"""

from __future__ import annotations

import datetime
import functools
import logging
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

from syne_tune import config_space
from syne_tune.backend.trial_status import Trial
from syne_tune.optimizer.baselines import ASHA, BOHB, MOBSTER, PASHA, DyHPO
from syne_tune.optimizer.scheduler import SchedulerDecision

from benchmarks.searchers.problem import Event, Job, Machines, Parameter, Places, Problem

VERSIONS = {"Syne Tune": version("syne-tune")}


class SyneTune:
    """A scheduler that is asked for trials to start or resume, and told each epoch."""

    def __init__(self, problem: Problem, scheduler: Any) -> None:
        self.problem = problem
        self._places = Places(problem)
        self._scheduler = scheduler
        self._trials: list[tuple[Trial, int | None]] = []
        self._reached: dict[int, int] = {}

    def ask(self) -> Job | None:
        found = self._scheduler.suggest(len(self._trials))
        if found is None:
            return None
        if not found.spawn_new_trial_id:
            number = found.checkpoint_trial_id
            place = self._trials[number][1]
            assert place is not None, "a trial that was never trained is not resumed"
            return Job(place, self._reached[number] + 1, number)
        place = self._places.begin(found.config)
        number = len(self._trials)
        trial = Trial(number, found.config, datetime.datetime.now())
        self._trials.append((trial, place))
        self._scheduler.on_trial_add(trial)
        if place is None:  # nothing is left to train; it may go on with what has begun
            self._scheduler.on_trial_error(trial)
            return None
        return Job(place, 1, number)

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        trial = self._trials[job.token][0]
        self._reached[job.token] = epoch
        seconds = sum(self.problem.seconds[job.trial][:epoch])
        result = {"cer": cer, "epoch": epoch, "elapsed_time": seconds}
        decision = self._scheduler.on_trial_result(trial, result)
        if epoch == self.problem.epochs:
            self._scheduler.on_trial_complete(trial, result)
        elif decision == SchedulerDecision.CONTINUE:
            return epoch + 1
        else:
            self._scheduler.on_trial_remove(trial)
        return None


def play(problem: Problem, kind: Callable[..., Any], restrict: bool, **options: Any) -> list[Event]:
    """Return what a scheduler trains.

    Args:
        problem: the search.
        kind: the scheduler.
        restrict: let it choose among the recorded configurations.
        options: of the scheduler.
    """
    logging.disable(logging.WARNING)
    search_options: dict[str, Any] = {"debug_log": False}
    if restrict:
        configs = [problem.filled(trial) for trial in range(problem.trials)]
        search_options["restrict_configurations"] = configs
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        scheduler = kind(
            {each.name: _domain(each) for each in problem.parameters},
            metric="cer",
            mode="min",
            resource_attr="epoch",
            max_t=problem.epochs,
            random_seed=problem.repeat,
            search_options=search_options,
            **options,
        )
        return Machines(problem).run(SyneTune(problem, scheduler))


def _domain(each: Parameter) -> Any:
    if not each.values:
        spread = config_space.loguniform if each.log else config_space.uniform
        return spread(each.low, each.high)
    if each.is_ordered:
        return config_space.ordinal(list(each.values))
    return config_space.choice(list(each.values))


PLAYERS: dict[str, Callable[[Problem], list[Event]]] = {
    "Syne Tune: ASHA by promotion": functools.partial(
        play, kind=ASHA, restrict=True, type="promotion"
    ),
    "Syne Tune: PASHA": functools.partial(play, kind=PASHA, restrict=True),
    "Syne Tune: BOHB": functools.partial(play, kind=BOHB, restrict=False, type="promotion"),
    # Restricted, both fail once all recorded configurations have begun.
    "Syne Tune: MOBSTER": functools.partial(play, kind=MOBSTER, restrict=False, type="promotion"),
    "Syne Tune: DyHPO": functools.partial(play, kind=DyHPO, restrict=False),
}
"""What plays a problem, by name."""
