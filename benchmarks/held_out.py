"""The default rungs, and others, on recorded trainings that chose none of them.

python -m benchmarks.held_out

Each rule is replayed on the sets that were there when rungs were chosen, and on those that were
recorded afterwards with other typists and seeds. The cheapest that finds the best on each of the
first is marked, so that the second judge the choice.
"""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
from rich.console import Console
from rich.table import Table

from search.simulate.curves import Curve, read_curves
from search.simulate.replay import ReplaySummary
from search.simulate.rules import Rule, Setting

CURVES = Path(__file__).resolve().parent / "curves"
CHOOSING = {"aligned": 32, "aligned-2": 32, "aligned-3": 32, "50-epochs": 50}
"""Sets on which rungs were chosen, and their epochs."""
JUDGING = {"aligned-4": 32, "50-epochs-2": 50}
"""Sets that were recorded later."""
SLOTS, TRIALS, SEARCHES = (1, 4), 20, 40
GRACES, ETAS, RANKINGS = (2, 3, 4), (1.5, 2.0, 3.0, 4.0, 5.0, 10.0), ("both", "cer", "loss")
NEAR = 0.8
"""Least part of searches within 0.4 points of the best, of each set and number of slots."""


def replayed(rule: Rule, curves: list[Curve], epochs: int) -> list[ReplaySummary]:
    """Return what a rule comes to on a set, by slots."""
    return [Setting(epochs, slots, TRIALS, SEARCHES, 0).replay(curves, rule) for slots in SLOTS]


def told(found: list[ReplaySummary]) -> str:
    """Return share of the epochs, regret, and the least part of searches near the best."""
    share = np.mean([each.share for each in found])
    regret = np.mean([each.regret for each in found])
    return f"{share:.1%}, {regret:.2f}, {min(each.near_best for each in found):.0%}"


def main() -> None:
    """Print a row a rule, the cheapest on the choosing sets first."""
    epochs = CHOOSING | JUDGING
    curves = {name: read_curves(CURVES / name) for name in epochs}
    rows = []
    for grace, eta, by in itertools.product(GRACES, ETAS, RANKINGS):
        rule = Rule.of("asha", grace=grace, eta=eta, rank_by=by)
        found = {name: replayed(rule, curves[name], epochs[name]) for name in epochs}
        cost = float(np.mean([each.share for name in CHOOSING for each in found[name]]))
        holds = min(each.near_best for name in CHOOSING for each in found[name]) >= NEAR
        rows.append((cost, holds, f"{grace} / {eta:g} by {by}", found))
    rows.sort(key=lambda row: row[0])
    chosen = next((name for _, holds, name, _ in rows if holds), None)
    table = Table("rule", *epochs)
    for _, _, name, found in rows:
        mark = " (chosen)" if name == chosen else ""
        table.add_row(f"{name}{mark}", *(told(each) for each in found.values()))
    Console(width=200).print(table)


if __name__ == "__main__":
    main()
