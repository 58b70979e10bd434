"""The 98 keys a session is transcribed in, and their labels.

Label order: letters, digits and punctuation of Python's ``string``, then backspace, enter, space
and shift; the CTC blank comes last. In text each key is one symbol (``⌫ ⏎ ⇧`` and the space for the
four without a character of their own), so one character is one label.

Other characters are transliterated by ``text-unidecode``, taken under its Artistic License. Its
tables are an earlier state of Unidecode's, emg2qwerty's library, whose licence is the GPL.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable
from functools import cache

from text_unidecode import unidecode

_NAMED_KEYS = {"⌫": "Key.backspace", "⏎": "Key.enter", " ": "Key.space", "⇧": "Key.shift"}

CLASSES: tuple[str, ...] = (
    *string.ascii_letters,
    *string.digits,
    *string.punctuation,
    *_NAMED_KEYS,
)
"""One symbol for each label, in label order."""
BLANK = len(CLASSES)
"""Label of the CTC blank."""
NUM_CLASSES = len(CLASSES) + 1
"""Outputs of a model: the keys and the blank."""

_KEYS = tuple(_NAMED_KEYS.get(symbol, symbol) for symbol in CLASSES)
_LABELS = {symbol: label for label, symbol in enumerate(CLASSES)}
_KEY_LABELS = _LABELS | {key: label for label, key in enumerate(_KEYS)}
_EQUIVALENTS = {
    **dict.fromkeys("\n\r", "⏎"),
    "\b": "⌫",
    "—": "-",
    **dict.fromkeys("⇥⌃⌘↑⇡", ""),  # emg2qwerty's symbols of keys that are outside the set
    **dict(zip("−∕∖∗∣∶∼", "-/\\*|:~", strict=True)),  # the library knows no operators
}
"""Characters that the library transliterates otherwise than emg2qwerty does, or not at all."""
_UNKNOWN = ("", "[?]", "[?] ")
"""What the library gives for a character that it does not know."""


def label_of(key: str) -> int | None:
    """Return the label of a key, or None when the key is outside the set.

    Args:
        key: pynput's name (``a``, ``Key.space``) or one character, which is normalised as in
            ``encode``.
    """
    label = _KEY_LABELS.get(key)
    if label is None and len(key) == 1:
        label = _LABELS.get(_normalise(key))
    return label


def key_of(label: int) -> str:
    """Return pynput's name of a label's key; ``label_of`` reads it back."""
    return _KEYS[_checked(label)]


def encode(text: str) -> list[int]:
    """Return the labels of a text, leaving out the characters outside the set.

    The rule is emg2qwerty's. A character outside the set is transliterated to ASCII: ``é`` gives
    ``e``, ``“`` gives ``"``, ``÷`` gives ``/``. What becomes several characters, as ``…`` and ``ß``
    do, is left out. Line ends become enter.
    """
    symbols = (character if character in _LABELS else _normalise(character) for character in text)
    return [_LABELS[symbol] for symbol in symbols if symbol in _LABELS]


def decode(labels: Iterable[int]) -> str:
    """Return the text of labels, one symbol each; ``encode`` reads it back.

    Raises:
        ValueError: a label is the blank or no label at all.
    """
    return "".join(CLASSES[_checked(label)] for label in labels)


@cache
def _normalise(character: str) -> str:
    """Return what stands for a character outside the set: a symbol, or something not in the set."""
    if character in _EQUIVALENTS:
        return _EQUIVALENTS[character]
    # The same rule as emg2qwerty's, so that a model of either project knows the same keys.
    symbol = unidecode(character)
    if symbol not in _UNKNOWN:
        return symbol
    # The library's tables miss newer characters. Unicode says what they are a form of.
    parts = unicodedata.normalize("NFKD", character)
    base, marks = parts[0], parts[1:]
    is_accented = base.isalpha() and all(map(unicodedata.combining, marks))
    return base if is_accented or not marks else ""


def _checked(label: int) -> int:
    if not 0 <= label < BLANK:
        raise ValueError(f"label {label} is no key: keys are 0 to {BLANK - 1}, {BLANK} is blank")
    return label
