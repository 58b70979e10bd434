"""What a training costs in operations, for rungs that count them."""

from __future__ import annotations

_STEP = 3
"""A training step's operations, in forward passes: the gradients take about twice one more."""


def macs_of_epoch(macs_per_second: float, training: float, validation: float) -> float:
    """Return the multiply-accumulates of an epoch: known before it, and equal on any machine.

    Args:
        macs_per_second: of a forward pass over one second of EMG.
        training: EMG that it trains on (s).
        validation: EMG that it is validated on (s).
    """
    return macs_per_second * (_STEP * training + validation)
