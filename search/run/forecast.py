"""Tells how many epochs a search trains and how long it takes: before it begins, and as it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import torch
from rich.console import Console

from search.engine.resources import Machine, Resources
from search.halving.rungs import Schedule, expected_epochs
from search.report.display.words import duration, say
from search.results.pulse import Pulse
from search.results.record import PAUSED, RUNNING, UNFINISHED, TrialRecord
from search.run.estimate import Estimate, estimate, in_words, that_fit
from search.run.sessions import Opened
from search.space import Space


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


def slots_here(resources: Resources) -> int:
    """Return how many trials train at once on this machine."""
    gpus = float(torch.cuda.device_count()) if resources.gpus else 0.0
    return Machine(float(os.cpu_count() or 1), gpus).slots(resources)


@dataclass(frozen=True)
class TimeLeft:
    """Says how long a running search still takes, from what its epochs took so far.

    Attributes:
        schedule: which of its trials end early.
        trials: trials that it trains in all.
        pulse: how far its trials are within their epochs.
        before: seconds that it takes in all by an estimate made before it began; None: unknown.
    """

    schedule: Schedule
    trials: int
    pulse: Pulse
    before: float | None = None

    def __call__(self, begun: Sequence[TrialRecord], elapsed: float) -> float | None:
        """Return seconds; None where nothing is known.

        Args:
            begun: the trials that have begun.
            elapsed: seconds since the search began.
        """
        paces = {t.number: t.seconds / len(t.curve) for t in begun if t.curve}
        if not paces:
            return None if self.before is None else max(0.0, self.before - elapsed)
        pace = float(np.mean(list(paces.values())))
        cost = self._cost(pace, pace)
        left = max(0, self.trials - len(begun)) * pace
        left *= epochs_of_trial(self.schedule, cost=cost)
        for trial in begun:
            if trial.state in UNFINISHED:
                cost = self._cost(paces.get(trial.number, pace), pace)
                is_compared = trial.state == PAUSED
                epochs = epochs_of_trial(self.schedule, trial.epoch, is_compared, cost)
                beat = self.pulse.read(trial.number) if trial.state == RUNNING else None
                if beat is not None and beat.epoch == trial.epoch + 1:
                    epochs = max(0.0, epochs - beat.share)
                left += epochs * paces.get(trial.number, pace)
        return left / max(1, sum(trial.state == RUNNING for trial in begun))

    def _cost(self, own: float, usual: float) -> float | None:
        """Return what an epoch costs that takes so many seconds, where others usually take more."""
        if self.schedule.resource == "seconds":
            return own
        most = self.schedule.most
        return most and most / self.schedule.epochs * own / usual


def tell_time(
    console: Console,
    space: Space,
    opened: Opened,
    schedule: Schedule,
    resources: Resources,
    fits: bool = False,
) -> tuple[Space, Estimate | None]:
    """Print how long epochs and search take on this machine; GPUs are not measured.

    Args:
        console: where; for a quiet one nothing is measured, unless the search has to fit.
        space: what is searched.
        opened: its sessions.
        schedule: which of its trials end early.
        resources: of each trial.
        fits: train fewer trials where all of them would take longer than the time budget.

    Returns:
        The space, with as many trials as fit, and the estimate for it; None: nothing is known.
    """
    budget = space.search.time_budget
    fits = fits and budget is not None
    if resources.gpus or (console.quiet and not fits):
        return space, None
    trials = space.search.trials
    found = estimate(
        space,
        opened.train,
        opened.val,
        trials=trials * space.search.repeats,
        epochs=space.mean_epochs if schedule.name == "none" else epochs_of_trial(schedule),
        threads=resources.threads,
        slots=slots_here(resources),
    )
    if found is None:
        return space, None
    if schedule.resource == "seconds":
        # Now it is known how many epochs of a typical trial these seconds are.
        share = epochs_of_trial(schedule, cost=found.epoch) / epochs_of_trial(schedule)
        found = replace(found, search=found.search * share)
    if fits and budget is not None and (fitting := that_fit(found, trials, budget)) < trials:
        say(
            console,
            f"This demo trains {fitting} of its {trials} trials, so that it ends within "
            f"{duration(budget)} on this machine; --trials {trials} trains all.",
        )
        space = replace(space, search=space.search.model_copy(update={"trials": fitting}))
        found = replace(found, search=found.search * fitting / trials)
    for line in in_words(found, budget):
        say(console, line)
    return space, found
