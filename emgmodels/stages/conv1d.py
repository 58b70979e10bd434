"""Plain and residual convolution over time, with strides that lower the frame rate."""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
from torch import Tensor, nn

from emgmodels.config import Conv1dConfig
from emgmodels.stages.flow import Chain, Flow, Padded
from emgmodels.stages.stage import Stage


# Padded with zeros inside the layer: its frames stay where they are, so that it can stand between
# any other stages.
class PaddedConv1d(nn.Conv1d):
    """A convolution whose output frame j stands for input frame j x stride.

    The input is padded with zeros at both ends, or at its beginning alone where no frame of the
    future may be seen.

    Attributes:
        future: frames under the kernel after the one that an output stands for.
    """

    def __init__(
        self,
        inputs: int,
        outputs: int,
        kernel: int,
        stride: int = 1,
        groups: int = 1,
        future: int | None = None,
    ) -> None:
        super().__init__(inputs, outputs, kernel, stride=stride, groups=groups)
        self.future = (kernel - 1) // 2 if future is None else min(future, (kernel - 1) // 2)
        self.past = kernel - 1 - self.future

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, T) to (N, D', ceil(T / stride))."""
        return super().forward(nn.functional.pad(x, (self.past, self.future)))


class ChannelNorm(nn.LayerNorm):
    """Layer normalisation over the features of (N, D, T)."""

    def forward(self, x: Tensor) -> Tensor:
        """Normalise each frame; the shape stays."""
        return super().forward(x.transpose(1, 2)).transpose(1, 2)


class Conv1dLayer(nn.Module):
    """Convolution, normalisation, optional skip connection, ReLU, dropout."""

    def __init__(
        self, inputs: int, outputs: int, kernel: int, stride: int, config: Conv1dConfig
    ) -> None:
        super().__init__()
        future = 0 if config.causal else None
        self.conv: nn.Module
        if config.separable:
            depthwise = PaddedConv1d(inputs, inputs, kernel, stride, groups=inputs, future=future)
            self.future, self.weights = depthwise.future, inputs * (kernel + outputs)
            self.past = depthwise.past
            self.conv = nn.Sequential(depthwise, nn.Conv1d(inputs, outputs, 1))
        else:
            self.conv = PaddedConv1d(inputs, outputs, kernel, stride, future=future)
            self.future, self.weights = self.conv.future, inputs * kernel * outputs
            self.past = self.conv.past
        norms = {"batch": nn.BatchNorm1d, "layer": ChannelNorm, "none": nn.Identity}
        self.norm: nn.Module = norms[config.norm](outputs)
        self.skip: nn.Module | None = None
        if config.residual:
            same = inputs == outputs and stride == 1
            self.skip = nn.Identity() if same else nn.Conv1d(inputs, outputs, 1, stride=stride)
            self.weights += 0 if same else inputs * outputs
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, D, T) to (N, D', ceil(T / stride))."""
        y = self.norm(self.conv(x))
        if self.skip is not None:
            y = y + self.skip(x)
        return self.dropout(torch.relu(y))


class Conv1dStage(Stage):
    """A stack of convolutions over time."""

    def __init__(self, width: int, config: Conv1dConfig) -> None:
        super().__init__(width)
        self.strides = config.of_each("stride")
        self.layers = nn.ModuleList()
        lookahead, stride = 0, 1
        settings = (config.of_each("channels"), config.of_each("kernel"), self.strides)
        for channels, kernel, step in zip(*settings, strict=True):
            layer = Conv1dLayer(width, channels, kernel, step, config)
            self.layers.append(layer)
            # In frames of the stage's input: behind a stride each frame is several of them.
            lookahead += stride * layer.future
            stride, width = stride * step, channels
        self.width, self.stride, self.lookahead = width, stride, lookahead

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, ceil(T / stride), D')."""
        x = x.transpose(1, 2)  # (N, D, T)
        for layer in self.layers:
            x = layer(x)
        return x.transpose(1, 2)

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        return Chain(
            Padded(over_frames(layer), layer.past, layer.future, stride)
            for layer, stride in zip(self.layers, self.strides, strict=True)
            if isinstance(layer, Conv1dLayer)
        )

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many input frames."""
        total = 0
        for layer, stride in zip(self.layers, self.strides, strict=True):
            assert isinstance(layer, Conv1dLayer)
            frames = math.ceil(frames / stride)
            total += frames * layer.weights
        return total


def over_frames(layer: nn.Module) -> Callable[[Tensor], Tensor]:
    """Return a layer of (N, D, T) as one of (N, T, D)."""
    return lambda x: layer(x.transpose(1, 2)).transpose(1, 2)
