"""Weights averaged over a training, which are what is validated, kept and exported."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor, nn

from emgmodels.config import Average


class WeightAverage:
    """The average of a model's weights and batch statistics, beside those that are trained.

    ``ema`` moves a small part of the way to the weights at each step (Polyak and Juditsky 1992).
    ``last_epochs`` is the mean of what the last epochs ended with; before these it is empty, and
    the model stands for itself.
    """

    def __init__(self, model: nn.Module, config: Average | None, epochs: int) -> None:
        """Prepare an average.

        Args:
            model: the model, on its device.
            config: how to average; None: not at all.
            epochs: of the whole training.
        """
        self.config, self.epochs = config, epochs
        self.count = 0
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        # Counters are not averaged, and what is frozen stays as it is.
        self._own = {
            name: value
            for name, value in model.state_dict().items()
            if value.is_floating_point() and name not in frozen
        }
        self._average: dict[str, Tensor] = {}

    def after_step(self) -> None:
        """Take in the weights after an optimiser step."""
        if self.config is not None and (decay := self.config.ema) is not None:
            # The first weights are random, and would stay in the average for thousands of steps.
            self._take(1 - min(decay, self.count / (self.count + 9)))

    def after_epoch(self, epoch: int) -> None:
        """Take in the weights after an epoch, the first is 1."""
        last = None if self.config is None else self.config.last_epochs
        if last is not None and epoch > self.epochs - last:
            self._take(1 / (self.count + 1))

    @contextmanager
    def in_place(self) -> Iterator[None]:
        """Let the model have the averaged weights for a while, and then its own again."""
        if not self._average:
            yield
            return
        trained = {name: value.clone() for name, value in self._own.items()}
        self._put(self._average)
        try:
            yield
        finally:
            self._put(trained)

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint needs for the average to go on."""
        return {"count": self.count, "weights": self._average}

    def load(self, state: dict[str, Any]) -> None:
        """Go on with the average of a checkpoint.

        Raises:
            ValueError: it is of another model.
        """
        weights = state["weights"]
        if weights and {n: v.shape for n, v in weights.items()} != {
            n: v.shape for n, v in self._own.items()
        }:
            raise ValueError("its averaged weights are not those of its configuration")
        self.count = state["count"]
        self._average = {n: v.to(self._own[n].device) for n, v in weights.items()}

    @torch.no_grad()
    def _take(self, share: float) -> None:
        """Move the average by a share of the way to the weights; at first it is their copy."""
        self.count += 1
        if not self._average:
            self._average = {name: value.clone() for name, value in self._own.items()}
            return
        # One pass over all weights instead of one for each.
        torch._foreach_lerp_(list(self._average.values()), list(self._own.values()), share)

    @torch.no_grad()
    def _put(self, weights: dict[str, Tensor]) -> None:
        for name, value in self._own.items():
            value.copy_(weights[name])
