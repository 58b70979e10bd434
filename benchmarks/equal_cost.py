"""What rungs by seconds and by operations spare where a third of the trials is 20 times slower.

python -m benchmarks.equal_cost

Recorded trainings are replayed one after another. No clock is read: an epoch of a fast trial takes
one second, and a third of the trials, drawn at random in each search, takes twenty. A trial may
cost so many times what a typical training takes. What counts is the time until a trial is within
0.4 CER points of the best that is to be had for that cost; a search that never has one is charged
the time of training every trial whole.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from emgmodels.saying import counted
from search.engine.schedulers import make_scheduler
from search.halving.rungs import aligned_epochs
from search.simulate.replay import NEAR_BEST, Curve, Replay, read_curves, whole
from search.space import load_space

CURVES = Path(__file__).resolve().parent / "curves"
SEARCHES = 50
SLOWER, SHARE = 20.0, 1 / 3
MOST = (1, 2, 4, 20)
"""What a trial may cost, in typical trainings; with 20 each may be trained whole."""

Draw = Callable[[Sequence[Curve], np.random.Generator], list[Curve]]
"""Returns the trials of a search."""


@dataclass(frozen=True)
class Found:
    """What searches with one kind of rungs came to, on average.

    Attributes:
        near: time until a trial is within 0.4 CER points of the best for the cost.
        end: time of the whole search.
        missed: share of searches that never had one.
    """

    near: float
    end: float
    missed: float


def slowed(curves: Sequence[Curve], rng: np.random.Generator) -> list[Curve]:
    """Return curves in random order, a third of which take twenty times as long as the others."""
    slow = set(rng.choice(len(curves), round(SHARE * len(curves)), replace=False).tolist())
    prices = [SLOWER if place in slow else 1.0 for place in range(len(curves))]
    return [
        replace(curves[index], seconds=[price] * len(curves[index].cer), macs=price)
        for index, price in zip(rng.permutation(len(curves)), prices, strict=True)
    ]


def recorded(curves: Sequence[Curve], rng: np.random.Generator) -> list[Curve]:
    """Return curves in random order, with the seconds and operations that they had."""
    return [curves[index] for index in rng.permutation(len(curves))]


def best_for(curves: Sequence[Curve], resource: str, most: float) -> float:
    """Return the lowest CER that a trial reaches before it has cost what it may."""
    lows = []
    for curve in curves:
        assert curve.seconds is not None
        assert curve.macs is not None
        of_epoch = curve.seconds if resource == "seconds" else [curve.macs] * len(curve.cer)
        before = np.cumsum([0.0, *of_epoch[:-1]])
        reached = [cer for cer, cost in zip(curve.cer, before, strict=True) if cost < most]
        lows.append(min(filter(math.isfinite, reached), default=math.inf))
    return min(lows)


def searched(
    curves: list[Curve], epochs: int, aligned: int, resource: str, most: float, target: float
) -> tuple[float, float]:
    """Return when a search had a trial as good as the target, and when it ended (s)."""
    options: dict[str, Any] = {"resource": resource}
    if resource != "epochs":
        options[f"max_{resource}"] = most
    scheduler = make_scheduler("asha", max_epochs=epochs, aligned=aligned, **options)
    replay = Replay(curves, scheduler, epochs, slots=1, near=target)
    outcome = replay.run()
    return outcome.near, outcome.time


def compared(path: Path, times: float, make: Draw = slowed) -> Iterator[tuple[str, Found]]:
    """Yield what each kind of rungs comes to on one set of recorded trainings.

    Args:
        path: the set.
        times: what a trial may cost, in typical trainings.
        make: returns the trials of a search.
    """
    all_of = read_curves(path)
    epochs = max(len(curve.cer) for curve in all_of)
    curves = whole(all_of, epochs)
    aligned = aligned_epochs(load_space(path / "space.yaml", imports=False).training.plain())
    for resource in ("epochs", "seconds", "macs"):
        rng, rows = np.random.default_rng(0), []
        for _ in range(SEARCHES):
            trials = make(curves, rng)
            total = sum(sum(trial.seconds or ()) for trial in trials)
            measure = "seconds" if resource == "epochs" else resource
            most = times * float(np.median([trial.cost(measure) or 0.0 for trial in trials]))
            target = best_for(trials, measure, most) + NEAR_BEST
            near, end = searched(trials, epochs, aligned, resource, most, target)
            rows.append((min(near, total), end, near == math.inf))
        near, end, missed = np.mean(rows, axis=0)
        yield resource, Found(near, end, missed)


def main() -> None:
    """Print a row a set and a cost: what each kind of rungs takes, and what of the first."""
    kinds = (("a third 20 times slower", slowed, MOST), ("as recorded", recorded, (2,)))
    for label, make, costs in kinds:
        for path, times in itertools.product(sorted(CURVES.iterdir()), costs):
            found = dict(compared(path, times, make))
            base = found["epochs"]
            told = [
                f"{resource} {each.near:.0f} s ({each.near / base.near:.0%}), "
                f"missed {each.missed:.0%}, over after {each.end / base.end:.0%}"
                for resource, each in found.items()
            ]
            print(f"{label}, {path.name}, at most {counted(times, 'training')}: {'; '.join(told)}")


if __name__ == "__main__":
    main()
