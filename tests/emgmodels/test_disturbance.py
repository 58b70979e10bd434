"""Augmentations that are off by default: disturbed electrodes, stretched time."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from emgmodels.config import AugmentationConfig
from emgmodels.training.disturbance import disturbed
from emgmodels.windows.batches import batches
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import Cut
from emgmodels.windows.device import recordings_on
from tests.fake_gpu import GPU, FakeGpu

CUT = Cut(window=4000, before=900, samples=5200, electrodes=tuple(range(16)))
EMG = torch.randn(40, 2, 16, 400, generator=torch.Generator().manual_seed(0)) * 30


def changed(seed=1, emg=EMG, **settings):
    return disturbed(emg, AugmentationConfig(**settings), torch.Generator().manual_seed(seed))


def test_nothing_is_changed_or_drawn_by_default():
    generator = torch.Generator().manual_seed(3)
    before = generator.get_state()
    assert disturbed(EMG, AugmentationConfig(), generator) is EMG
    assert torch.equal(generator.get_state(), before)


def test_silent_electrodes_are_silent_for_their_window():
    found = changed(electrode_dropout=0.2)
    silent = (found == 0).all(-1)
    assert float(silent.float().mean()) == pytest.approx(0.2, abs=0.03)
    assert torch.equal(found[~silent], EMG[~silent])
    assert len({tuple(window.flatten().tolist()) for window in silent}) > 30


def test_gains_are_uniform_in_decibels():
    factor = changed(gain_jitter_db=6) / EMG
    decibels = 20 * factor.mean(-1).log10().flatten()
    assert float(factor.std(-1).max()) < 1e-3, "one gain for a window's electrode"
    assert -6 <= float(decibels.min()) < -5.7
    assert 5.7 < float(decibels.max()) <= 6
    assert float(decibels.mean()) == pytest.approx(0, abs=0.4)


def test_noise_is_white_and_up_to_so_many_deviations():
    noise = changed(noise_jitter=0.5) - EMG
    share = (noise.std(-1) / EMG.std(-1)).flatten()
    assert float(share.max()) == pytest.approx(0.5, abs=0.06)
    assert float(share.mean()) == pytest.approx(0.25, abs=0.02)
    beside = (noise[..., 1:] * noise[..., :-1]).mean() / noise.square().mean()
    assert abs(float(beside)) < 0.02


def test_disturbances_are_there_as_here_and_nothing_waits():
    settings = {"electrode_dropout": 0.3, "gain_jitter_db": 3, "noise_jitter": 0.2}
    expected = changed(**settings)
    with FakeGpu() as gpu:
        there = EMG.to(GPU)
        gpu.waits.clear()
        found = changed(emg=there, **settings)
        assert gpu.waits == []
        torch.testing.assert_close(found.cpu(), expected)


@pytest.fixture(scope="module")
def recordings(session_paths):
    return prepare(session_paths)


def stretched(recordings, windows, seed, loaded=None):
    cut = replace(CUT, stretch=0.3)
    rng = np.random.default_rng(seed)
    return next(batches(recordings, windows, len(windows), cut, rng, loaded))


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_a_stretched_batch_is_the_recording_played_at_another_rate(recordings, seed):
    """A sample and a key of the window are where they were in the recording, times the rate."""
    windows = np.array([[0, 9000], [1, 20_000]])
    batch = stretched(recordings, windows, seed)
    assert batch.emg.shape == (2, 2, 16, CUT.samples)
    rng = np.random.default_rng(seed)
    rng.integers(0, 1, (2, 2))  # rotations, of none
    rng.integers(0, 1, 2)  # shifts, of none
    rate = rng.uniform(0.7, 1.3)
    length = round(CUT.window * rate)
    for n, (index, start) in enumerate(windows.tolist()):
        recording = recordings[index]
        begin = start - (length - CUT.window) // 2
        low, high = recording.label_span(begin, begin + length)
        assert int(batch.label_lengths[n]) == high - low
        expected = (recording.first[low:high] - begin) / rate
        found = batch.label_samples[n, : high - low].numpy()
        assert np.abs(found - expected).max(initial=0) <= 1
        at = np.linspace(0, round(CUT.samples * rate) - 1, CUT.samples)
        source = recording.emg[0][3].astype(float)
        place = begin - round(CUT.before * rate) + at
        played = np.interp(place, np.arange(len(source)), source)
        np.testing.assert_allclose(batch.emg[n, 0, 3], played, atol=0.05 * np.abs(played).max())


def test_stretched_windows_stay_inside_and_are_there_as_here(recordings):
    last = recordings[0].samples - CUT.window
    windows = np.array([[0, 0], [0, last]])
    for seed in range(4):
        here = stretched(recordings, windows, seed)
        with FakeGpu():
            loaded = recordings_on(GPU, tuple(recordings))
            there = stretched(recordings, windows, seed, loaded)
            scale = float(here.emg.abs().max())
            torch.testing.assert_close(there.emg.cpu(), here.emg, rtol=1e-3, atol=1e-3 * scale)
        assert torch.equal(there.label_samples, here.label_samples)
        within = here.label_samples[here.label_samples >= 0]
        assert int(within.max()) <= CUT.window
