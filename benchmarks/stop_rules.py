"""What rules that end a search early spare and lose, on recorded trainings and on made-up CERs.

python -m benchmarks.stop_rules
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np

from search.halving.further import StopRules, most
from search.simulate.replay import read_curves

CURVES = Path(__file__).resolve().parent / "curves"
RULES = {
    "0.3 points, 5 %": StopRules(points=0.3, probability=0.05),
    "1 point, 10 %": StopRules(points=1.0, probability=0.1),
    "patience 20": StopRules(patience=20),
}
MADE_UP: dict[str, Callable[[np.random.Generator], np.ndarray]] = {
    "normal, 64": lambda rng: rng.normal(30, 8, 64),
    "gamma, 64": lambda rng: 12 + rng.gamma(2, 5, 64),
    "log-normal, 64": lambda rng: 10 + np.exp(rng.normal(2, 0.8, 64)),
}
SEARCHES = 200


def ended(cers: np.ndarray, rules: StopRules) -> int:
    """Return after how many trials a search is over, if they end one after another."""
    for count in range(1, len(cers)):
        seen = cers[:count].tolist()
        if rules.ending(seen, min(seen), len(cers) - count):
            return count
    return len(cers)


def main() -> None:
    """Print a row a set: trials spared and regret of each rule, and how often 90 % held."""
    rng = np.random.default_rng(0)
    recorded = {
        path.name: np.array([curve.best for curve in read_curves(path)])
        for path in sorted(CURVES.iterdir())
    }
    draws = {
        name: lambda rng, known=known: rng.permutation(known) for name, known in recorded.items()
    }
    for name, draw in (draws | MADE_UP).items():
        searches = [draw(rng) for _ in range(SEARCHES)]
        told = []
        for label, rules in RULES.items():
            ends = [ended(cers, rules) for cers in searches]
            spared = np.mean(
                [1 - end / len(cers) for end, cers in zip(ends, searches, strict=True)]
            )
            regret = np.mean(
                [cers[:end].min() - cers.min() for end, cers in zip(ends, searches, strict=True)]
            )
            told.append(f"{label}: {spared:.0%} spared, regret {regret:.2f}")
        half = [int(len(cers) * rng.choice([0.5, 0.75])) for cers in searches]
        held = np.mean(
            [
                cers[:count].min() - cers[count:].min()
                <= most(cers[:count].tolist(), len(cers) - count)
                for count, cers in zip(half, searches, strict=True)
            ]
        )
        print(f"{name}: {'; '.join(told)}; 90 % held in {held:.0%}")


if __name__ == "__main__":
    main()
