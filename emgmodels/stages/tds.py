"""Time-depth separable convolution (Hannun et al. 2019, arXiv:1904.02619)."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from emgmodels.config import ConvConfig
from emgmodels.stages.flow import Flow, Valid
from emgmodels.stages.stage import Stage


class TimeConv(nn.Conv2d):
    """Convolution over the last dimension of (N, c, w, T), computed with channels last.

    On a CPU its gradients are then three times as fast.
    """

    def forward(self, planes: Tensor) -> Tensor:
        """Map (N, c, w, T) to (N, c', w, T - kernel + 1)."""
        # 99 GFLOP/s forward and 30 backward become 149 and about 100.
        planes = planes.transpose(2, 3).contiguous(memory_format=torch.channels_last)
        kernel = self.weight.transpose(2, 3)  # (c', c, kernel, 1)
        return nn.functional.conv2d(planes, kernel, self.bias).transpose(2, 3)


class SideBySide(nn.Module):
    """Convolutions of several widths on the same channels, each of which makes some of them.

    All end with the same frame, as the skip connection beside them does (Szegedy et al. 2015).
    """

    def __init__(self, channels: int, kernels: Sequence[int]) -> None:
        super().__init__()
        self.kernels = tuple(kernels)
        shares = [(channels + i) // len(kernels) for i in range(len(kernels))]
        self.parts = nn.ModuleList(
            TimeConv(channels, share, kernel_size=(1, kernel))
            for share, kernel in zip(shares, kernels, strict=True)
        )

    def forward(self, planes: Tensor) -> Tensor:
        """Map (N, c, w, T) to (N, c, w, T - widest kernel + 1)."""
        widest = max(self.kernels)
        return torch.cat(
            [
                part(planes[..., widest - kernel :])
                for part, kernel in zip(self.parts, self.kernels, strict=True)
            ],
            1,
        )


class TDSBlock(nn.Module):
    """One time-depth-separable block, Hannun et al. 2019 (arXiv:1904.02619).

    A convolution over time that mixes ``channels`` and leaves ``width // channels`` features
    apart, then a fully connected pair on the whole width; each with ReLU, skip connection and
    layer normalisation. The convolution is valid: ``kernel - 1`` frames are consumed, and the skip
    connection carries the newest frame under the kernel.
    """

    def __init__(self, width: int, channels: int, *kernels: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv: nn.Module
        if len(kernels) == 1:
            self.conv = TimeConv(channels, channels, kernel_size=(1, *kernels))
        else:
            self.conv = SideBySide(channels, kernels)
        self.conv_norm = nn.LayerNorm(width)
        self.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.fc_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T - kernel + 1, D)."""
        planes = x.unflatten(-1, (self.channels, -1)).permute(0, 2, 3, 1)  # (N, c, D/c, T)
        mixed = self.conv(planes).relu().permute(0, 3, 1, 2).flatten(2)  # (N, T', D)
        # The newest frames: the skip connection must not bring back the past that was consumed.
        x = self.conv_norm(mixed + x[:, -mixed.shape[1] :])
        return self.fc_norm(self.fc(x) + x)


class ConvStage(Stage):
    """A stack of TDS blocks."""

    def __init__(self, width: int, config: ConvConfig) -> None:
        self.channels, self.kernel = config.of_each("channels"), max(config.kernels)
        if max(self.channels) > width:
            raise ValueError(
                f"conv: {max(self.channels)} channels of the {width} features that it is offered: "
                f"give it at most {width}"
            )
        super().__init__(width, multiple_of=math.lcm(*self.channels))
        self.blocks = nn.ModuleList(
            TDSBlock(self.width, channels, *config.kernels) for channels in self.channels
        )
        # One tenth of the context from the future: 0.1 s of 1 s with four blocks of 32 frames.
        future = 0 if config.causal else (self.kernel - 1) // 10
        self.left = config.layers * (self.kernel - 1 - future)
        self.right = config.layers * future
        self.lookahead = self.right

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T - layers x (kernel - 1), D')."""
        x = self.bridge(x) if self.bridge is not None else x
        for block in self.blocks:
            x = block(x)
        return x

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive."""
        return self._bridged(*(Valid(block, self.kernel) for block in self.blocks))

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many input frames."""
        total = frames * self.bridge.weight.numel() if self.bridge is not None else 0
        for block in self.blocks:
            frames = max(0, frames - self.kernel + 1)
            assert isinstance(block, TDSBlock)
            # Each of the width's features is a row of the convolution's weights.
            weights = sum(p.numel() for n, p in block.conv.named_parameters() if "weight" in n)
            total += frames * self.width * (weights // block.channels + 2 * self.width)
        return total
