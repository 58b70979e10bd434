"""From EMG to log-spectrograms, and SpecAugment: batched modules that run on any device.

Shapes here and in the model: ``N`` windows, ``B`` bands, ``E`` electrodes used of each band,
``S`` samples, ``T`` frames, ``F`` frequency bins.
"""

from __future__ import annotations

import math
from itertools import pairwise

import numpy as np
import torch
from torch import Tensor, nn

from emgmodels.compute.onednn import is_traced, product
from emgmodels.compute.transfer import sent
from emgmodels.config import (
    BAND_ELECTRODES,
    BANDS,
    SAMPLE_RATE,
    AugmentationConfig,
    FeaturesConfig,
)

POWER_FLOOR = 1e-6
"""Added to the power before the logarithm."""
_CACHED_FRAMES = 10_000
"""Frames at once whose spectra stay in the cache."""


def as_emg(emg: np.ndarray | Tensor) -> Tensor:
    """Return (S, 2, 16) EMG, wherever it is, as a float tensor of the CPU.

    Raises:
        ValueError: it has another shape.
    """
    tensor = torch.as_tensor(emg)
    if tensor.ndim != 3 or tensor.shape[1:] != (BANDS, BAND_ELECTRODES):
        raise ValueError(
            f"EMG of shape {tuple(tensor.shape)}: expected (samples, {BANDS} bands, "
            f"{BAND_ELECTRODES} electrodes), left band first, at {SAMPLE_RATE} Hz, as "
            f"sessions.read_session(FILE).emg has it; a model of fewer electrodes takes its own"
        )
    return tensor.detach().cpu().float()


