"""Tells, before a search begins, how long it will take."""

from __future__ import annotations

import os

from ray.tune.schedulers import TrialScheduler
from rich.console import Console

from emgmodels.config import TrainingConfig
from search.display.words import say
from search.engine.resources import Machine, Resources
from search.engine.schedulers import Asha
from search.engine.trial import TrialData, recordings
from search.run.estimate import estimate, expected_epochs, in_words
from search.space import Space


def tell_time(
    console: Console,
    space: Space,
    data: TrialData,
    scheduler: TrialScheduler,
    resources: Resources,
) -> None:
    """Print how long epochs and search take on this machine; GPUs are not measured.

    Args:
        console: where; a quiet one is told nothing, and nothing is measured.
        space: what is searched.
        data: its sessions.
        scheduler: which of its trials end early.
        resources: of each trial.
    """
    if console.quiet or resources.gpus:
        return
    last = space.training.plain().get("epochs", TrainingConfig().epochs)
    epochs = float(last)
    if isinstance(scheduler, Asha):
        epochs = expected_epochs(last, scheduler.halving.rungs, scheduler.halving.eta)
    train, val = recordings(data)
    found = estimate(
        space,
        train,
        val,
        trials=space.search.trials * space.search.repeats,
        epochs=epochs,
        threads=resources.threads,
        slots=Machine(float(os.cpu_count() or 1), 0.0).slots(resources),
    )
    if found is not None:
        for line in in_words(found, space.search.time_budget):
            say(console, line)
