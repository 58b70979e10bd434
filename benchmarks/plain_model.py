"""The report's baseline as straightforward modules: rolled copies, ``Conv2d`` over (N, c, w, T).

Its parameters have the names of the factory's model, so that both compute the same from one state.
Shapes are those of the published baseline: time first.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from emgmodels.charset import NUM_CLASSES


class PlainNorm(nn.Module):
    """Batch normalisation of each electrode over (N, F, T)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (T, N, B, E, F) features."""
        t, n, b, e, f = features.shape
        x = features.movedim(0, -1).reshape(n, b * e, f, t)
        return self.norm(x).reshape(n, b, e, f, t).movedim(-1, 0)


class PlainMLP(nn.Module):
    """Each band's MLP on every rotation of its input, averaged."""

    def __init__(self, inputs: int, features: int) -> None:
        super().__init__()
        self.bands = nn.ModuleList(nn.Linear(inputs, features) for _ in range(2))

    def forward(self, features: Tensor) -> Tensor:
        """Map (T, N, B, E, F) features to (T, N, D)."""
        outputs = []
        for linear, x in zip(self.bands, features.unbind(2), strict=True):  # (T, N, E, F)
            rolled = torch.stack([x.roll(step, dims=2) for step in (-1, 0, 1)], dim=2)
            outputs.append(linear(rolled.flatten(3)).relu().mean(2))
        return torch.cat(outputs, dim=-1)


class PlainBlock(nn.Module):
    """Time-depth-separable block, Hannun et al. 2019."""

    def __init__(self, width: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = nn.Conv2d(channels, channels, (1, kernel))
        self.conv_norm = nn.LayerNorm(width)
        self.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.fc_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, N, D) to (T - kernel + 1, N, D)."""
        t, n, d = x.shape
        planes = x.movedim(0, -1).reshape(n, self.channels, d // self.channels, t)
        mixed = self.conv(planes).relu().reshape(n, d, -1).movedim(-1, 0)
        x = self.conv_norm(mixed + x[-len(mixed) :])
        return self.fc_norm(self.fc(x) + x)


class PlainStage(nn.Module):
    """A stack of blocks."""

    def __init__(self, width: int, layers: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.blocks = nn.ModuleList(PlainBlock(width, channels, kernel) for _ in range(layers))

    def forward(self, x: Tensor) -> Tensor:
        """Map (T, N, D) to fewer frames."""
        for block in self.blocks:
            x = block(x)
        return x


class PlainBaseline(nn.Module):
    """Spectrogram norm, rotation-invariant MLP, TDS blocks, linear head, log-softmax."""

    def __init__(
        self, features: int = 384, layers: int = 4, channels: int = 24, kernel: int = 32
    ) -> None:
        super().__init__()
        self.norm = PlainNorm(32)
        self.mlp = PlainMLP(16 * 33, features)
        self.stages = nn.ModuleList([PlainStage(2 * features, layers, channels, kernel)])
        self.head = nn.Linear(2 * features, NUM_CLASSES)

    def forward(self, features: Tensor) -> Tensor:
        """Map (T, N, B, E, F) features to (T', N, 99) log-probabilities."""
        x = self.mlp(self.norm(features))
        for stage in self.stages:
            x = stage(x)
        return self.head(x).log_softmax(-1)
