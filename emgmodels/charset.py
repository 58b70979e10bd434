"""The 98 keys a session is transcribed in, and their labels.

Label order: letters, digits and punctuation of Python's ``string``, then backspace, enter, space and
shift. In text the keys without a character of their own are written as their printed symbols, so
that one character is one label. The CTC blank comes last.
"""

from __future__ import annotations

import string
import unicodedata
from collections.abc import Iterable

_NAMED_KEYS = {
    "\N{ERASE TO THE LEFT}": "Key.backspace",
    "\N{RETURN SYMBOL}": "Key.enter",
    " ": "Key.space",
    "\N{UPWARDS WHITE ARROW}": "Key.shift",
}

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
_REPLACEMENTS = str.maketrans(
    {
        "\n": "\N{RETURN SYMBOL}",
        "\r": "\N{RETURN SYMBOL}",
        "\b": "\N{ERASE TO THE LEFT}",
        **dict.fromkeys("‘’‚‛′´", "'"),
        **dict.fromkeys("“”„‟″«»", '"'),
        **dict.fromkeys("‐‑‒–—―−", "-"),
        **{"ß": "ss", "æ": "ae", "Æ": "AE", "œ": "oe", "Œ": "OE"},
        **{"ø": "o", "Ø": "O", "ł": "l", "Ł": "L", "đ": "d", "Đ": "D", "ı": "i"},
    }
)


def label_of(key: str) -> int | None:
    """Return the label of a key, or None when the key is outside the set.

    Args:
        key: pynput's name (``a``, ``Key.space``) or one character, which is normalised first.
    """
    if key in _KEY_LABELS:
        return _KEY_LABELS[key]
    labels = encode(key) if len(key) == 1 else []
    return labels[0] if len(labels) == 1 else None


def key_of(label: int) -> str:
    """Return pynput's name of a label's key; ``label_of`` reads it back."""
    return _KEYS[_checked(label)]


def encode(text: str) -> list[int]:
    """Return the labels of a text after normalisation, without the characters outside the set.

    Typographic quotes and dashes become ASCII, letters lose their accents, line ends become enter.
    """
    return [_LABELS[symbol] for symbol in _normalise(text) if symbol in _LABELS]


def decode(labels: Iterable[int]) -> str:
    """Return the text of labels, one symbol each; ``encode`` reads it back."""
    return "".join(CLASSES[_checked(label)] for label in labels)


def _normalise(text: str) -> str:
    plain = text.replace("\r\n", "\n").translate(_REPLACEMENTS)
    return unicodedata.normalize("NFKD", plain).translate(_REPLACEMENTS)


def _checked(label: int) -> int:
    if not 0 <= label < BLANK:
        raise ValueError(
            f"label {label} is not a key: labels are 0 to {BLANK - 1}, {BLANK} the blank"
        )
    return label
