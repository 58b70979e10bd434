"""What an error rate is worth: how far it would move with other text of the same kind.

Windows of a validation or test set are drawn with replacement, as many as there are, thousands of
times over (Efron 1979; for recognised text: Bisani and Ney 2004, "Bootstrap Estimates for
Confidence Intervals in ASR Performance Evaluation"). Several models are given the same draws, so
that what makes a window hard for all of them does not blur how they differ.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from emgmodels.metrics import EditCounts

DRAWS = 2000
_CELLS = 2_000_000
"""Windows drawn at once, which bounds the memory."""


def cer_interval(
    windows: Sequence[EditCounts], rng: np.random.Generator, draws: int = DRAWS
) -> tuple[float, float]:
    """Return the 95 % interval of one model's CER (%); as ``cer_intervals``."""
    errors = np.array([[window.edits for window in windows]])
    characters = np.array([window.target for window in windows])
    low, high = cer_intervals(errors, characters, rng, draws)[0].tolist()
    return low, high


def cer_intervals(
    errors: np.ndarray, characters: np.ndarray, rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    """Return the 95 % percentile intervals of the CERs of K models on the same windows.

    They say how far a CER would move with other text of the same kind by the same typist, whose
    errors in different windows are independent; not how far with another training or typist.

    Args:
        errors: (K, W) edits of each model in each window.
        characters: (W,) characters of each window.
        rng: draws the windows.
        draws: how often.

    Returns:
        (K, 2) lower and upper ends (%); NaN where there are no characters.
    """
    if characters.sum() == 0:
        return np.full((len(errors), 2), np.nan)
    return np.quantile(resampled_cers(errors, characters, rng, draws), [0.025, 0.975], axis=0).T


def resampled_cers(
    errors: np.ndarray, characters: np.ndarray, rng: np.random.Generator, draws: int = DRAWS
) -> np.ndarray:
    """Return (draws, K) CERs (%) of K models on windows drawn with replacement.

    Args:
        errors: (K, W) edits of each model in each window; means over trainings need not be whole.
        characters: (W,) characters of each window; at least one has some.
        rng: draws the windows.
        draws: how often; draws without a character are left out.
    """
    rates = []
    for times in _times_drawn(len(characters), draws, rng):
        drawn = times @ characters.astype(float)
        kept = drawn > 0
        rates.append(100.0 * (times @ errors.T.astype(float))[kept] / drawn[kept, None])
    return np.concatenate(rates)


def _times_drawn(windows: int, draws: int, rng: np.random.Generator) -> Iterator[np.ndarray]:
    """Yield, for some draws at a time, (D, W) how often each window was drawn."""
    at_once = max(1, _CELLS // windows)
    for first in range(0, draws, at_once):
        count = min(at_once, draws - first)
        drawn = rng.integers(windows, size=(count, windows))
        drawn += windows * np.arange(count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=count * windows)
        yield counts.reshape(count, windows).astype(float)
