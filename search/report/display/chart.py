"""Learning curves as a drawing inside a page: text in the page's own font, colours of its theme.

The drawing says all without a script. With the page's script, the curve and epoch next to the
pointer are named, and so they are by the arrow keys.
"""

from __future__ import annotations

import html
import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

WIDTH, HEIGHT = 640, 420
_LEFT, _RIGHT, _TOP, _BOTTOM = 50, 42, 12, 46
"""Room around the curves, for the axes and the numbers at the curves' ends (px)."""
GREY_CURVES = 400
"""Curves without a colour that are drawn, the best of them: more are one grey area."""
_LABEL_HEIGHT = 14
_WIDE = 20.0
"""Ratio of largest to smallest value from which on an axis is logarithmic."""
_MARKS = (
    "M-4 0a4 4 0 1 0 8 0a4 4 0 1 0-8 0z",
    "M-3.6-3.6h7.2v7.2h-7.2z",
    "M0-4.6L4.6 3.6H-4.6z",
    "M0-5L5 0L0 5L-5 0z",
    "M0 4.6L4.6-3.6H-4.6z",
)
"""Shapes beside the colours of the best: the markers of the report's figures."""


@dataclass(frozen=True)
class Curve:
    """One curve.

    Attributes:
        trial: the number of its trial.
        name: what it is called.
        points: epoch and value of each, in order; values that are not finite are left out.
        place: of its colour, from 0; None: it is grey.
    """

    trial: int
    name: str
    points: Sequence[tuple[float, float]]
    place: int | None = None


@dataclass(frozen=True)
class Axis:
    """Where values stand on a line of pixels."""

    low: float
    high: float
    begin: float
    end: float
    log: bool = False

    def __call__(self, value: float) -> float:
        """Return the pixel of a value."""
        low, high, at = (math.log(v) if self.log else v for v in (self.low, self.high, value))
        share = (at - low) / (high - low) if high > low else 0.5
        return self.begin + share * (self.end - self.begin)

    def ticks(self) -> list[float]:
        """Return up to eight round values on it."""
        if self.log:
            decades = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
            steps = [s * 10.0**d for d in decades for s in (1, 2, 5)]
            return [step for step in steps if self.low <= step <= self.high]
        span = self.high - self.low
        rough = 10.0 ** math.floor(math.log10(span / 7)) if span > 0 else 1.0
        step = next(rough * s for s in (1, 2, 5, 10, 20) if span / (rough * s) <= 7)
        first = math.ceil(self.low / step - 1e-9)
        return [step * n for n in range(first, math.floor(self.high / step + 1e-9) + 1)]


def chart(
    curves: Sequence[Curve],
    *,
    title: str,
    label: str,
    epochs: int,
    unit: str = "",
    ceiling: float = math.inf,
    rungs: Sequence[float] = (),
) -> str:
    """Return curves over epochs as SVG.

    Args:
        curves: best first; of those without a colour, as many as ``GREY_CURVES`` are drawn.
        title: what it shows, for those who do not see it.
        label: of the vertical axis.
        epochs: of a whole training.
        unit: of a value.
        ceiling: values above it are drawn at it.
        rungs: epochs that a dotted line marks.

    Raises:
        ValueError: no curve has a point.
    """
    shown = [curve for curve in map(_finite, curves) if curve.points]
    if not shown:
        raise ValueError("no trial has a value to draw")
    grey = [curve for curve in shown if curve.place is None][:GREY_CURVES]
    coloured = [curve for curve in shown if curve.place is not None]
    values = [min(value, ceiling) for curve in (*grey, *coloured) for _, value in curve.points]
    across = Axis(1, max(2, epochs), _LEFT + 6, WIDTH - _RIGHT)
    up = _vertical(min(values), max(values))
    parts = [*_frame(across, up, label, rungs)]
    # Hundreds of grey curves would be one grey area.
    parts.append(f'<g stroke-opacity="{min(0.8, max(0.14, 40 / (len(grey) or 1))):.2f}">')
    parts += (_path(curve, across, up, ceiling) for curve in reversed(grey))
    parts.append("</g>")
    parts += (_path(curve, across, up, ceiling) for curve in reversed(coloured))
    parts += _ends(coloured, across, up, ceiling)
    text = html.escape(title, quote=True)
    return (
        f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" tabindex="0" '
        f'aria-label="{text}" data-label="{html.escape(label.partition(" (")[0])}" '
        f'data-unit="{html.escape(unit)}"><title>{text}</title>{"".join(parts)}</svg>'
    )


