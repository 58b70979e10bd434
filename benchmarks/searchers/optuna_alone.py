"""Optuna by itself: its default sampler, and its pruners as they come, through ask and tell."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable

import optuna
from optuna.pruners import BasePruner, HyperbandPruner, MedianPruner

from benchmarks.searchers.problem import Chooser, Event, Job, Machines, Problem

VERSIONS = {"Optuna": optuna.__version__}


class Optuna:
    """A study that is asked for each trial and told each epoch."""

    def __init__(self, problem: Problem, pruner: BasePruner) -> None:
        optuna.logging.set_verbosity(optuna.logging.ERROR)
        self.problem = problem
        self._chooser = Chooser(problem)
        sampler = optuna.samplers.TPESampler(seed=problem.repeat)
        # Hyperband's brackets follow from the study's name, which is random where none is given.
        name = f"{problem.table} {problem.repeat}"
        self._study = optuna.create_study(study_name=name, sampler=sampler, pruner=pruner)

    def ask(self) -> Job | None:
        if not self._chooser.free:
            return None
        trial = self._study.ask()
        chosen = self._chooser.take(self.problem.suggested(trial))
        assert chosen is not None
        return Job(chosen, 1, trial)

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        trial: optuna.Trial = job.token
        trial.report(cer, epoch)
        if epoch == self.problem.epochs:
            self._study.tell(trial, min(self.problem.cer[job.trial]))
        elif trial.should_prune():
            self._study.tell(trial, state=optuna.trial.TrialState.PRUNED)
        else:
            return epoch + 1
        return None


def play(problem: Problem, make: Callable[[Problem], BasePruner]) -> list[Event]:
    """Return what a study with a pruner trains."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Machines(problem).run(Optuna(problem, make(problem)))


PRUNERS: dict[str, Callable[[Problem], BasePruner]] = {
    "Optuna: Hyperband pruner": lambda problem: HyperbandPruner(max_resource=problem.epochs),
    "Optuna: median pruner": lambda problem: MedianPruner(),
}
PLAYERS = {name: functools.partial(play, make=make) for name, make in PRUNERS.items()}
"""What plays a problem, by name."""
