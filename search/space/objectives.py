"""What a search minimises: the validation CER, and costs that are known before a trial trains."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from emgmodels.config import Config
    from search.space.space import Space


COLUMNS = {
    "val_cer": "val_cer",
    "parameters": "parameters",
    "macs": "macs_per_second",
    "lookahead_ms": "lookahead_ms",
    "electrodes": "electrodes",
}
"""Columns of the trials table that hold the objectives."""
_NO_END = 1e6
"""Milliseconds that stand for a look-ahead without end: Optuna compares finite numbers."""


def objectives(space: Space, cer: float, config: Config) -> list[float]:
    """Return what a search minimises, in the order of ``search.space.objectives``.

    Args:
        space: the space that is searched.
        cer: validation CER (%) of a configuration.
        config: the configuration.
    """
    # Spares describing the architecture, which the usual search has no use for here.
    if space.search.objectives == ("val_cer",):
        return [cer]
    known = {"val_cer": cer, **_costs(config)}
    return [known[name] for name in space.search.objectives]


def costs(space: Space, config: Config) -> list[float]:
    """Return what a search minimises beside the CER."""
    known = _costs(config)
    return [known[name] for name in space.search.objectives if name in known]


def on_front(points: np.ndarray) -> np.ndarray:
    """Return which points are on the Pareto front: no other is nowhere worse and somewhere better.

    Args:
        points: (points, objectives) what is minimised; a point that lacks one is not on the front.

    Returns:
        (points,) of bool.
    """
    found = np.zeros(len(points), bool)
    for index in np.lexsort(points.T[::-1]):  # only earlier ones can beat a point
        front, point = points[found], points[index]
        beaten = (front <= point).all(axis=1) & (front < point).any(axis=1)
        found[index] = not (beaten.any() or np.isnan(point).any())
    return found


def _costs(config: Config) -> dict[str, float]:
    from emgmodels.network.summary import describe  # loads PyTorch, and columns have no need of it

    summary = describe(config.model)
    return {
        "parameters": float(summary.parameters),
        "macs": summary.macs_per_second,
        "lookahead_ms": min(summary.lookahead_ms, _NO_END),
        "electrodes": float(config.model.bands * config.model.electrodes),
    }