def mark(place: int) -> str:
    """Return the mark of one of the best trials, as it stands at its curve's end."""
    return (
        f'<svg class="mark" viewBox="-6 -6 12 12" aria-hidden="true">{_symbol(place, 0, 0)}</svg>'
    )


def _symbol(place: int, x: float, y: float) -> str:
    shape = _MARKS[place % len(_MARKS)]
    return f'<path class="f{place + 1}" d="{shape}" transform="translate({x:.1f} {y:.1f})"/>'


def _finite(curve: Curve) -> Curve:
    points = [(x, y) for x, y in curve.points if math.isfinite(y)]
    return Curve(curve.trial, curve.name, points, curve.place)


def _vertical(low: float, high: float) -> Axis:
    if low > 0 and high / low >= _WIDE:
        return Axis(low / 1.1, high * 1.1, HEIGHT - _BOTTOM, _TOP, log=True)
    margin = 0.04 * (high - low) or 1.0
    return Axis(max(0.0, low - margin), high + margin, HEIGHT - _BOTTOM, _TOP)


def _frame(across: Axis, up: Axis, label: str, rungs: Sequence[float]) -> Iterator[str]:
    """Yield axes, grid, their numbers and the rungs."""
    right, bottom = WIDTH - _RIGHT, HEIGHT - _BOTTOM
    for value in up.ticks():
        y = up(value)
        yield f'<path class="grid" d="M{_LEFT} {y:.1f}H{right}"/>'
        yield f'<text x="{_LEFT - 7}" y="{y + 4:.1f}" text-anchor="end">{value:g}</text>'
    for rung in rungs:
        yield f'<path class="rung" d="M{across(rung):.1f} {_TOP}V{bottom}"/>'
    yield f'<path class="axis" d="M{_LEFT} {bottom}H{right}"/>'
    for value in across.ticks():
        if value == int(value):
            x = across(value)
            yield f'<text x="{x:.1f}" y="{bottom + 17}" text-anchor="middle">{value:g}</text>'
    middle = (_LEFT + right) / 2
    yield f'<text x="{middle}" y="{HEIGHT - 6}" text-anchor="middle">epoch</text>'
    turn = f"rotate(-90 13 {(_TOP + bottom) / 2})"
    yield (
        f'<text x="13" y="{(_TOP + bottom) / 2}" text-anchor="middle" transform="{turn}">'
        f"{html.escape(label)}</text>"
    )


def _path(curve: Curve, across: Axis, up: Axis, ceiling: float) -> str:
    """Return a curve with its values, which the script reads."""
    places = [(across(x), up(min(y, ceiling))) for x, y in curve.points]
    line = "L".join(f"{x:.1f} {y:.1f}" for x, y in places)
    if len(places) == 1:  # of which nothing would be seen
        line += "h.01"
    kind = "grey" if curve.place is None else f"s{curve.place + 1}"
    said = " ".join(f"{x:g},{y:.2f}" for x, y in curve.points)
    return (
        f'<path class="curve {kind}" d="M{line}" data-trial="{curve.trial}" '
        f'data-name="{html.escape(curve.name, quote=True)}" data-points="{said}"/>'
    )


def _ends(coloured: Sequence[Curve], across: Axis, up: Axis, ceiling: float) -> Iterator[str]:
    """Yield marks and trial numbers at the ends of the best curves."""
    ends = []
    for curve in coloured:
        x, y = curve.points[-1]
        ends.append((up(min(y, ceiling)), across(x), curve))
    taken: list[tuple[float, float]] = []
    # From the lowest up: the best keep their place beside their curves.
    for y, x, curve in sorted(ends, key=lambda end: -end[0]):
        assert curve.place is not None
        yield _symbol(curve.place, x, y)
        near = [other for at, other in taken if abs(at - x) < 34]
        beside = min([y, *(other - _LABEL_HEIGHT for other in near)])
        taken.append((x, beside))
        yield (
            f'<text class="end f{curve.place + 1}" x="{x + 9:.1f}" y="{beside + 4:.1f}">'
            f"{curve.trial:03d}</text>"
        )
