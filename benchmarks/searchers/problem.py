"""A search over recorded trainings, and the simulated machines on which a searcher trains them.

Only Python's own library is imported, since other libraries' environments run it too.
"""

from __future__ import annotations

import heapq
import itertools
import json
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Protocol

Config = Mapping[str, Any]
"""Values of a space's parameters, by name."""
WORST = 1000.0
"""CER (%) that stands for one that is not finite, which most libraries refuse."""


@dataclass(frozen=True)
class Parameter:
    """A parameter of the space, as a searcher is told of it.

    Attributes:
        name: its name.
        values: what it may be, numbers ascending; empty: any number from low to high.
        low: the lowest number.
        high: the highest.
        log: such numbers are spread by their logarithm.
    """

    name: str
    values: tuple[Any, ...] = ()
    low: float = 0.0
    high: float = 1.0
    log: bool = False

    @property
    def is_ordered(self) -> bool:
        """Whether it is a number."""
        return not (self.values and isinstance(self.values[0], str))

    def distance(self, one: Any, other: Any) -> float:
        """Return how far apart two values are, 0 to 1; nothing where one is absent."""
        if one is None or other is None or one == other:
            return 0.0
        if not self.is_ordered:
            return 1.0
        if self.values:
            places = [self.values.index(value) for value in (one, other)]
            return abs(places[0] - places[1]) / (len(self.values) - 1)
        ends = [self.low, self.high, one, other]
        low, high, first, second = map(math.log, ends) if self.log else ends
        return abs(first - second) / (high - low)


@dataclass(frozen=True)
class Problem:
    """One search: recorded trainings in the order in which a search without a model takes them.

    Attributes:
        table: the recorded set.
        repeat: which draw of it; also the seed of a searcher.
        slots: trials that train at a time.
        budget: epochs that the search may train in all.
        aligned: epochs that each training starts aligned.
        cer: validation CER (%) of each trial by epoch; all have equally many.
        loss: the same of its validation loss.
        seconds: duration of each epoch.
        parameters: the space.
        configs: each trial's values.
    """

    table: str
    repeat: int
    slots: int
    budget: int
    aligned: int
    cer: Sequence[Sequence[float]]
    loss: Sequence[Sequence[float]]
    seconds: Sequence[Sequence[float]]
    parameters: list[Parameter]
    configs: list[dict[str, Any]]

    @property
    def trials(self) -> int:
        """How many trials it has."""
        return len(self.cer)

    @property
    def epochs(self) -> int:
        """Epochs of a whole training."""
        return len(self.cer[0])

    @property
    def best(self) -> float:
        """The lowest CER there is (%)."""
        return min(map(min, self.cer))

    def nearest(self, config: Config, among: Iterable[int]) -> int:
        """Return the trial whose values are nearest to these, the first of several."""
        return min(among, key=lambda trial: self._distance(config, self.configs[trial]))

    def trial_for(self, values: Config, among: Iterable[int]) -> int:
        """Return the trial that stands for suggested values: the nearest one."""
        return self.nearest(values, among)

    def suggested(self, trial: Any) -> Config:
        """Return the values that an Optuna trial suggests."""
        return {
            each.name: trial.suggest_float(each.name, each.low, each.high, log=each.log)
            if not each.values
            else each.values[trial.suggest_int(each.name, 0, len(each.values) - 1)]
            if each.is_ordered
            else trial.suggest_categorical(each.name, each.values)
            for each in self.parameters
        }

    def filled(self, trial: int) -> dict[str, Any]:
        """Return a trial's values; what it has none of is given the first that there is."""
        return {
            each.name: each.values[0] if value is None else value
            for each in self.parameters
            for value in [self.configs[trial][each.name]]
        }

    def dump(self) -> str:
        """Return it as JSON, in one line."""
        return json.dumps(asdict(self), sort_keys=True)

    @classmethod
    def load(cls, text: str) -> Problem:
        """Return what ``dump`` wrote."""
        values = json.loads(text)
        told = values.pop("parameters")
        parameters = [Parameter(**{**each, "values": tuple(each["values"])}) for each in told]
        return cls(parameters=parameters, **values)

    def _distance(self, one: Config, other: Config) -> float:
        return sum(each.distance(one[each.name], other[each.name]) for each in self.parameters)


