"""A search whose trials are trained when a searcher asks for them, in place of recorded ones."""

from __future__ import annotations

import contextlib
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution, IntDistribution
from typing_extensions import override

from benchmarks.searchers.asked import MEASURES, Channel
from benchmarks.searchers.problem import Config as Values
from benchmarks.searchers.problem import Event, Parameter, Problem
from benchmarks.searchers.trainings import Column, Trainings
from benchmarks.searchers.venvs import alone
from emgmodels.config import Config
from search.halving.rungs import aligned_epochs
from search.space import Space, load_space
from search.space.draws import RandomDraw

SPACE = Path(__file__).with_name("live.yaml")
_DRAWN = 300
"""Trials that are drawn to see all parameters of the space."""
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
        self.place(trial, values)
        return trial

    def place(self, trial: int, values: Values) -> None:
        """Give a trial the suggested values; what its architecture lacks counts for nothing."""
        self.places[trial] = _seeded(self._config(values), self.repeat)

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


def parameters_of(space: Space) -> list[Parameter]:
    """Return a space as it is told to other libraries: all that some trial has, side by side."""
    optuna.logging.set_verbosity(optuna.logging.ERROR)
    found: dict[str, BaseDistribution] = {}
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(_DRAWN):
        trial = study.ask()
        space.suggest(trial)
        found |= trial.distributions
    return [_parameter(name, found[name]) for name in sorted(found)]


def _parameter(name: str, told: Any) -> Parameter:
    if isinstance(told, CategoricalDistribution):
        return Parameter(name, tuple(told.choices))
    if isinstance(told, IntDistribution):
        return Parameter(name, tuple(range(told.low, told.high + 1, told.step)))
    return Parameter(name, (), told.low, told.high, told.log)


def searched_by(python: Path, module: str, player: str, problem: Live) -> list[Event]:
    """Return what a searcher in another environment trains here.

    Args:
        python: of that environment.
        module: a module of these benchmarks, with ``PLAYERS``.
        player: one of them.
        problem: the search.

    Raises:
        OSError: it failed.
    """
    parameters = parameters_of(problem.space)
    known = [problem.values_of(config) for config in problem.places]
    told = {
        name: getattr(problem, name) for name in ("table", "repeat", "slots", "budget", "aligned")
    }
    told |= {
        "trials": problem.trials,
        "epochs": problem.epochs,
        "parameters": [asdict(each) for each in parameters],
        "configs": [{each.name: values.get(each.name) for each in parameters} for values in known],
    }
    command = [str(python), "-m", "benchmarks.searchers.asked", module, player]
    with tempfile.TemporaryFile("w+") as said:
        with subprocess.Popen(
            command,
            env=alone(),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
        ) as process:
            assert process.stdin is not None
            assert process.stdout is not None
            channel = Channel(process.stdout, process.stdin)
            channel.send(told)
            with contextlib.suppress(EOFError, BrokenPipeError):
                while "events" not in (asked := channel.read()):
                    channel.send(_answer(problem, asked))
                return [Event(*event) for event in asked["events"]]
        said.seek(0)
        last = (said.read().strip().splitlines() or ["it ended"])[-1]
    raise OSError(f"{player}: {last}")


def _answer(problem: Live, asked: Mapping[str, Any]) -> list[float] | None:
    if "place" in asked:
        problem.place(asked["place"], asked["values"])
        return None
    return list(getattr(problem, asked["of"])[asked["train"]][: asked["until"]])


def _seeded(config: Config, seed: int) -> Config:
    # Without it a suggestion that two searchers make would be two trainings.
    return config.model_copy(update={"seed": seed})
