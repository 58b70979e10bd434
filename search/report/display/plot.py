"""How the report's figures look: size of a paper's column, Okabe and Ito's colours, one ink."""

from __future__ import annotations

import io
import textwrap
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from emgmodels.drawing import own_style
from emgmodels.outputs import mark_of, marked, save_figure
from search.report.display.pdf_fonts import cut_once

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

COLUMN = 3.5
"""Width of one column of a two-column paper (inch)."""
PAGE = 7.2
"""Width of both columns (inch)."""
INK, SOFT, FAINT, PAPER = "#1b1f24", "#636c76", "#b4bac2", "#fefefe"
"""Text, secondary text, trials in the background, hollow markers: the page recolours them."""
SERIES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
"""Okabe and Ito's palette (2008), told apart by colour-blind readers; yellow is too pale."""
MARKERS = ("o", "s", "^", "D", "v", "P")
"""One for each colour, so that colour is never the only difference."""
CER_CEILING = 105.0
"""Top of an axis of CER (%): before it learns, a model inserts without bound."""

_RC: Any = {
    "font.size": 8,
    "axes.titlesize": 8,
    "axes.labelsize": 8,
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "legend.fontsize": 7,
    "legend.frameon": False,
    "text.color": INK,
    "axes.labelcolor": INK,
    "axes.edgecolor": SOFT,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "lines.linewidth": 1.2,
    "text.parse_math": False,
    "pdf.fonttype": 42,
    "svg.hashsalt": "emgsearch",
    "savefig.dpi": 220,
}
_CHARACTERS_PER_INCH = 16
KINDS = ("png", "pdf")
"""Formats that a figure is written in."""
MARK = mark_of("report")
"""By which a report's files are known when it is written again."""


class NothingToDrawError(ValueError):
    """A figure has too little to show; the message says what it lacks, as the end of a sentence."""


@dataclass(frozen=True)
class Plot:
    """A figure, with what to say under it."""

    figure: Figure
    title: str
    """What it shows; also its text for readers who can't see it."""
    caption: str
    """How to read it."""

    def save(self, stem: Path) -> None:
        """Write ``<stem>.png`` and ``<stem>.pdf``."""
        for kind in KINDS:
            with _styled(), cut_once():
                path = stem.with_name(f"{stem.name}.{kind}")
                save_figure(self.figure, path, MARK, facecolor="white")

    def svg(self) -> str:
        """Return the figure as SVG on a transparent ground."""
        written = io.StringIO()
        with _styled():
            self.figure.savefig(
                written, format="svg", metadata=marked("svg", MARK), transparent=True
            )
        return written.getvalue()

    def png(self) -> tuple[bytes, int, int]:
        """Return the figure as PNG, with its width and height in pixels."""
        written = io.BytesIO()
        with _styled():
            self.figure.savefig(
                written, format="png", metadata=marked("png", MARK), facecolor="white"
            )
        width, height = (
            round(_RC["savefig.dpi"] * inches) for inches in self.figure.get_size_inches()
        )
        return written.getvalue(), width, height


@contextmanager
def drawing(title: str, data: str, width: float, height: float) -> Iterator[Figure]:
    """Draw a figure in the report's style, without a screen.

    Args:
        title: what the figure shows.
        data: on which data, below the title; it is what makes "synthetic" impossible to miss.
        width: inches.
        height: inches.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure
    from matplotlib.layout_engine import ConstrainedLayoutEngine

    data = textwrap.fill(data, int(_CHARACTERS_PER_INCH * width))
    second = 0.21 + 0.14 * title.count("\n")
    end = second + 0.15 + 0.12 * data.count("\n")
    with _styled():
        below = ConstrainedLayoutEngine(rect=(0, 0, 1, 1 - end / height))
        figure = Figure(figsize=(width, height), layout=below)
        FigureCanvasAgg(figure)
        place: dict[str, Any] = {"x": 0.06 / width, "ha": "left", "va": "top"}
        figure.text(y=1 - 0.05 / height, s=title, weight="bold", size=8.5, **place)
        colour, weight = (SERIES[1], "bold") if "synthetic" in data else (SOFT, "normal")
        figure.text(y=1 - second / height, s=data, color=colour, weight=weight, size=7, **place)
        yield figure
        figure.draw_without_rendering()
        figure.set_layout_engine(None)  # laid out once: each format would lay it out and draw twice


def cer_axis(axes: Axes, cers: list[float], which: str = "x") -> None:
    """Label an axis of validation CER and keep what no reader needs off it."""
    low, high = min(cers), min(max(cers), CER_CEILING)
    margin = 0.06 * (high - low) + 0.2
    set_limits = axes.set_ylim if which == "y" else axes.set_xlim
    set_label = axes.set_ylabel if which == "y" else axes.set_xlabel
    set_limits(max(0.0, low - margin), high + margin)
    set_label("validation CER (%)")


def _styled() -> AbstractContextManager[None]:
    return own_style(_RC)
