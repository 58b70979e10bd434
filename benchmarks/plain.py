"""The plain way to training windows, as most trainings of this task have it.

Each window is read from its HDF5 file, transformed by itself and collated into a batch: the
reference for the windows benchmark, and for the equality of what it is compared with.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import h5py
import numpy as np
import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from emgmodels.charset import label_of
from emgmodels.config import BANDS, AugmentationConfig
from emgmodels.windows.cut import Cut


class PlainSession:
    """A session file kept open; EMG and labels are read when asked for."""

    def __init__(self, path: Path) -> None:
        group = h5py.File(path, "r")["emg2qwerty"]
        self.series = group["timeseries"]
        self.keystrokes = json.loads(group.attrs["keystrokes"])

    def window(
        self, start: int, cut: Cut, rotation: np.ndarray, shift: np.ndarray
    ) -> tuple[Tensor, Tensor]:
        """Return (S, B, E) samples and (K,) labels of one window.

        Args:
            start: first sample of the labelled window, its context and the bands' shifts inside
                the recording.
            cut: how to cut.
            rotation: (B,) electrodes that each band is rotated by.
            shift: (B,) samples that each band is shifted by.
        """
        first, last = start - cut.before, start - cut.before + cut.samples
        low, high = first + int(min(shift)), last + int(max(shift))
        rows = self.series[low:high]
        bands = []
        for band, field in enumerate(("emg_left", "emg_right")):
            at = first + int(shift[band]) - low
            emg = torch.from_numpy(rows[field][at : at + cut.samples])
            bands.append(emg.roll(int(rotation[band]), dims=1)[:, list(cut.electrodes)])
        begin = float(self.series[start]["time"])
        end = float(self.series[start + cut.window - 1]["time"])
        typed = [k for k in self.keystrokes if begin <= k["start"] <= end]
        labels = [label_of(k["key"]) for k in sorted(typed, key=lambda k: k["start"])]
        return torch.stack(bands, dim=1), torch.tensor([x for x in labels if x is not None])


def log_spectrogram(emg: Tensor, n_fft: int = 64, hop: int = 16) -> Tensor:
    """Map (S, B, E) samples to (T, B, E, F) log10 power, normalised by the window's energy."""
    window = torch.hann_window(n_fft)
    spectrum = torch.stft(
        emg.permute(1, 2, 0).flatten(0, 1), n_fft, hop, window=window, center=False,
        return_complex=True,
    )  # fmt: skip
    power = spectrum.abs().square() / window.square().sum()  # (B E, F, T)
    log_power = torch.log10(power + 1e-6)
    return log_power.unflatten(0, emg.shape[1:]).permute(3, 0, 1, 2)


def spec_augment(features: Tensor, spans: Sequence[tuple[int, int, int]]) -> Tensor:
    """Mask (T, B, E, F) features with their mean.

    Args:
        features: one window.
        spans: dimension (0 or 3), first and end of each mask.
    """
    mean, masked = features.mean(), features.clone()
    for dim, low, high in spans:
        masked.narrow(dim, low, high - low).fill_(mean)
    return masked


def draw_spans(
    n: int, frames: int, bins: int, config: AugmentationConfig, hop: int, rng: torch.Generator
) -> list[list[tuple[int, int, int]]]:
    """Return the masks of each window of a batch, drawn as ``SpecAugment`` draws them."""
    spans: list[list[tuple[int, int, int]]] = [[] for _ in range(n)]
    width = round(config.time_mask_ms * 2 / hop)
    for dim, size, masks, widest in (
        (0, frames, config.time_masks, width),
        (3, bins, config.frequency_masks, config.frequency_mask_bins),
    ):
        count = torch.randint(0, masks + 1, (n, 1, 1), generator=rng).flatten().tolist()
        length = torch.randint(0, min(widest, size) + 1, (n, masks, 1), generator=rng)
        start = (torch.rand(n, masks, 1, generator=rng) * (size - length + 1)).long()
        for i in range(n):
            for low, long in zip(start[i, : count[i], 0], length[i, : count[i], 0], strict=True):
                spans[i].append((dim, int(low), int(low + long)))
    return spans


def plain_batches(
    sessions: Sequence[PlainSession],
    windows: np.ndarray,
    batch_size: int,
    cut: Cut,
    rng: np.random.Generator,
    augmentation: AugmentationConfig,
    generator: torch.Generator,
) -> Iterator[tuple[Tensor, Tensor, Tensor]]:
    """Yield (T, N, B, E, F) features, (N, K) labels and their (N,) lengths.

    Random numbers are drawn as the fast way draws them, so that both give the same batches.
    """
    for low in range(0, len(windows), batch_size):
        chosen = windows[low : low + batch_size]
        rotation = rng.integers(-cut.rotation, cut.rotation + 1, (len(chosen), BANDS))
        offset = rng.integers(-cut.band_jitter, cut.band_jitter + 1, len(chosen))
        shift = np.stack([offset // 2, offset // 2 - offset], axis=1)
        spans = draw_spans(
            len(chosen), (cut.samples - 64) // 16 + 1, 33, augmentation, 16, generator
        )
        features, labels = [], []
        for i, (index, start) in enumerate(chosen.tolist()):
            emg, typed = sessions[index].window(start, cut, rotation[i], shift[i])
            features.append(spec_augment(log_spectrogram(emg), spans[i]))
            labels.append(typed)
        lengths = torch.tensor([len(typed) for typed in labels])
        yield pad_sequence(features), pad_sequence(labels, batch_first=True), lengths
