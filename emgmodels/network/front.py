"""The model's front and its convolutional stage: normalisation, rotation-invariant MLP, TDS.

A *stage* is a module that maps frames ``(N, T, D)`` to frames ``(N, T', D')``. It says of itself
how wide it is, how many frames it consumes and how far it looks ahead; see ``Stage``.
"""

from __future__ import annotations

from typing import ClassVar

import torch
from torch import Tensor, nn

from emgmodels.stages.flow import Carried, Flow


class SpectrogramNorm(nn.Module):
    """Batch normalisation of log power over windows and frames, Ioffe and Szegedy 2015.

    Args:
        bands: wristbands.
        electrodes: electrodes used of each.
        bins: frequency bins.
        per_bin: each bin of each electrode has its own statistics; otherwise those of an electrode
            are shared by its bins.
    """

    def __init__(self, bands: int, electrodes: int, bins: int, per_bin: bool = False) -> None:
        super().__init__()
        self.per_bin = per_bin
        channels = bands * electrodes
        self.norm = nn.BatchNorm1d(channels * bins) if per_bin else nn.BatchNorm2d(channels)

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, B, E, T, F) features; the shape stays."""
        if not self.per_bin:
            return self.norm(features.flatten(1, 2)).view(features.shape)
        planes = features.transpose(3, 4)  # (N, B, E, F, T)
        return self.norm(planes.flatten(1, 3)).view(planes.shape).transpose(3, 4)

    @property
    def statistics(self) -> tuple[Tensor, Tensor]:
        """Running mean and variance of each channel: an electrode, or a bin of one."""
        mean, variance = self.norm.running_mean, self.norm.running_var
        assert mean is not None
        assert variance is not None
        return mean, variance

    def channels(self, features: Tensor) -> Tensor:
        """Return (C, V) the values that each channel's statistics are of."""
        if not self.per_bin:
            return features.flatten(1, 2).transpose(0, 1).flatten(1)
        return features.transpose(3, 4).flatten(1, 3).transpose(0, 1).flatten(1)

    def features(self, values: Tensor, like: Tensor) -> Tensor:
        """Return (C, T, V) values of one window as the (1, B, E, T, F) features they are of."""
        bands, electrodes, frames, bins = like.shape[1:]
        if not self.per_bin:
            return values.view(like.shape)
        return values.view(bands, electrodes, bins, frames).transpose(2, 3)[None]

    def flow(self, prior: int | None = None) -> Flow:
        """Return what normalises frames as they arrive, in evaluation mode.

        Args:
            prior: frames that the statistics of training count for, beside those of all frames that
                have arrived; None: those of training alone.
        """
        return Flow(self) if prior is None else Carried(_Running(self, prior), None)


class _Running:
    """Normalises each frame by the statistics of training and of all frames up to it."""

    def __init__(self, norm: SpectrogramNorm, prior: int) -> None:
        self.norm, self.prior = norm, prior

    def __call__(self, features: Tensor, state: tuple | None) -> tuple[Tensor, tuple]:
        """Normalise the next (1, B, E, T, F) frames; carried are sums and a count of frames."""
        norm = self.norm
        frames = features.shape[3]
        shape = (len(norm.statistics[0]), frames, -1)
        x = norm.channels(features).view(shape).double()  # (C, T, values of a frame)
        if state is None:
            mean, variance = (value.double() for value in norm.statistics)
            state = (self.prior * mean, self.prior * (variance + mean.square()), self.prior)
        total, squares, seen = state
        total = total[:, None] + x.mean(2).cumsum(1)
        squares = squares[:, None] + x.square().mean(2).cumsum(1)
        count = torch.arange(1, frames + 1, device=x.device) + seen
        mean = total / count
        deviation = (squares / count - mean.square() + norm.norm.eps).sqrt()
        found = (x - mean[..., None]) / deviation[..., None]
        found = found * norm.norm.weight[:, None, None] + norm.norm.bias[:, None, None]
        state = (total[:, -1], squares[:, -1], seen + frames)
        return norm.features(found.to(features.dtype), features), state


