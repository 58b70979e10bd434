"""Which keys a model reads as which: a heat map of its commonest confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from emgmodels.saying import counted
from search.report.display.plot import Plot, drawing

_KEYS = 10
_COLUMNS = 10
_WIDTH = 2.4
"""Inches: TensorBoard shows a picture 350 pixels wide, and letters are to be read there."""
_NAMES = {" ": "␣", "": "–"}
"""What stands for keys that would not be seen."""
_WRITTEN = 0.1
"""Share from which on a cell has its number."""
_DARK = 0.6
"""Share from which on that is written in white."""


def confusions(counts: Mapping[tuple[str, str], int], data: str) -> Plot:
    """Draw how often the keys that were misread most were read as which.

    Args:
        counts: times that a key was read as which, as ``count_confusions`` returns them.
        data: of which model and data, below the title.
    """
    typed = Counter[str]()
    for (true, _), count in counts.items():
        typed[true] += count
    keys = _worst(counts)
    columns = _columns(counts, keys)
    shares = np.array(
        [[counts.get((true, read), 0) / typed[true] for read in columns] for true in keys]
    ).reshape(len(keys), len(columns))
    title = "Misread most, and as what"
    with drawing(title, data, _WIDTH, 1.2 + 0.17 * max(4, len(keys))) as figure:
        axes = figure.subplots()
        if keys:
            axes.imshow(shares, cmap="Blues", vmin=0, vmax=1, aspect="auto")
        for row, column in zip(*np.nonzero(shares >= _WRITTEN), strict=True):
            axes.annotate(
                f"{100 * shares[row, column]:.0f}",
                (column, row),
                ha="center",
                va="center",
                size=6.5,
                color="white" if shares[row, column] > _DARK else "black",
            )
        axes.set_xticks(range(len(columns)), [_NAMES.get(read, read) for read in columns])
        axes.set_yticks(
            range(len(keys)), [f"{_NAMES.get(key, key)}  {typed[key]}×" for key in keys]
        )
        axes.tick_params(length=0)
        axes.set(xlabel="read as (%; –: not at all)", ylabel="typed, how often")
    return Plot(
        figure,
        title,
        f"{counted(len(keys), 'key')} with the most errors. Numbers are percentages of a key's "
        f"presses.",
    )


def _worst(counts: Mapping[tuple[str, str], int]) -> list[str]:
    """Return the keys with the most errors, in the order of characters."""
    wrong = Counter[str]()
    for (true, read), count in counts.items():
        wrong[true] += count * (true != read)
    return sorted([true for true, errors in wrong.most_common() if errors and true][:_KEYS])


def _columns(counts: Mapping[tuple[str, str], int], keys: Sequence[str]) -> list[str]:
    """Return the keys, and what they were read as most often, in order; nothing at all is last."""
    others = Counter[str]()
    for (true, read), count in counts.items():
        if true in keys and read and read not in keys:
            others[read] += count
    more = [read for read, _ in others.most_common(max(0, _COLUMNS - len(keys)))]
    return [*sorted({*keys, *more}), ""]
