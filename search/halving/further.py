"""What further trials may still bring, estimated from the trials that a search has ended.

Trials count as draws from one distribution of best CERs: the next one is then the best of n + 1
with probability 1 / (n + 1), whatever the distribution. By how much it is better follows from how
closely the best few lie. Both were held against recorded curves; see EXPERIMENTS.md. A sampler
that learns draws better trials than that, so for it the chances are a lower bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from emgmodels.saying import counted
from search.halving.ending import Ending, Why

LEAST = 8
"""Ended trials without which nothing is estimated."""
_GAPS = 4
"""Gaps between the best trials, which say how closely good ones lie."""
_SHARE = 0.5
"""Of the mean gap: with it, nine in ten of what is said with 90 % holds."""
_LEVELS = (np.arange(200) + 0.5) / 200


def chance(cers: Sequence[float], more: int, points: float = 0.0) -> float:
    """Return the probability that further trials better the best by more than so much.

    Args:
        cers: best CER of each ended trial (%), those that the scheduler stopped included.
        more: how many further trials.
        points: how much better one of them must be (CER points).

    Raises:
        ValueError: fewer than ``LEAST`` trials have a finite CER.
    """
    known = np.sort(np.asarray([cer for cer in cers if np.isfinite(cer)], float))
    if len(known) < LEAST:
        raise ValueError(
            f"{counted(len(known), 'trial has', 'trials have')} a CER, and an estimate takes "
            f"{LEAST}"
        )
    # In an exponential tail the j-th gap from the best is 1 / j of the first, on average.
    gaps = np.diff(known[: _GAPS + 1]) * np.arange(1, _GAPS + 1)
    scale = _SHARE * float(gaps.mean())
    left = float(np.exp(-points / scale)) if scale > 0 else float(points == 0)
    # The share of trials that are better than the best of n, a Beta(1, n) variable, by quantiles.
    better = 1 - (1 - _LEVELS) ** (1 / len(known))
    return float(np.mean(1 - (1 - better * left) ** more))


def most(cers: Sequence[float], more: int, probability: float = 0.9) -> float:
    """Return by how much further trials better the best at most, with a probability (CER points).

    Raises:
        ValueError: fewer than ``LEAST`` trials have a finite CER.
    """
    low, high = 0.0, min(cer for cer in cers if np.isfinite(cer))  # no CER is below 0
    if chance(cers, more) <= 1 - probability:
        return 0.0
    while high - low > 0.005:
        middle = (low + high) / 2
        low, high = (
            (middle, high) if chance(cers, more, middle) > 1 - probability else (low, middle)
        )
    return high


def outlook(cers: Sequence[float], more: int = 16, points: float = 0.3) -> str:
    """Return in a sentence what further trials may bring; empty where too few have ended."""
    known = [cer for cer in cers if np.isfinite(cer)]
    if len(known) < LEAST:
        return ""
    said = (
        f"{counted(more, 'more trial')} like these lower the best CER by "
        f"{counted(points, 'point')} or more with a chance of "
        f"{100 * chance(known, more, points):.0f} %"
    )
    # Of few and scattered trials the bound says nothing.
    bound = most(known, more)
    if bound >= min(known) / 2:
        return f"{said}."
    at_most = counted(max(0.1, round(bound, 1)), "point")
    return f"{said}, and by at most {at_most} with a chance of 90 %."


@dataclass(frozen=True)
class StopRules:
    """When a search is over though trials are left; a rule that is None does not count.

    Attributes:
        target: CER that is low enough (%).
        patience: trials in a row without a new best.
        points: what a better trial must gain (CER points).
        probability: chance of such a trial below which none is waited for.
    """

    target: float | None = None
    patience: int | None = None
    points: float = 0.0
    probability: float | None = None

    def ending(
        self,
        cers: Sequence[float],
        best: float,
        more: int,
        known: int = 0,
        earlier: float = math.inf,
    ) -> Ending | None:
        """Return why the search is over; None while it is not.

        Args:
            cers: best CER of each ended trial (%), in the order in which they ended; NaN: none.
            best: lowest CER of all trials, those that still train included (%).
            more: trials that have not ended.
            known: how many had ended when the search was resumed. Rules look at what came after,
                or a search that one of them ended could not go on.
            earlier: lowest CER of all trials then, those cut off included (%).
        """
        if self.target is not None and best <= self.target < earlier:
            return Ending(Why.TARGET, value=f"{self.target:g}")
        if len(cers) == known or not more:
            return None
        if self.patience is not None:
            in_a_row = len(cers) - 1 - _place_of_best(cers)
            if min(in_a_row, len(cers) - known) >= self.patience:
                return Ending(Why.PATIENCE, reached=in_a_row)
        finite = sum(map(math.isfinite, cers))
        if self.probability is not None and finite >= LEAST:
            # The best may still train: it counts as if it had ended.
            running = [best] if best < min(filter(math.isfinite, cers)) else []
            found = chance([*cers, *running], more, self.points)
            if found < self.probability:
                return Ending(Why.IMPROVEMENT, value=f"{found:.1%}")
        return None


def _place_of_best(cers: Sequence[float]) -> int:
    """Return which trial was the last to be a new best; -1 where none has a CER."""
    best = min(filter(math.isfinite, cers), default=math.nan)
    return next((place for place, cer in enumerate(cers) if cer == best), -1)
