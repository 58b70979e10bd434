"""What an error rate is worth: how far it would move with other text of the same kind.

Windows of a validation or test set are drawn with replacement, as many as there are, thousands of
times over (Efron 1979; for recognised text: Bisani and Ney 2004, "Bootstrap Estimates for
Confidence Intervals in ASR Performance Evaluation"). Several models are given the same draws, so
that what makes a window hard for all of them does not blur how they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from emgmodels.metrics import EditCounts
from emgmodels.scoring import Rates, Scoring

DRAWS = 2000
_SEED = 0
"""Of the windows drawn. It is the same for all models and commands: one CER has one interval."""
TOLD_APART = 0.05
"""A model whose ``p_best`` is below is not the best of those compared."""
_CELLS = 2_000_000
"""Windows drawn at once, which bounds the memory."""


def cer_interval(
    windows: Sequence[EditCounts],
    rng: np.random.Generator | None = None,
    draws: int = DRAWS,
    scoring: Scoring | None = None,
) -> tuple[float, float]:
    """Return the 95 % interval of one model's CER (%); as ``cer_intervals``."""
    errors = np.array([[window.edits for window in windows]])
    characters = np.array([window.target for window in windows])
    low, high = cer_intervals(errors, characters, rng, draws, scoring)[0].tolist()
    return low, high


def cer_intervals(
    errors: np.ndarray,
    characters: np.ndarray,
    rng: np.random.Generator | None = None,
    draws: int = DRAWS,
    scoring: Scoring | None = None,
) -> np.ndarray:
    """Return the 95 % percentile intervals of the CERs of K models on the same windows.

    They say how far a CER would move with other text of the same kind by the same typist, whose
    errors in different windows are independent. They do not say how far with another training. Of
    several users they also say how far it would move with other users of the same kind, as far as
    a few tell: users are drawn with replacement, and then the windows of each.

    Args:
        errors: (K, W) edits of each model in each window.
        characters: (W,) characters of each window.
        rng: draws the windows; None: the same ones in each call.
        draws: how often.
        scoring: of several users, whose each window is, and which CER it is about.

    Returns:
        (K, 2) lower and upper ends (%); NaN where there are no characters.
    """
    if characters.sum() == 0:
        return np.full((len(errors), 2), np.nan)
    rng = np.random.default_rng(_SEED) if rng is None else rng
    drawn = resampled_cers(errors, characters, rng, draws, scoring)
    return np.quantile(drawn, [0.025, 0.975], axis=0).T


@dataclass(frozen=True, eq=False)
class Comparison:
    """What ``compare`` found of K models.

    Attributes:
        means: (K,) mean CER over each model's trainings (%).
        sds: (K,) standard deviation of the CER over trainings (points).
        intervals: (K, 2) 95 % interval of the mean CER, over seeds and text (%).
        differences: (K, 2) 95 % interval of the mean CER less that of the lowest (points).
        p_best: (K,) p-value of each model's being as good as the best.
    """

    means: np.ndarray
    sds: np.ndarray
    intervals: np.ndarray
    differences: np.ndarray
    p_best: np.ndarray


def compare(
    errors: Sequence[np.ndarray],
    characters: np.ndarray,
    rng: np.random.Generator,
    draws: int = DRAWS,
    scoring: Scoring | None = None,
) -> Comparison:
    """Compare models that were each trained with several seeds, on the same windows.

    What is compared is the CER that an architecture has on average over seeds and text of the same
    kind. Both are random, and every seed meets every window. Windows are many: they are drawn with
    replacement, the same for all models. Seeds are few, and a few values drawn with replacement
    vary too little and never leave their range. So their share is drawn from Student's t, with the
    variance over seeds pooled over the models. A window's luck with a seed counts on both sides, as
    in Owen's pigeonhole bootstrap (2007), which errs towards caution.

    ``p_best`` is that of the model confidence set (Hansen, Lunde and Nason 2011): while the models
    that are left differ by more than draws without a difference do, the worst is taken out.
    However many are compared, the chance that one as good as the best falls below 0.05 is at most
    about 5 %.

    Args:
        errors: of each model, (N, W) edits of its N trainings in each window; N is 2 or more.
        characters: (W,) characters of each window; at least one has some.
        rng: draws windows and seeds.
        draws: how often.
        scoring: of several users, whose each window is, and which CER is compared.
    """
    assert all(len(trainings) > 1 for trainings in errors)
    cers = [_cers(trainings, characters, scoring) for trainings in errors]
    means = np.array([rates.mean() for rates in cers])
    sds = np.array([rates.std(ddof=1) for rates in cers])
    counts = np.array([len(rates) for rates in cers])
    pooled = np.stack([trainings.mean(axis=0) for trainings in errors])
    # Of the worst user, the mean over trainings is not that of their mean errors.
    centre = means if scoring is None else scoring.cer(pooled, characters)
    by_text = resampled_cers(pooled, characters, rng, draws, scoring) - centre
    pooled_sd = np.sqrt(np.average(sds**2, weights=counts - 1))
    freedom = counts.sum() - len(counts)
    # Three values drawn with replacement spread too little, by the square root of 2/3. With each
    # model's own variance, real differences would hardly ever be found.
    by_seed = pooled_sd * _student(freedom, by_text.shape, rng) / np.sqrt(counts)
    moved = by_text + by_seed
    ends = [0.025, 0.975]
    best = int(means.argmin())
    apart = means - means[best] + np.quantile(moved - moved[:, [best]], ends, axis=0)
    text_variance = (by_text[:, :, None] - by_text[:, None, :]).var(axis=0)
    variance = pooled_sd**2 / counts
    errors_of_differences = np.sqrt(text_variance + variance[:, None] + variance)
    return Comparison(
        means=means,
        sds=sds,
        intervals=np.maximum(0.0, means + np.quantile(moved, ends, axis=0)).T,
        differences=apart.T,
        p_best=_confidence_set(means, moved, errors_of_differences),
    )


