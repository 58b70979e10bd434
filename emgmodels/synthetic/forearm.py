"""Two forearms with a wristband each: from key presses to what 2 x 16 electrodes record.

1. *Recruitment.* A press is a movement of one finger with three bursts of activity, as fine-wire
   recordings of typing show (Dennerlein, Mote and Rempel 1998): an extensor lifts the finger,
   flexors press the key, the extensor takes the finger off. Reaching adds muscles of wrist and
   finger by direction. Neighbouring fingers join in (enslaving: Zatsiorsky, Li and Latash 2000),
   and a hand hovers where it last pressed, so that a muscle's part in a press depends on the one
   before (coarticulation).
2. *Muscles.* Twenty muscles or compartments stand around the wrist, each with motor-unit groups of
   their own place and depth. A group fires white noise as strong as its muscle is driven, shaped
   by the spectrum of action potentials (Shwedyk, Balasubramanian and Scott 1977).
3. *Volume conduction.* At the angle ``x`` beside a group of depth ``d`` its potential has fallen
   off like a current dipole's, to (1 + (x / d)^2)^-3/2.
4. *Device.* Each wearing turns and rescales the band. Electrodes add noise, mains hum, pops and
   motion, and all is high-passed at 40 Hz, as emg2qwerty's recordings are.

Activity begins about 75 ms before its key goes down, since a muscle pulls 50 to 100 ms after its
EMG begins (electromechanical delay; 66 to 84 ms in Vint, McLean and Harron 2001). All other numbers
are chosen: places follow the order of the muscles around the wrist, weights the directions that
they pull in, sizes the difficulty that ``emgmodels.synthetic`` describes. EMG is in microvolts;
bursts reach peaks of a few hundred, as surface EMG does.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from emgmodels.config import BAND_ELECTRODES, BANDS, SAMPLE_RATE
from emgmodels.sessions import Keystroke
from emgmodels.synthetic.typist import FINGERS, Hand, reaches_of

MUSCLES = {
    "flexor thumb": -58,
    "flexor index": -24,
    "flexor middle": 2,
    "flexor ring": 24,
    "flexor little": 46,
    "extensor thumb": -138,
    "extensor index": -164,
    "extensor middle": 176,
    "extensor ring": 156,
    "extensor little": 136,
    "deep flexor index": -14,
    "deep flexor middle": 12,
    "deep flexor ring": 36,
    "deep flexor little": 60,
    "abductor thumb": -96,
    "own extensor index": -176,
    "wrist flexor radial": -40,
    "wrist flexor ulnar": 78,
    "wrist extensor radial": -118,
    "wrist extensor ulnar": 108,
}
"""Muscles and finger compartments, and where they are: degrees around the wrist from the middle of
the palm's side towards the little finger."""
GROUPS = 3
"""Motor-unit groups of a muscle."""
DEPTH = 12.0
"""Median depth of a group (degrees)."""
BURST = 55.0
"""Standard deviation of the EMG right above a muscle that a press drives with 1 (uV)."""
TONE = 0.08
"""Median drive by posture."""
SPECTRUM = (80.0, 160.0)
"""Lower and upper corner of an action potential's spectrum (Hz)."""

LIFT, PRESS, RELEASE = (-0.120, -0.050), (-0.060, 0.050), (-0.020, 0.050)
"""Begin and end of the three bursts (s): of the first two from the press, of the third from the
release."""
HOLD = 0.3
"""Drive while a key is held, as a share of that in pressing it."""
EDGE = 0.012
"""How fast a burst rises and falls: a tanh of this time constant (s)."""
ENSLAVING = (1.0, 0.22, 0.08, 0.03, 0.01)
"""How much a finger joins in that is 0, 1, ... places away."""
MEMORY, RETURN = 0.9, 3.0
"""The share of its last reach from which a hand sets out, and the time constant of its return to
rest (s)."""
PRESS_SPREAD, MUSCLE_SPREAD = 0.25, 0.20
"""Standard deviation of the logarithm of a press's strength, and of each muscle's part in it."""
JITTER = 0.008
"""Standard deviation of the time between muscle and key (s)."""

ROTATION = 0.75
"""A band is put on up to this many electrodes beside its usual place."""
USUAL_PLACE = 1.0
"""Of several people, each usually wears a band up to this many electrodes beside another's."""
CONTACT, DRIFT = 0.12, 0.05
"""Standard deviation of the logarithm of an electrode's gain between wearings, and while worn."""
SENSOR_NOISE = 4.0
"""Standard deviation of an electrode's own noise (uV)."""
MAINS, HUM = 60.0, 1.0
"""Frequency (Hz), and mean amplitude that differential electrodes leave of it (uV)."""
ARTEFACTS = 1.0
"""Motion artefacts of a band a minute, and as many electrode pops."""
HIGH_PASS = 40.0
"""Cut-off of the device's fourth-order high-pass (Hz)."""

