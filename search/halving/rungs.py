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
UNITS = {"epochs": "", "seconds": "s", "macs": "MACs"}
"""What rungs may count, and its unit in words."""


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
        grace: that every trial has before it is compared (epochs, or what rungs count).
        eta: one in eta goes on; None where the scheduler has a default of its own.
        rank_by: what rungs compare.
        rungs: costs at which trials are compared, ascending; none where the scheduler has none, or
            where ``most`` is not known yet.
        options: all that were given, by name: those above and a scheduler's own.
        resource: what rungs count: ``epochs``, ``seconds`` of training, or ``macs``, its
            multiply-accumulates.
        most: what a trial costs at most, in that; of epochs as many as ``epochs``. None: ``macs``
            of which the sessions have yet to say how many a training takes.
    """

    name: str
    epochs: int
    grace: float
    eta: float | None
    rank_by: str
    rungs: tuple[float, ...] = ()
    options: Mapping[str, Any] = field(default_factory=dict)
    resource: str = "epochs"
    most: float | None = None


def expected_epochs(
    last: float, rungs: Sequence[float], eta: float, done: float = 0, is_compared: bool = False
) -> float:
    """Return the epochs that a trial of successive halving still trains, on average.

    Of other rungs, those of seconds or operations, it returns these.

    Args:
        last: epochs of a whole training.
        rungs: epochs of comparison, ascending.
        eta: one in so many passes each.
        done: epochs that it has trained.
        is_compared: whether it waits at a rung to be told if it passes.
    """
    ends = [done, *(rung for rung in rungs if rung > done), max(last, done)]
    lengths = (end - begin for begin, end in itertools.pairwise(ends))
    return float(sum(length / eta**passed for passed, length in enumerate(lengths, is_compared)))


def epochs_of_trial(
    schedule: Schedule, done: int = 0, is_compared: bool = False, cost: float | None = None
) -> float:
    """Return the epochs that a trial still trains on average, all where there are no rungs.

    Args:
        schedule: which trials end early.
        done: epochs that it has trained.
        is_compared: whether it waits at a rung.
        cost: of one of its epochs, where rungs count something else; None: it can just be trained
            whole.
    """
    left = float(max(0, schedule.epochs - done))
    if schedule.eta is None or schedule.most is None:
        return left
    if schedule.resource == "epochs" or not cost:
        cost = schedule.most / schedule.epochs
    most, spent = max(schedule.most, done * cost), done * cost
    return min(left, expected_epochs(most, schedule.rungs, schedule.eta, spent, is_compared) / cost)


def resolve(
    name: str,
    epochs: int,
    aligned: int = 0,
    *,
    grace: float | None = None,
    eta: float | None = None,
    rank_by: str | None = None,
    resource: str | None = None,
    max_seconds: float | None = None,
    max_macs: float | None = None,
    **own: Any,
) -> Schedule:
    """Return a scheduler with what is not given decided; what was decided once stays.

    Args:
        name: the scheduler.
        epochs: of a whole training.
        aligned: epochs that every trial has the framewise loss of an aligned start, at least.
        grace: first rung (epochs, or what rungs count).
        eta: one in eta passes a rung.
        rank_by: what rungs compare.
        resource: what rungs count.
        max_seconds: training of a trial at most, where they count seconds.
        max_macs: its multiply-accumulates at most, where they count those.
        own: the scheduler's other options.
    """
    given = {"grace": grace, "eta": eta, "rank_by": rank_by, "resource": resource}
    given |= {"max_seconds": max_seconds, "max_macs": max_macs, **own}
    given = {option: value for option, value in given.items() if value is not None}
    usual = defaults(epochs, aligned)
    rank_by, resource = rank_by or DEFAULT_RANKING, resource or "epochs"
    if name not in HALVING:
        grace = epochs if name == "none" else usual.grace if grace is None else grace
        return Schedule(name, epochs, grace, eta, rank_by, options=given)
    eta = usual.eta if eta is None else eta
    most = {"epochs": epochs, "seconds": max_seconds, "macs": max_macs}[resource]
    if grace is None:
        # The same part of a training, whatever its length is counted in.
        grace = usual.grace
        if resource != "epochs" and most is not None:
            grace = float(f"{grace * most / epochs:.3g}")
    found = () if most is None else rungs(most, grace, eta, resource == "epochs")
    return Schedule(name, epochs, grace, eta, rank_by, tuple(found), given, resource, most)


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


def rungs(most: float, grace: float, eta: float, whole: bool = True) -> list[float]:
    """Return the levels of comparison: grace, and on by factors of eta.

    Args:
        most: epochs of a whole training, or what it costs at most.
        grace: the first level.
        eta: factor between two levels.
        whole: levels are epochs; others are rounded to three digits.

    >>> rungs(50, grace=4, eta=1.5)
    [4, 6, 9, 14, 20, 30]
    >>> rungs(600, grace=30, eta=3, whole=False)
    [30.0, 90.0, 270.0]
    """
    levels: list[float] = []
    milestone = float(grace)
    while (level := round(milestone) if whole else float(f"{milestone:.3g}")) < most and (
        not levels or milestone <= LAST_RUNG * most
    ):
        levels.append(level)
        milestone *= eta
    return sorted(set(levels))


def _fewest(start: Any) -> int:
    """Return the fewest epochs that an aligned start, or its ``epochs``, can have in a space."""
    if not isinstance(start, dict):
        return start or 0
    if "choice" in start:
        return min(map(_fewest, start["choice"]))
    if "int" in start:
        return start["int"][0]
    return _fewest(start.get("epochs", AlignedStart().epochs))
