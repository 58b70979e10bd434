"""What one epoch of a training came to."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

LEARNT = 60.0
"""A CER (%) from which text can hardly be recognised."""
UNLEARNT = (
    "hardly reads anything yet: give more epochs, or more typing; half an hour is a beginning"
)
"""What is said of a model with such a CER."""


@dataclass(frozen=True)
class EpochResult:
    """What an epoch of training came to.

    Losses are per label and averaged over windows; rates are percentages of validation characters.
    """

    epoch: int
    """Epochs trained, the first is 1."""
    train_loss: float
    """Loss that was minimised, the aligned start's part included."""
    val_loss: float
    """CTC loss of the validation windows."""
    val_cer: float
    """Character error rate, greedy decoding, 4 s windows or whole prompts (%): the one that ranks,
    pooled over all windows or, of several users, as ``fit`` was asked."""
    val_ier: float
    """Insertions (%)."""
    val_der: float
    """Deletions (%)."""
    val_ser: float
    """Substitutions (%)."""
    val_cer_pooled: float
    """CER of all windows together (%)."""
    val_cer_mean_user: float
    """Mean over users of each user's CER (%)."""
    val_cer_sd_user: float = field(compare=False)
    """Standard deviation over users (points); NaN for one user."""
    val_cer_worst_user: float
    """Highest CER of any user (%)."""
    best_val_cer: float
    """Lowest validation CER so far (%)."""
    best_epoch: int
    """Epoch that had it; 0 before there is one."""
    learning_rate: float
    """Learning rate of the last step."""
    seconds: float
    """Time that the epoch took (s)."""
    best_windows: np.ndarray = field(repr=False, compare=False)
    """(W, 2) edits and characters of each validation window in the best epoch, in order of time,
    prompts last; W is 0 before there is one."""
    best_weights: str = field(repr=False, compare=False)
    """Hash of the weights that the best epoch had; empty before there is one."""
    readings: tuple[tuple[str, str], ...] = field(repr=False, compare=False)
    """Text of each validation window, typed and read."""
    save: Callable[[Path], None] = field(repr=False, compare=False)
    """Write a checkpoint from which ``fit`` goes on after this epoch. Valid until the next epoch
    is asked for."""

    def metrics(self) -> dict[str, float]:
        """Return every number, by name; those over users only where there are several."""
        left_out = {"best_windows", "best_weights", "readings", "save"}
        if math.isnan(self.val_cer_sd_user):
            left_out |= {name for name in vars(self) if name.startswith("val_cer_")}
        return {name: value for name, value in vars(self).items() if name not in left_out}
