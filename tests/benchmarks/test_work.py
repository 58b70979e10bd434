"""What must not grow is counted where it can be, since times on a shared machine say little."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.plain import log_spectrogram
from benchmarks.training_step import make_batch, make_models, operations, step
from emgmodels.config import FeaturesConfig
from emgmodels.network.features import LogSpectrogram


def test_a_step_multiplies_no_more_than_its_layers_need():
    model, _ = make_models(short=True)
    features, labels, lengths = make_batch(2, frames=100)
    with FlopCounterMode(display=False) as counter:
        step(model, features, labels, lengths)()
    assert 0.9 < counter.get_total_flops() / (2 * operations(model, frames=100)) < 1.1


def test_one_long_window_has_the_features_of_the_plain_way():
    emg = 50 * torch.randn(3333, 2, 16, generator=torch.Generator().manual_seed(0))
    ours = LogSpectrogram(FeaturesConfig())(emg.permute(1, 2, 0)[None])[0]  # (B, E, T, F)
    theirs = log_spectrogram(emg).permute(1, 2, 0, 3)
    torch.testing.assert_close(10**ours, 10**theirs, atol=1.0, rtol=1e-3)
