"""Transformer encoder layers (Vaswani et al. 2017)."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

from emgmodels.config import TransformerConfig
from emgmodels.stages.attention import (
    AttentionFlow,
    SelfAttention,
    angles,
    context_mask,
    layers_lookahead,
    limited,
)
from emgmodels.stages.flow import Carried, Chain, Flow
from emgmodels.stages.stage import Stage


class TransformerLayer(nn.Module):
    """Self-attention and feed-forward, each normalised first (Xiong et al. 2020)."""

    def __init__(self, width: int, config: TransformerConfig) -> None:
        super().__init__()
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(
            width, config.heads, config.dropout, rotary=config.positions == "rotary"
        )
        self.feedforward = nn.Sequential(
            nn.LayerNorm(width),
            nn.Linear(width, config.feedforward),
            {"relu": nn.ReLU, "gelu": nn.GELU}[config.activation](),
            nn.Dropout(config.dropout),
            nn.Linear(config.feedforward, width),
            nn.Dropout(config.dropout),
        )
        self.residual_dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, T, D) to (N, T, D); the mask is that of the attention."""
        x = x + self.residual_dropout(self.attention(self.attention_norm(x), mask))
        return x + self.feedforward(x)

    def flow(self, left: int, right: int) -> Flow:
        """Return what computes the layer as frames arrive, given the frames it attends to."""
        attention = AttentionFlow(self.attention, self.attention_norm, left, right)
        return Chain([attention, Flow(lambda x: x + self.feedforward(x))])


class TransformerStage(Stage):
    """A transformer encoder (Vaswani et al. 2017) with sinusoidal or rotary positions."""

    def __init__(self, width: int, config: TransformerConfig) -> None:
        rotary = config.positions == "rotary"
        multiple = config.heads * (2 if rotary else 1)
        super().__init__(width, multiple_of=multiple, wanted=config.width)
        self.rotary = rotary
        self.context = (config.left_context, config.right_context)
        self.lookahead = layers_lookahead(config.layers, config.right_context)
        self.layers = nn.ModuleList(
            TransformerLayer(self.width, config) for _ in range(config.layers)
        )
        self.dropout = nn.Dropout(config.dropout)
        self.norm = nn.LayerNorm(self.width)
        self.feedforward = config.feedforward

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D')."""
        x = self.bridge(x) if self.bridge is not None else x
        if not self.rotary:
            # Computed in float32 and rounded afterwards: bfloat16 cannot tell the angles of late
            # frames apart.
            x = x + positions(x.shape[1], self.width, x.device).to(x.dtype)
        x = self.dropout(x)
        mask = context_mask(x.shape[1], *self.context, x.device)
        for layer in self.layers:
            x = layer(x, mask)
        return self.norm(x)

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        left, right = limited(*self.context)
        layers = [x.flow(left, right) for x in self.layers if isinstance(x, TransformerLayer)]
        placed = [] if self.rotary else [Carried(self._place, 0)]
        return self._bridged(*placed, *layers, Flow(self.norm))

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        bridge = frames * self.bridge.weight.numel() if self.bridge is not None else 0
        per_frame = 4 * self.width**2 + 2 * self.width * self.feedforward
        attention = 2 * frames * self.width
        return bridge + len(self.layers) * frames * (per_frame + attention)

    def _place(self, x: Tensor, first: int) -> tuple[Tensor, int]:
        """Add the positions of frames from the first on."""
        frames = x.shape[1]
        return x + positions(frames, self.width, x.device, first).to(x.dtype), first + frames


def positions(frames: int, width: int, device: torch.device, first: int = 0) -> Tensor:
    """Return (frames, width) sinusoidal positions, Vaswani et al. 2017, section 3.5."""
    angle = angles(frames, math.ceil(width / 2), device, first)  # (T, D/2)
    return torch.stack([angle.sin(), angle.cos()], dim=2).flatten(1)[:, :width]
