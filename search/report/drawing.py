"""How trials stand in a figure: their colour, mark, place on an axis, and the legend."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from search.report.display.plot import CER_CEILING, FAINT, INK, MARKERS, PAPER, SERIES, SOFT
from search.report.run import HIGHLIGHTED, Run, Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

CATEGORIES = 8
"""Numbers of more different values than this stand on a scale, not side by side."""
ABSENT = "–"
"""Stands for the setting of a stage that a trial does not have."""
NO_STAGE = "no stage"
"""Stands for the order of an encoder without any stage."""
_RASTERIZED = 150
"""Grey curves, or marks, from which on a vector figure keeps them as a picture."""
_LOGARITHMIC = 5.0
"""Ratio of largest to smallest value from which on a scale is logarithmic."""
_WIDE = 20.0
"""Ratio from which on a curve is: a linear axis would show its beginning only."""
_JITTER = 0.16


def lines(axes: Axes, trials: Sequence[Trial], curves: Iterable[tuple[Any, Any]]) -> None:
    """Draw a line for each trial: the best few coloured and marked, the others grey.

    Args:
        axes: where.
        trials: which.
        curves: horizontal and vertical places of each.
    """
    from matplotlib.collections import LineCollection

    grey = []
    for trial, (x, y) in zip(trials, curves, strict=True):
        if trial.rank > HIGHLIGHTED:
            grey.append(np.column_stack([x, y]))
            continue
        place = trial.rank - 1
        axes.plot(
            *(x, y),
            color=SERIES[place],
            zorder=3 + 0.1 * (HIGHLIGHTED - trial.rank),
            label=trial.name,
            # Without a mark at its end, nothing would be seen of a curve of one epoch.
            marker=MARKERS[place],
            markevery=[-1] if len(x) else [],
            markersize=4,
        )
    # Hundreds of opaque grey curves would be one grey area.
    alpha = min(0.8, max(0.12, 60 / len(trials)))
    # As one collection: a thousand lines of their own take a minute. A PDF of thousands of vector
    # curves is slow to open.
    many = len(trials) > _RASTERIZED
    look: dict[str, Any] = {"colors": FAINT, "linewidths": 0.5, "alpha": alpha, "zorder": 2}
    axes.add_collection(LineCollection(grey, rasterized=many, **look))


def dots(axes: Axes, trials: Sequence[Trial], x: Sequence[float], y: Sequence[float]) -> None:
    """Draw a mark for each trial: hollow where training ended early."""
    groups: dict[tuple[str, str, bool], list[tuple[float, float]]] = {}
    for trial, *place in zip(trials, x, y, strict=True):
        best = trial.rank <= HIGHLIGHTED
        colour = SERIES[trial.rank - 1] if best else SOFT
        marker = MARKERS[trial.rank - 1] if best else "o"
        groups.setdefault((colour, marker, trial.is_whole), []).append((place[0], place[1]))
    for (colour, marker, whole), places in groups.items():
        background = colour == SOFT
        axes.plot(
            *zip(*places, strict=True),
            marker=marker,
            markersize=3 if background else 4.5,
            markerfacecolor=colour if whole else PAPER,
            markeredgecolor=colour,
            markeredgewidth=0.6 if background else 0.9,
            linestyle="none",
            zorder=2 if background else 4,
            rasterized=len(places) > _RASTERIZED,
        )


def strip(axes: Axes, trials: Sequence[Trial], place: float, *, across: bool = False) -> None:
    """Draw the CERs of trials that share a value, side by side, with a bar at their median.

    Args:
        axes: where.
        trials: which.
        place: of the value on its axis.
        across: the value's axis is the vertical one.
    """
    # Seeded, so that the same run gives the same picture.
    jitter = np.random.default_rng(len(trials)).uniform(-_JITTER, _JITTER, len(trials))
    at, cers = (place + jitter).tolist(), [min(trial.val_cer, CER_CEILING) for trial in trials]
    dots(axes, trials, *((cers, at) if across else (at, cers)))
    median = float(np.median(cers))
    draw = axes.vlines if across else axes.hlines
    draw(median, place - 0.34, place + 0.34, color=INK, linewidth=1.2, zorder=3)


def legend(figure: Figure, axes: Axes, columns: int = 2) -> None:
    """Put the names of the coloured lines below the figure, best first."""
    entries = sorted(zip(*axes.get_legend_handles_labels(), strict=True), key=_height)
    if entries:
        handles, labels = zip(*entries, strict=True)
        figure.legend(handles, labels, loc="outside lower left", ncols=columns, handlelength=1.4)


def legend_of_marks(figure: Figure, run: Run, columns: int = 1) -> None:
    """Put the marks and names of the best few below the figure."""
    from matplotlib.lines import Line2D

    best = run.ranked[:HIGHLIGHTED]
    handles = [
        Line2D([], [], color=colour, marker=marker, markersize=4.5, linestyle="none")
        for _, colour, marker in zip(best, SERIES, MARKERS, strict=False)
    ]
    names = [trial.name for trial in best]
    figure.legend(handles, names, loc="outside lower left", ncols=columns, handletextpad=0.2)


def cut(axes: Axes, curves: Iterable[np.ndarray], ceiling: float | None = None) -> None:
    """Limit the vertical axis to the curves below a ceiling; without one, show decades as such."""
    values = np.concatenate([curve[np.isfinite(curve)] for curve in curves])
    if not len(values):  # as of a loss that an older version did not write
        return
    low, high = float(values.min()), float(values.max())
    if ceiling is None and low > 0 and high / low >= _WIDE:
        plain_log(axes, [low, high], "y")
        return
    high = min(high, ceiling or math.inf)
    axes.set_ylim(max(0.0, low - 0.05 * (high - low)), high + 0.05 * (high - low) + 1e-9)


def plain_log(axes: Axes, values: Sequence[float], which: str = "x") -> None:
    """Make an axis logarithmic, with a few plain numbers on it."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    axis = axes.xaxis if which == "x" else axes.yaxis
    (axes.set_xscale if which == "x" else axes.set_yscale)("log")
    axis.set_major_locator(FixedLocator(_round_steps(min(values), max(values))))
    axis.set_minor_locator(NullLocator())
    axis.set_major_formatter(FuncFormatter(lambda value, _: short(value)))


