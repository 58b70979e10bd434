"""Where on the keyboard a model errs: each key of a US layout coloured by its error rate."""

from __future__ import annotations

import string
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from search.report.display.plot import FAINT, PAGE, SOFT, Plot, drawing

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_ROWS = (
    (0.0, "`1234567890-=", "~!@#$%^&*()_+"),
    (1.5, "qwertyuiop[]\\", "QWERTYUIOP{}|"),
    (1.75, "asdfghjkl;'", 'ASDFGHJKL:"'),
    (2.25, "zxcvbnm,./", "ZXCVBNM<>?"),
)
"""Where each row begins (key widths), its characters, and those with shift."""
_WIDE = {"⌫": (13.0, 0, 2.0), "⏎": (12.75, 2, 2.25), "⇧": (0.0, 3, 2.25), " ": (3.75, 4, 6.25)}
"""Place, row and width of keys that are wider than one."""
_NAMES = {"⌫": "⌫ back", "⏎": "⏎ enter", "⇧": "⇧ shift", " ": "␣ space"}
_WIDTH, _HEIGHT = 15.0, 5.0
_MARGIN = 0.05
# One error in two presses would be the darkest key of the board.
_FEW = 5
"""Presses below which a key's rate does not stretch the scale."""
_SMALLEST_SCALE = 0.1
_DARK = 0.7
"""Part of the scale from which on text is white."""
_INK = "#111418"
"""Text on a coloured key, on a dark page too."""


@dataclass
class Key:
    """One key and what became of it.

    Attributes:
        x: its left edge (key widths).
        row: from the top.
        width: in key widths.
        characters: that it types, without and with shift.
        pressed: times that one of them was typed.
        deleted: times that it was left out.
        inserted: times that it was read where nothing was typed.
        confused: times that it was read as which other character.
    """

    x: float
    row: int
    width: float
    characters: str
    pressed: int = 0
    deleted: int = 0
    inserted: int = 0
    confused: Counter[str] = field(default_factory=Counter)

    @property
    def rate(self) -> float:
        """Share of its presses that were read as something else or not at all."""
        return (self.deleted + self.confused.total()) / self.pressed if self.pressed else 0.0


def keys_of(counts: Mapping[tuple[str, str], int]) -> list[Key]:
    """Return the keys of the keyboard with their errors.

    Args:
        counts: times that a key was read as which, as ``count_confusions`` returns them.
    """
    keys = list(_layout())
    by_character = {character: key for key in keys for character in key.characters}
    for (typed, read), count in counts.items():
        if not typed:
            by_character[read].inserted += count
            continue
        key = by_character[typed]
        key.pressed += count
        if not read:
            key.deleted += count
        elif read != typed:
            key.confused[read] += count
    return keys


def keyboard(counts: Mapping[tuple[str, str], int], data: str) -> Plot:
    """Draw the keyboard.

    Args:
        counts: times that a key was read as which, as ``count_confusions`` returns them.
        data: of which model and data, below the title.
    """
    keys = keys_of(counts)
    rates = [key.rate for key in keys if key.pressed >= _FEW]
    # A good model's few errors would otherwise look as dark as a bad one's.
    scale = max([_SMALLEST_SCALE, *rates])
    title = "Where on the keyboard the errors are"
    with drawing(title, data, PAGE, 3.3) as figure:
        from matplotlib.cm import ScalarMappable
        from matplotlib.colors import Normalize

        axes = figure.subplots()
        colours = ScalarMappable(Normalize(0, 100 * scale), "Oranges")
        for key in keys:
            _draw(axes, key, colours.cmap, min(1.0, key.rate / scale))
        axes.set(xlim=(0, _WIDTH), ylim=(_HEIGHT, 0), aspect="equal")
        axes.set_axis_off()
        bar = figure.colorbar(colours, ax=axes, location="bottom", shrink=0.5, aspect=40, pad=0.02)
        bar.set_label("presses read as another key or left out (%)")
        bar.outline.set_visible(False)
    caption = (
        "→ s 4: read as s four times, the key's most frequent confusion. −: times left out, "
        "+: times read where nothing was typed. Keys with a dashed edge were never pressed. A "
        f"key pressed fewer than {_FEW} times does not stretch the scale."
    )
    return Plot(figure, title, caption)


def _layout() -> Iterator[Key]:
    for row, (start, plain, shifted) in enumerate(_ROWS):
        for place, pair in enumerate(zip(plain, shifted, strict=True)):
            last = pair[0] == "\\"
            yield Key(start + place, row, 1.5 if last else 1.0, "".join(pair))
    for character, (x, row, width) in _WIDE.items():
        yield Key(x, row, width, character)


def _draw(axes: Axes, key: Key, colour: Callable[[float], Any], shade: float) -> None:
    from matplotlib.patches import FancyBboxPatch

    ink = SOFT
    if key.pressed:
        ink = "white" if shade > _DARK else _INK
    axes.add_patch(
        FancyBboxPatch(
            (key.x + _MARGIN, key.row + _MARGIN),
            key.width - 2 * _MARGIN,
            1 - 2 * _MARGIN,
            boxstyle="round,pad=0,rounding_size=0.08",
            facecolor=colour(shade) if key.pressed else "none",
            edgecolor=SOFT if key.pressed else FAINT,
            linestyle="-" if key.pressed else (0, (3, 2)),
            linewidth=0.5,
        )
    )
    left, right = key.x + 0.13, key.x + key.width - 0.12
    axes.text(left, key.row + 0.28, _name(key), size=6.5, va="center", color=ink)
    if key.confused:
        read, count = key.confused.most_common(1)[0]
        shown = f"→ {_NAMES.get(read, read)[:1]} {count}"
        axes.text(left, key.row + 0.56, shown, size=5.5, va="center", weight="bold", color=ink)
    lost = " ".join(
        f"{sign}{count}" for sign, count in (("−", key.deleted), ("+", key.inserted)) if count
    )
    axes.text(right, key.row + 0.82, lost, size=5, va="center", ha="right", color=ink)


def _name(key: Key) -> str:
    plain = key.characters[0]
    if plain in _NAMES:
        return _NAMES[plain]
    return plain.upper() if plain in string.ascii_lowercase else f"{plain} {key.characters[1]}"
