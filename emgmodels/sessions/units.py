"""The unit of EMG: found from its strength, so that volts and millivolts are read as microvolts.

The features add a floor of 1e-6 to the power, a constant that suits microvolts: muscles at the
wrist give some 2 to 200 of them. In volts the floor would cover everything. A recording that is far
too weak for microvolts is therefore multiplied by a power of 1000; every other is left as it is,
bit by bit. Stronger units and converter counts need no scale, because the logarithm makes a factor
a constant. Only where squares would overflow is a recording divided.
"""

from __future__ import annotations

import math

import numpy as np

WEAKEST, STRONGEST = 0.3, 1e6
"""Amplitudes (robust standard deviations) that are left as they are."""
LARGEST = 1e15
"""Magnitude that no scaled sample may exceed: its square, summed over a window, is finite."""
_SAMPLES = 1 << 14
_NAMES = {1e6: "volts", 1e3: "millivolts"}


def amplitude(emg: np.ndarray) -> float:
    """Return the strength of (S, ...) EMG, as a standard deviation that artefacts do not move.

    Per electrode it is 1.48 times the median distance from the median; of the electrodes that
    carry a signal, the median. It is looked at in at most 16,384 samples, evenly spaced.

    Returns:
        Strength in the EMG's unit; 0 where no electrode moves.
    """
    # An evenly spaced part tells the strength as well as the whole.
    some = emg[:: max(1, math.ceil(len(emg) / _SAMPLES))].reshape(-1, math.prod(emg.shape[1:]))
    if len(some) == 0:
        return 0.0
    some = some.astype(np.float64)
    distances = np.abs(some - np.median(some, axis=0))
    strengths = 1.4826 * np.median(distances, axis=0)
    if not strengths.any():  # a coarse converter, which repeats one value most of the time
        strengths = np.sqrt(np.square(distances).mean(axis=0))
    moving = strengths[strengths > 0]
    return float(np.median(moving)) if len(moving) else 0.0


def scale_of(emg: np.ndarray) -> float:
    """Return what (S, ...) EMG is multiplied by: 1 unless its unit can't be microvolts."""
    strength = amplitude(emg)
    if strength == 0 or WEAKEST <= strength <= STRONGEST:
        return 1.0
    edge = WEAKEST if strength < WEAKEST else STRONGEST
    steps = math.log(edge / strength, 1000)
    # Powers of 1000 only: a recording is in one unit or another, never a little off.
    return float(1000.0 ** (math.ceil(steps) if steps > 0 else math.floor(steps)))


def unit_remark(scale: float) -> str:
    """Return what a user should know of a recording's scale; nothing where it is 1."""
    if scale == 1:
        return ""
    if scale in _NAMES:
        return f"emg looks like {_NAMES[scale]}: read as microvolts, x {scale:g}"
    kind = "weak" if scale > 1 else "strong"
    return f"emg is far too {kind} for microvolts: read x {scale:g}"
