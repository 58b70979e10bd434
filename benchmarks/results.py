"""Results of benchmarks: printed, written as JSON, and noted in ``benchmarks/README.md``."""

from __future__ import annotations

import datetime
import json
import os
import platform
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from rich.table import Table

from benchmarks.measure import Figure
from emgmodels.saying import counted
from search.results.environment import source_hash, version

FOLDER = Path(__file__).parent
STORE = FOLDER / "results.json"
"""The last recorded results, from which the README's tables are written."""
README = FOLDER / "README.md"
BEGIN = "<!-- results: written by python -m benchmarks run --record -->"
COLUMNS = ("figure", "value", "reference", "ratio", "wanted", "of the floor", "note")


@dataclass(frozen=True)
class Entry:
    """What a benchmark found, and in which setting."""

    setting: Mapping[str, Any]
    figures: tuple[Figure, ...]


def describe_setting() -> dict[str, Any]:
    """Return date, machine and versions."""
    return {
        "date": datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%d"),
        "processor": _processor(),
        "cores": os.cpu_count(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "python": platform.python_version(),
        "torch": torch.__version__,
        **{name: found for name in ("numpy", "ray", "optuna") if (found := version(name))},
        "source": source_hash(),
    }


def setting_line(setting: Mapping[str, Any]) -> str:
    """Return the setting as a line."""
    used = ("Python", "torch", "numpy", "Ray", "Optuna", "source")
    versions = [f"{name} {setting[key]}" for name in used if (key := name.lower()) in setting]
    return (
        f"{setting['date']}, {setting['processor']}, {counted(setting['cores'], 'core')}, "
        f"{counted(setting['threads'], 'torch thread')}, {setting['clock']} clock, "
        f"GPU: {setting['gpu'] or 'none'}, {', '.join(versions)}"
    )


def table(name: str, figures: Sequence[Figure]) -> Table:
    """Return the figures as a table for the terminal."""
    grid = Table(title=name, title_justify="left")
    for column in COLUMNS:
        grid.add_column(column)
    for figure in figures:
        grid.add_row(*_cells(figure))
    return grid


def write_json(path: Path, found: Mapping[str, Entry]) -> None:
    """Write results as JSON: by benchmark, its setting and figures."""
    values = {name: asdict(entry) for name, entry in found.items()}
    path.write_text(json.dumps(values, indent=1) + "\n", encoding="utf-8")


def record(found: Mapping[str, Entry]) -> None:
    """Note results beside those of the other benchmarks, and write the README's tables anew."""
    known = read_json(STORE) if STORE.is_file() else {}
    merged = {**known, **found}
    write_json(STORE, merged)
    intro = README.read_text(encoding="utf-8").partition(BEGIN)[0] if README.is_file() else ""
    README.write_text(intro + BEGIN + "\n\n" + markdown(merged), encoding="utf-8")


def read_json(path: Path) -> dict[str, Entry]:
    """Return what ``write_json`` wrote."""
    values = json.loads(path.read_text(encoding="utf-8"))
    return {
        name: Entry(entry["setting"], tuple(Figure(**figure) for figure in entry["figures"]))
        for name, entry in values.items()
    }


def markdown(found: Mapping[str, Entry]) -> str:
    """Return results as one Markdown table a benchmark."""
    parts = []
    for name, entry in sorted(found.items()):
        rows = [COLUMNS, ("---",) * len(COLUMNS), *map(_cells, entry.figures)]
        lines = ["| " + " | ".join(row) + " |" for row in rows]
        parts.append("\n".join([f"## {name}", "", setting_line(entry.setting) + ".", "", *lines]))
    return "\n\n".join(parts) + "\n"


def _cells(figure: Figure) -> tuple[str, ...]:
    def number(value: float | None, unit: str = "") -> str:
        return (
            ""
            if value is None
            else f"{value:.3g} {unit}".strip()
            if value < 1000
            else (f"{value:,.0f} {unit}".strip())
        )

    return (
        figure.name,
        "unmeasured" if figure.value is None else number(figure.value, figure.unit),
        number(figure.reference, figure.unit),
        "" if figure.ratio is None else f"{figure.ratio:.3g} x",
        figure.wanted,
        "" if figure.share is None else f"{100 * figure.share:.0f} %",
        figure.note,
    )


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.partition(":")[2].strip() for line in lines if "model name" in line)
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
