"""How trials stand at a rung of successive halving, and how many pass it."""

from __future__ import annotations

import bisect
import math
from collections.abc import Sequence
from typing import NamedTuple


class Arrival(NamedTuple):
    """A trial's arrival at a rung; sorts from best to worst."""

    score: float
    order: int
    trial_id: str


class Rung:
    """The trials that reached a rung, and how many more are on their way.

    What is asked of it takes time in the logarithm of its trials: a search of ten thousand decides
    as fast as one of ten.
    """

    def __init__(self, eta: float) -> None:
        self.eta = eta
        self.entries: list[Arrival] = []
        """All that reached it, best first."""
        self.paused: list[Arrival] = []
        """Those of them that are paused here, best first."""
        self.passed = 0
        """How many of them passed, and train, are paused further on or have finished."""
        self.heading = 0
        """Trials that train towards it."""

    def passing(self, reached: float, at_least: int = 0) -> int:
        """Return how many of the best pass once ``reached`` trials reached the rung.

        Of trials that tie across the cut none passes, and none whose score is infinite.
        """
        count = len(self.entries)
        if reached < math.inf:
            # The little more is for quotients such as 3 / 1.5, which may come out a bit below 2.
            count = min(count, max(at_least, math.floor(reached / self.eta + 1e-9)))
        if count < len(self.entries):
            # Two trials at exactly the same score say nothing about which is better. Passing both
            # would let more than one in eta through.
            count = min(count, self._better_than(self.entries[count].score))
        return min(count, self._better_than(math.inf))

    def hopeful(self, arrivals: float) -> int:
        """Return how many of those paused may pass if that many more trials arrive."""
        passing = self.passing(len(self.entries) + arrivals)
        return self.paused_within(passing) or self.last_resort()

    def last_resort(self) -> int:
        """Return 1, for the best that is paused, where nobody is left of those that passed."""
        # A search must train a winner to the end whatever fails.
        return int(not self.passed and bool(self.paused))

    def paused_within(self, count: int) -> int:
        """Return how many of the best ``count`` are paused here."""
        if count == len(self.entries):
            return len(self.paused)
        return bisect.bisect_left(self.paused, self.entries[count])

    def enter(self, entry: Arrival, costs: Sequence[float]) -> None:
        """Take in an arrival."""
        bisect.insort(self.entries, entry)

    def leave(self, entry: Arrival) -> None:
        """Forget an arrival."""
        _remove(self.entries, entry)

    def pause(self, entry: Arrival) -> None:
        """Note that a trial is paused here."""
        bisect.insort(self.paused, entry)

    def wake(self, entry: Arrival) -> None:
        """Note that a trial is no longer paused here."""
        _remove(self.paused, entry)

    def place(self, entry: Arrival) -> int:
        """Return how many trials stand before one."""
        return bisect.bisect_left(self.entries, entry)

    def rank(self, entry: Arrival) -> int:
        """Return how many trials are as good as one, itself included, or better."""
        return bisect.bisect_right(self.entries, entry.score, key=lambda each: each.score)

    def _better_than(self, score: float) -> int:
        return bisect.bisect_left(self.entries, score, key=lambda entry: entry.score)


class FrontRung(Rung):
    """A rung that keeps the Pareto front of score and costs: those that none beats come first.

    Trials are ordered by how many others are as good in everything and better in something (Fonseca
    and Fleming 1993), then by score. An arrival is compared with all that reached the rung.
    """

    def __init__(self, eta: float) -> None:
        super().__init__(eta)
        # All points are compared with each arrival. Fronts would be as good and let a lost trial
        # come back in more ways.
        self._points: dict[Arrival, tuple[float, ...]] = {}
        self._beaten: dict[Arrival, int] = {}
        """By how many others each is beaten."""
        self._placed: dict[Arrival, Arrival] = {}
        """Where each stands: as score, what it is ordered by."""

    def hopeful(self, arrivals: float) -> int:
        """Return how many of those paused may pass if that many more trials arrive.

        A trial that is beaten stays behind those that beat it, whatever arrives. All else may vary.
        """
        if not arrivals:
            return super().hopeful(0)
        # A trial that is beaten stays behind those that beat it, whatever arrives. That alone is
        # certain; its rank may change both ways.
        passing = (len(self.entries) + arrivals) / self.eta
        enough = math.floor(passing + 1e-9) if passing < math.inf else math.inf
        return self.paused_within(self._better_than(enough)) or self.last_resort()

    def enter(self, entry: Arrival, costs: Sequence[float]) -> None:
        """Take in an arrival."""
        self._points[entry] = (entry.score, *costs)
        self._beaten[entry] = 0
        self._compare(entry, 1)
        self._order()

    def leave(self, entry: Arrival) -> None:
        """Forget an arrival."""
        self._compare(entry, -1)
        del self._points[entry], self._beaten[entry], self._placed[entry]
        self._order()

    def pause(self, entry: Arrival) -> None:
        """Note that a trial is paused here."""
        super().pause(self._placed[entry])

    def wake(self, entry: Arrival) -> None:
        """Note that a trial is no longer paused here."""
        super().wake(self._placed[entry])

    def place(self, entry: Arrival) -> int:
        """Return how many trials stand before one."""
        return super().place(self._placed[entry])

    def rank(self, entry: Arrival) -> int:
        """Return how many trials are as good as one, itself included, or better."""
        return super().rank(self._placed[entry])

    def _compare(self, entry: Arrival, by: int) -> None:
        point = self._points[entry]
        for other, its in self._points.items():
            self._beaten[other] += by * _beats(point, its)
            self._beaten[entry] += by * _beats(its, point)

    def _order(self) -> None:
        """Place all again: by how many trials beat each, in fractions by score."""
        paused = {entry.trial_id for entry in self.paused}
        scores = sorted(entry.score for entry in self._points)
        for entry, beaten in self._beaten.items():
            # Below 1, so that the score orders only trials that are beaten equally often.
            fraction = bisect.bisect_left(scores, entry.score) / len(scores)
            order = beaten + fraction if entry.score < math.inf else math.inf
            self._placed[entry] = entry._replace(score=order)
        self.entries = sorted(self._placed[entry] for entry in self._points)
        self.paused = [entry for entry in self.entries if entry.trial_id in paused]


def _beats(point: Sequence[float], other: Sequence[float]) -> bool:
    """Return whether a trial is nowhere worse than another, and somewhere better."""
    return point != other and all(a <= b for a, b in zip(point, other, strict=True))


def _remove(entries: list[Arrival], entry: Arrival) -> None:
    index = bisect.bisect_left(entries, entry)
    assert entries[index] == entry, entry
    del entries[index]
