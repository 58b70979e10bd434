"""A touch typist's hands: which finger presses which key of a US keyboard, and when.

The rhythm follows published observations; a number whose source is not named is chosen.

- Keys are pressed 4.4 times a second on average, the mean of emg2qwerty's 108 typists (265 keys a
  minute, Sivakumar et al. 2024). The medians below are chosen so that this rate results, the
  pauses between prompts included.
- Intervals are skewed to the right. A key of the other hand comes 30 to 60 ms sooner than one of
  the same hand (Salthouse 1984), one finger's next key later than another finger's (Gentner 1983),
  and the first letter of a word is slow (Salthouse 1986).
- A key stays down for about 110 ms, so that the next is often pressed before it is released
  (rollover, Dhakal et al. 2018).
- Typos hit a neighbouring key and are corrected by backspaces; their rate is chosen.
"""

from __future__ import annotations

import functools
import string
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from emgmodels.sessions import Keystroke

Hand = Literal["left", "right"]
FINGERS = ("thumb", "index", "middle", "ring", "little")

OTHER_HAND = 0.175
"""Median interval to a key of the other hand (s)."""
SAME_HAND = 0.220
"""Median interval to a key of another finger of the same hand (s)."""
SAME_FINGER = 0.260
"""Median interval to another key of the same finger (s)."""
SAME_KEY = 0.190
"""Median interval of a double letter (s)."""
NUMBER_ROW = 1.5
"""Keys of the number row are slower by this factor."""
WORD_START = 1.2
"""The first letter of a word is slower by this factor."""
INTERVAL_SPREAD = 0.30
"""Standard deviation of the logarithm of an interval."""
HESITATIONS, HESITATION = 0.02, 2.5
"""Share of intervals in which the typist hesitates, and how many times longer they are."""
SHORTEST = 0.045
"""Shortest interval (s)."""
HOLD, HOLD_SPREAD = 0.110, 0.20
"""Median time a key stays down (s), and the standard deviation of its logarithm."""
SHIFT_LEAD = (0.08, 0.16)
"""Shift goes down this long before the key it shifts (s), and up shortly after it."""
TYPOS = 0.012
"""Share of letters typed wrong at first."""
NOTICED_AFTER = (0.6, 0.3, 0.1)
"""Probability that a typo is noticed after 0, 1, 2 more keys."""


@dataclass(frozen=True)
class Rhythm:
    """How one person types.

    Attributes:
        pace: Factor of all intervals.
        spread: Standard deviation of the logarithm of an interval.
        hold: Median time a key stays down (s).
        typos: Share of letters typed wrong at first.
    """

    pace: float = 1.0
    spread: float = INTERVAL_SPREAD
    hold: float = HOLD
    typos: float = TYPOS

    @classmethod
    def draw(cls, rng: np.random.Generator) -> Rhythm:
        """Return a random person's; medians are the usual, spreads are chosen."""
        factors = np.exp(rng.normal(0, (0.18, 0.20, 0.20, 0.40)))
        usual = (1.0, INTERVAL_SPREAD, HOLD, TYPOS)
        return cls(*(float(each * factor) for each, factor in zip(usual, factors, strict=True)))


USUAL = Rhythm()


@dataclass(frozen=True)
class Reach:
    """Which finger presses a key, and how far the key is from where the finger rests.

    Attributes:
        hand: Left or right.
        finger: Index into ``FINGERS``.
        forward: Rows away from the typist: number row 2, top row 1, home row 0, bottom row -1.
        inward: Key widths towards the thumb; outward is negative.
    """

    hand: Hand
    finger: int
    forward: float
    inward: float


_ROWS = ("`1234567890-=", "qwertyuiop[]\\", "asdfghjkl;'", "zxcvbnm,./")
_SHIFTED = ("~!@#$%^&*()_+", "QWERTYUIOP{}|", 'ASDFGHJKL:"', "ZXCVBNM<>?")
_STAGGER = (-1.75, -0.25, 0.0, 0.5)  # of a US keyboard's rows against the home row (key widths)
_FINGER_OF_COLUMN = (4, 3, 2, 1, 1, 1, 1, 2, 3, 4)
_NAMED_KEYS = {
    "Key.space": Reach("right", 0, 0.0, 0.0),
    "Key.enter": Reach("right", 4, 0.0, -2.0),
    "Key.backspace": Reach("right", 4, 2.0, -2.25),
}
_SHIFTS = {"left": Reach("left", 4, -1.0, -0.75), "right": Reach("right", 4, -1.0, -2.5)}


