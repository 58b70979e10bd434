"""SMAC's multi-fidelity facade as it comes, through ask and tell."""

from __future__ import annotations

import math
import tempfile
import warnings
from importlib.metadata import version
from typing import Any

from ConfigSpace import Categorical, ConfigurationSpace, Float, Integer
from smac import MultiFidelityFacade, Scenario
from smac.runhistory.dataclasses import TrialInfo, TrialValue

from benchmarks.searchers.problem import Event, Job, Machines, Parameter, Places, Problem

VERSIONS = {"SMAC": version("smac"), "ConfigSpace": version("ConfigSpace")}


class Smac:
    """A facade that is asked for a configuration with its epochs, and told the CER there."""

    def __init__(self, problem: Problem, folder: str) -> None:
        self.problem = problem
        self._places = Places(problem)
        space = ConfigurationSpace(seed=problem.repeat)
        space.add([_hyperparameter(each) for each in problem.parameters])
        scenario = Scenario(
            space,
            deterministic=True,
            min_budget=1,
            max_budget=problem.epochs,
            n_trials=problem.trials,  # a quarter of it is the design that it begins with
            seed=problem.repeat,
            output_directory=folder,
        )
        self._facade = MultiFidelityFacade(
            scenario, self._never, logging_level=False, overwrite=True
        )

    def ask(self) -> Job | None:
        try:
            info = self._facade.ask()
        except StopIteration:
            return None
        trial = self._places.begin(self._values(info))
        if trial is None:
            return None
        return Job(trial, min(self.problem.epochs, math.ceil(info.budget)), info)

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        self._places.end(job.trial)
        self._facade.tell(job.token, TrialValue(cost=cer), save=False)
        return None

    def _values(self, info: TrialInfo) -> dict[str, Any]:
        chosen = dict(info.config)
        return {
            each.name: each.values[chosen[each.name]]
            if each.values and each.is_ordered
            else chosen[each.name]
            for each in self.problem.parameters
        }

    @staticmethod
    def _never(config: Any, seed: int = 0, budget: float = 0) -> float:
        raise AssertionError("it is told, and calls nothing")


def play(problem: Problem) -> list[Event]:
    """Return what SMAC trains."""
    with warnings.catch_warnings(), tempfile.TemporaryDirectory() as folder:
        warnings.simplefilter("ignore")
        return Machines(problem).run(Smac(problem, folder))


def _hyperparameter(each: Parameter) -> Any:
    if not each.values:
        return Float(each.name, (each.low, each.high), log=each.log)
    if each.is_ordered:
        return Integer(each.name, (0, len(each.values) - 1))
    return Categorical(each.name, list(each.values))


PLAYERS = {"SMAC: multi-fidelity": play}
"""What plays a problem, by name."""
