"""Milliseconds that a trial costs beside its training, and how they grow with the number of trials.

Trials that do nothing pass through the search's own path: sampler, study, Ray Tune, tables,
TensorBoard, checkpoints. The reference is Ray Tune alone, with random search, a trainable that does
nothing and nothing recorded. Both start their workers first; that time is not counted.
"""

from __future__ import annotations

import resource
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from benchmarks.idle import run_bare, search_idly
from benchmarks.measure import Figure, Scope
from search.results import read_curves

WANTED_MS = 60
_FIRST = 10
"""Trials before the workers run evenly."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure a search of 200 trials, and one of 1,000."""
    few, many = (30, 60) if scope.short else (200, 1000)
    with tempfile.TemporaryDirectory() as scratch:
        bare = _each(np.array(run_bare(Path(scratch), few)))
        for sampler in ("random", "tpe"):
            trials = few if sampler == "random" else many
            begin, memory = time.thread_time(), _memory()
            ended = _ended(Path(scratch), sampler, trials)
            driver = 1000 * (time.thread_time() - begin) / trials
            yield Figure(
                f"a trial of zero work, {sampler}, {trials} trials",
                value=_each(ended),
                unit="ms",
                reference=bare,
                wanted=f"at most {WANTED_MS} ms",
                note=f"{driver:.1f} ms of them the driver's processor time; {_growth(ended)}; "
                f"{1000 * (_memory() - memory) / trials:.0f} kB of memory",
            )


def _ended(parent: Path, sampler: str, trials: int) -> np.ndarray:
    overrides = (
        *(f"search.trials={trials}", f"search.sampler={sampler}", "training.epochs=1"),
        "search.scheduler=none",
    )
    folder = search_idly(parent, list(overrides))
    return np.sort(read_curves(folder.path)["arrived"].to_numpy())


def _each(ended: np.ndarray) -> float:
    return 1000 * float(ended[-1] - ended[_FIRST]) / (len(ended) - 1 - _FIRST)


def _growth(ended: np.ndarray) -> str:
    """Say how long trials took in the first and in the last tenth."""
    tenth = max(2, len(ended) // 10)
    first, last = (_each(part) for part in (ended[: tenth + _FIRST], ended[-tenth - _FIRST :]))
    return f"{first:.0f} ms in the first tenth, {last:.0f} ms in the last"


def _memory() -> float:
    """Return the most memory this process has held (MB)."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
