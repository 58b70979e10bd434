"""Conformer blocks: attention for what is far, convolution for what is near."""

from __future__ import annotations

import math

from torch import Tensor, nn

from emgmodels.config import ConformerConfig
from emgmodels.stages.attention import AttentionFlow, SelfAttention, context_mask, limited
from emgmodels.stages.conv1d import PaddedConv1d, over_frames
from emgmodels.stages.flow import Chain, Flow, Padded
from emgmodels.stages.stage import Stage


class ConvolutionModule(nn.Module):
    """Gated pointwise, depthwise, pointwise convolution, as in section 2.2 of the paper."""

    def __init__(self, width: int, config: ConformerConfig) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(width)
        self.gated = nn.Sequential(nn.Linear(width, 2 * width), nn.GLU())
        self.depthwise = PaddedConv1d(
            width, width, config.kernel, groups=width, future=config.right_context
        )
        self.batch_norm = nn.BatchNorm1d(width)
        self.project_out = nn.Sequential(
            nn.SiLU(), nn.Linear(width, width), nn.Dropout(config.dropout)
        )

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T, D)."""
        x = self.gated(self.norm(x)).transpose(1, 2)  # (N, D, T)
        return self.project_out(self.batch_norm(self.depthwise(x)).transpose(1, 2))


class ConformerLayer(nn.Module):
    """Half a feed-forward step, attention, convolution, and the other half."""

    def __init__(self, width: int, config: ConformerConfig) -> None:
        super().__init__()
        self.first = _feedforward(width, config)
        self.attention_norm = nn.LayerNorm(width)
        self.attention = SelfAttention(width, config.heads, config.dropout, rotary=True)
        self.attention_dropout = nn.Dropout(config.dropout)
        self.convolution = ConvolutionModule(width, config)
        self.second = _feedforward(width, config)
        self.norm = nn.LayerNorm(width)

    def forward(self, x: Tensor, mask: Tensor | None) -> Tensor:
        """Map (N, T, D) to (N, T, D); the mask is that of the attention."""
        x = x + 0.5 * self.first(x)
        x = x + self.attention_dropout(self.attention(self.attention_norm(x), mask))
        x = x + self.convolution(x)
        return self.norm(x + 0.5 * self.second(x))

    def flow(self, left: int, right: int) -> Flow:
        """Return what computes the layer as frames arrive, given the frames it attends to."""
        depthwise = self.convolution.depthwise
        return Chain(
            [
                Flow(lambda x: x + 0.5 * self.first(x)),
                AttentionFlow(self.attention, self.attention_norm, left, right),
                Padded(lambda x: x + self.convolution(x), depthwise.past, depthwise.future),
                Flow(lambda x: self.norm(x + 0.5 * self.second(x))),
            ]
        )


class ConformerStage(Stage):
    """A stack of conformer blocks, at a lower frame rate if asked.

    With a stride, each frame of the stage is a linear map of as many input frames, its own and
    those before it. The input is bridged by the same map.
    """

    def __init__(self, width: int, config: ConformerConfig) -> None:
        # Rotary positions turn pairs of features, so each head needs an even number.
        super().__init__(width, multiple_of=2 * config.heads, wanted=config.width)
        self.config = config
        self.stride = config.stride
        self.subsampling: PaddedConv1d | None = None
        if config.stride > 1:
            # The subsampling changes the width itself, so that no second map is needed.
            self.bridge = None
            self.subsampling = PaddedConv1d(
                width, self.width, config.stride, stride=config.stride, future=0
            )
        self.dropout = nn.Dropout(config.dropout)
        self.layers = nn.ModuleList(
            ConformerLayer(self.width, config) for _ in range(config.layers)
        )
        if config.right_context is None:
            self.lookahead = math.inf
        else:
            # The convolution looks ahead as well. It is limited as the attention is, or the limit
            # would be worth nothing.
            in_conv = min(config.right_context, (config.kernel - 1) // 2)
            self.lookahead = config.stride * config.layers * (config.right_context + in_conv)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, ceil(T / stride), D')."""
        if self.subsampling is not None:
            x = over_frames(self.subsampling)(x)
        elif self.bridge is not None:
            x = self.bridge(x)
        x = self.dropout(x)
        mask = context_mask(
            x.shape[1], self.config.left_context, self.config.right_context, x.device
        )
        for layer in self.layers:
            x = layer(x, mask)
        return x

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        left, right = limited(self.config.left_context, self.config.right_context)
        layers = [x.flow(left, right) for x in self.layers if isinstance(x, ConformerLayer)]
        if self.subsampling is None:
            return self._bridged(*layers)
        subsampling = over_frames(self.subsampling)
        return Chain([Padded(subsampling, self.stride - 1, 0, self.stride), *layers])

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many input frames."""
        inputs = self.bridge if self.bridge is not None else self.subsampling
        frames = self.output_length(frames)
        bridge = frames * inputs.weight.numel() if inputs is not None else 0
        width = self.width
        per_frame = (
            4 * width * self.config.feedforward  # two feed-forward parts
            + 4 * width**2  # attention's projections
            + 3 * width**2  # pointwise convolutions
            + width * self.config.kernel
        )
        attention = 2 * frames * width
        return bridge + self.config.layers * frames * (per_frame + attention)


def _feedforward(width: int, config: ConformerConfig) -> nn.Sequential:
    return nn.Sequential(
        nn.LayerNorm(width),
        nn.Linear(width, config.feedforward),
        nn.SiLU(),
        nn.Dropout(config.dropout),
        nn.Linear(config.feedforward, width),
        nn.Dropout(config.dropout),
    )
