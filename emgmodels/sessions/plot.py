"""A picture of some seconds of a session: both bands, electrode by electrode, and the keys."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from emgmodels import charset
from emgmodels.config import BAND_ELECTRODES
from emgmodels.sessions.session import Labels, Session

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_BAND_COLOURS = {"left": "#0072B2", "right": "#D55E00"}
"""Blue and vermillion of Okabe and Ito's palette, told apart by colour-blind readers."""
_KEY_COLOUR = "#444444"
_PLOTTABLE = (0.1, 60.0)


def plot_session(session: Session, path: Path, start: float = 0.0, seconds: float = 5.0) -> None:
    """Draw both bands (16 traces each, one common scale a band) with the keys at their times.

    Args:
        session: What to draw.
        path: The picture; its ending chooses the format (.png, .pdf, .svg).
        start: Where the picture begins (s from the session's first sample).
        seconds: How much it shows (s).

    Raises:
        ValueError: the part lies outside the session, or matplotlib has no such format.
    """
    shortest, longest = _PLOTTABLE
    if not 0 <= start < session.duration:
        raise ValueError(
            f"{session.name}: start {start} s: the session lasts from 0 to {session.duration:.1f} s"
        )
    if not shortest <= seconds <= longest:
        raise ValueError(f"seconds {seconds}: a picture shows {shortest} to {longest} s")
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
    figure.savefig(path, dpi=120)


def _draw_band(axes: Axes, name: str, elapsed: np.ndarray, emg: np.ndarray) -> None:
    """Draw (T, 16) EMG as traces above each other, electrode 0 on top."""
    spacing = 1.2 * float(np.quantile(np.abs(emg), 0.999)) * 2 or 1.0
    offsets = -spacing * np.arange(BAND_ELECTRODES)
    axes.plot(elapsed, emg + offsets, color=_BAND_COLOURS[name], linewidth=0.5)
    axes.set_yticks(offsets, [str(electrode) for electrode in range(BAND_ELECTRODES)])
    axes.set_ylim(offsets[-1] - spacing, spacing)
    axes.set_ylabel(f"{name} band, electrode\n(step = {spacing:.3g})")
    axes.spines[["top", "right"]].set_visible(False)


def _draw_keys(
    keys: Axes, bands: list[Axes], labels: Labels, origin: float, span: tuple[float, float]
) -> None:
    """Write keys at their times above the bands; a prompt once, where it begins."""
    keys.set_ylim(0, 3)
    keys.set_yticks([])
    keys.set_ylabel("keys" if labels.has_key_times else "prompts")
    keys.spines[:].set_visible(False)
    starts = labels.start - origin
    inside = np.flatnonzero((starts >= span[0]) & (starts < span[1]))
    groups = (
        [inside[i : i + 1] for i in range(len(inside))]
        if labels.has_key_times
        else np.split(inside, np.flatnonzero(np.diff(starts[inside])) + 1)
    )
    for index, group in enumerate(group for group in groups if len(group)):
        at = float(starts[group[0]])
        text = charset.decode(labels.label[group]).replace(" ", "␣")
        keys.text(at, index % 3 + 0.5, text, ha="center", va="center", parse_math=False)
        for axes in bands:
            axes.axvline(at, color=_KEY_COLOUR, linewidth=0.6, linestyle=":")
