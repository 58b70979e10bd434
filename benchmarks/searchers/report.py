"""Table, picture and results of a comparison of searchers."""

from __future__ import annotations

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from benchmarks.results import describe_setting
from benchmarks.searchers.score import SHARES, Outcome, Played, interval
from benchmarks.searchers.tables import BUDGET, TABLES, Table
from emgmodels.drawing import own_style
from emgmodels.outputs import write_text
from emgmodels.saying import counted

AXES = (("epochs", 1, "epochs trained"), ("seconds", 4, "time on 4 slots"))
"""What the picture shows: its measure, on how many slots, and its label."""
_COLOURS = {"emgsearch": "#c00000", "random search": "#606060"}
_LIBRARIES = {
    "Ray Tune": "#1f77b4",
    "Optuna": "#2ca02c",
    "Syne Tune": "#9467bd",
    "SMAC": "#ff7f0e",
    "NePS": "#8c564b",
}
_STYLES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1)), (0, (1, 3)), (0, (7, 3)))
_LEAST = 0.05
"""CER points below which the picture shows no difference."""


def write_report(
    found: Sequence[Played],
    folder: Path,
    tables: Sequence[Table] = TABLES,
    name: str = "searchers",
) -> None:
    """Write ``searchers.md``, ``searchers.json`` and ``searchers.png`` into a folder.

    Args:
        found: what was played.
        folder: where.
        tables: recorded sets that were played.
        name: of the benchmark, after which files are named.
    """
    stem = name.replace("_", "-")
    values = {"setting": describe_setting(), "searchers": [_values(each) for each in found]}
    write_text(folder / f"{stem}.json", json.dumps(values, indent=1) + "\n")
    write_text(folder / f"{stem}.md", markdown(found, tables, name))
    drawn = picture([each for each in found if not each.missing], tables)
    (folder / f"{stem}.png").write_bytes(drawn)


def markdown(
    found: Sequence[Played], tables: Sequence[Table] = TABLES, name: str = "searchers"
) -> str:
    """Return a table of each recorded set and number of slots, the fastest searcher first."""
    stem = name.replace("_", "-")
    played = [each for each in found if not each.missing]
    parts = [
        "# Searchers side by side",
        f"Written by `python -m benchmarks run {name} --venvs DIR --record`; what is compared is "
        "in\n[the README](README.md#searchers-side-by-side). Mean and 95 % interval over searches.",
        f"![CER above the best there was, by epochs and by time]({stem}.png)",
    ]
    for table in tables:
        for slots in sorted({slots for each in played for _, slots in each.outcomes}):
            rows = [each for each in played if (table.name, slots) in each.outcomes]
            if rows:
                parts.append(f"## {table.name}, {counted(slots, 'slot')}")
                parts.append(f"{table.about[0].upper()}{table.about[1:]}.")
                parts.append(_table(rows, (table.name, slots)))
    parts += ["## Versions", _versions(found)]
    return "\n\n".join(parts) + "\n"


def picture(found: Sequence[Played], tables: Sequence[Table] = TABLES) -> bytes:
    """Return a PNG of mean regret by epochs and by time, a row a recorded set."""
    with own_style():
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure

        tables = [table for table in tables if any((table.name, 1) in e.outcomes for e in found)]
        figure = Figure(figsize=(11, 3.3 * len(tables) + 1.2), layout="constrained")
        FigureCanvasAgg(figure)
        grid = figure.subplots(len(tables), len(AXES), squeeze=False)
        for row, table in zip(grid, tables, strict=True):
            for axes, (measure, slots, label) in zip(row, AXES, strict=True):
                _draw(
                    axes, {each.name: each.outcomes[table.name, slots] for each in found}, measure
                )
                axes.set_title(f"{table.name}: {label}", fontsize=9)
        grid[-1][0].set_xlabel("% of training everything")
        grid[-1][1].set_xlabel("% of the time that training everything takes")
        for row in grid:
            row[0].set_ylabel("CER above the best (points)")
        handles, names = grid[0][0].get_legend_handles_labels()
        figure.legend(handles, names, loc="outside lower center", ncols=4, fontsize=7.5)
        drawn = io.BytesIO()
        figure.savefig(drawn, format="png", dpi=110)
    small = io.BytesIO()
    Image.open(drawn).convert("RGB").quantize(256).save(small, format="png", optimize=True)
    return small.getvalue()


