"""Milliseconds that a trial costs beside its training, and how they grow with the number of trials.

Trials that do nothing pass through the search's own path: sampler, study, Ray Tune, tables,
TensorBoard, checkpoints. The reference is Ray Tune alone, with random search, a trainable that does
nothing and nothing recorded: the middle of three runs of 1,000 trials, since it takes longer with
more of them. Both start their workers first; that time is not counted.
"""

from __future__ import annotations

import statistics
import tempfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.idle import Costs, run_bare, search_idly
from benchmarks.measure import Figure, Scope
from emgmodels.saying import counted

WANTED_MS = 60
WANTED_MB = 1000
ASHA = "{name: asha, grace: 1, eta: 2}"
_REPEATS = 3
_FIRST = 10
"""Trials before the workers run evenly."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure searches of 200 and of 1,000 trials."""
    few, many = (20, 20) if scope.short else (200, 1000)
    with tempfile.TemporaryDirectory() as scratch:
        parent = Path(scratch)
        repeats = 1 if scope.short else _REPEATS
        bare = [_each(np.array(run_bare(parent, many))[_FIRST:]) for _ in range(repeats)]
        reference = statistics.median(bare)
        if not scope.short:
            yield from search(parent, "random", "none", few, reference)
            yield from search(parent, "random", "none", many, reference)
        yield from search(parent, "tpe", "none", many, reference)
        yield from search(parent, "random", ASHA, many, reference)


def search(
    parent: Path, sampler: str, scheduler: str, trials: int, reference: float | None = None
) -> Iterator[Figure]:
    """Search so many trials that do nothing; return what one cost and what the driver held."""
    name = "asha, up to 6 epochs" if scheduler == ASHA else sampler
    epochs = 6 if scheduler == ASHA else 1
    overrides = [f"search.trials={trials}", f"search.sampler={sampler}"]
    overrides += [f"training.epochs={epochs}", f"search.scheduler={scheduler}"]
    Costs.moments = []
    search_idly(parent, overrides, recorder=Costs)
    moments = np.array(Costs.moments)[_FIRST:]  # (trials, seconds since a beginning and MB)
    wall, processor, memory = moments.T
    yield Figure(
        f"a trial of zero work, {name}, {counted(trials, 'trial')}",
        value=_each(wall),
        unit="ms",
        reference=reference,
        wanted=f"at most {WANTED_MS} ms",
        note=f"{_each(processor):.1f} ms of them the driver's; {_growth(wall)}, the driver's "
        f"{_growth(processor)}",
    )
    yield Figure(
        f"the driver's memory, {name}, {counted(trials, 'trial')}",
        value=float(memory.max()),
        unit="MB",
        wanted=f"at most {WANTED_MB} MB",
        note=f"{memory[0]:.0f} MB at the first trial, "
        f"{1000 * (memory[-1] - memory[0]) / len(memory):.0f} kB a trial",
    )


def _each(seconds: np.ndarray) -> float:
    return 1000 * float(seconds[-1] - seconds[0]) / (len(seconds) - 1)


def _growth(seconds: np.ndarray) -> str:
    """Say how long trials took in each fifth of a search, in order of their ends."""
    fifths = np.array_split(seconds, 5)
    return " ".join(f"{_each(fifth):.0f}" for fifth in fifths) + " ms by fifths"
