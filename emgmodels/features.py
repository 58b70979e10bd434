"""From EMG to log-spectrograms, and SpecAugment: batched modules that run on any device.

Shapes here and in the model: ``N`` windows, ``B`` bands, ``E`` electrodes used of each band,
``S`` samples, ``T`` frames, ``F`` frequency bins.
"""

from __future__ import annotations

import math
from itertools import pairwise

import torch
from torch import Tensor, nn

from emgmodels.config import BAND_ELECTRODES, SAMPLE_RATE, AugmentationConfig, FeaturesConfig

POWER_FLOOR = 1e-6
"""Added to the power before the logarithm."""


def electrode_indices(electrodes: int) -> list[int]:
    """Return which electrodes of a band of 16 are used: evenly spaced, the first among them."""
    return [round(i * BAND_ELECTRODES / electrodes) for i in range(electrodes)]


class LogSpectrogram(nn.Module):
    """log10 of the short-time power spectrum of each electrode.

    Periodic Hann window, power divided by the window's energy, first frame at the first sample
    (not centred). The transform is one matrix product with the windowed Fourier basis, which at
    64 samples is faster than an FFT and runs in the same units as the rest of the model.
    """

    basis: Tensor
    pooling: Tensor | None

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.n_fft, self.hop = config.n_fft, config.hop
        frequencies = config.n_fft // 2 + 1
        self.bins = config.bins or frequencies
        window = torch.hann_window(self.n_fft, periodic=True, dtype=torch.float64)
        angle = torch.outer(
            torch.arange(self.n_fft, dtype=torch.float64),
            torch.arange(frequencies, dtype=torch.float64),
        ) * (2 * math.pi / self.n_fft)
        basis = torch.stack([angle.cos(), -angle.sin()], dim=2)  # (n_fft, frequencies, 2)
        basis = basis * (window / window.square().sum().sqrt())[:, None, None]
        self.register_buffer("basis", basis.flatten(1).float(), persistent=False)
        pooling = None if self.bins == frequencies else _bands(frequencies, self.bins)
        self.register_buffer("pooling", pooling, persistent=False)

    def frames(self, samples: int) -> int:
        """Return the number of whole frames in that many samples."""
        return max(0, (samples - self.n_fft) // self.hop + 1)

    def samples(self, frames: int) -> int:
        """Return the samples that so many frames cover."""
        return (frames - 1) * self.hop + self.n_fft

    def forward(self, emg: Tensor) -> Tensor:
        """Return log power spectra.

        Args:
            emg: (N, B, E, S) samples at 2 kHz.

        Returns:
            (N, B, E, T, F) log10(power + 1e-6).
        """
        frames = emg.unfold(-1, self.n_fft, self.hop)  # (N, B, E, T, n_fft), a view
        spectrum = frames @ self.basis  # (N, B, E, T, 2 x frequencies)
        power = spectrum.square().unflatten(-1, (-1, 2)).sum(-1)
        if self.pooling is not None:
            power = power @ self.pooling  # (N, B, E, T, F)
        return power.add_(POWER_FLOOR).log10_()


class SpecAugment(nn.Module):
    """Masks in time and frequency, drawn for each window (Park et al. 2019).

    A mask covers all electrodes of both bands, since a distinction between electrodes is left to
    the electrode rotation. Masked cells take the window's mean, so that a mask is neutral whatever
    the amplifier's scale.
    """

    def __init__(self, config: AugmentationConfig, hop: int) -> None:
        super().__init__()
        self.time_masks = config.time_masks
        self.time_width = round(config.time_mask_ms * SAMPLE_RATE / 1000 / hop)
        self.frequency_masks = config.frequency_masks
        self.frequency_width = config.frequency_mask_bins

    def forward(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Mask (N, B, E, T, F) features in place and return them.

        Args:
            features: (N, B, E, T, F) log power.
            generator: CPU generator of the mask positions.
        """
        n, _, _, frames, bins = features.shape
        in_time = _masked(n, frames, self.time_masks, self.time_width, generator)  # (N, T)
        in_frequency = _masked(n, bins, self.frequency_masks, self.frequency_width, generator)
        mask = in_time[:, :, None] | in_frequency[:, None, :]  # (N, T, F)
        mask = mask[:, None, None].to(features.device)
        mean = features.mean((1, 2, 3, 4), keepdim=True)
        return torch.where(mask, mean, features)


def _bands(frequencies: int, bins: int) -> Tensor:
    """Return (frequencies, bins) weights that average power over bands of growing width."""
    edges = [0]
    for left in range(bins, 0, -1):
        ratio = ((frequencies + 1) / (edges[-1] + 1)) ** (1 / left)
        edges.append(max(edges[-1] + 1, round((edges[-1] + 1) * ratio) - 1))
    weights = torch.zeros(frequencies, bins)
    for i, (low, high) in enumerate(pairwise(edges)):
        weights[low:high, i] = 1 / (high - low)
    return weights


def _masked(n: int, size: int, masks: int, width: int, generator: torch.Generator) -> Tensor:
    """Return (n, size) booleans: covered by one of up to ``masks`` spans of up to ``width``."""
    if masks == 0 or width == 0:
        return torch.zeros(n, size, dtype=torch.bool)
    active = torch.randint(0, masks + 1, (n, 1, 1), generator=generator)
    active = torch.arange(masks)[None, :, None] < active  # (n, masks, 1)
    length = torch.randint(0, min(width, size) + 1, (n, masks, 1), generator=generator)
    start = (torch.rand(n, masks, 1, generator=generator) * (size - length + 1)).long()
    position = torch.arange(size)
    return (active & (position >= start) & (position < start + length)).any(1)
