"""Training windows a second: cut, augmented, as log-spectrograms, in batches of 32.

The plain way reads each window from HDF5, transforms it alone and collates. The floor is the
spectrogram's arithmetic at the rate of a matrix product, or the bytes of samples read and features
written at the bandwidth of memory, whichever takes longer.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import torch

from benchmarks import data, plain
from benchmarks.measure import Figure, Scope
from emgmodels.config import AugmentationConfig, FeaturesConfig
from emgmodels.network.features import LogSpectrogram, SpecAugment
from emgmodels.windows.batches import batches
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Cut

CUT = Cut(
    window=8000, before=1800, samples=1800 + 8000 + 200, electrodes=tuple(range(16)),
    rotation=1, band_jitter=120,
)  # fmt: skip
TOLERANCE = 1e-4
"""Largest difference of a bin's power from the reference, in powers of its window."""


def run(scope: Scope) -> Iterator[Figure]:
    """Measure windows a second of both ways."""
    batch_size, count = (4, 8) if scope.short else (32, 96)
    paths = data.sessions(2, 0.5 if scope.short else 4.0)
    recordings, files = prepare(paths), [plain.PlainSession(path) for path in paths]
    augmentation = AugmentationConfig()
    spectrogram, augment = LogSpectrogram(FeaturesConfig()), SpecAugment(augmentation, hop=16)
    rng = np.random.default_rng(0)
    inside = [r.samples - CUT.samples for r in recordings]
    index = rng.integers(len(paths), size=count)
    windows = np.stack([index, rng.integers(2000, np.array(inside)[index])], axis=1)

    def fast() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(1)
        for batch in batches(recordings, windows, batch_size, CUT, np.random.default_rng(1)):
            yield augment(spectrogram(batch.emg), generator), batch.labels

    def slow() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
        generator, rng = torch.Generator().manual_seed(1), np.random.default_rng(1)
        found = plain.plain_batches(files, windows, batch_size, CUT, rng, augmentation, generator)
        for features, labels, _ in found:
            yield features, labels

    check_alike(fast(), slow())
    timings = scope.interleave({"plain": lambda: drain(slow()), "fast": lambda: drain(fast())})
    floor = count * timings.floor(_operations(), _bytes())
    yield Figure(
        "training windows delivered",
        value=count / timings.median("fast"),
        unit="windows/s",
        reference=count / timings.median("plain"),
        ratio=timings.ratio("plain", "fast"),
        wanted="12 x",
        floor=count / floor,
        share=floor / timings.median("fast"),
        note=f"of {CUT.samples} samples with context, rotated, shifted, masked",
    )


def drain(found: Iterator[object]) -> None:
    """Ask for every batch, and keep none."""
    for _ in found:
        pass


def check_alike(
    fast: Iterator[tuple[torch.Tensor, torch.Tensor]],
    slow: Iterator[tuple[torch.Tensor, torch.Tensor]],
) -> None:
    """Fail where (N, B, E, T, F) and (T, N, B, E, F) features, or their labels, differ."""
    for (ours, labels), (theirs, typed) in zip(fast, slow, strict=True):
        power = 10 ** theirs.permute(1, 2, 3, 0, 4)
        scale = power.mean((1, 2, 3, 4), keepdim=True)
        difference = float(((10**ours - power) / scale).abs().max())
        assert difference < TOLERANCE, f"features differ by {difference:.2g} from the reference"
        assert torch.equal(labels, typed), "labels differ from the reference"


def _operations() -> int:
    """Operations of a window's real transforms: symmetry halves those of the full product."""
    frames = (CUT.samples - 64) // 16 + 1
    return 2 * 32 * frames * (33 * 33 + 31 * 31)


def _bytes() -> int:
    """Bytes of a window that must move: samples read, features written."""
    frames = (CUT.samples - 64) // 16 + 1
    return 4 * 32 * (CUT.samples + frames * 33)