def resampled_cers(
    errors: np.ndarray,
    characters: np.ndarray,
    rng: np.random.Generator,
    draws: int = DRAWS,
    scoring: Scoring | None = None,
) -> np.ndarray:
    """Return (draws, K) CERs (%) of K models on windows drawn with replacement.

    Args:
        errors: (K, W) edits of each model in each window; means over trainings need not be whole.
        characters: (W,) characters of each window; at least one has some.
        rng: draws the windows.
        draws: how often; draws without a character are left out.
        scoring: of several users, whose each window is: users are drawn first, and then as many
            windows of each as there are of that user.
    """
    if scoring is not None and len(scoring.names) > 1:
        return _resampled_by_user(errors, characters, rng, draws, scoring)
    rates = []
    for times in _times_drawn(len(characters), draws, rng):
        drawn = times @ characters.astype(float)
        kept = drawn > 0
        rates.append(100.0 * (times @ errors.T.astype(float))[kept] / drawn[kept, None])
    return np.concatenate(rates)


def _cers(errors: np.ndarray, characters: np.ndarray, scoring: Scoring | None) -> np.ndarray:
    """Return (N,) the CERs (%) of N trainings."""
    if scoring is None:
        return 100.0 * errors.sum(axis=1) / characters.sum()
    return scoring.cer(errors, characters)


def _resampled_by_user(
    errors: np.ndarray,
    characters: np.ndarray,
    rng: np.random.Generator,
    draws: int,
    scoring: Scoring,
) -> np.ndarray:
    """Return (draws, K) CERs (%) on users, and windows of each, drawn with replacement."""
    users, models = len(scoring.names), len(errors)
    at_once, rates = max(1, _CELLS // (users * models)), []
    for first in range(0, draws, at_once):
        count = min(at_once, draws - first)
        drawn = rng.integers(users, size=count * users)
        sums, letters = np.zeros((count * users, models)), np.zeros(count * users)
        for user in range(users):
            own, places = np.flatnonzero(scoring.of_window == user), np.flatnonzero(drawn == user)
            begin = 0
            # Each time that a user is drawn, other windows are.
            for times in _times_drawn(len(own), len(places), rng):
                rows = places[begin : begin + len(times)]
                sums[rows] = times @ errors[:, own].T.astype(float)
                letters[rows] = times @ characters[own].astype(float)
                begin += len(times)
        edits, typed = sums.reshape(count, users, models), letters.reshape(count, users)
        kept = typed.sum(axis=1) > 0
        edits, typed = edits[kept], typed[kept]
        by_user = 100.0 * edits / np.where(typed, typed, np.nan)[:, :, None]
        pooled = 100.0 * edits.sum(axis=1) / typed.sum(axis=1)[:, None]
        rates.append(Rates(by_user.swapaxes(1, 2), pooled).by(scoring.by))
    return np.concatenate(rates)


def _student(freedom: int, shape: tuple[int, int], rng: np.random.Generator) -> np.ndarray:
    """Return draws of Student's t whose rows share one estimate of the variance."""
    scale = np.sqrt(rng.chisquare(freedom, size=(shape[0], 1)) / freedom)
    return rng.normal(size=shape) / scale


def _confidence_set(means: np.ndarray, moved: np.ndarray, scales: np.ndarray) -> np.ndarray:
    """Return (K,) p-values of the model confidence set.

    Args:
        means: (K,) what is compared; lower is better.
        moved: (draws, K) how far chance moves it.
        scales: (K, K) standard errors of the differences.
    """
    p_values, p_value = np.ones(len(means)), 0.0
    left = list(range(len(means)))
    # The worst goes first: what is left is compared again without it.
    while len(left) > 1:
        scale = np.maximum(scales[np.ix_(left, left)], np.finfo(float).tiny)
        found = (means[left][:, None] - means[left]) / scale
        by_chance = np.abs(moved[:, left, None] - moved[:, None, left]) / scale
        reached = by_chance.max(axis=(1, 2)) >= found.max()
        # A model that is taken out later is at least as good as those before it.
        p_value = max(p_value, float(reached.mean()))
        worst = left[int(found.max(axis=1).argmax())]
        p_values[worst] = p_value
        left.remove(worst)
    return p_values


def _times_drawn(windows: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield, for some draws at a time, (D, W) how often each window was drawn."""
    at_once = max(1, _CELLS // windows)
    for first in range(0, draws, at_once):
        count = min(at_once, draws - first)
        drawn = rng.integers(windows, size=(count, windows))
        drawn += windows * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * windows)
        yield counts.reshape(count, windows).astype(float)
