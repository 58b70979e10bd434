"""1, 2, 4 and 8 trainings side by side on one GPU: trainings an hour."""

from __future__ import annotations

from benchmarks.gpu_check.check import Check
from benchmarks.gpu_check.configs import LARGE, STAGES, config
from benchmarks.gpu_check.speed import EPOCHS, SUBJECT_HOURS
from benchmarks.together import Trainers

PACKS = (1, 2, 4, 8)
MINUTES = 5.0
"""EMG of an epoch."""
_STARTING = 25.0
"""Seconds in which the processes of a model are ready."""


def run(check: Check) -> None:
    """Measure the baseline and the report's best."""
    models = ["baseline", "report's best", "best public"]
    for name in models[:1] if check.short else models:
        packs = PACKS[:2] if check.short else PACKS
        check.case(name, lambda n=name, p=packs: packed(check, n, p), least=_STARTING)


def packed(check: Check, name: str, packs: tuple[int, ...]) -> dict[str, float]:
    """Return the trainings an hour of the report's subject, by how many share the GPU."""
    wanted = config(STAGES["conv1d"] if check.short else LARGE[name])
    windows = EPOCHS * SUBJECT_HOURS * 3600 / wanted.training.window_seconds
    seconds = 0.1 if check.short else min(6.0, check.left / 20)
    minutes = 0.5 if check.short else MINUTES
    found = {}
    with Trainers(max(packs), wanted, str(check.device), minutes) as trainers:
        for together in packs:
            rate = trainers.windows_a_second(together, 1, seconds)
            found[f"{together} at once (trainings/h)"] = 3600 * rate / windows
    return found
