"""The comparison as tables and as a figure: CER against minutes of own data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from emgmodels.outputs import check_output, write_text
from search.people.results import Found, Summary, summaries
from search.people.trainings import OWN, TUNED, WAYS, ZERO_SHOT
from search.report.display.plot import MARK, MARKERS, PAGE, SERIES, Plot, drawing
from search.report.display.table import Table

STEM = "people"
KINDS = ("md", "csv", "png", "pdf")


_NEVER_SEEN = "on people it has never seen"
_MARKS = {
    "parquet": "is_all",
    "md": _NEVER_SEEN,
    "csv": "user,way,minutes,is_all",
    **dict.fromkeys(("png", "pdf"), MARK),
}
"""By what each file is known as written here."""


def check_files(run: Path) -> None:
    """Refuse a folder where something of others lies in the place of a file of the comparison.

    Raises:
        ValueError: names it.
    """
    for kind, mark in _MARKS.items():
        check_output(run / f"{STEM}.{kind}", mark)


def title_of(winner: str) -> str:
    """Return the title of all that is written of a comparison."""
    return f"{winner} {_NEVER_SEEN}"


def over_people(found: Sequence[Found]) -> Table:
    """Return means and deviations over people: a row each way and amount of data."""
    rows = [
        (
            each.way,
            _amount(each),
            f"{each.mean:.2f}",
            "–" if each.sd is None else f"{each.sd:.2f}",
            str(each.people),
        )
        for each in summaries(found, WAYS)
    ]
    headers = ["model", "own data", "test CER %", "± sd over people", "people"]
    return Table(headers, rows, left=("model",))


def of_each(found: Sequence[Found]) -> Table:
    """Return what was found for each person."""
    rows = [
        (
            each.user,
            each.way,
            f"{each.minutes:.1f}{' (all)' if each.is_all else ''}",
            f"{each.cer:.2f}",
            f"{each.cer_low:.1f} – {each.cer_high:.1f}",
            str(each.characters),
        )
        for each in found
    ]
    headers = ["user", "model", "minutes", "test CER %", "95 %", "characters"]
    return Table(headers, rows, left=("user", "model"))


def write_files(run: Path, found: Sequence[Found], title: str, data: str) -> None:
    """Write ``people.md``, ``people.csv`` and the figure as PNG and PDF.

    Args:
        run: folder of the comparison.
        found: what was found.
        title: what was compared.
        data: on which data.
    """
    tables = (over_people(found).markdown(), of_each(found).markdown())
    write_text(run / f"{STEM}.md", "\n".join([f"# {title}\n", f"{data}\n", *tables]))
    rows = [asdict(each) for each in found]
    table = Table(list(rows[0]), [list(row.values()) for row in rows])
    write_text(run / f"{STEM}.csv", table.csv())
    draw(found, data).save(run / STEM)


def draw(found: Sequence[Found], data: str) -> Plot:
    """Draw CER against minutes of own data: the mean over people, and a thin line for each."""
    title = "What own data adds"
    means = list(summaries(found, WAYS))
    with drawing(title, data, PAGE / 2, 2.9) as figure:
        axes = figure.subplots()
        for place, way in enumerate((OWN, TUNED)):
            # Fine-tuning begins with the model as it was.
            ways, colour = (way, ZERO_SHOT) if way == TUNED else (way,), SERIES[place]
            for user in dict.fromkeys(each.user for each in found):
                own = [e for e in found if e.user == user and e.way in ways]
                line = sorted((e.minutes, e.cer) for e in own)
                axes.plot(*_columns(line), color=colour, lw=0.5, alpha=0.4)
            points = sorted((e.minutes, e.mean, e.sd or 0.0) for e in means if e.way in ways)
            x, y, error = _columns(points, 3)
            marks: Any = {"color": colour, "marker": MARKERS[place], "markersize": 4, "capsize": 2}
            axes.errorbar(x, y, yerr=error, label=way, linewidth=1.2, **marks)
        # Nothing, then minutes by their ratio: most of the gain comes from the first ones.
        axes.set_xscale("symlog", linthresh=1)
        ticks = sorted({0.0, *(round(each.minutes, 1) for each in means)})
        axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
        axes.minorticks_off()
        axes.set_xlabel("minutes of own data")
        axes.set_ylabel("test CER (%)")
        axes.set_ylim(bottom=0)
        axes.legend()
    caption = (
        "Mean and standard deviation over people, a thin line for each. At 0 minutes the model of "
        "others reads as it is; the last amount is all that a person has, on average."
    )
    return Plot(figure, title, caption)


def _columns(points: Sequence[tuple[float, ...]], count: int = 2) -> list[list[float]]:
    return [[point[place] for point in points] for place in range(count)]


def _amount(each: Summary) -> str:
    if each.way == ZERO_SHOT:
        return "none"
    return f"all ({each.minutes:.1f} min)" if each.is_all else f"{each.minutes:g} min"
