"""Every benchmark by name.

A benchmark is a module with ``run(scope) -> Iterator[Figure]`` and a docstring whose first line
says what it measures. Before it measures anything, it checks that what it compares is alike.
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator

from benchmarks.measure import Figure, Scope

BENCHMARKS = {
    "windows": "benchmarks.windows",
    "feeding": "benchmarks.feeding",
    "preparing": "benchmarks.preparing",
    "training_step": "benchmarks.training_step",
    "validation": "benchmarks.validation",
    "beam_search": "benchmarks.beam_search",
    "streaming": "benchmarks.streaming",
    "trials": "benchmarks.trials",
    "scale": "benchmarks.scale",
    "trial_start": "benchmarks.trial_start",
    "second_trial": "benchmarks.second_trial",
    "threads": "benchmarks.threads",
    "front": "benchmarks.front",
    "searchers": "benchmarks.searchers.compare",
    "searchers_unseen": "benchmarks.searchers.unseen",
    "searchers_live": "benchmarks.searchers.compare_live",
}
"""Module of each benchmark, in the order in which they run."""


def find(names: list[str]) -> list[str]:
    """Return the benchmarks asked for, all of them if none is named.

    Raises:
        ValueError: there is no such benchmark.
    """
    for name in names:
        if name not in BENCHMARKS:
            raise ValueError(f"{name}: is no benchmark: take some of {', '.join(BENCHMARKS)}")
    return [name for name in BENCHMARKS if not names or name in names]


def summary(name: str) -> str:
    """Return what a benchmark measures, in a line."""
    return (importlib.import_module(BENCHMARKS[name]).__doc__ or "").partition("\n")[0]


def runner(name: str) -> Callable[[Scope], Iterator[Figure]]:
    """Return what runs a benchmark."""
    return importlib.import_module(BENCHMARKS[name]).run