class Framed(nn.Module):
    """What turns EMG into frames: windows of ``n_fft`` samples, ``hop`` apart, not centred."""

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__()
        self.n_fft, self.hop = config.n_fft, config.hop
        self.bins = config.bins or config.n_fft // 2 + 1

    def frames(self, samples: int) -> int:
        """Return the number of whole frames in that many samples."""
        return max(0, (samples - self.n_fft) // self.hop + 1)

    def samples(self, frames: int) -> int:
        """Return the samples that ``frames`` frames cover."""
        return (frames - 1) * self.hop + self.n_fft

    def macs(self, electrodes: int, frames: int) -> int:
        """Return the multiply-accumulates of learned weights in that many frames."""
        return 0


class LogSpectrogram(Framed):
    """log10 of the short-time power spectrum of each electrode.

    Periodic Hann window, power divided by the window's energy, first frame at the first sample. The
    transform is one product with the windowed Fourier basis, which at 64 samples is as fast as an
    FFT and runs in the same units as the rest of the model. On a CPU it is a convolution, which
    needs no copy of the frames. It takes a few electrodes at a time, which stay in the cache from
    samples to logarithms. numpy has these faster.
    """

    basis: Tensor
    pooling: Tensor | None

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__(config)
        frequencies = config.n_fft // 2 + 1
        basis = _fourier_basis(self.n_fft, np.arange(frequencies))
        device = torch.get_default_device()
        # A cosine of each frequency, a sine of all but the first and the last: (n_fft, n_fft).
        weights = torch.from_numpy(np.concatenate([basis[0], basis[1, 1:-1]])).to(device)
        self.register_buffer("basis", weights, persistent=False)
        bands = torch.from_numpy(_bands(frequencies, self.bins)).to(device)
        pooling = None if self.bins == frequencies else bands
        self.register_buffer("pooling", pooling, persistent=False)

    def forward(self, emg: Tensor) -> Tensor:
        """Return log power spectra.

        Args:
            emg: (N, B, E, S) samples at 2 kHz.

        Returns:
            (N, B, E, T, F) log10(power + 1e-6).
        """
        # The quick way below writes into place, by numpy, and has no gradient.
        if emg.device.type != "cpu" or emg.requires_grad or is_traced():
            frames = emg.unfold(-1, self.n_fft, self.hop)  # (N, B, E, T, n_fft), a view
            return self._power(product(frames, self.basis)).log10()
        signals = emg.flatten(0, 2)  # (N B E, S)
        count = self.frames(emg.shape[-1])
        out = emg.new_empty(len(signals), count, self.bins)
        # A few electrodes at a time: 1.7 ms a window instead of 3.1 for all at once. Kept spectra
        # would be 33 times the recordings' size, since windows begin anywhere.
        few = max(1, _CACHED_FRAMES // max(1, count))
        with torch.no_grad():
            for some, target in zip(signals.split(few), out.split(few), strict=True):
                # torch's log10 takes five to ten times as long.
                np.log10(self._power(self._convolved(some)).numpy(), out=target.numpy())
        return out.unflatten(0, emg.shape[:3])

    def _convolved(self, signals: Tensor) -> Tensor:
        """Map (W, S) samples to (W, T, n_fft) spectra; channels last, as a frame's numbers lie."""
        kernel = self.basis[:, None, None].to(memory_format=torch.channels_last)
        spectra = nn.functional.conv2d(signals[:, None, None], kernel, stride=(1, self.hop))
        return spectra[:, :, 0].transpose(1, 2)

    def _power(self, spectra: Tensor) -> Tensor:
        """Map (..., n_fft) spectra to (..., F) power with its floor."""
        real, imaginary = spectra.split([self.n_fft // 2 + 1, self.n_fft // 2 - 1], dim=-1)
        # The floor keeps the logarithm of a silent electrode finite. It suits microvolts.
        power = torch.addcmul(real.new_full((), POWER_FLOOR), real, real)
        power[..., 1:-1].addcmul_(imaginary, imaginary)
        return power if self.pooling is None else power @ self.pooling


class LearnedFilters(Framed):
    """Log energy of pairs of learned filters on the raw signal of each electrode.

    A time-domain filter bank (Zeghidour et al. 2018, arXiv:1711.01161): a strided convolution, the
    same for every electrode, the squared modulus of each pair, the logarithm. It starts as the
    windowed Fourier basis at the centres of the bins, so that with all bins the untrained features
    are the spectrogram.
    """

    def __init__(self, config: FeaturesConfig) -> None:
        super().__init__(config)
        frequencies = config.n_fft // 2 + 1
        members = _bands(frequencies, self.bins) > 0
        centres = np.arange(frequencies) @ members / members.sum(0)  # (F,)
        basis = _fourier_basis(self.n_fft, centres).swapaxes(0, 1)  # (F, 2, n_fft)
        weight = np.ascontiguousarray(basis).reshape(-1, self.n_fft)
        self.weight = nn.Parameter(torch.from_numpy(weight))  # (2 F, n_fft)

    def forward(self, emg: Tensor) -> Tensor:
        """Map (N, B, E, S) samples at 2 kHz to (N, B, E, T, F) log energies."""
        if emg.device.type == "cpu":
            signal = emg.flatten(0, 2)[:, None]  # (N B E, 1, S)
            filtered = nn.functional.conv1d(signal, self.weight[:, None], stride=self.hop)
            energy = filtered.unflatten(1, (-1, 2)).square().sum(2).transpose(1, 2)
            energy = energy.unflatten(0, emg.shape[:3])
        else:
            # Products and not a convolution: cuDNN takes TF32 for these, whose 10 bits put the
            # gradients of filters on raw EMG off by 18 % (measured on an H200).
            frames = emg.unfold(-1, self.n_fft, self.hop)  # (N, B, E, T, n_fft), a view
            filtered = product(frames, self.weight)  # (N, B, E, T, 2 F)
            energy = filtered.unflatten(-1, (-1, 2)).square().sum(-1)
        return (energy + POWER_FLOOR).log10()

    def macs(self, electrodes: int, frames: int) -> int:
        """Return the multiply-accumulates of learned weights in that many frames."""
        return electrodes * frames * self.weight.numel()


def make_features(config: FeaturesConfig) -> Framed:
    """Return what turns EMG into the features of a model."""
    return {"fixed": LogSpectrogram, "learned": LearnedFilters}[config.filters](config)


class SpecAugment(nn.Module):
    """Masks in time and frequency, drawn for each window (Park et al. 2019).

    How many masks there are is drawn once a window. Where they lie and how wide they are is drawn
    once for all electrodes, for each band, or for each electrode. Masked cells take the window's
    mean, so that a mask is neutral whatever the amplifier's scale, or 0.
    """

    def __init__(self, config: AugmentationConfig, hop: int) -> None:
        super().__init__()
        self.scope, self.fill = config.mask_scope, config.mask_fill
        self.time_masks = config.time_masks
        # In milliseconds in the configuration, so that a mask means the same at every hop.
        self.time_width = round(config.time_mask_ms * SAMPLE_RATE / 1000 / hop)
        self.frequency_masks = config.frequency_masks
        self.frequency_width = config.frequency_mask_bins

    def forward(self, features: Tensor, generator: torch.Generator) -> Tensor:
        """Mask (N, B, E, T, F) features in place and return them.

        Args:
            features: (N, B, E, T, F) log power.
            generator: CPU generator of the mask positions.
        """
        n, bands, electrodes, frames, bins = features.shape
        # What shares a draw has one entry: (n, 1, 1), (n, B, 1) or (n, B, E) draws.
        draws = (
            *(n, 1 if self.scope == "window" else bands),
            electrodes if self.scope == "electrode" else 1,
        )
        in_time = _masked(draws, frames, self.time_masks, self.time_width, generator)
        in_frequency = _masked(draws, bins, self.frequency_masks, self.frequency_width, generator)
        # No `float(mean)` here: reading a number back would make the step wait for the GPU.
        fill = features.new_zeros(n) if self.fill == "zero" else features.mean((1, 2, 3, 4))
        # Rows in place instead of a mask as large as the features.
        if features.device.type == "cpu" and not features.requires_grad:
            for rows, covered in ((features, in_time), (features.transpose(3, 4), in_frequency)):
                at = covered.expand(n, bands, electrodes, -1).nonzero(as_tuple=True)
                rows[at] = fill[at[0], None]
            return features
        # Put together there, since the whole mask has as many cells as the features.
        rows, columns = (sent(each, features.device) for each in (in_time, in_frequency))
        mask = rows[..., :, None] | columns[..., None, :]  # (N, 1 or B, 1 or E, T, F)
        return torch.where(mask, fill[:, None, None, None, None], features)


def _fourier_basis(n_fft: int, frequencies: np.ndarray) -> np.ndarray:
    """Return (2, F, n_fft) cosines and sines under a periodic Hann window of energy one."""
    time = np.arange(n_fft) * (2 * math.pi / n_fft)
    window = 0.5 - 0.5 * np.cos(time)
    angle = np.outer(frequencies, time)
    basis = np.stack([np.cos(angle), -np.sin(angle)])
    return (basis * (window / np.sqrt(np.square(window).sum()))).astype(np.float32)


def _bands(frequencies: int, bins: int) -> np.ndarray:
    """Return (frequencies, bins) weights that average power over bands of growing width."""
    edges = [0]
    for left in range(bins, 0, -1):
        ratio = ((frequencies + 1) / (edges[-1] + 1)) ** (1 / left)
        edges.append(max(edges[-1] + 1, round((edges[-1] + 1) * ratio) - 1))
    weights = np.zeros((frequencies, bins), dtype=np.float32)
    for i, (low, high) in enumerate(pairwise(edges)):
        weights[low:high, i] = 1 / (high - low)
    return weights


def _masked(
    draws: tuple[int, int, int], size: int, masks: int, width: int, generator: torch.Generator
) -> Tensor:
    """Return (*draws, size) booleans: covered by one of up to ``masks`` spans of up to ``width``.

    The number of spans is that of a window, the first of the draws' dimensions.
    """
    if masks == 0 or width == 0:
        return torch.zeros(*draws, size, dtype=torch.bool)
    active = torch.randint(0, masks + 1, (draws[0], 1, 1, 1, 1), generator=generator)
    active = torch.arange(masks)[:, None] < active  # (n, 1, 1, masks, 1)
    shape = (*draws, masks, 1)
    length = torch.randint(0, min(width, size) + 1, shape, generator=generator)
    start = (torch.rand(shape, generator=generator) * (size - length + 1)).long()
    position = torch.arange(size)
    return (active & (position >= start) & (position < start + length)).any(-2)
