"""Which trials end early: a scheduler's options, each decided here and nowhere else."""

from __future__ import annotations

import itertools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from emgmodels.config import AlignedStart

DEFAULT_RANKING = "both"
LAST_RUNG = 0.9
"""No rung beyond this share of the last epoch: there would be little left to save."""


HALVING = ("asha", "asha_stopping")
"""Schedulers that compare trials at rungs."""


class Defaults(NamedTuple):
    """What ``asha`` does where a space file doesn't say."""

    grace: int
    """First rung (epochs)."""
    eta: float
    """One in eta passes a rung."""


# Chosen on 88 recorded trainings of 50 epochs: 0.03 points of regret for 30 % of the epochs.
# Close rungs that drop a third each were better than far ones that drop two thirds.
FROM_PLATEAU = Defaults(4, 1.5)
"""Where training starts on CTC's plateau, and early epochs say little."""
# Chosen on four sets of recorded trainings with an aligned start: the last epoch of the framewise
# loss ranks architectures well. Among rules that cost a third of the epochs, this one loses
# least.
FROM_ALIGNED = Defaults(4, 3.0)
"""Where trials start aligned: at their last such epoch, which tells them apart, or at this one."""
# Rungs were measured with four aligned epochs. With fewer than three, nothing says that they rank
# architectures.
_ALIGNED_LEAST = 3
"""Epochs of an aligned start that are enough for that, in trainings that are not shorter still."""


@dataclass(frozen=True)
class Schedule:
    """A scheduler with every option decided.

    Attributes:
        name: the scheduler.
        epochs: of a whole training.
        grace: that every trial has before it is compared.
        eta: one in eta goes on; None where the scheduler has a default of its own.
        rank_by: what rungs compare.
        rungs: epochs at which trials are compared, ascending; none where the scheduler has none.
        options: all that were given, by name: those above and a scheduler's own.
    """

    name: str
    epochs: int
    grace: int
    eta: float | None
    rank_by: str
    rungs: tuple[int, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)


def expected_epochs(last: int, rungs: Sequence[int], eta: float) -> float:
    """Return the epochs that a trial of successive halving trains on average.

    Args:
        last: epochs of a whole training.
        rungs: epochs of comparison, ascending.
        eta: one in so many passes each.
    """
    ends = [*rungs, last]
    lengths = (end - begin for begin, end in itertools.pairwise([0, *ends]))
    return float(sum(length / eta**passed for passed, length in enumerate(lengths)))


def resolve(
    name: str,
    epochs: int,
    aligned: int = 0,
    *,
    grace: int | None = None,
    eta: float | None = None,
    rank_by: str | None = None,
    **own: Any,
) -> Schedule:
    """Return a scheduler with what is not given decided; what was decided once stays.

    Args:
        name: the scheduler.
        epochs: of a whole training.
        aligned: epochs that every trial has the framewise loss of an aligned start, at least.
        grace: first rung (epochs).
        eta: one in eta passes a rung.
        rank_by: what rungs compare.
        own: the scheduler's other options.
    """
    given = {"grace": grace, "eta": eta, "rank_by": rank_by, **own}
    given = {option: value for option, value in given.items() if value is not None}
    usual = defaults(epochs, aligned)
    grace = usual.grace if grace is None else grace
    rank_by = rank_by or DEFAULT_RANKING
    if name not in HALVING:
        grace = epochs if name == "none" else grace
        return Schedule(name, epochs, grace, eta, rank_by, options=given)
    eta = usual.eta if eta is None else eta
    return Schedule(name, epochs, grace, eta, rank_by, tuple(rungs(epochs, grace, eta)), given)


def defaults(max_epochs: int, aligned: int) -> Defaults:
    """Return the defaults of ``asha``: the first rung is early in short trainings.

    A training of one epoch has no rungs, and no use for the first of them.
    """
    # A first rung later than a third of the training would spare hardly anything.
    latest = max(1, max_epochs // 3)
    if aligned >= min(_ALIGNED_LEAST, latest):
        return FROM_ALIGNED._replace(grace=min(FROM_ALIGNED.grace, aligned, latest))
    return FROM_PLATEAU._replace(grace=min(FROM_PLATEAU.grace, latest))


def aligned_epochs(training: Mapping[str, Any]) -> int:
    """Return the epochs that every trial of a space's ``training`` section starts aligned."""
    if "choice" in training:
        # Rungs are the same for all trials, so the trial with the shortest aligned start decides.
        return min(map(aligned_epochs, training["choice"]))
    return _fewest(training.get("aligned_start"))


def rungs(max_epochs: int, grace: int, eta: float) -> list[int]:
    """Return the epochs of comparison: grace, and on by factors of eta.

    >>> rungs(50, grace=4, eta=1.5)
    [4, 6, 9, 14, 20, 30]
    """
    epochs: list[int] = []
    milestone = float(grace)
    while round(milestone) < max_epochs and (not epochs or milestone <= LAST_RUNG * max_epochs):
        epochs.append(round(milestone))
        milestone *= eta
    return sorted(set(epochs))


def _fewest(start: Any) -> int:
    """Return the fewest epochs that an aligned start, or its ``epochs``, can have in a space."""
    if not isinstance(start, dict):
        return start or 0
    if "choice" in start:
        return min(map(_fewest, start["choice"]))
    if "int" in start:
        return start["int"][0]
    return _fewest(start.get("epochs", AlignedStart().epochs))
