import numpy as np
import pytest
import torch

from emgmodels.config import AugmentationConfig, FeaturesConfig
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.network.features import LogSpectrogram, SpecAugment, make_features


def test_log_spectrogram_is_the_textbook_one():
    """Against numpy's FFT of Hann-windowed frames, power over window energy, log10."""
    for n_fft, hop, samples in [(64, 16, 1000), (64, 64, 513), (32, 10, 32)]:
        module = LogSpectrogram(FeaturesConfig(n_fft=n_fft, hop=hop))
        emg = torch.randn(2, 2, 3, samples, generator=torch.Generator().manual_seed(0)) * 50
        window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(n_fft) / n_fft)
        frames = (samples - n_fft) // hop + 1
        assert module.frames(samples) == frames
        assert module.samples(frames) <= samples
        expected = np.empty((2, 2, 3, frames, n_fft // 2 + 1))
        for t in range(frames):
            piece = emg[..., t * hop : t * hop + n_fft].double().numpy() * window
            power = np.abs(np.fft.rfft(piece)) ** 2 / (window**2).sum()
            expected[..., t, :] = np.log10(power + 1e-6)
        np.testing.assert_allclose(module(emg).numpy(), expected, atol=2e-3)


def test_bins_average_power_over_bands_that_widen_with_frequency():
    emg = torch.randn(1, 2, 3, 500, generator=torch.Generator().manual_seed(0)) * 50
    fine = 10 ** LogSpectrogram(FeaturesConfig())(emg)
    for bins in (1, 6, 12, 33):
        coarse = 10 ** LogSpectrogram(FeaturesConfig(bins=bins))(emg)
        assert coarse.shape == (1, 2, 3, 28, bins)
        widths, low = [], 0
        for i in range(bins):  # every bin is the mean of the next few frequencies
            width = next(
                w
                for w in range(1, 34)
                if torch.allclose(coarse[..., i], fine[..., low : low + w].mean(-1), rtol=1e-2)
            )
            widths.append(width)
            low += width
        assert low == 33
        assert widths == sorted(widths)


def test_learned_filters_start_as_the_spectrogram_and_learn():
    emg = torch.randn(2, 2, 3, 500, generator=torch.Generator().manual_seed(0)) * 50
    config = FeaturesConfig(filters="learned", hop=20)
    features = make_features(config)
    fixed = make_features(FeaturesConfig(hop=20))
    torch.testing.assert_close(features(emg), fixed(emg), atol=2e-3, rtol=0)
    assert features.frames(500) == fixed.frames(500) == features(emg).shape[3]
    features(emg).sum().backward()
    assert features.weight.grad.abs().sum() > 0


def test_fewer_learned_filters_start_at_the_centres_of_the_bins():
    features = make_features(FeaturesConfig(filters="learned", bins=6))
    time = torch.arange(400) / 64
    loudest = [
        int(
            features(torch.sin(2 * np.pi * f * time).expand(1, 1, 1, -1))
            .mean((0, 1, 2, 3))
            .argmax()
        )
        for f in (1, 4, 12, 30)
    ]
    assert loudest == sorted(set(loudest))
    assert loudest[-1] == 5


def test_the_features_hold_no_weights():
    assert not list(LogSpectrogram(FeaturesConfig()).parameters())
    assert not LogSpectrogram(FeaturesConfig()).state_dict()


def test_electrodes_are_evenly_spaced():
    assert electrode_indices(16) == list(range(16))
    assert electrode_indices(8) == list(range(0, 16, 2))
    assert electrode_indices(4) == [0, 4, 8, 12]
    assert len(set(electrode_indices(12))) == 12


def test_electrodes_are_neighbours_or_on_one_wrist():
    assert electrode_indices(5, "contiguous") == [0, 1, 2, 3, 4]
    assert electrode_indices(4, "left") == electrode_indices(4)
    assert [band_indices(c) for c in ("spaced", "contiguous", "left", "right")] == [
        [0, 1], [0, 1], [0], [1],
    ]  # fmt: skip


def spans(mask: torch.Tensor) -> int:
    return int((mask.int().diff(prepend=torch.zeros(1, dtype=torch.int)) == 1).sum())


def test_spec_augment_masks_spans_of_the_given_size_with_the_mean():
    config = AugmentationConfig(time_masks=2, time_mask_ms=80, frequency_masks=1)
    augment = SpecAugment(config, hop=16)  # masks of up to 10 frames and 4 bins
    x = torch.randn(40, 2, 3, 100, 33, generator=torch.Generator().manual_seed(1))
    y = augment(x.clone(), torch.Generator().manual_seed(2))
    changed = (x != y).all(1).all(1)  # (N, T, F)
    seen_time = seen_frequency = 0
    for n in range(40):
        in_time = changed[n].float().mean(1) > 0.5
        in_frequency = changed[n].float().mean(0) > 0.5
        assert spans(in_time) <= 2
        assert in_time.sum() <= 20
        assert in_frequency.sum() <= 4
        seen_time += bool(in_time.any())
        seen_frequency += bool(in_frequency.any())
        torch.testing.assert_close(
            y[n][x[n] != y[n]], x[n].mean().expand(int((x[n] != y[n]).sum()))
        )
    assert seen_time > 15
    assert seen_frequency > 10


def test_spec_augment_off_changes_nothing():
    augment = SpecAugment(AugmentationConfig(time_masks=0, frequency_masks=0), hop=16)
    x = torch.randn(2, 2, 3, 50, 33)
    assert torch.equal(augment(x.clone(), torch.Generator()), x)


@pytest.mark.parametrize("shape", [(1, 1, 1, 64), (3, 2, 5, 333), (1, 2, 16, 10_001)])
def test_features_in_pieces_are_those_of_the_whole(shape):
    """What a CPU computes a few electrodes at a time is what another device computes at once."""
    emg = 50 * torch.randn(shape, generator=torch.Generator().manual_seed(0))
    for config in (FeaturesConfig(), FeaturesConfig(bins=6), FeaturesConfig(n_fft=32, hop=10)):
        module = LogSpectrogram(config)
        whole = module(emg.clone().requires_grad_()).detach()
        torch.testing.assert_close(module(emg), whole, atol=2e-3, rtol=0)


def test_spec_augment_in_place_is_that_of_one_mask():
    augment = SpecAugment(AugmentationConfig(), hop=16)
    x = torch.randn(5, 2, 3, 100, 33, generator=torch.Generator().manual_seed(1))
    whole = augment(x.clone().requires_grad_(), torch.Generator().manual_seed(3))
    torch.testing.assert_close(augment(x, torch.Generator().manual_seed(3)), whole.detach())
