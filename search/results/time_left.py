"""How long a search still takes, from what its epochs took so far."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from search.halving.rungs import Schedule, epochs_of_trial
from search.results.record import COMPLETE, PAUSED, RUNNING, UNFINISHED, TrialRecord

_LATE = 3
"""Epochs of a trial, its last ones, that tell how long its next takes: others may use the machine
now, or have ended."""


class Standing(NamedTuple):
    """What a trial that has begun says of the time that is left."""

    state: str
    epochs: int
    """That it has trained."""
    pace: float | None
    """Seconds that an epoch takes it; None: it has trained none."""
    share: float = 0.0
    """Of the epoch that it trains now."""


def pace(seconds: Sequence[float]) -> float | None:
    """Return what an epoch takes, from what the epochs so far took (s); None: there is none."""
    late = [float(each) for each in seconds[-_LATE:]]
    return sum(late) / len(late) if late else None


def standing(trial: TrialRecord) -> Standing:
    """Return what a trial says of the time that is left."""
    return Standing(trial.state, trial.epoch, pace([row["seconds"] for row in trial.curve]))


def time_left(
    schedule: Schedule, trials: int, begun: Sequence[Standing], slots: int | None = None
) -> float | None:
    """Return how many seconds a search still takes; None: no epoch has ended yet.

    Args:
        schedule: which of its trials end early.
        trials: that it trains in all.
        begun: those that have begun, with some that wait or none.
        slots: how many train at once; None: as many as do now.
    """
    known = [trial.pace for trial in begun if trial.pace is not None]
    if not known:
        return None
    usual = sum(known) / len(known)
    each: list[float] = []
    whole: list[float] = []
    for epochs, seconds, left in _to_come(schedule, trials, begun, usual):
        each.append(epochs * seconds)
        whole.append(left * seconds)
    if not each:
        return 0.0
    at_once = slots or sum(trial.state == RUNNING for trial in begun)
    longest = max(each)
    if not any(trial.state == COMPLETE for trial in begun):
        # One is trained whole in any case, and no other slot can help it.
        longest = max(longest, min(whole))
    return max(longest, sum(each) / max(1, at_once))


def _to_come(
    schedule: Schedule, trials: int, begun: Sequence[Standing], usual: float
) -> Iterator[tuple[float, float, float]]:
    """Yield of each trial that is not over: epochs to come, seconds of each, epochs until whole."""
    fresh = Standing(RUNNING, 0, usual)
    over = len(begun)
    for trial in [*begun, *[fresh] * max(0, trials - over)]:
        if trial.state not in UNFINISHED:
            continue
        seconds = usual if trial.pace is None else trial.pace
        cost = _cost(schedule, seconds, usual)
        epochs = epochs_of_trial(schedule, trial.epochs, trial.state == PAUSED, cost)
        most = max(0.0, schedule.epochs - trial.epochs - trial.share)
        if schedule.resource != "epochs" and schedule.most and cost:
            most = min(most, max(0.0, schedule.most / cost - trial.epochs - trial.share))
        yield max(0.0, epochs - trial.share), seconds, most


def _cost(schedule: Schedule, own: float, usual: float) -> float | None:
    """Return what an epoch costs that takes so many seconds, where others usually take more."""
    if schedule.resource == "seconds":
        return own
    return schedule.most and schedule.most / schedule.epochs * own / usual
