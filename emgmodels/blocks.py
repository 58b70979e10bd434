"""The model's front and its convolutional stage: normalisation, rotation-invariant MLP, TDS.

A *stage* is a module that maps frames ``(N, T, D)`` to frames ``(N, T', D')`` and says of itself
how wide it is, how many frames it consumes and how far it looks ahead; see ``Stage``.
"""

from __future__ import annotations

import math
from typing import ClassVar

import torch
from torch import Tensor, nn

from emgmodels.config import ConvConfig
from emgmodels.flows import Carried, Chain, Flow, Valid


class Stage(nn.Module):
    """What every stage between MLP and head has in common.

    A stage is built from the width that it is offered and its own configuration. Where it wants
    another width, or needs a multiple of something, it works at the next multiple up, reached by a
    linear *bridge*.

    Output frame j stands for input frame ``left + j * stride``.

    Attributes:
        width: features of the stage's output, D'.
        left: input frames consumed at the beginning.
        right: input frames consumed at the end.
        stride: input frames from one output frame to the next.
        lookahead: input frames after its own that an output frame depends on; infinite where all
            are seen.
        longest: input frames that it can take at once.
        bridge: linear map from the offered width to the stage's own, or None.
    """

    width: int
    left: int = 0
    right: int = 0
    stride: int = 1
    lookahead: float = 0
    longest: float = math.inf

    def __init__(self, width: int, multiple_of: int = 1, wanted: int | None = None) -> None:
        super().__init__()
        self.width = math.ceil((wanted or width) / multiple_of) * multiple_of
        self.bridge = nn.Linear(width, self.width) if self.width != width else None

    def output_length(self, frames: int) -> int:
        """Return the number of output frames for that many input frames, at least 0."""
        return max(0, -(-(frames - self.left - self.right) // self.stride))

    def macs(self, frames: int) -> int:
        """Return the multiply-accumulates of one window of that many input frames."""
        raise NotImplementedError

    def flow(self) -> Flow:
        """Return what computes the stage as frames arrive, in evaluation mode.

        Raises:
            ValueError: it depends on more than can be carried: on the window's end, or on a past
                without limit. The message says which setting would stream.
        """
        raise ValueError("it has no flow: take another stage, or write one of emgmodels.flows")

    def _bridged(self, *flows: Flow) -> Chain:
        """Return flows behind the bridge."""
        return Chain(flows if self.bridge is None else (Flow(self.bridge), *flows))


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

    def flow(self) -> Flow:
        """Return what normalises frames as they arrive, by the statistics of training."""
        return Flow(self)


class RollingNorm(nn.Module):
    """Each bin of each electrode made alike by its own mean and deviation over the last seconds.

    The statistics of a frame are those of itself and the frames before it, as many as a session or
    window has of them, so that a model in use needs nothing of the future and nothing of whom it
    was trained on. The first second is rough; a window's context in the past takes it in.

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
        x = (features - features[..., :1, :]).double()
        count = torch.arange(1, x.shape[3] + 1, device=x.device)
        return self._normalise(x, self._sum(x), self._sum(x.square()), count).to(features.dtype)

    def flow(self) -> Flow:
        """Return what normalises frames as they arrive."""
        return Carried(self._step, None)

    def _sum(self, x: Tensor) -> Tensor:
        total = x.cumsum(3)
        earlier = nn.functional.pad(total, (0, 0, self.frames, 0))
        return total - earlier[..., : total.shape[3], :]

    def _normalise(self, x: Tensor, total: Tensor, squares: Tensor, count: Tensor) -> Tensor:
        """Return the scores of frames, given the sums over their reach and how many came so far."""
        count = count.clamp(max=self.frames)[:, None]
        mean = total / count
        variance = (squares / count - mean.square()).clamp(min=0)
        return (x - mean) / (variance + self.EPSILON).sqrt()

    def _step(self, features: Tensor, state: tuple | None) -> tuple[Tensor, tuple]:
        """Normalise the next frames; carried are the first, those in reach, sums and a count."""
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
    ``relu(W roll(x) + b)``. Rolling the electrodes of the input is the same as rolling them in
    the weights, so that the three rotations are one matrix product and no copy of the input. Around
    the wrist the last electrode moves to the first one's place; of an arc it moves out of reach.

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
        rolled = torch.cat([self._rotated(weight, r) for r in self.ROTATIONS]).flatten(1)
        bias = linear.bias.repeat(len(self.ROTATIONS))
        hidden = nn.functional.linear(x, rolled, bias).relu()  # (N, T, 3 D)
        return self.deeper[index](hidden.unflatten(-1, (len(self.ROTATIONS), -1))).mean(-2)

    def _rotated(self, weight: Tensor, by: int) -> Tensor:
        """Return (D, E, F) weights as the electrodes meet them that sit ``by`` places further."""
        if self.around:
            return weight.roll(-by, dims=1)
        return nn.functional.pad(weight, (0, 0, -by, by))  # crops one end, zeros at the other


class TimeConv(nn.Conv2d):
    """Convolution over the last dimension of (N, c, w, T), computed with channels last.

    On a CPU its gradients are then three times as fast.
    """

    def forward(self, planes: Tensor) -> Tensor:
        """Map (N, c, w, T) to (N, c', w, T - kernel + 1)."""
        planes = planes.transpose(2, 3).contiguous(memory_format=torch.channels_last)
        kernel = self.weight.transpose(2, 3)  # (c', c, kernel, 1)
        return nn.functional.conv2d(planes, kernel, self.bias).transpose(2, 3)


class TDSBlock(nn.Module):
    """One time-depth-separable block, Hannun et al. 2019 (arXiv:1904.02619).

    A convolution over time that mixes ``channels`` and leaves ``width // channels`` features
    apart, then a fully connected pair on the whole width; each with ReLU, skip connection and
    layer normalisation. The convolution is valid: ``kernel - 1`` frames are consumed, and the skip
    connection carries the newest frame under the kernel.
    """

    def __init__(self, width: int, channels: int, kernel: int) -> None:
        super().__init__()
        self.channels = channels
        self.conv = TimeConv(channels, channels, kernel_size=(1, kernel))
        self.conv_norm = nn.LayerNorm(width)
        self.fc = nn.Sequential(nn.Linear(width, width), nn.ReLU(), nn.Linear(width, width))
        self.fc_norm = nn.LayerNorm(width)

    def forward(self, x: Tensor) -> Tensor:
        """Map (N, T, D) to (N, T - kernel + 1, D)."""
        planes = x.unflatten(-1, (self.channels, -1)).permute(0, 2, 3, 1)  # (N, c, D/c, T)
        mixed = self.conv(planes).relu().permute(0, 3, 1, 2).flatten(2)  # (N, T', D)
        x = self.conv_norm(mixed + x[:, -mixed.shape[1] :])
        return self.fc_norm(self.fc(x) + x)


class ConvStage(Stage):
    """A stack of TDS blocks."""

    def __init__(self, width: int, config: ConvConfig) -> None:
        self.channels, self.kernel = config.of_each("channels"), config.kernel
        if max(self.channels) > width:
            raise ValueError(
                f"conv: {max(self.channels)} channels of the {width} features that it is offered: "
                f"give it at most {width}"
            )
        super().__init__(width, multiple_of=math.lcm(*self.channels))
        self.blocks = nn.ModuleList(
            TDSBlock(self.width, channels, config.kernel) for channels in self.channels
        )
        # One tenth of the context from the future: 0.1 s of 1 s with four blocks of 32 frames.
        future = 0 if config.causal else (config.kernel - 1) // 10
        self.left = config.layers * (config.kernel - 1 - future)
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
        for channels in self.channels:
            frames = max(0, frames - self.kernel + 1)
            total += frames * self.width * (channels * self.kernel + 2 * self.width)
        return total


def _relu_layers(width: int, layers: int) -> nn.Sequential:
    return nn.Sequential(
        *(part for _ in range(layers) for part in (nn.Linear(width, width), nn.ReLU()))
    )
