"""What a CER is worth: coverage on simulated windows whose true error rate is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emgmodels.bootstrap import cer_interval, cer_intervals, resampled_cers
from emgmodels.metrics import EditCounts


def test_the_interval_holds_the_rate_and_narrows_with_more_text():
    rng = np.random.default_rng(0)
    widths = []
    for windows in (20, 500):
        chunks = [EditCounts(0, 0, int(rng.binomial(20, 0.2)), 20) for _ in range(windows)]
        low, high = cer_interval(chunks, np.random.default_rng(1))
        assert low < sum(chunks, EditCounts()).cer < high
        assert (low, high) == cer_interval(chunks, np.random.default_rng(1))
        widths.append(high - low)
    expected = 2 * 1.96 * 100 * math.sqrt(0.2 * 0.8 / (500 * 20))
    assert widths[1] == pytest.approx(expected, rel=0.2)
    assert widths[0] > 3 * widths[1]
    assert all(map(math.isnan, cer_interval([EditCounts(insertions=2)], rng)))


def simulated(rng, models: int, windows: int) -> tuple[np.ndarray, np.ndarray]:
    """Return edits and characters of windows that differ in length and in how hard they are.

    Every model has a true CER of 20 %: the windows' mean difficulty is 1, whatever their length.
    """
    characters = rng.integers(5, 35, size=windows)
    hard = rng.gamma(4, 1 / 4, size=(models, windows))
    return rng.poisson(0.2 * hard * characters), characters


def test_95_in_100_intervals_hold_the_true_rate():
    rng = np.random.default_rng(0)
    held = 0
    for _ in range(300):
        low, high = cer_intervals(*simulated(rng, 1, 80), rng, draws=500)[0]
        held += low <= 20 <= high
    assert 0.90 <= held / 300 <= 0.99


def test_models_are_given_the_same_draws():
    """So a model that is one point worse in every window is so in every draw."""
    errors, characters = simulated(np.random.default_rng(0), 1, 60)
    both = np.concatenate([errors, errors + characters / 100])
    rates = resampled_cers(both, characters, np.random.default_rng(1), draws=300)
    assert rates[:, 1] - rates[:, 0] == pytest.approx(np.ones(300))
    assert rates[:, 0].std() > 0.5


def test_intervals_do_not_depend_on_how_many_models_are_asked_for_at_once():
    errors, characters = simulated(np.random.default_rng(0), 3, 60)
    together = cer_intervals(errors, characters, np.random.default_rng(1))
    alone = cer_intervals(errors[2:], characters, np.random.default_rng(1))
    assert together[2] == pytest.approx(alone[0])
