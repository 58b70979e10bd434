"""Facts of emg2qwerty that this project keeps, each held by numbers written here.

Elsewhere: the layout of session files in test_sessions.py, label order and transliteration in
test_charset.py, the parameter count of the baseline in test_factory.py, checkpoints in both
directions in test_emg2qwerty.py.
"""

import math

import numpy as np
import pytest
import torch

from emgmodels.charset import decode
from emgmodels.config import AugmentationConfig, Config, FeaturesConfig, TrainingConfig
from emgmodels.factory import build
from emgmodels.network.features import LogSpectrogram
from emgmodels.notation import notation
from emgmodels.sessions import Keystroke, Prompt, Session, find_split, write_session
from emgmodels.windows.batches import window_starts
from emgmodels.windows.cache import prepare
from emgmodels.windows.cut import cut_for

BEGIN = 1.6e9
BASELINE = Config.model_validate({"model": {"encoder": {"order": ["conv"], "conv": {"layers": 4}}}})


def session(name="s", seconds=12.0, user="u", condition="on_keyboard", keys=(), prompts=()):
    samples = round(seconds * 2000)
    emg = np.random.default_rng(sum(map(ord, name))).normal(size=(samples, 2, 16)) * 10
    return Session(
        name=name,
        user=user,
        condition=condition,
        duration_mins=seconds / 60,
        time=BEGIN + np.arange(samples) / 2000,
        emg=emg.astype(np.float32),
        keystrokes=tuple(Keystroke(key, BEGIN + at, BEGIN + at + 0.05) for key, at in keys),
        prompts=tuple(Prompt("p", BEGIN + at, BEGIN + at + 1, text) for text, at in prompts),
    )


@pytest.mark.parametrize("samples", [64, 79, 80, 8000, 10_000])
def test_frames_are_whole_and_sixteen_samples_apart(samples):
    signal = torch.randn(1, 2, 16, samples)
    assert LogSpectrogram(FeaturesConfig())(signal).shape == (
        1,
        2,
        16,
        (samples - 64) // 16 + 1,
        33,
    )


def test_a_sine_has_the_power_of_a_periodic_hann_window_of_energy_one():
    """Sum of the window is 32, of its square 24: a sine at a bin has (A / 2 * 32)^2 / 24."""
    amplitude, bin_ = 30.0, 7
    time = torch.arange(640, dtype=torch.float64)
    sine = (amplitude * torch.sin(2 * math.pi * bin_ * time / 64)).float()
    features = LogSpectrogram(FeaturesConfig())(sine.expand(1, 2, 16, -1))[0, 0, 0]
    power = (amplitude / 2 * 32) ** 2 / 24
    side = (amplitude / 2 * 16) ** 2 / 24  # a Hann window halves a sine in the bins beside it
    expected = [math.log10(value) for value in (side, power, side)]
    np.testing.assert_allclose(features[:, 6:9], np.tile(expected, (len(features), 1)), atol=1e-4)
    assert features[:, 20:].max() < -5


def test_silence_has_the_floor():
    features = LogSpectrogram(FeaturesConfig())(torch.zeros(1, 2, 16, 640))
    np.testing.assert_allclose(features, -6.0, atol=1e-6)


def test_a_window_is_four_seconds_with_its_context_and_500_scored_frames():
    model = build(BASELINE.model)
    framing, cut = cut_for(model, TrainingConfig(), 8000)
    assert (cut.window, cut.before) == (8000, 1800 // 16 * 16)  # whole hops of the 0.9 s
    assert framing.frames == 500
    assert TrainingConfig().window_seconds == 4.0
    assert (AugmentationConfig().rotation, AugmentationConfig().band_jitter_ms) == (1, 60)


def test_labels_of_a_time_range_are_the_keys_pressed_in_it(tmp_path):
    """A key at a window's first sample is in it, one at the first sample after it is not."""
    keys = [("a", 0.0), ("b", 3.9995), ("Key.shift_l", 3.99), ("c", 4.0), ("é", 7.9), ("d", 8.1)]
    write_session(tmp_path / "s.hdf5", session(keys=sorted(keys, key=lambda key: key[1])))
    (recording,) = prepare([tmp_path / "s.hdf5"])
    texts = []
    for _, start in window_starts([recording], 8000).tolist():
        low, high = recording.label_span(start, start + 8000)
        texts.append(decode(recording.labels[low:high]))
    assert texts == ["ab", "ce", "d"]


def test_a_prompt_is_ended_by_one_enter():
    labels = session(condition="on_table", prompts=[("hi", 1), ("you\n", 2), (None, 3)]).labels()
    assert decode(labels.label) == "hi⏎you⏎"


def test_a_split_file_of_the_data_set_is_taken_as_it_is(tmp_path):
    for name in "abc":
        write_session(tmp_path / f"{name}.hdf5", session(name, seconds=1.0, user="7"))
    path = tmp_path / "user0.yaml"
    path.write_text(
        "user: 7\ndataset:\n  train:\n  - user: 7\n    session: b\n  val:\n  - user: 7\n"
        "    session: c\n  test:\n  - user: 7\n    session: a\n"
    )
    split = find_split(tmp_path, split_file=path)
    subsets = (split.subject, split.train[0].stem, split.val[0].stem, split.test[0].stem)
    assert subsets == ("7", "b", "c", "a")


def test_the_baseline_is_what_the_report_calls_it():
    assert notation(BASELINE.model).startswith("conv:4")
