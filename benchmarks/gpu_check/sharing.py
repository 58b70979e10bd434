"""1, 2, 4 and 8 trainings side by side on one GPU: trainings an hour."""

from __future__ import annotations

import functools

from benchmarks.gpu_check.check import Check
from benchmarks.gpu_check.configs import LARGE, STAGES, config
from benchmarks.gpu_check.speed import EPOCHS, SUBJECT_HOURS
from benchmarks.together import Trainers
from emgmodels.config import Config

PACKS = (1, 2, 4, 8)
MODELS = ("baseline", "report's best")
MINUTES = 5.0
"""EMG of an epoch."""
_STARTING = 30.0
"""Seconds in which the processes of a model are ready, at most as far as is known."""


def run(check: Check) -> None:
    """Start as many processes as train at most, then let some of them train."""
    for name in MODELS[:1] if check.short else MODELS:
        if check.left < _STARTING and not check.short:
            check.case(name, dict, least=_STARTING)  # notes that it is left out
            continue
        packs = PACKS[:2] if check.short else PACKS
        wanted = config(STAGES["conv1d"] if check.short else LARGE[name])
        minutes = 0.5 if check.short else MINUTES
        with Trainers(max(packs), wanted, str(check.device), minutes) as trainers:
            for together in packs:
                check.case(
                    f"{name}, {together} at once",
                    functools.partial(packed, check, trainers, wanted, together),
                )


def packed(check: Check, trainers: Trainers, wanted: Config, together: int) -> dict[str, float]:
    """Return the trainings an hour of the report's subject while that many share the GPU."""
    windows = EPOCHS * SUBJECT_HOURS * 3600 / wanted.training.window_seconds
    rate = trainers.windows_a_second(together, 1, 0.1 if check.short else 4.0)
    return {"windows/s": rate, "trainings/h": 3600 * rate / windows}
