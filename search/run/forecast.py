"""Tells, before a search begins, how many epochs it trains and how long it takes."""

from __future__ import annotations

import os

import torch
from rich.console import Console

from search.display.words import say
from search.engine.resources import Machine, Resources
from search.halving.rungs import Schedule, expected_epochs
from search.run.estimate import estimate, in_words
from search.run.sessions import Opened
from search.space import Space


def epochs_of_trial(schedule: Schedule) -> float:
    """Return the epochs that a trial trains on average, all where its scheduler has no rungs."""
    if not schedule.rungs or schedule.eta is None:
        return float(schedule.epochs)
    return expected_epochs(schedule.epochs, schedule.rungs, schedule.eta)


def slots_here(resources: Resources) -> int:
    """Return how many trials train at once on this machine."""
    gpus = float(torch.cuda.device_count()) if resources.gpus else 0.0
    return Machine(float(os.cpu_count() or 1), gpus).slots(resources)


def tell_time(
    console: Console, space: Space, opened: Opened, schedule: Schedule, resources: Resources
) -> None:
    """Print how long epochs and search take on this machine; GPUs are not measured.

    Args:
        console: where; a quiet one is told nothing, and nothing is measured.
        space: what is searched.
        opened: its sessions.
        schedule: which of its trials end early.
        resources: of each trial.
    """
    if console.quiet or resources.gpus:
        return
    found = estimate(
        space,
        opened.train,
        opened.val,
        trials=space.search.trials * space.search.repeats,
        epochs=epochs_of_trial(schedule),
        threads=resources.threads,
        slots=slots_here(resources),
    )
    if found is not None:
        for line in in_words(found, space.search.time_budget):
            say(console, line)
