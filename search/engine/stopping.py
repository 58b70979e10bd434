"""Follows how trials end, and says when a search is over by the rules of ``search.stop``."""

from __future__ import annotations

import math
from collections.abc import Mapping

from search.halving.ending import Ending
from search.halving.further import StopRules
from search.results.record import COMPLETE, FAILED, STOPPED, TrialRecord
from search.space import SearchConfig


class Stopping:
    """The rules of one search, and the CERs that they look at."""

    def __init__(self, settings: SearchConfig, trials: Mapping[int, TrialRecord]) -> None:
        """Follow a search.

        Args:
            settings: its rules, and how many trials it asks for.
            trials: all of them by number; more may come.
        """
        stop, gain = settings.stop, settings.stop and settings.stop.improvement
        self._rules = StopRules(
            target=stop.target_cer if stop else None,
            patience=stop.patience if stop else None,
            points=gain.points if gain else 0.0,
            probability=gain.probability if gain else None,
        )
        self._is_on = stop is not None
        self._asked = settings.trials * settings.repeats
        self._trials = trials
        over = [trial for trial in trials.values() if trial.state in (COMPLETE, STOPPED, FAILED)]
        over.sort(key=lambda trial: trial.curve[-1]["arrived"] if trial.curve else -math.inf)
        self._cers = [trial.sort_key[0] for trial in over]
        self._known, self._earlier = len(over), self._lowest()

    def note(self, trial: TrialRecord) -> None:
        """Take in that a trial ended."""
        self._cers.append(trial.sort_key[0])

    def ending(self) -> Ending | None:
        """Return why the search is over; None while it is not."""
        if not self._is_on:
            return None
        more = self._asked - len(self._cers)
        return self._rules.ending(self._cers, self._lowest(), more, self._known, self._earlier)

    def _lowest(self) -> float:
        """Return the lowest CER of all trials, those that still train included (%)."""
        return min((trial.sort_key[0] for trial in self._trials.values()), default=math.inf)
