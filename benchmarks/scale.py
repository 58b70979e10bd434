"""A search of 10,000 trials that do nothing: the driver's memory, and its time for each trial."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

from benchmarks.measure import Figure, Scope
from benchmarks.trials import ASHA, search


def run(scope: Scope) -> Iterator[Figure]:
    """Measure one search without a scheduler, and one with asha."""
    trials = 30 if scope.short else 10_000
    with tempfile.TemporaryDirectory() as scratch:
        yield from search(Path(scratch), "random", "none", trials)
        if not scope.short:  # a short form of the other is one of benchmarks/trials.py
            yield from search(Path(scratch), "random", ASHA, trials)
