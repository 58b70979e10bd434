"""Tells how many epochs a search trains and how long it takes: before it begins, and as it runs."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, replace

import torch
from rich.console import Console

from emgmodels.saying import counted
from search.engine.resources import Machine, Resources
from search.halving.rungs import Schedule, epochs_of_trial
from search.report.display.words import duration, say
from search.results.pulse import Pulse
from search.results.record import RUNNING, TrialRecord
from search.results.time_left import Standing, standing, time_left
from search.run.estimate import Estimate, estimate, in_words, that_fit
from search.run.sessions import Opened
from search.space import Space


def slots_here(resources: Resources) -> int:
    """Return how many trials train at once on this machine."""
    gpus = float(torch.cuda.device_count()) if resources.gpus else 0.0
    return Machine(float(os.cpu_count() or 1), gpus).slots(resources)


def mean_epochs(space: Space, schedule: Schedule, trials: int) -> float:
    """Return the epochs that a trial trains on average, of so many; one is trained whole."""
    if schedule.name == "none":
        return space.mean_epochs
    return max(epochs_of_trial(schedule), schedule.epochs / max(1, trials))


@dataclass
class TimeLeft:
    """Says how long a running search still takes, from what its epochs took so far.

    Attributes:
        schedule: which of its trials end early.
        trials: that it trains in all.
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
        left = time_left(self.schedule, self.trials, [self._standing(trial) for trial in begun])
        if left is None and self.before is not None:
            return max(0.0, self.before - elapsed)
        return left

    def _standing(self, trial: TrialRecord) -> Standing:
        beat = self.pulse.read(trial.number) if trial.state == RUNNING else None
        share = beat.share if beat is not None and beat.epoch == trial.epoch + 1 else 0.0
        return standing(trial)._replace(share=share)


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
        trials=space.trials,
        epochs=mean_epochs(space, schedule, space.trials),
        threads=resources.threads,
        slots=slots_here(resources),
    )
    if found is None:
        return space, None
    if schedule.resource == "seconds" and found.is_measured:
        # Now it is known how many epochs of a typical trial these seconds are.
        share = epochs_of_trial(schedule, cost=found.epoch) / epochs_of_trial(schedule)
        found = replace(found, search=found.search * share)
    fitting = that_fit(found, trials, budget) if fits and budget and found.is_measured else trials
    if budget is not None and fitting < trials:
        space = replace(space, search=space.search.model_copy(update={"trials": fitting}))
        found = replace(found, search=found.search * fitting / trials)
        ends = (
            f"so that it ends within {duration(budget)} on this machine"
            if found.search <= budget
            else f"the fewest, and ends them after {duration(budget)}, whole or not"
        )
        say(
            console,
            f"This search trains {fitting} of its {counted(trials, 'trial')}, {ends}; "
            f"--trials {trials} trains all.",
        )
    for line in in_words(found, budget):
        say(console, line)
    return space, found
