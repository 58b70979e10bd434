"""What searches are worth: CER above the best there was, by epochs and by seconds."""

from __future__ import annotations

import bisect
import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from benchmarks.searchers.problem import WORST, Event, Problem
from emgmodels.saying import counted
from search.simulate.replay import NEAR_BEST

SHARES = (0.1, 0.2, 0.3)
"""Budgets at which searches are compared, of what training everything takes."""
_DRAWS = 2000


@dataclass(frozen=True)
class Outcome:
    """What a search came to.

    Attributes:
        epochs: epochs it trained before each improvement, as a share of all.
        seconds: the time by then, as a share of what all take on these slots.
        regret: CER above the best there was, after each (points).
        trained: all epochs that it trained, as a share of all.
    """

    epochs: list[float]
    seconds: list[float]
    regret: list[float]
    trained: float

    def at(self, share: float, axis: str = "epochs") -> float:
        """Return the regret once a share of all epochs was trained, or of all time has passed."""
        count = bisect.bisect_right(getattr(self, axis), share + 1e-9)
        return self.regret[count - 1] if count else WORST

    def near(self, axis: str = "epochs") -> float:
        """Return the share at which it was within 0.4 points of the best; 1: not within budget."""
        pairs = zip(getattr(self, axis), self.regret, strict=True)
        return next((share for share, regret in pairs if regret <= NEAR_BEST), 1.0)


@dataclass
class Played:
    """What a searcher came to in all problems.

    Attributes:
        name: the searcher.
        versions: of what it runs on.
        outcomes: by table and slots, in the order of repeats.
        seconds: processor time of each search (s).
        missing: why it was not played, or empty.
    """

    name: str
    versions: Mapping[str, str] = field(default_factory=dict)
    outcomes: dict[tuple[str, int], list[Outcome]] = field(default_factory=dict)
    seconds: list[float] = field(default_factory=list)
    missing: str = ""

    def add(self, problem: Problem, events: Sequence[Event], seconds: float) -> None:
        """Take in what it trained in a problem."""
        key = problem.table, problem.slots
        self.outcomes.setdefault(key, []).append(outcome(problem, events))
        self.seconds.append(seconds)


def outcome(problem: Problem, events: Sequence[Event]) -> Outcome:
    """Return what a search came to.

    Raises:
        ValueError: it trained an epoch twice, before its turn, or out of order.
    """
    check(problem, events)
    all_epochs = problem.trials * problem.epochs
    all_seconds = sum(map(sum, problem.seconds)) / problem.slots
    best = np.minimum.accumulate([event.cer for event in events])
    improved = [0, *(place for place in range(1, len(best)) if best[place] < best[place - 1])]
    return Outcome(
        [(place + 1) / all_epochs for place in improved],
        [events[place].end / all_seconds for place in improved],
        [float(best[place] - problem.best) for place in improved],
        len(events) / all_epochs,
    )


def check(problem: Problem, events: Sequence[Event]) -> None:
    """Refuse what no search could have trained.

    Raises:
        ValueError: an epoch comes twice, before the one before it, or with another CER.
    """
    done = [0] * problem.trials
    for event in events:
        if event.epoch != done[event.trial] + 1:
            raise ValueError(
                f"{problem.table}: trial {event.trial} trains epoch {event.epoch} after "
                f"{done[event.trial]}"
            )
        if event.cer != problem.cer[event.trial][event.epoch - 1]:
            raise ValueError(f"{problem.table}: trial {event.trial}: not the recorded CER")
        done[event.trial] += 1
    if any(later.end < earlier.end for earlier, later in itertools.pairwise(events)):
        raise ValueError(f"{problem.table}: epochs are not in the order in which they end")
    if len(events) > problem.budget:
        raise ValueError(
            f"{problem.table}: {counted(len(events), 'epoch')}, of {problem.budget} allowed"
        )


def interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Return a mean over searches, and the 95 % interval that resampling them gives."""
    given = np.asarray(values, float)
    rng = np.random.default_rng(0)
    draws = given[rng.integers(len(given), size=(_DRAWS, len(given)))].mean(axis=1)
    low, high = np.percentile(draws, [2.5, 97.5])
    return float(given.mean()), float(low), float(high)
