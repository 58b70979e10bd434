"""A picture of some seconds of a session: both bands, electrode by electrode, and the keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emgmodels import charset
from emgmodels.config import BAND_ELECTRODES
from emgmodels.drawing import own_style
from emgmodels.outputs import mark_of, save_figure
from emgmodels.sessions.session import Labels, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

PLOT_MARK = mark_of("picture of a session")
_BAND_COLOURS = {"left": "#0072B2", "right": "#D55E00"}
"""Blue and vermillion of Okabe and Ito's palette, told apart by colour-blind readers."""
_KEY_COLOUR = "#444444"
_PLOTTABLE = (0.1, 60.0)
_ROWS = 3
_CHARACTER_WIDTH = 0.009
"""Of a key's symbol, as a share of the picture's width."""


def plot_session(session: Session, path: Path, start: float = 0.0, seconds: float = 5.0) -> Path:
    """Draw both bands (16 traces each, one common scale a band) with the keys at their times.

    Args:
        session: What to draw.
        path: The picture; its ending chooses the format (.png, .pdf, .svg), without one it is .png.
        start: Where the picture begins (s from the session's first sample).
        seconds: How much it shows (s).

    Returns:
        The picture's path.

    Raises:
        ValueError: the part lies outside the session, the path is a folder, or matplotlib has no
            such format.
    """
    if path.is_dir():
        raise ValueError(f"{path}: is a folder: name a picture in it, such as {path / 'emg.png'}")
    if not path.suffix:
        path = path.with_name(f"{path.name}.png")
    shortest, longest = _PLOTTABLE
    if not 0 <= start < session.duration:
        raise ValueError(
            f"{session.name}: start {start} s: the session lasts from 0 to {session.duration:.1f} s"
        )
    if not shortest <= seconds <= longest:
        raise ValueError(f"seconds {seconds}: a picture shows {shortest} to {longest} s")
    with own_style():
        _draw(session, path, start, seconds)
    return path


def _draw(session: Session, path: Path, start: float, seconds: float) -> None:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(14, 10), layout="constrained")
    FigureCanvasAgg(figure)
    keys, *bands = figure.subplots(3, 1, sharex=True, height_ratios=[1, 8, 8])
    elapsed = session.time - session.time[0]
    first, last = np.searchsorted(elapsed, [start, start + seconds])
    for band, (name, axes) in enumerate(zip(_BAND_COLOURS, bands, strict=True)):
        _draw_band(axes, name, elapsed[first:last], session.emg[first:last, band])
    labels = session.labels()
    _draw_keys(keys, bands, labels, session.time[0], (start, start + seconds))
    keys.set_title(f"{session.name}   user {session.user}", loc="left", parse_math=False)
    bands[-1].set_xlim(start, min(start + seconds, session.duration))
    bands[-1].set_xlabel("time from the first sample (s)")
    save_figure(figure, path, PLOT_MARK, dpi=120)


def _draw_band(axes: Axes, name: str, elapsed: np.ndarray, emg: np.ndarray) -> None:
    """Draw (T, 16) EMG as traces above each other, electrode 0 on top."""
    spacing = 2.4 * float(np.quantile(np.abs(emg), 0.999)) or 1.0
    offsets = -spacing * np.arange(BAND_ELECTRODES)
    axes.plot(elapsed, emg + offsets, color=_BAND_COLOURS[name], linewidth=0.5)
    axes.set_yticks(offsets, [str(electrode) for electrode in range(BAND_ELECTRODES)])
    axes.set_ylim(offsets[-1] - spacing, spacing)
    axes.set_ylabel(f"{name} band, electrode\n({spacing:.3g} apart)")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_keys(
    keys: Axes, bands: list[Axes], labels: Labels, origin: float, span: tuple[float, float]
) -> None:
    """Write keys at their times above the bands; a prompt once, where it begins."""
    keys.set_ylim(-0.5, _ROWS - 0.5)
    keys.set_yticks([])
    keys.tick_params(bottom=False)
    keys.set_ylabel("keys" if labels.has_key_times else "prompts")
    keys.spines[:].set_visible(False)
    starts = labels.start - origin
    inside = np.flatnonzero((starts >= span[0]) & (starts < span[1]))
    is_new = np.diff(starts[inside], prepend=-np.inf) > (-np.inf if labels.has_key_times else 0)
    free_from = [-np.inf] * _ROWS
    for group in np.split(inside, np.flatnonzero(is_new))[1:]:
        at = float(starts[group[0]])
        text = charset.decode(labels.label[group]).replace(" ", "␣")
        row = next((row for row in range(_ROWS) if free_from[row] <= at), _ROWS - 1)
        free_from[row] = at + _CHARACTER_WIDTH * (span[1] - span[0]) * len(text)
        align = "center" if len(text) == 1 else "left"
        keys.text(at, row, text, ha=align, va="center", fontsize=11, parse_math=False)
        for axes in bands:
            axes.axvline(at, color=_KEY_COLOUR, linewidth=0.6, linestyle=":")
