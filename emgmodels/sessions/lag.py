"""How far the clock of a session's keys is from that of its EMG, estimated from both.

Muscles become active shortly before a key goes down, each time by about as much. So the rise of
activity correlates with the key presses at one lag. What differs from the usual lag is the clocks'.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from emgmodels.config import SAMPLE_RATE
from emgmodels.sessions.session import Session

USUAL = -95.0
"""Where the rise of activity stands beside a key press where clocks agree (ms). Muscles pull 50 to
100 ms after their EMG begins: bursts that begin 50, 75 and 100 ms before the press are found at
-45, -70 and -95 here. The synthetic typist, whose finger is lifted first, is at -103."""
LARGEST = 300.0
"""Lags beyond this are none that can be corrected (ms): windows would have other keys."""
NOTABLE = 60.0
"""Lags up to this are how people differ in what precedes a press (ms)."""
SURE = 5.0
"""Confidence from which a lag counts. Synthetic sessions of 15 to 120 s came to 3.6 at most with
keys of another session or noise for EMG (258 of them), and to 7.6 at least with their own keys."""

_BIN = 8  # samples: 4 ms
_APART = 4  # samples between two whose difference is taken: 2 ms
_RATE = SAMPLE_RATE / _BIN  # bins a second
_SMOOTHED = 33  # bins of the window that lifting and pressing are one rise in: 132 ms
_SLOW = 125  # bins over which a slow change is taken away: 0.5 s
_SEARCHED = 250  # bins to either side in which the best lag is looked for: 1 s
_DOUBT = 0.2  # how much less likely the farthest of these are
_FEWEST = 10  # keys
_BLOCK = 1 << 14  # samples at once, so that they stay in the cache of a core


@dataclass(frozen=True)
class KeyLag:
    """How much later keys are in a session's EMG than by their times, and how sure that is.

    Attributes:
        ms: the lag (ms): above 0 the times are too early.
        confidence: how far the correlation at this lag stands out, in standard deviations of what
            it is for presses at random times; 0 where nothing could be estimated.
    """

    ms: float
    confidence: float

    @property
    def is_sure(self) -> bool:
        """Whether the lag can be corrected: it stands out, and is no larger than ``LARGEST``."""
        return self.confidence >= SURE and abs(self.ms) <= LARGEST

    @property
    def remark(self) -> str:
        """What a user should know of it, in words; empty where clocks agree."""
        if not self.confidence:
            return "too few keys or too short to see whether keys and EMG are on one clock"
        if self.confidence < SURE:
            return (
                f"no lag between keys and EMG stands out (confidence {self.confidence:.1f} of "
                f"{SURE:g}): check that both are of the same typing and on one clock"
            )
        side = "before" if self.ms > 0 else "after"
        if not self.is_sure:
            return (
                f"key times are {abs(self.ms):.0f} ms {side} the EMG's, and {LARGEST:.0f} at most "
                f"can be corrected: put both on one clock"
            )
        if abs(self.ms) <= NOTABLE:
            return ""
        return f"key times are about {abs(self.ms):.0f} ms {side} the EMG's"


def key_lag(session: Session) -> KeyLag | None:
    """Return how far a session's keys are from its EMG; None where they have no times.

    Args:
        session: the session.
    """
    labels = session.labels()
    if not labels.has_key_times:
        return None
    emg = session.emg.reshape(len(session.time), -1)  # (S, B x 16) from (S, B, 16)
    pressed = np.searchsorted(session.time, labels.start) // _BIN
    bins = (len(emg) - _APART) // _BIN
    pressed = pressed[(pressed > 0) & (pressed < bins)]
    if len(pressed) < _FEWEST or bins < 4 * _SEARCHED:
        return KeyLag(0.0, 0.0)
    return _estimate(_rise(_envelope(emg)), pressed)


def _envelope(emg: np.ndarray) -> np.ndarray:
    """Return (T, E) float32: how active each electrode of (S, E) EMG is, every 4 ms."""
    bins = (len(emg) - _APART) // _BIN
    found = np.empty((bins, emg.shape[1]), dtype=np.float32)
    step = _BLOCK // _BIN
    for low in range(0, bins, step):
        block = emg[low * _BIN : min(low + step, bins) * _BIN + _APART]
        # Differences, since an electrode's offset is no activity.
        active = np.abs(block[_APART:] - block[:-_APART])  # (s, E)
        found[low : low + step] = active.reshape(-1, _BIN, emg.shape[1]).mean(1)
    return found


def _rise(envelope: np.ndarray) -> np.ndarray:
    """Return (T,) how fast the activity of (T, E) electrodes rises, all of them together."""
    total = np.zeros(len(envelope))
    for electrode in envelope.T:
        usual = float(np.median(electrode))
        if usual <= 0:  # it records nothing
            continue
        # As a logarithm, since strong electrodes and motion artefacts would drown all others.
        level = np.log(electrode.astype(np.float64) / usual + 0.25)
        total += np.maximum(np.diff(_smoothed(level), prepend=0.0), 0)
    total[0] = total[1]
    total -= total.mean()
    # At the ends fewer bins are averaged: they are not divided by all of the window.
    near = np.convolve(np.ones(len(total)), np.ones(_SLOW), "same")
    return total - np.convolve(total, np.ones(_SLOW), "same") / near


def _smoothed(level: np.ndarray) -> np.ndarray:
    kernel = np.hanning(_SMOOTHED + 2)[1:-1]
    # Continued at its ends: a step there would be the largest rise of all.
    level = np.pad(level, _SMOOTHED // 2, mode="edge")
    return np.convolve(level, kernel / kernel.sum(), "valid")


def _estimate(rise: np.ndarray, pressed: np.ndarray) -> KeyLag:
    """Return the lag at which (T,) rises and the bins of (K,) presses correlate best."""
    bins, usual = len(rise), round(USUAL / 1000 * _RATE)
    presses = np.bincount(pressed, minlength=bins) - len(pressed) / bins
    size = 1 << (2 * bins - 1).bit_length()  # room for all lags, of which none wraps around
    spectrum = np.fft.rfft(rise, size) * np.fft.rfft(presses, size).conj()
    lags = np.arange(-_SEARCHED, _SEARCHED + 1)  # from the usual one
    near = np.fft.irfft(spectrum, size)[lags + usual]
    # Who types as evenly as a metronome fits at several lags: the clocks agree more likely.
    top = int(np.argmax(near * (1 - _DOUBT * np.abs(lags) / _SEARCHED)))
    # What as many presses come to at random times.
    spread = float(np.std(rise)) * len(pressed) ** 0.5
    if not spread > 0 or near[top] <= 0:
        return KeyLag(0.0, 0.0)
    # The middle of the peak's upper half: its top alone is where chance has put it.
    high = near > near[top] / 2
    begin = top - int(np.argmin(np.append(high[top::-1], False))) + 1
    end = top + int(np.argmin(np.append(high[top:], False)))
    place = float((lags[begin:end] * near[begin:end]).sum() / near[begin:end].sum())
    # The usual lag is no whole number of bins.
    ms = 1000 * (place + usual) / _RATE - USUAL
    return KeyLag(ms, float(near[top]) / spread)
