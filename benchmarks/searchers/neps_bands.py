"""NePS's schedulers as they come, through ask and tell.

No priors are given, since nothing else here gets any. ifBO is left out: it downloads its weights.
"""

from __future__ import annotations

import functools
import logging
import random
import warnings
from collections.abc import Callable
from importlib.metadata import version
from typing import Any

import neps
import numpy as np
import torch

from benchmarks.searchers.problem import Event, Job, Machines, Parameter, Places, Problem

VERSIONS = {"NePS": version("neural-pipeline-search")}
_EPOCHS = "epochs"


class Neps:
    """A scheduler that is asked for a configuration with its epochs, and told the CER there."""

    def __init__(self, problem: Problem, kind: Callable[..., Any], **options: Any) -> None:
        self._places = Places(problem)
        # Its parameters are attributes of a class, so that their names have no dots.
        self._names = {f"p{place}": each for place, each in enumerate(problem.parameters)}
        domains = {name: _domain(each) for name, each in self._names.items()}
        domains[_EPOCHS] = neps.IntegerFidelity(1, problem.epochs)
        space = type("Space", (neps.PipelineSpace,), domains)()
        self._optimizer = neps.AskAndTell(kind(space, **options))

    def ask(self) -> Job | None:
        trial = self._optimizer.ask()
        config = {
            each.name: each.values[trial.config[name]]
            if each.values and each.is_ordered
            else trial.config[name]
            for name, each in self._names.items()
        }
        place = self._places.begin(config)
        return None if place is None else Job(place, trial.config[_EPOCHS], trial.metadata.id)

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        self._places.end(job.trial)
        self._optimizer.tell(job.token, cer)
        return None


def play(problem: Problem, kind: Callable[..., Any], **options: Any) -> list[Event]:
    """Return what a scheduler trains.

    Args:
        problem: the search.
        kind: makes the scheduler for a space.
        options: of the scheduler.
    """
    logging.disable(logging.WARNING)
    for seed in (random.seed, np.random.seed, torch.manual_seed):
        seed(problem.repeat)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return Machines(problem).run(Neps(problem, kind, **options))


def _domain(each: Parameter) -> Any:
    if not each.values:
        return neps.Float(each.low, each.high, log=each.log)
    if each.is_ordered:
        return neps.Integer(0, len(each.values) - 1)
    return neps.Categorical(each.values)


PLAYERS: dict[str, Callable[[Problem], list[Event]]] = {
    "NePS: PriorBand": functools.partial(play, kind=neps.algorithms.priorband),
    "NePS: asynchronous Hyperband": functools.partial(play, kind=neps.algorithms.async_hb),
}
"""What plays a problem, by name."""
