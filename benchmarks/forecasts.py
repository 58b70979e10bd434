"""Do rungs choose better by a forecast of the last epoch? Replays of recorded trainings.

python -m benchmarks.forecasts
python -m benchmarks.forecasts public.csv     # curves from CTC's plateau, by source

Each set is replayed with a forecast that the other sets taught, beside what rungs compare today.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from search.engine.schedulers import make_scheduler
from search.halving.halving import Decision, Halving
from search.halving.progress import Progress
from search.simulate.curves import Curve, read_curves, whole
from search.simulate.replay import ReplaySummary, replay_many

CURVES = Path(__file__).resolve().parent / "curves"
ALIGNED = ("50-epochs", "aligned", "aligned-2", "aligned-3")
PLATEAU = ("ctc",)
PLATEAU_EPOCHS = 50
RULES = {"plateau": ((4, 1.5), (5, 2.0), (3, 4.0)), "aligned": ((4, 3.0), (3, 4.0), (3, 10.0))}
"""First rung and eta."""
SHARES = (0.04, 0.06, 0.08, 0.12, 0.18, 0.28, 0.4, 0.6, 0.9)
"""Parts of a training at which a linear forecast is fitted; between them it is interpolated."""
WIDTH = 0.3
"""Distance of features at which a recorded curve counts 0.6 of one that is alike."""
LEAST = 8
"""Curves of a set, at least."""
SEARCHES, TRIALS = 40, 20

Score = Callable[[Sequence[float], Sequence[float], int], float]
"""Of CERs and losses so far, and the epochs of a whole training; lower is better."""


class Set(NamedTuple):
    """Recorded trainings of one length."""

    curves: list[Curve]
    epochs: int

    def at(self, share: float) -> tuple[np.ndarray, np.ndarray]:
        """Return (C, 5) features of the curves at a part of the training, and (C,) log best CER."""
        epoch = max(1, round(share * self.epochs))
        found = [curve for curve in self.curves if not curve.diverged]
        seen = np.array([features(curve.cer[:epoch], curve.loss[:epoch]) for curve in found])
        return seen, np.log([curve.best for curve in found])


def features(cer: Sequence[float], loss: Sequence[float]) -> list[float]:
    """Return logarithms: lowest CER and loss, their falls since halfway, the loss's last rise."""
    half = max(1, len(cer) // 2)
    low, lower = min(*cer, 100.0), min(loss)
    falls = np.log(min(*cer[:half], 100.0) / low), np.log(min(loss[:half]) / lower)
    return [float(np.log(low)), float(np.log(lower)), *falls, float(np.log(loss[-1] / lower))]


def linear(others: Sequence[Set]) -> Score:
    """Return a ridge regression of the last CER, within sets, one for each part of a training."""
    table = []
    for share in SHARES:
        pairs = [each.at(share) for each in others]
        x = np.concatenate([seen - seen.mean(0) for seen, _ in pairs])
        y = np.concatenate([best - best.mean() for _, best in pairs])
        table.append(np.linalg.solve(x.T @ x + np.eye(x.shape[1]), x.T @ y))
    columns = np.transpose(table)

    def score(cer: Sequence[float], loss: Sequence[float], epochs: int) -> float:
        weights = [np.interp(len(cer) / epochs, SHARES, column) for column in columns]
        return float(np.dot(weights, features(cer, loss)))

    return score


def neighbours(others: Sequence[Set]) -> Score:
    """Return what is left to fall as recorded curves say, each weighted by its likeness."""

    @cache
    def known(share: float) -> tuple[np.ndarray, np.ndarray]:
        pairs = [each.at(share) for each in others]
        seen = np.concatenate([each for each, _ in pairs])
        return seen, np.concatenate([best for _, best in pairs]) - seen[:, 0]

    def score(cer: Sequence[float], loss: Sequence[float], epochs: int) -> float:
        own = np.array(features(cer, loss))
        seen, falls = known(len(cer) / epochs)
        likeness = np.exp(-0.5 * np.sum(((own - seen) / WIDTH) ** 2, axis=1)) + 1e-9
        return float(own[0] + np.average(falls, weights=likeness))

    return score


class Forecasting(Halving):
    """Rungs that compare a forecast."""

    forecast: Score
    _seen: dict[int, list[tuple[float, float]]]

    def report(
        self, trial_id: str, epoch: int, cer: float, loss: float, *rest: float | None
    ) -> Decision:
        """Keep the curve for the forecast."""
        self._seen.setdefault(self[trial_id].order, []).append((cer, loss))
        return super().report(trial_id, epoch, cer, loss, *rest)  # type: ignore[arg-type]

    def _score(self, trial: Progress) -> float:
        cers, losses = zip(*self._seen[trial.order], strict=True)
        return self.forecast(cers, losses, self.max_epochs)


def replayed(given: Set, grace: int, eta: float, by: str | Score) -> ReplaySummary:
    """Return what searches of a set come to by a rule."""

    def make() -> Any:
        ranking = by if isinstance(by, str) else "both"
        options: Any = {"grace": grace, "eta": eta, "rank_by": ranking}
        scheduler: Any = make_scheduler("asha", max_epochs=given.epochs, **options)
        if not isinstance(by, str):
            old = scheduler.halving
            scheduler.halving = Forecasting(old.rungs, old.max_epochs, eta)
            scheduler.halving.forecast, scheduler.halving._seen = by, {}
        return scheduler

    trials = min(TRIALS, len(given.curves))
    many = {"slots": 1, "trials": trials, "repeats": SEARCHES, "seed": 0}
    return replay_many(given.curves, make, epochs=given.epochs, **many)


def sets_of(names: Sequence[str]) -> dict[str, Set]:
    """Return recorded sets that ship with the project."""
    found = {}
    for name in names:
        curves = read_curves(CURVES / name)
        epochs = max(len(curve.cer) for curve in curves)
        found[name] = Set(whole(curves, epochs), epochs)
    return found


def public(path: Path) -> dict[str, Set]:
    """Return curves of a table, a set for each source of at least eight."""
    curves = read_curves(path)
    sources = sorted({curve.source for curve in curves})
    found = {
        source: Set(
            whole([curve for curve in curves if curve.source == source], PLATEAU_EPOCHS),
            PLATEAU_EPOCHS,
        )
        for source in sources
    }
    return {source: each for source, each in found.items() if len(each.curves) >= LEAST}


def main(tables: Sequence[str]) -> None:
    """Print a row a set and rule: epochs and regret by both, by CER, and by either forecast."""
    plateau = sets_of(PLATEAU)
    for table in tables:
        plateau |= public(Path(table))
    groups = {"plateau": plateau, "aligned": sets_of(ALIGNED)}
    print("| set | rungs | both | cer | linear forecast | neighbours |")
    print("| --- | --- | --- | --- | --- | --- |")
    for group, sets in groups.items():
        for name, given in sets.items():
            others = [each for other, each in sets.items() if other != name]
            ways = ("both", "cer", *((linear(others), neighbours(others)) if others else ()))
            for grace, eta in RULES[group]:
                found = [replayed(given, grace, eta, way) for way in ways]
                cells = [f"{100 * each.share:.1f} %, {each.regret:.2f}" for each in found]
                print(f"| {name} | {grace} / {eta:g} | {' | '.join(cells)} |", flush=True)


if __name__ == "__main__":
    main(sys.argv[1:])