def short(value: float) -> str:
    """Return a number in few characters: 5.3M, 24k, 0.0012."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if abs(value) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.2g}" if abs(value) < 1 else f"{value:.3g}"


def ordered(values: Iterable[Any]) -> list[Any]:
    """Return different values in the order of an axis: absent, numbers by size, then texts."""
    different = dict.fromkeys(values)
    return sorted(different, key=lambda v: (v is not None, isinstance(v, str), _sortable(v)))


def is_scale(values: Sequence[Any]) -> bool:
    """Return whether values are numbers that cannot stand side by side.

    They are too many, or of a range: nobody names 0.00117834 among a few.
    """
    present = {value for value in values if value is not None}
    if not all(isinstance(value, int | float) for value in present):
        return False
    drawn = any(isinstance(value, float) and float(f"{value:.3g}") != value for value in present)
    return len(present) > CATEGORIES or (drawn and len(present) > 1)


def is_logarithmic(values: Sequence[float]) -> bool:
    """Return whether numbers are spread over more than a decade."""
    return min(values) > 0 and max(values) / min(values) >= _LOGARITHMIC


class Scale:
    """One vertical axis of parallel coordinates: places values between 0 and 1.

    Args:
        values: of all trials; None where a trial has none.
        flipped: the lowest number stands on top.
    """

    def __init__(self, values: Sequence[Any], flipped: bool = False) -> None:
        self.has_absent = None in values
        present = [value for value in values if value is not None]
        self.is_scale = is_scale(present) or flipped
        self.flipped = flipped
        self.categories = ordered(present)
        self.log = self.is_scale and not flipped and is_logarithmic(present)

    def __call__(self, value: Any) -> float:
        """Return where a value stands; below the axis, where there is none."""
        if value is None:
            return -0.14
        if not self.is_scale:
            return (self.categories.index(value) + 0.5) / len(self.categories)
        low, high = self._unit(self.categories[0]), self._unit(self.categories[-1])
        place = (self._unit(value) - low) / (high - low) if high > low else 0.5
        return 1 - place if self.flipped else place

    def draw(self, axes: Axes, at: float) -> None:
        """Draw the axis with its values."""
        axes.plot([at, at], [0, 1], color=SOFT, linewidth=0.7, zorder=1)
        ticks = self.categories
        if self.is_scale:
            low, high = ticks[0], ticks[-1]
            ticks = [low, math.sqrt(low * high) if self.log else (low + high) / 2, high]
        marks = [(self(value), _text(value)) for value in ticks]
        for place, text in [*marks, *([(self(None), ABSENT)] if self.has_absent else [])]:
            axes.annotate(
                text,
                (at, place),
                xytext=(3, 0),
                textcoords="offset points",
                va="center",
                size=6.5,
                color=INK,
                zorder=6,
                bbox={"facecolor": PAPER, "alpha": 0.75, "linewidth": 0, "pad": 0.8},
            )

    def _unit(self, value: float) -> float:
        return math.log(value) if self.log else value


def _text(value: Any) -> str:
    """Return a value as a short mark; an order of stages as the beginnings of their names."""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int | float):
        return short(value)
    words = str(value).split()
    if not words:
        return NO_STAGE
    return "·".join(word[:4] for word in words) if len(words) > 1 else str(value)


def _sortable(value: Any) -> Any:
    return 0 if value is None else value


def _height(entry: tuple[Any, str]) -> float:
    return -entry[0].get_zorder()


def _round_steps(low: float, high: float) -> list[float]:
    """Return 1, 2, 5 of each decade in a range, or every decade where that would be many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    steps = (1, 2, 5) if high / low < 300 else (1,)
    return [step * 10.0**decade for decade in decades for step in steps]