class Event(NamedTuple):
    """An epoch that a search trained.

    Attributes:
        end: when it ended (s).
        trial: whose it is.
        epoch: which, from 1.
        cer: its validation CER (%).
    """

    end: float
    trial: int
    epoch: int
    cer: float


class Job(NamedTuple):
    """A trial that is to train.

    Attributes:
        trial: which.
        until: its last epoch for now; of those before it trains what it has not trained yet.
        token: what the searcher knows it by.
    """

    trial: int
    until: int
    token: Any = None


class Searcher(Protocol):
    """What a library is driven through: it asks nothing of how trials are trained."""

    def ask(self) -> Job | None:
        """Return what a free slot is to train; None: nothing now."""

    def tell(self, job: Job, epoch: int, cer: float) -> int | None:
        """Take a result; return the epoch until which the trial goes on at once, or None."""


class Machines:
    """Slots that train recorded trials in simulated time.

    A trial goes on from where it was, whoever stopped it and however long ago: no epoch is trained
    twice.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.now = 0.0
        self.events: list[Event] = []
        self.trained = [0] * problem.trials
        self._busy: list[tuple[float, int, Job]] = []
        # Of two that end at once, the one that began first is told first.
        self._order = itertools.count()

    def run(self, searcher: Searcher) -> list[Event]:
        """Return the epochs that a searcher trains, in the order in which they end."""
        while True:
            while len(self._busy) < self.problem.slots and not self._is_spent():
                if (job := searcher.ask()) is None:
                    break
                self._begin(job)
            if not self._busy:
                return sorted(self.events)[: self.problem.budget]
            self.now, _, job = heapq.heappop(self._busy)
            cer = self.problem.cer[job.trial][job.until - 1]
            until = searcher.tell(job, job.until, cer)
            if until is not None and not self._is_spent():
                self._begin(job._replace(until=until))

    def _is_spent(self) -> bool:
        return len(self.events) >= self.problem.budget

    def _begin(self, job: Job) -> None:
        problem, trial, end = self.problem, job.trial, self.now
        assert 1 <= job.until <= problem.epochs, job
        assert all(trial != other.trial for *_, other in self._busy), f"{trial} trains already"
        for epoch in range(self.trained[trial] + 1, job.until + 1):
            end += problem.seconds[trial][epoch - 1]
            self.events.append(Event(end, trial, epoch, problem.cer[trial][epoch - 1]))
        self.trained[trial] = max(self.trained[trial], job.until)
        heapq.heappush(self._busy, (end, next(self._order), job))


class Chooser:
    """Gives each suggested configuration a trial that is still free."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.free = dict.fromkeys(range(problem.trials))

    def take(self, config: Config | None = None) -> int | None:
        """Return the trial for a suggestion; without one the next in order; None: all are taken."""
        if not self.free:
            return None
        free = self.free
        trial = next(iter(free)) if config is None else self.problem.trial_for(config, free)
        del self.free[trial]
        return trial


class Places:
    """Which recorded trial stands for each configuration that a library names.

    The same configuration is the same trial. Once all trials are taken, a new configuration is
    given the nearest one that does not train just now.
    """

    _MOST = 6
    """Times as many suggestions as trials, after which a search is over: all of them are known."""

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self._chooser = Chooser(problem)
        self._known: dict[str, int] = {}
        self._training: set[int] = set()
        self._asked = 0

    def begin(self, config: Config) -> int | None:
        """Return the trial that is to train for a configuration; None: there is none left."""
        self._asked += 1
        if self._asked > self._MOST * self.problem.trials:
            return None
        key = json.dumps(dict(config), sort_keys=True, default=str)
        trial = self._known.get(key)
        if trial is None or trial in self._training:
            trial = self._chooser.take(config)
            if trial is None:
                idle = set(range(self.problem.trials)) - self._training
                trial = self.problem.nearest(config, sorted(idle)) if idle else None
            if trial is None:
                return None
            self._known.setdefault(key, trial)
        self._training.add(trial)
        return trial

    def end(self, trial: int) -> None:
        """Note that a trial does not train now."""
        self._training.discard(trial)