def reaches_of(strokes: Sequence[Keystroke]) -> list[Reach]:
    """Return how each key is pressed; shift is held by the hand that does not press what it shifts.

    Args:
        strokes: Keys in the order pressed, each shift directly before what it shifts.
    """
    reaches: list[Reach] = []
    for stroke in reversed(strokes):
        if stroke.key == "Key.shift":
            reaches.append(_SHIFTS["left" if reaches[-1].hand == "right" else "right"])
        else:
            reaches.append(_reaches()[stroke.key])
    return reaches[::-1]


def type_text(
    text: str, start: float, rng: np.random.Generator, rhythm: Rhythm = USUAL
) -> list[Keystroke]:
    """Type a text and an enter, with typos and their corrections.

    Args:
        text: Characters of a US keyboard.
        start: When the first key is pressed (s).
        rng: Source of intervals and typos.
        rhythm: Of who types.

    Returns:
        Keys in the order pressed, each shift directly before what it shifts. With the backspaces
        applied they spell the text.
    """
    keys = ["Key.space" if character == " " else character for character in text]
    strokes: list[Keystroke] = []
    previous, now = None, start
    for key in _with_typos([*keys, "Key.enter"], rng, rhythm):
        if previous is not None:
            now += _interval(previous, key, rng, rhythm)
        hold = rhythm.hold * float(np.exp(HOLD_SPREAD * rng.standard_normal()))
        if any(key in row for row in _SHIFTED):
            shift = now
            now += rng.uniform(*SHIFT_LEAD)
            strokes.append(Keystroke("Key.shift", shift, now + 0.5 * hold))
        strokes.append(Keystroke(key, now, now + hold))
        previous = key
    return _released_in_time(strokes)


@functools.cache
def _reaches() -> dict[str, Reach]:
    """Return the reach of every key but shift."""
    reaches = dict(_NAMED_KEYS)
    for row, (plain, shifted) in enumerate(zip(_ROWS, _SHIFTED, strict=True)):
        for place, (key, upper) in enumerate(zip(plain, shifted, strict=True)):
            column = min(max(place - 1 if row == 0 else place, 0), 9)
            hand: Hand = "left" if column < 5 else "right"
            rest = {4: 3, 5: 6}.get(column, column)  # the index fingers rest on f and j
            aside = place + _STAGGER[row] - rest
            inward = aside if hand == "left" else -aside
            reaches[key] = reaches[upper] = Reach(
                hand, _FINGER_OF_COLUMN[column], 2.0 - row, inward
            )
    return reaches


def _interval(previous: str, key: str, rng: np.random.Generator, rhythm: Rhythm) -> float:
    """Return the time between pressing two keys (s)."""
    there, here = _reaches()[previous], _reaches()[key]
    if key == previous:
        median = SAME_KEY
    elif here.hand != there.hand or 0 in (here.finger, there.finger):
        median = OTHER_HAND  # a thumb moves as freely beside the fingers as the other hand
    elif here.finger == there.finger:
        median = SAME_FINGER
    else:
        median = SAME_HAND
    if here.forward == 2.0:
        median *= NUMBER_ROW
    if previous == "Key.space":
        median *= WORD_START
    if rng.random() < HESITATIONS:
        median *= HESITATION
    median *= rhythm.pace
    return max(SHORTEST, median * float(np.exp(rhythm.spread * rng.standard_normal())))


def _with_typos(keys: list[str], rng: np.random.Generator, rhythm: Rhythm) -> list[str]:
    """Add wrong letters, the keys typed before they are noticed, and the backspaces."""
    typed: list[str] = []
    for at, key in enumerate(keys):
        if key in string.ascii_lowercase and rng.random() < rhythm.typos:
            more = int(rng.choice(len(NOTICED_AFTER), p=NOTICED_AFTER))
            neighbour = str(rng.choice(_neighbours(key)))
            wrong = [neighbour, *keys[at + 1 : at + 1 + more]]
            wrong = [key for key in wrong if key != "Key.enter"]
            typed += [*wrong, *["Key.backspace"] * len(wrong)]
        typed.append(key)
    return typed


@functools.cache
def _neighbours(key: str) -> list[str]:
    """Return the letters beside a letter in its row."""
    row = next(row for row in _ROWS if key in row)
    at = row.index(key)
    return [near for near in row[max(at - 1, 0) : at + 2] if near != key and near.isalpha()]


def _released_in_time(strokes: list[Keystroke]) -> list[Keystroke]:
    """Release each key before its finger is needed for the next one."""
    needed: dict[tuple[Hand, int], float] = {}
    released = []
    for stroke, reach in zip(strokes[::-1], reaches_of(strokes)[::-1], strict=True):
        finger = (reach.hand, reach.finger)
        latest = max(stroke.start + 0.02, needed.get(finger, np.inf) - 0.02)
        released.append(replace(stroke, end=min(stroke.end, latest)))
        needed[finger] = stroke.start
    return released[::-1]