_GRID = 8  # samples between the points at which drive is computed: 4 ms
_PADDED = 1 << 15  # samples filtered at once
_MARGIN = 256  # samples beyond which a filter's impulse response is nothing
_BLOCK = _PADDED - 2 * _MARGIN


@dataclass(frozen=True, eq=False)
class Forearm:
    """One arm's anatomy and habits, the same in all sessions of a subject.

    Attributes:
        angle: (U,) place of each motor-unit group (degrees around the wrist).
        depth: (U,) its depth (degrees: the angle at which its potential has fallen off).
        strength: (U,) its EMG right above it at a drive of 1 (uV).
        habit: (5, M) how much this person uses each muscle for each finger, about 1.
    """

    angle: np.ndarray
    depth: np.ndarray
    strength: np.ndarray
    habit: np.ndarray

    def worn(self, electrodes: float) -> Forearm:
        """Return the arm of a person who usually wears the band turned by that many electrodes."""
        return replace(self, angle=self.angle - electrodes * 360 / BAND_ELECTRODES)

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Forearm:
        """Return a random person's forearm."""
        places = np.array(list(MUSCLES.values())) + rng.normal(0, 4, len(MUSCLES))
        groups = len(MUSCLES) * GROUPS
        return cls(
            angle=np.repeat(places, GROUPS) + rng.normal(0, 7, groups),
            depth=DEPTH * _lognormal(rng, 0.25, groups),
            strength=BURST / np.sqrt(GROUPS) * _lognormal(rng, 0.25, groups),
            habit=_lognormal(rng, 0.25, (len(FINGERS), len(MUSCLES))),
        )


@dataclass(frozen=True, eq=False)
class _Presses:
    """Key presses of one hand: (K,) finger and times, (K, 2) movement forward and inward."""

    finger: np.ndarray
    move: np.ndarray
    down: np.ndarray
    up: np.ndarray


def record(
    strokes: Sequence[Keystroke],
    samples: int,
    arms: tuple[Forearm, Forearm],
    rng: np.random.Generator,
) -> np.ndarray:
    """Return the EMG of both bands while keys are pressed.

    Args:
        strokes: Keys in the order pressed, in seconds from the recording's start.
        samples: Length of the recording, T.
        arms: Left and right forearm.
        rng: Source of how the bands are worn, of each press's variation and of all noise.

    Returns:
        (T, 2, 16) float32 EMG at 2 kHz (uV), left and right band.
    """
    emg = np.empty((samples, BANDS, BAND_ELECTRODES), dtype=np.float32)
    hands: tuple[Hand, Hand] = ("left", "right")
    for band, (hand, arm) in enumerate(zip(hands, arms, strict=True)):
        drive = _drive(_presses(strokes, hand), arm, samples, rng)
        emg[:, band] = _electrodes(drive, arm, samples, rng).T
    return emg


def _presses(strokes: Sequence[Keystroke], hand: Hand) -> _Presses:
    """Return a hand's own presses, each as a movement from where the hand hovers."""
    reaches = zip(reaches_of(strokes), strokes, strict=True)
    own = [(reach, stroke) for reach, stroke in reaches if reach.hand == hand]
    down = np.array([stroke.start for _, stroke in own])
    place = np.array([(reach.forward, reach.inward) for reach, _ in own]).reshape(-1, 2)
    move = place.copy()
    move[1:] -= MEMORY * np.exp(-np.diff(down) / RETURN)[:, None] * place[:-1]
    return _Presses(
        finger=np.array([reach.finger for reach, _ in own], dtype=np.int64),
        move=move,
        down=down,
        up=np.array([stroke.end for _, stroke in own]),
    )


