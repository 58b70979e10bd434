"""What a low error rate costs: CER against size, and against each further objective of a search."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from search.report.display.plot import CER_CEILING, COLUMN, INK, PAGE, Plot, cer_axis, drawing
from search.report.drawing import dots, legend_of_marks, plain_log
from search.report.run import Run, Trial
from search.space.objectives import COLUMNS

if TYPE_CHECKING:
    from matplotlib.axes import Axes

COSTS = {
    "parameters": "trainable parameters",
    "macs": "multiply-accumulates per second of EMG",
    "lookahead_ms": "look-ahead (ms)",
    "electrodes": "electrodes",
}
"""Objectives beside CER, and what stands on the axis."""
WHOLE_OR_NOT = (
    "Filled marks trained to the last epoch, hollow ones ended earlier and might have improved."
)


def pareto(run: Run) -> Plot:
    """Draw CER against parameters and further objectives, with what no other trial beats in both.

    Trials whose look-ahead has no end are not in the panel of look-ahead.
    """
    wanted = ("parameters", *run.space.search.objectives)
    shown = [cost for cost in COSTS if cost in wanted and _having(run, cost)]
    title = "Validation CER against " + ("size" if len(shown) == 1 else "what it costs")
    width, height = (COLUMN, 3.6) if len(shown) == 1 else (PAGE, 3.2)
    about = f"{run.data}, {run.name}" + (", search still running" if run.is_running else "")
    with drawing(title, about, width, height) as figure:
        panels = figure.subplots(1, len(shown), sharey=True, squeeze=False)[0]
        for axes, cost in zip(panels, shown, strict=True):
            _draw(axes, run, cost)
        cer_axis(panels[0], [trial.val_cer for trial in run.ranked], "y")
        legend_of_marks(figure, run, columns=len(shown))
        for axes, cost in zip(panels, shown, strict=True):
            _number_front(axes, pareto_front(run, cost), cost)
    return Plot(
        figure,
        title,
        f"The line is the Pareto front: nothing that costs less was better than its trials, "
        f"numbered where there is room. {WHOLE_OR_NOT}",
    )


def pareto_front(run: Run, cost: str = "parameters") -> list[Trial]:
    """Return the trials that none beats in both CER and a key of ``COSTS``, cheapest first."""
    front: list[Trial] = []
    trials = _having(run, cost)
    for trial in sorted(trials, key=lambda trial: (_cost(trial, cost), trial.val_cer)):
        # Sorted by cost, so a trial is on the front if it is better than all that cost less.
        if not front or trial.val_cer < front[-1].val_cer:
            front.append(trial)
    return front


def _draw(axes: Axes, run: Run, cost: str) -> None:
    trials, front = _having(run, cost), pareto_front(run, cost)
    costs = [_cost(trial, cost) for trial in trials]
    dots(axes, trials, costs, [min(trial.val_cer, CER_CEILING) for trial in trials])
    axes.step(
        [*(_cost(trial, cost) for trial in front), max(costs)],
        [*(trial.val_cer for trial in front), front[-1].val_cer],
        where="post",
        color=INK,
        linewidth=0.9,
        zorder=1,
    )
    axes.set_xlabel(COSTS[cost])
    if cost not in ("lookahead_ms", "electrodes"):
        plain_log(axes, costs)
    axes.margins(x=0.12)


def _having(run: Run, cost: str) -> list[Trial]:
    return [trial for trial in run.ranked if math.isfinite(_cost(trial, cost))]


def _cost(trial: Trial, cost: str) -> float:
    return float(getattr(trial, COLUMNS[cost]))


def _number_front(axes: Axes, front: Sequence[Trial], cost: str) -> None:
    """Write trial numbers below left of the front, where nothing stands, from the best on."""
    taken: list[np.ndarray] = []
    # From the best on: where numbers would overlap, the best trials keep theirs.
    for trial in reversed(front):
        point = (_cost(trial, cost), min(trial.val_cer, CER_CEILING))
        place = axes.transAxes.inverted().transform(axes.transData.transform(point))
        if all(abs(place - other)[0] > 0.1 or abs(place - other)[1] > 0.06 for other in taken):
            taken.append(place)
            axes.annotate(
                f"{trial.number:03d}",
                point,
                xytext=(-4, -2),
                textcoords="offset points",
                ha="right",
                va="top",
                size=6.5,
            )