def styles(names: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return how each searcher's line is drawn: a library has one colour, ours is thicker."""
    of_library: dict[str, int] = {}
    found: dict[str, dict[str, Any]] = {}
    for name in names:
        library = name.partition(":")[0].partition(",")[0]
        place = of_library[library] = of_library.get(library, -1) + 1
        is_ours = library == "emgsearch"
        found[name] = {
            "color": _COLOURS.get(library) or _LIBRARIES.get(library, "black"),
            "linestyle": _STYLES[place % len(_STYLES)],
            "linewidth": 2.2 if is_ours else 1.1,
            "zorder": 3 if is_ours else 2,
        }
    return found


def _draw(axes: Any, outcomes: Mapping[str, Sequence[Outcome]], measure: str) -> None:
    shares = np.linspace(0.01, BUDGET, 160)
    drawn_as = styles(outcomes)
    for name, given in outcomes.items():
        regret = [[each.at(share, measure) for share in shares] for each in given]
        mean = np.maximum(np.mean(regret, axis=0), _LEAST)
        axes.plot(100 * shares, mean, label=name, **drawn_as[name])
        if name == "emgsearch":
            colour = drawn_as[name]["color"]
            rng = np.random.default_rng(0)
            drawn = np.array(regret)[rng.integers(len(regret), size=(500, len(regret)))]
            low, high = np.percentile(drawn.mean(axis=1), [2.5, 97.5], axis=0)
            bounds = np.maximum(low, _LEAST), np.maximum(high, _LEAST)
            axes.fill_between(100 * shares, *bounds, color=colour, alpha=0.15, linewidth=0)
    axes.set_yscale("log")
    axes.set_ylim(_LEAST, 60)
    axes.set_xlim(0, 100 * BUDGET)
    axes.grid(alpha=0.25)


def _table(rows: Sequence[Played], key: tuple[str, int]) -> str:
    head = ["searcher", *(f"at {share:.0%}".replace("%", " %") for share in SHARES)]
    head += ["within 0.4: epochs", "seconds", "found"]
    lines = [head, ["---"] * len(head)]
    for each in sorted(rows, key=lambda each: np.mean([o.near() for o in each.outcomes[key]])):
        found = each.outcomes[key]
        cells = [_told([o.at(share) for o in found], "{:.2f}") for share in SHARES]
        cells += [
            _told([100 * o.near(axis) for o in found], "{:.1f}") for axis in ("epochs", "seconds")
        ]
        hits = sum(o.near() < 1 for o in found)
        name = f"**{each.name}**" if each.name.startswith("emgsearch") else each.name
        lines.append([name, *cells, f"{hits} of {len(found)}"])
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _told(values: Sequence[float], form: str) -> str:
    mean, low, high = (form.format(each) for each in interval(values))
    return f"{mean} ({low} to {high})"


def _versions(found: Sequence[Played]) -> str:
    lines = [
        "| searcher | versions | processor time of a search, beside trainings |",
        "| --- " * 3 + "|",
    ]
    for each in found:
        versions = ", ".join(f"{name} {version}" for name, version in each.versions.items())
        took = f"{np.mean(each.seconds):.2g} s" if each.seconds else f"not played: {each.missing}"
        lines.append(f"| {each.name} | {versions or 'this project'} | {took} |")
    return "\n".join(lines)


def _values(played: Played) -> dict[str, object]:
    return {
        "name": played.name,
        "versions": dict(played.versions),
        "missing": played.missing,
        "outcomes": [
            {
                "table": table,
                "slots": slots,
                "regret": {
                    f"{share:g}": [round(o.at(share), 3) for o in given] for share in SHARES
                },
                "near_epochs": [round(o.near(), 4) for o in given],
                "near_seconds": [round(o.near("seconds"), 4) for o in given],
            }
            for (table, slots), given in played.outcomes.items()
        ],
    }
