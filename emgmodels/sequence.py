"""Stages that see the whole window: recurrent layers and the transformer encoder."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from emgmodels.blocks import Stage
from emgmodels.config import RecurrentConfig, TransformerConfig

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
            dropout=config.dropout if config.layers > 1 else 0.0,
        )
        directions = 2 if config.bidirectional else 1
        self.width = directions * config.hidden
        self.lookahead = math.inf if config.bidirectional else 0
        inputs = width + (config.layers - 1) * self.width  # summed over layers
        self._macs = (
            GATES[config.cell] * self.width * (inputs + config.layers * config.hidden)
        )  # per frame

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, directions x hidden)."""
        return self.layers(x)[0]

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        return frames * self._macs


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each normalised first (Xiong et al. 2020)."""

    def __init__(self, width: int, config: TransformerConfig) -> None:
        super().__init__()
        self.heads = config.heads
        self.dropout = config.dropout
        self.attention_norm = nn.LayerNorm(width)
        self.project_in = nn.Linear(width, 3 * width)
        self.project_out = nn.Linear(width, width)
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.feedforward),
            nn.ReLU(),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, width),
            nn.Dropout(config.dropout),
        )
        self.residual_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        qkv = self.project_in(self.attention_norm(x))  # (N, T, 3 D)
        q, k, v = qkv.unflatten(-1, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)  # (N, h, T, D/h)
        dropout = self.dropout if self.training else 0.0
        attended = scaled_dot_product_attention(q, k, v, dropout_p=dropout)
        x = x + self.residual_dropout(self.project_out(attended.transpose(1, 2).flatten(2)))
        return x + self.feedforward(x)


class TransformerStage(Stage):
    """A transformer encoder (Vaswani et al. 2017) with sinusoidal positions."""

    lookahead = math.inf

    def __init__(self, width: int, config: TransformerConfig) -> None:
        super().__init__(width, multiple_of=config.heads)
        self.layers = nn.ModuleList(
            TransformerLayer(self.width, config) for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(self.width)
        self.feedforward = config.feedforward

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D')."""
        x = self.bridge(x) if self.bridge is not None else x
        x = self.dropout(x + positions(x.shape[1], self.width, x.device).to(x.dtype))
        for layer in self.layers:
            x = layer(x)
        return self.norm(x)

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        bridge = frames * self.bridge.weight.numel() if self.bridge is not None else 0
        per_frame = 4 * self.width**2 + 2 * self.width * self.feedforward
        attention = 2 * frames * self.width
        return bridge + len(self.layers) * frames * (per_frame + attention)


def positions(frames: int, width: int, device: torch.device) -> Tensor:
    """Return (frames, width) sinusoidal positions, Vaswani et al. 2017, section 3.5."""
    half = math.ceil(width / 2)
    rate = torch.exp(torch.arange(half, device=device) * (-math.log(10_000.0) / half))
    angle = torch.arange(frames, device=device)[:, None] * rate  # (T, D/2)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
