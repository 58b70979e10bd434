"""The learning rate of every step: a warm-up, and what follows it."""

from __future__ import annotations

import math

from emgmodels.config import TrainingConfig

_DECAY_SHARE = 0.2
"""Part of a training in which ``warmup_stable_decay`` falls."""
_STEPS = (0.5, 0.75)
"""Parts of a training after which ``step`` divides by ten (He et al. 2016)."""


def learning_rate(training: TrainingConfig, epoch: int, step: int, steps_per_epoch: int) -> float:
    """Return the learning rate of an optimiser step.

    Args:
        training: how the model is trained.
        epoch: the epoch, the first is 1.
        step: steps done before this one, in all epochs.
        steps_per_epoch: steps of this epoch.
    """
    by_epoch = training.schedule_by == "epoch"
    total = training.epochs * (1 if by_epoch else steps_per_epoch)
    # Groups of prompts vary in number by an epoch, so that steps may pass the total.
    unit = min(epoch - 1 if by_epoch else step, total)
    warmup = _warmup(training, total, steps_per_epoch)
    if unit < warmup:
        return _rising(training, unit, warmup)
    return _falling(training, unit, warmup, total)


def _warmup(training: TrainingConfig, total: int, steps_per_epoch: int) -> int:
    """Return the steps, or the epochs, of the warm-up."""
    by_epoch = training.schedule_by == "epoch"
    if training.warmup_epochs is not None:
        return training.warmup_epochs * (1 if by_epoch else steps_per_epoch)
    steps = training.warmup_steps or 0
    # In a short training the warm-up would otherwise take all of its steps.
    return min(math.ceil(steps / steps_per_epoch) if by_epoch else steps, total // 2)


def _rising(training: TrainingConfig, unit: int, warmup: int) -> float:
    peak, low = training.learning_rate, training.start_learning_rate
    if low is None:
        low, share = 0.0, (unit + 1) / warmup
    else:
        share = unit / max(1, warmup - 1)  # the first has the given rate, the last the peak
    if training.schedule == "one_cycle":
        share = 0.5 * (1 - math.cos(math.pi * share))
    return low + (peak - low) * share


def _falling(training: TrainingConfig, unit: int, warmup: int, total: int) -> float:
    peak, final = training.learning_rate, training.final_learning_rate
    low = final or 0.0
    if training.schedule == "constant":
        return peak
    if training.schedule == "step":
        passed = sum(unit >= share * total for share in _STEPS)
        return max(low, peak * 0.1**passed)
    begin = warmup
    if training.schedule == "warmup_stable_decay":
        begin = max(warmup, total - max(1, round(_DECAY_SHARE * total)))
    # A given final rate is that of the last one, so the fall begins at the last one at the peak.
    # A rate of 0 would waste it, so that is reached one later.
    last = total
    if final is not None:
        begin, last = max(begin - 1, 0), total - 1
    share = min(1.0, max(0, unit - begin) / max(1, last - begin))
    if training.schedule == "warmup_stable_decay":
        return peak + (low - peak) * share
    return low + (peak - low) * (0.5 * (1 + math.cos(math.pi * share)))