class RollingNorm(nn.Module):
    """Normalises each bin of each electrode by its own mean and deviation over the last seconds.

    The statistics of a frame are those of itself and the frames before it, as many as a session or
    window has. So a model in use needs nothing of the future, and nothing of the people that it was
    trained on. The first second is rough; a window's context in the past takes it in.

    Args:
        frames: frames that the statistics reach back.
    """

    EPSILON = 1e-2
    """Added to the variance; log power of a worn electrode varies by about 1."""

    def __init__(self, frames: int) -> None:
        super().__init__()
        self.frames = frames

    def forward(self, features: Tensor) -> Tensor:
        """Normalise (N, B, E, T, F) features; the shape stays."""
        x = features - features[..., :1, :]
        count = torch.arange(1, x.shape[3] + 1, device=x.device)
        return self._normalise(x, self._sum(x), self._sum(x.square()), count)

    def flow(self) -> Flow:
        """Return what normalises frames as they arrive."""
        return Carried(self._step, None)

    def _sum(self, x: Tensor) -> Tensor:
        """Return the sums over the reach of each frame.

        A reach ends in a block of as many frames and begins in the block before. Sums run within
        blocks, since a running sum over a session needs float64, which most GPUs have slowly.
        """
        frames = x.shape[3]
        whole = nn.functional.pad(x, (0, 0, 0, -frames % self.frames))
        within = whole.unflatten(3, (-1, self.frames)).cumsum(4)  # (N, B, E, blocks, frames, F)
        after = within[..., -1:, :] - within
        before = nn.functional.pad(after, (0, 0, 0, 0, 1, 0))[..., :-1, :, :]
        return (within + before).flatten(3, 4)[..., :frames, :]

    def _normalise(self, x: Tensor, total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
        """Return the scores of frames, given the sums over their reach and how many came so far."""
        count = count.clamp(max=self.frames)[:, None]
        mean = total / count
        # Rounding may put it a little below zero.
        variance = (squares / count - mean.square()).clamp(min=0)
        return (x - mean) / (variance + self.EPSILON).sqrt()

    def _step(self, features: Tensor, state: tuple | None) -> tuple[Tensor, tuple]:
        """Normalise the next frames; carried are the first, those in reach, sums and a count.

        The sums run on for hours, so they are float64: a few numbers for each frame.
        """
        if state is None:
            nothing = features.new_zeros((), dtype=torch.double).expand_as(features[..., :1, :])
            reach = nothing.expand(*nothing.shape[:3], self.frames, -1)
            state = (features[..., :1, :], reach, nothing, nothing, 0)
        origin, reach, total, squares, seen = state
        x = (features - origin).double()
        known = torch.cat([reach, x], 3)
        leaving = known[..., : x.shape[3], :]
        total = total + (x - leaving).cumsum(3)
        squares = squares + (x.square() - leaving.square()).cumsum(3)
        count = torch.arange(1, x.shape[3] + 1, device=x.device) + seen
        found = self._normalise(x, total, squares, count).to(features.dtype)
        reach, seen = known[..., x.shape[3] :, :].clone(), seen + x.shape[3]
        return found, (origin, reach, total[..., -1:, :], squares[..., -1:, :], seen)


class RotationInvariantMLP(nn.Module):
    """One MLP per band, averaged over electrode rotations of -1, 0 and +1.

    Wearing the band a little rotated should change little: the mean over rotations of
    ``relu(W roll(x) + b)``. Rolling the electrodes of the input is the same as rolling them in the
    weights. So the three rotations are one matrix product and no copy of the input. Around the
    wrist the last electrode moves to the first one's place; of an arc it moves out of reach.

    Args:
        bands: wristbands.
        electrodes: electrodes used of each.
        bins: frequency bins.
        features: outputs of each band, and of every layer.
        layers: layers with ReLU, all before the mean.
        shared: the bands have the same weights.
        around: the electrodes go around the wrist; otherwise they are an arc of neighbours.
    """

    ROTATIONS: ClassVar[tuple[int, ...]] = (-1, 0, 1)

    def __init__(
        self,
        bands: int,
        electrodes: int,
        bins: int,
        features: int,
        layers: int = 1,
        shared: bool = False,
        around: bool = True,
    ) -> None:
        super().__init__()
        self.electrodes, self.bins, self.features = electrodes, bins, features
        self.around = around
        self.depth = layers - 1
        mlps = 1 if shared else bands
        self.bands = nn.ModuleList(nn.Linear(electrodes * bins, features) for _ in range(mlps))
        self.deeper = nn.ModuleList(_relu_layers(features, layers - 1) for _ in range(mlps))
        self.width = bands * features

    def forward(self, features: Tensor) -> Tensor:
        """Map (N, B, E, T, F) features to (N, T, D) with D = bands x features."""
        x = features.permute(1, 0, 3, 2, 4).flatten(3)  # (B, N, T, E F), one copy
        return torch.cat([self._band(i % len(self.bands), x[i]) for i in range(len(x))], dim=-1)

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many frames."""
        inputs = self.electrodes * self.bins + self.depth * self.features  # summed over layers
        return frames * inputs * self.width * len(self.ROTATIONS)

    def _band(self, index: int, x: Tensor) -> Tensor:
        linear = self.bands[index]
        assert isinstance(linear, nn.Linear)
        weight = linear.weight.unflatten(1, (self.electrodes, self.bins))  # (D, E, F)
        # Rolling the weights instead of the input: three rotations are one product, and the input
        # is not copied.
        rolled = torch.cat([self._rotated(weight, r) for r in self.ROTATIONS]).flatten(1)
        bias = linear.bias.repeat(len(self.ROTATIONS))
        hidden = nn.functional.linear(x, rolled, bias).relu()  # (N, T, 3 D)
        return self.deeper[index](hidden.unflatten(-1, (len(self.ROTATIONS), -1))).mean(-2)

    def _rotated(self, weight: Tensor, by: int) -> Tensor:
        """Return (D, E, F) weights as the electrodes meet them that sit ``by`` places further."""
        if self.around:
            return weight.roll(-by, dims=1)
        # An arc's last electrode is not beside its first.
        return nn.functional.pad(weight, (0, 0, -by, by))  # crops one end, zeros at the other


def _relu_layers(width: int, layers: int) -> nn.Sequential:
    return nn.Sequential(
        *(part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU()))
    )
