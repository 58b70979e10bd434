"""Windows gathered from recordings in device memory: here a CPU's, by the code that a GPU runs."""

import numpy as np
import pytest
import torch

from emgmodels.config import FeaturesConfig
from emgmodels.network.features import LogSpectrogram
from emgmodels.windows.batches import batches
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Cut
from emgmodels.windows.device import DeviceRecordings, recordings_on

ALL = tuple(range(16))
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def recordings(session_paths):
    return prepare(session_paths)


@pytest.mark.parametrize(
    "cut",
    [
        Cut(8000, 1800, 10_000, ALL, rotation=1, band_jitter=120),
        Cut(777, 5, 801, (0, 4, 8, 12), rotation=2, band_jitter=3),
        Cut(2000, 0, 2000, (0, 8), bands=(1,)),
        Cut(8000, 100, 8300, ALL, crops=10, step=400),
    ],
)
def test_gathered_windows_are_the_copied_ones(recordings, cut):
    loaded = DeviceRecordings(recordings, CPU, torch.float32)
    rng = np.random.default_rng(0)
    last = recordings[0].samples - cut.window
    windows = np.stack([rng.integers(3, size=9), [0, last, *rng.integers(last, size=7)]], axis=1)
    copied = list(batches(recordings, windows, 4, cut, np.random.default_rng(1)))
    gathered = list(batches(recordings, windows, 4, cut, np.random.default_rng(1), loaded))
    assert [len(batch.emg) for batch in gathered] == [4, 4, 1]
    for ours, expected in zip(gathered, copied, strict=True):
        for name in ("emg", "labels", "label_lengths", "label_samples"):
            assert torch.equal(getattr(ours, name), getattr(expected, name)), name


@pytest.mark.parametrize("unit", [1.0, 1e-6, 1e6])
def test_half_precision_is_far_below_the_signal_in_any_unit(recordings, unit):
    scaled = [type(r)(**{**vars(r), "emg": np.float32(unit) * r.emg}) for r in recordings[:1]]
    cut = Cut(8000, 0, 8000, ALL)
    half = next(
        batches(scaled, np.array([[0, 8000]]), 1, cut, device=DeviceRecordings(scaled, CPU))
    )
    exact = next(batches(scaled, np.array([[0, 8000]]), 1, cut))
    noise = (half.emg - exact.emg).square().mean() / exact.emg.square().mean()
    assert 10 * torch.log10(noise) < -70
    if unit == 1.0:
        spectrogram = LogSpectrogram(FeaturesConfig())
        difference = (spectrogram(half.emg) - spectrogram(exact.emg)).abs()
        assert difference.mean() < 1e-3  # log power of EMG varies by about 1


def test_a_cpu_reads_from_the_files(recordings):
    assert recordings_on(CPU, tuple(recordings)) is None
