"""What a CER is worth: coverage on simulated windows whose true error rate is known."""

from __future__ import annotations

import math

import numpy as np
import pytest

from emgmodels.bootstrap import (
    TOLD_APART,
    cer_interval,
    cer_intervals,
    compare,
    resampled_cers,
)
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


def trained(rng, worse: list[float], seeds: int = 3, windows: int = 120):
    """Return what ``compare`` takes: models whose CER is 15 % and so many points worse.

    A window is easier for one architecture, and luckier with one seed, than for another; a seed
    moves the whole CER by 4 % of it.
    """
    characters = rng.integers(8, 30, size=windows)
    hard = rng.gamma(4, 1 / 4, size=windows)
    errors = []
    for points in worse:
        own = hard * rng.gamma(16, 1 / 16, size=windows)
        level = (0.15 + points / 100) * np.exp(0.04 * rng.normal(size=(seeds, 1)))
        luck = rng.gamma(16, 1 / 16, size=(seeds, windows))
        errors.append(rng.poisson(level * own * luck * characters))
    return errors, characters


def test_equal_models_with_different_seeds_are_seldom_told_apart():
    rng = np.random.default_rng(0)
    sets = [compare(*trained(rng, [0, 0, 0], windows=400), rng, 400) for _ in range(150)]
    assert sum((found.p_best < TOLD_APART).any() for found in sets) / 150 <= 0.08
    assert len({int(found.p_best.argmax()) for found in sets}) == 3


def test_a_worse_model_is_told_apart_and_the_equal_ones_stay():
    rng = np.random.default_rng(0)
    sets = [compare(*trained(rng, [0, 0, 6], seeds=4), rng, draws=400) for _ in range(60)]
    assert sum(found.p_best[2] < TOLD_APART for found in sets) >= 55
    assert sum((found.p_best[:2] < TOLD_APART).any() for found in sets) <= 6


def test_more_seeds_tell_more():
    rng = np.random.default_rng(0)
    few, many = (
        np.mean([compare(*trained(rng, [0, 3], n), rng, 400).p_best[1] for _ in range(40)])
        for n in (2, 6)
    )
    assert many < few / 2


def test_a_comparison_says_mean_spread_and_distance():
    errors, characters = trained(np.random.default_rng(0), [0, 5, 9], seeds=4, windows=300)
    found = compare(errors, characters, np.random.default_rng(1))
    cers = [100 * model.sum(axis=1) / characters.sum() for model in errors]
    assert found.means == pytest.approx([rates.mean() for rates in cers])
    assert found.sds == pytest.approx([rates.std(ddof=1) for rates in cers])
    assert (found.intervals[:, 0] < found.means).all()
    assert (found.intervals[:, 1] > found.means).all()
    assert found.differences[0] == pytest.approx([0, 0])
    low, high = found.differences[2]
    assert low < found.means[2] - found.means[0] < high
    assert found.p_best[0] == 1
    again = compare(errors, characters, np.random.default_rng(1))
    assert np.array_equal(again.p_best, found.p_best)


def test_identical_models_are_not_told_apart():
    errors, characters = trained(np.random.default_rng(0), [0], seeds=3)
    found = compare([errors[0], errors[0]], characters, np.random.default_rng(0))
    assert found.p_best == pytest.approx([1, 1])
    same = np.repeat(errors[0][:1], 2, axis=0)  # and no spread over seeds either
    assert compare([same, same], characters, np.random.default_rng(0)).p_best.min() == 1
