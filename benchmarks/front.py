"""How far a search with objectives CER and parameters stays above the Pareto front, by rungs' rule.

Searches are replayed on the recorded curves of ``benchmarks/curves``. For each trial of the true
front, that of training everything to the end, the lowest CER found among trials of at most its
size is compared with its own; *front regret* is the mean over the front (CER points). The reference
is the rule that compares the error rate alone.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.measure import Figure, Scope
from search.engine.schedulers import make_scheduler
from search.results.reading import read_trials
from search.simulate.replay import Curve, Replay, lowest, read_curves, whole

CURVES = Path(__file__).parent / "curves"
_EPOCHS, _TRIALS = 32, 20
_RULES = ((2, 1.5), (3, 2.0), (4, 2.0), (4, 1.5), (6, 1.5))


def run(scope: Scope) -> Iterator[Figure]:
    """Replay each rule with the front and without, on the same draws of trials."""
    for start in ("aligned", "ctc"):
        curves = whole(read_curves(CURVES / start), _EPOCHS)
        rows = read_trials(CURVES / start).to_pylist()
        sizes = {str(row["trial"]): float(row["parameters"]) for row in rows}
        for grace, eta in _RULES:
            alone, front = (
                _mean(curves, sizes, grace, eta, keeps, repeats=10 if scope.short else 300)
                for keeps in (False, True)
            )
            yield Figure(
                f"front regret, {start}, grace {grace} eta {eta:g}",
                value=front["front"],
                unit="CER points",
                reference=alone["front"],
                ratio=alone["front"] / max(front["front"], 1e-9),
                wanted="above 1",
                note=f"{front['share']:.1f} against {alone['share']:.1f} % of all epochs; the best "
                f"CER is missed by {front['regret']:.2f} against {alone['regret']:.2f} points",
            )


def front_regret(sizes: Sequence[float], found: Sequence[float], best: Sequence[float]) -> float:
    """Return how far a search stays above the front, in CER points; see the module's words.

    Args:
        sizes: parameters of each trial.
        found: lowest CER of each as far as it was trained (%).
        best: the same of whole trainings.
    """
    excess = []
    for size, cer in zip(sizes, best, strict=True):
        rivals = [other for its, other in zip(sizes, best, strict=True) if its <= size]
        if math.isfinite(cer) and cer == min(rivals):
            reached = min(other for its, other in zip(sizes, found, strict=True) if its <= size)
            excess.append(min(reached, 100.0) - min(cer, 100.0))
    return float(np.mean(excess))


def _mean(
    curves: list[Curve],
    sizes: Mapping[str, float],
    grace: int,
    eta: float,
    keeps_front: bool,
    repeats: int,
) -> dict[str, float]:
    """Return means over searches: share of epochs (%), regret and front regret (CER points)."""
    draw = np.random.default_rng(0)
    outcomes = []
    for _ in range(repeats):
        chosen = [curves[i] for i in draw.choice(len(curves), _TRIALS, replace=False)]
        costs_of = functools.partial(_costs, sizes) if keeps_front else None
        scheduler = make_scheduler(
            "asha", max_epochs=_EPOCHS, grace=grace, eta=eta, costs_of=costs_of
        )
        replay = Replay(chosen, scheduler, _EPOCHS, slots=1)
        outcome = replay.run()
        found = [lowest(trial.curve.cer[: trial.epoch]) for trial in replay.trials]
        own = [sizes[curve.name] for curve in chosen]
        regret = front_regret(own, found, [curve.best for curve in chosen])
        outcomes.append((100 * outcome.share, outcome.regret, regret))
    means = np.mean(outcomes, axis=0).tolist()
    return dict(zip(("share", "regret", "front"), means, strict=True))


def _costs(sizes: Mapping[str, float], trial: Any) -> list[float]:
    return [sizes[trial.curve.name]]
