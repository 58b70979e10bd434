"""The clock of a session: its sampling rate, and the gaps where samples are missing."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.saying import counted

_TOLERANCE = 0.05
_STRETCH = 10.0
"""Length over which the rate is averaged (s)."""
_GAP = 0.05
"""Shortest gap (s); one is also ten times as long as the usual step."""


@dataclass(frozen=True, eq=False)
class _Steps:
    """Steps of the clock between different time stamps.

    Attributes:
        start: (K,) time stamp at which each begins (s).
        length: (K,) to the next time stamp (s).
        samples: (K,) samples that share the time stamp.
        is_gap: (K,) whether samples are missing in it.
    """

    start: np.ndarray
    length: np.ndarray
    samples: np.ndarray
    is_gap: np.ndarray


def wrong_clock(time: np.ndarray) -> str | None:
    """Return why times are not those of a session, or None where they are.

    The rate is averaged over stretches of 10 s, since packets of samples may share a time stamp and
    stamps may jitter. A stretch in which most steps are right but samples are missing is right.

    Args:
        time: (S,) time stamps (s), S of 2 or more.
    """
    if not np.isfinite(time[0]):
        return f"time is {time[0]} at sample 0: expected unix seconds"
    ordered = (time[1:] >= time[:-1]) & (time[1:] < np.inf)
    if not ordered.all():
        sample = int(np.argmin(ordered)) + 1
        return (
            f"time goes from {time[sample - 1]:.6f} to {time[sample]:.6f} at sample {sample}: "
            f"it must not decrease"
        )
    expected = f"expected {SAMPLE_RATE} Hz within {_TOLERANCE:.0%}"
    if time[-1] == time[0]:
        return f"sampling rate is unknown, since all samples have the same time: {expected}"
    steps = _steps(time)
    for stretch in _stretches(steps):
        rate = _rate(steps, stretch)
        if rate is not None and abs(rate / SAMPLE_RATE - 1) > _TOLERANCE:
            begin = steps.start[stretch[0]] - time[0]
            median = 1000 * float(np.median(np.diff(time)))
            return (
                f"{f'from {begin:.1f} s on the ' if begin else ''}sampling rate is {rate:.0f} Hz "
                f"(median step {median:.3f} ms): {expected}; resample the recording first"
            )
    return None


def gap_remark(time: np.ndarray) -> str:
    """Return how many gaps the times of a session have, in words; nothing where there are none."""
    steps = _steps(time)
    gaps = steps.length[steps.is_gap]
    if not len(gaps):
        return ""
    return f"{counted(len(gaps), 'gap')} without samples, {gaps.sum():.1f} s in all"


def _steps(time: np.ndarray) -> _Steps:
    first = np.flatnonzero(np.diff(time, prepend=-np.inf) > 0)  # sample of each new time stamp
    length = np.diff(time[first])
    usual = float(np.median(length)) if len(length) else 0.0
    return _Steps(
        start=time[first[:-1]],
        length=length,
        samples=np.diff(first),
        is_gap=length > max(_GAP, 10 * usual),
    )


def _stretches(steps: _Steps) -> list[np.ndarray]:
    """Return the steps of each stretch; gaps take no time of it."""
    recorded = np.cumsum(np.where(steps.is_gap, 0.0, steps.length))
    # What is left at the end is no stretch of its own: it is too short to average over.
    number = np.minimum(recorded // _STRETCH, max(0.0, recorded[-1] // _STRETCH - 1))
    return np.split(np.arange(len(number)), np.flatnonzero(np.diff(number)) + 1)


def _rate(steps: _Steps, stretch: np.ndarray) -> float | None:
    """Return the average rate of a stretch (Hz); None where it has gaps alone.

    The nominal rate where half of its samples or more have their right step: the others are lost.
    """
    whole = stretch[~steps.is_gap[stretch]]
    if not len(whole):
        return None
    length, samples = steps.length[whole], steps.samples[whole]
    # Lost packets lower the average rate, and say nothing about the recorder's clock.
    is_right = np.abs(samples / (length * SAMPLE_RATE) - 1) <= _TOLERANCE
    if 2 * samples[is_right].sum() >= samples.sum():
        return float(SAMPLE_RATE)
    return float(samples.sum() / length.sum())