def _drive(presses: _Presses, arm: Forearm, samples: int, rng: np.random.Generator) -> np.ndarray:
    """Return (M, G) float32: how strongly each muscle is driven, every 4 ms of whole blocks."""
    muscles, count = len(MUSCLES), len(presses.finger)
    points = -(-samples // _BLOCK) * _BLOCK // _GRID + 1
    seconds = 250  # points of posture's drive are a second apart
    knots = TONE * _lognormal(rng, 0.4, (muscles, points // seconds + 2))
    drive = _interpolated(knots, seconds)[:, :points]
    strength = _lognormal(rng, PRESS_SPREAD, (count, 1)) * arm.habit[presses.finger]
    strength *= _lognormal(rng, MUSCLE_SPREAD, (count, muscles))
    lift, press = (weights * strength for weights in _recruitment(presses))
    jitter = rng.normal(0, JITTER, count)
    down, up = presses.down + jitter, presses.up + jitter
    _add_bursts(drive, lift, down + LIFT[0], down + LIFT[1])
    _add_bursts(drive, press, down + PRESS[0], down + PRESS[1])
    _add_bursts(drive, HOLD * press, down, up)
    _add_bursts(drive, 0.4 * lift, up + RELEASE[0], up + RELEASE[1])
    return drive


def _recruitment(presses: _Presses) -> tuple[np.ndarray, np.ndarray]:
    """Return (K, M) drives of lifting and of pressing the finger of each press."""
    forward, inward = presses.move.T[:, :, None]  # (K, 1) each
    ahead, back = np.maximum(forward, 0), np.maximum(-forward, 0)
    inner, outer = np.maximum(inward, 0), np.maximum(-inward, 0)
    index = (presses.finger == FINGERS.index("index"))[:, None]
    thumb = (presses.finger == FINGERS.index("thumb"))[:, None]
    apart = np.abs(np.subtract.outer(np.arange(len(FINGERS)), np.arange(len(FINGERS))))
    fingers = np.array(ENSLAVING)[apart][presses.finger]  # (K, 5)
    none = np.zeros((len(fingers), len(MUSCLES)))

    flex, deep, extend = none.copy(), none.copy(), none.copy()
    flex[:, _columns("flexor")] = fingers
    deep[:, _columns("deep flexor")] = fingers[:, 1:]
    extend[:, _columns("extensor")] = fingers
    reach = ahead * extend + back * deep
    reach[:, _columns("wrist extensor radial")] += 0.5 * ahead + inner
    reach[:, _columns("wrist extensor ulnar")] += 0.5 * ahead + outer
    reach[:, _columns("wrist flexor radial")] += 0.6 * back + 0.8 * inner
    reach[:, _columns("wrist flexor ulnar")] += 0.6 * back + 0.8 * outer
    reach[:, _columns("own extensor index")] += index * (0.2 + inner)
    steady = none.copy()
    steady[:, _columns("wrist extensor")] = 0.1
    steady[:, _columns("abductor thumb")] = 0.6 * thumb
    # A curled finger presses with the deep flexor, a straight one with the superficial.
    curl = np.where(thumb, 0.0, np.clip(0.5 - 0.5 * forward, 0, 1))
    lift = steady + 0.5 * extend + 0.5 * reach
    press = steady + (1 - 0.9 * curl) * flex + (0.3 + 0.9 * curl) * deep + 0.15 * extend
    return lift, press + 0.9 * reach


def _columns(start: str) -> list[int]:
    """Return the columns of the muscles whose names begin so."""
    return [at for at, name in enumerate(MUSCLES) if name.startswith(start)]


def _add_bursts(drive: np.ndarray, weights: np.ndarray, begin: np.ndarray, end: np.ndarray) -> None:
    """Add bursts from begin to end (K, s), each with a row of (K, M) weights, to (M, G) drive."""
    step, tail = _GRID / SAMPLE_RATE, 4 * EDGE
    for weight, first, last in zip(weights.astype(np.float32), begin, end, strict=True):
        low, high = max(0, int((first - tail) / step)), max(0, int((last + tail) / step))
        time = np.arange(low, min(high, drive.shape[1])) * step
        shape = np.tanh((time - first) / EDGE) - np.tanh((time - last) / EDGE)
        drive[:, low : low + len(time)] += weight[:, None] * (0.5 * shape).astype(np.float32)


def _electrodes(
    drive: np.ndarray, arm: Forearm, samples: int, rng: np.random.Generator
) -> np.ndarray:
    """Return (16, T) float32 EMG of a band that is put on again.

    Everything linear happens on the spectra of blocks, whose results overlap and add up.
    """
    frequency = np.fft.rfftfreq(_PADDED, 1 / SAMPLE_RATE)
    gain = _wear(arm, rng)  # (16, U)
    spectra = _action_potentials(frequency, arm.depth)  # (U, frequencies)
    high_pass = 1 / np.sqrt(1 + (HIGH_PASS / np.maximum(frequency, 1e-3)) ** 8)
    device = high_pass.astype(np.float32)
    hum = rng.exponential(HUM, (BAND_ELECTRODES, 1))
    blocks = -(-samples // _BLOCK)
    emg = np.zeros((BAND_ELECTRODES, blocks * _BLOCK + 2 * _MARGIN), dtype=np.float32)
    for begin in range(0, blocks * _BLOCK, _BLOCK):
        points = drive[:, begin // _GRID : (begin + _BLOCK) // _GRID + 1]
        firing = rng.standard_normal((len(spectra), _BLOCK), dtype=np.float32)
        firing *= np.repeat(_interpolated(points, _GRID), GROUPS, axis=0)
        recorded = gain @ (_spectrum(firing) * spectra)
        recorded += _spectrum(_disturbances(begin, hum, rng))
        emg[:, begin : begin + _PADDED] += np.fft.irfft(recorded * device, n=_PADDED)
    drift = _interpolated(_lognormal(rng, DRIFT, (BAND_ELECTRODES, blocks + 1)), _BLOCK)
    return emg[:, _MARGIN : _MARGIN + samples] * drift[:, :samples]


def _wear(arm: Forearm, rng: np.random.Generator) -> np.ndarray:
    """Return (16, U) float32: how strongly each electrode sees each motor-unit group."""
    turned = np.arange(BAND_ELECTRODES) + rng.uniform(-ROTATION, ROTATION)
    beside = turned[:, None] * 360 / BAND_ELECTRODES - arm.angle
    beside = (beside + 180) % 360 - 180
    gain = arm.strength * (1 + (beside / arm.depth) ** 2) ** -1.5
    gain *= _lognormal(rng, CONTACT) * _lognormal(rng, CONTACT, (BAND_ELECTRODES, 1))
    return gain.astype(np.float32)


def _action_potentials(frequency: np.ndarray, depth: np.ndarray) -> np.ndarray:
    """Return (U, frequencies) float32 amplitude spectra of unit power; the deeper, the lower."""
    low = SPECTRUM[0]
    high = SPECTRUM[1] * (depth[:, None] / DEPTH) ** -0.3
    power = frequency**2 / ((frequency**2 + low**2) * (frequency**2 + high**2) ** 2)
    return np.sqrt(power / power.mean(1, keepdims=True)).astype(np.float32)


def _disturbances(begin: int, hum: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    """Return (16, _BLOCK) float32 of what is no muscle (uV), before the device's filter."""
    noise = SENSOR_NOISE * rng.standard_normal((BAND_ELECTRODES, _BLOCK), dtype=np.float32)
    phase = 2 * np.pi * MAINS * (begin + np.arange(_BLOCK)) / SAMPLE_RATE
    noise += (hum * (np.sin(phase) + 0.3 * np.sin(3 * phase))).astype(np.float32)
    expected = ARTEFACTS * _BLOCK / SAMPLE_RATE / 60
    for _ in range(rng.poisson(expected)):  # the band moves: slow waves at all electrodes
        length = int(rng.uniform(0.2, 0.6) * SAMPLE_RATE)
        first = int(rng.integers(_BLOCK - length))
        wave = 20 * np.cumsum(rng.standard_normal(length)) * np.hanning(length)
        noise[:, first : first + length] += rng.standard_normal((BAND_ELECTRODES, 1)) * wave
    for _ in range(rng.poisson(expected)):  # an electrode loses contact: a step that dies away
        first = int(rng.integers(_BLOCK - 1000))
        step = rng.normal(0, 800) * np.exp(-np.arange(1000) / 100)
        noise[rng.integers(BAND_ELECTRODES), first : first + 1000] += step
    return noise


def _spectrum(signal: np.ndarray) -> np.ndarray:
    """Return the spectra of (rows, _BLOCK) samples with room for what filters add around them."""
    return np.fft.rfft(np.pad(signal, ((0, 0), (_MARGIN, _MARGIN))))


def _interpolated(knots: np.ndarray, every: int) -> np.ndarray:
    """Return (rows, (P - 1) x every) float32 points on the lines between (rows, P) knots."""
    knots = knots.astype(np.float32)
    part = np.arange(every, dtype=np.float32) / every
    lines = knots[:, :-1, None] + np.diff(knots)[:, :, None] * part
    return lines.reshape(len(knots), -1)


def _lognormal(
    rng: np.random.Generator, spread: float, shape: tuple[int, ...] | int = ()
) -> np.ndarray:
    """Return numbers of median 1, given the standard deviation of their logarithm."""
    return np.exp(spread * rng.standard_normal(shape))
