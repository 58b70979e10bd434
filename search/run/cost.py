"""What an epoch costs in what rungs count, and what a search costs before it begins."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial

from emgmodels.config import SAMPLE_RATE, Config
from emgmodels.network.summary import describe
from emgmodels.windows.recording import Recording
from search.engine.resources import Resources
from search.engine.schedulers import CostOf
from search.halving.cost import macs_of_epoch
from search.report.display.words import duration
from search.run.sessions import Opened
from search.space import Space
from search.space.draws import drawn

_DRAWN = 24
"""Architectures that are drawn; the middle of their trainings is called typical."""


def emg_seconds(opened: Opened) -> dict[str, float]:
    """Return how much EMG an epoch trains on, and how much it is validated on (s)."""
    return {"training": _seconds(opened.train), "validation": _seconds(opened.val)}


def cost_of(resource: str, opened: Opened, resources: Resources) -> CostOf | None:
    """Return what says what an epoch cost; None: rungs count epochs.

    Args:
        resource: what rungs count.
        opened: sessions of the search.
        resources: what each trial is given.
    """
    if resource == "seconds":
        # Trials that share a GPU or a core slow each other down. What counts is the part that a
        # trial has of it, so that levels mean the same however many train at once.
        return lambda trial, result: float(result["seconds"]) * resources.share
    emg = emg_seconds(opened)

    def macs(trial: Trial, result: Mapping[str, Any]) -> float:
        config = Config.model_validate_json(trial.config["config"])
        return macs_of_epoch(describe(config.model).macs_per_second, **emg)

    return macs if resource == "macs" else None


def typical_macs(space: Space, opened: Opened) -> float:
    """Return twice the multiply-accumulates of a whole training of a typical architecture.

    With as many as once, replays lost the best architecture more often; see EXPERIMENTS.md.

    Raises:
        ValueError: no architecture that was drawn can be trained.
    """
    emg = emg_seconds(opened)
    found = [
        config.training.epochs * macs_of_epoch(describe(config.model).macs_per_second, **emg)
        for config in drawn(space, _DRAWN)
    ]
    if not found:
        raise ValueError(
            "search.scheduler: resource macs needs max_macs, since no architecture that was drawn "
            "can be trained: add it, such as 'max_macs: 1.0e+13'"
        )
    return float(f"{2 * statistics.median(found):.3g}")


def in_words(cost: float, resource: str) -> str:
    """Return a cost for a person: ``10m 00s``, or ``1.5e+12 MACs``."""
    return duration(cost) if resource == "seconds" else f"{cost:.3g} MACs"


def _seconds(recordings: Sequence[Recording]) -> float:
    return sum(recording.samples for recording in recordings) / SAMPLE_RATE
