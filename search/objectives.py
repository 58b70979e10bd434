"""What a search minimises: the validation CER, and costs that are known before a trial trains."""

from __future__ import annotations

from emgmodels.config import Config
from emgmodels.factory import describe
from search.space import Space

_NO_END = 1e6
"""Milliseconds that stand for a look-ahead without end: Optuna compares finite numbers."""


def objectives(space: Space, cer: float, config: Config) -> list[float]:
    """Return what a search minimises, in the order of ``search.objectives``.

    Args:
        space: the space that is searched.
        cer: validation CER (%) of a configuration.
        config: the configuration.
    """
    if space.search.objectives == ("val_cer",):
        return [cer]
    known = {"val_cer": cer, **_costs(config)}
    return [known[name] for name in space.search.objectives]


def costs(space: Space, config: Config) -> list[float]:
    """Return what a search minimises beside the CER."""
    known = _costs(config)
    return [known[name] for name in space.search.objectives if name in known]


def _costs(config: Config) -> dict[str, float]:
    summary = describe(config.model)
    return {
        "parameters": float(summary.parameters),
        "macs": summary.macs_per_second,
        "lookahead_ms": min(summary.lookahead_ms, _NO_END),
        "electrodes": float(config.model.bands * config.model.electrodes),
    }
