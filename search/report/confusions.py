"""Which keys a model reads as which: a heat map of its commonest confusions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

import numpy as np

from search.report.style import COLUMN, Plot, drawing

_KEYS = 24
_NAMES = {" ": "␣", "": "–"}
"""What stands for keys that would not be seen."""
_DARK = 0.55
"""Share from which on a cell's number is written in white."""


def confusions(counts: Mapping[tuple[str, str], int], data: str) -> Plot:
    """Draw how often the keys that were misread most were read as which.

    Args:
        counts: times that a key was read as which, as ``count_confusions`` returns them.
        data: of which model and data, below the title.
    """
    wrong, typed = Counter[str](), Counter[str]()
    for (true, read), count in counts.items():
        wrong[true] += count * (true != read)
        typed[true] += count
    worst = [true for true, errors in wrong.most_common() if errors and true][:_KEYS]
    rows = sorted(worst)
    columns = [*sorted({read for true, read in counts if true in rows and read}), ""]
    shares = np.array(
        [[counts.get((true, read), 0) / typed[true] for read in columns] for true in rows]
    ).reshape(len(rows), len(columns))
    title = "Keys that were misread, and as what"
    with drawing(title, data, 2 * COLUMN, 1.2 + 0.17 * max(6, len(rows))) as figure:
        axes = figure.subplots()
        picture = axes.imshow(shares, cmap="cividis_r", vmin=0, vmax=1, aspect="auto")
        for row, true in enumerate(rows):
            for column, read in enumerate(columns):
                if true != read and shares[row, column] >= 0.1:
                    axes.annotate(
                        f"{100 * shares[row, column]:.0f}",
                        (column, row),
                        ha="center",
                        va="center",
                        size=5.5,
                        color="white" if shares[row, column] > _DARK else "black",
                    )
        axes.set_xticks(range(len(columns)), [_NAMES.get(read, read) for read in columns])
        axes.set_yticks(
            range(len(rows)), [f"{_NAMES.get(true, true)}  {typed[true]}×" for true in rows]
        )
        axes.tick_params(length=0)
        axes.set(xlabel="read as (–: not at all)", ylabel="key typed, and how often")
        bar = figure.colorbar(picture, ax=axes, pad=0.01, fraction=0.03)
        bar.set_label("share of its presses")
        bar.outline.set_visible(False)
    return Plot(
        figure,
        title,
        f"The {len(rows)} keys with the most errors. Numbers are percentages of at least 10 beside "
        f"the diagonal.",
    )
