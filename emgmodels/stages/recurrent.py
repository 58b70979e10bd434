"""Recurrent stages: GRU and LSTM."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emgmodels.config import RecurrentConfig
from emgmodels.stages.flow import Carried, Chain, Flow
from emgmodels.stages.stage import Stage

GATES = {"gru": 3, "lstm": 4}
"""Gate matrices of each recurrent cell."""


class RecurrentStage(Stage):
    """Stacked GRU (Cho et al. 2014) or LSTM (Sak et al. 2014) layers."""

    def __init__(self, width: int, config: RecurrentConfig) -> None:
        super().__init__(width)
        cell = {"gru": nn.GRU, "lstm": nn.LSTM}[config.cell]
        self.layers = cell(
            width,
            config.hidden,
            num_layers=config.layers,
            batch_first=True,
            bidirectional=config.bidirectional,
            # PyTorch warns of dropout in a single layer, which it would not apply.
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        directions = 2 if config.bidirectional else 1
        self.width = directions * config.hidden
        self.norm = nn.LayerNorm(self.width) if config.layer_norm else None
        self.lookahead = math.inf if config.bidirectional else 0
        inputs = width + (config.layers - 1) * self.width  # summed over layers
        self._macs = (
            GATES[config.cell] * self.width * (inputs + config.layers * config.hidden)
        )  # per frame

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, directions x hidden)."""
        x = self._exactly(x) if x.is_cuda else self.layers(x)[0]
        return x if self.norm is None else self.norm(x)

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        # The other direction begins at the end, which a stream does not have.
        if self.layers.bidirectional:
            raise ValueError("it also reads from the end: train it with bidirectional: false")
        layers = Carried(self.layers, None)
        return layers if self.norm is None else Chain([layers, Flow(self.norm)])

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        return frames * self._macs

    def _exactly(self, x: Tensor) -> Tensor:
        """Return the layers' outputs on a GPU, in float32 whatever the precision.

        Autocast to bfloat16 gives cuDNN's recurrences float16 all the same, in which gradients
        vanish; and without cuDNN's help for bfloat16 there is a kernel a frame.
        """
        with torch.autocast(x.device.type, enabled=False):
            return self.layers(x.float())[0]
