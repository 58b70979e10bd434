"""Lists the searches of a folder: which run, are over, were interrupted or failed.

python -m search.runs
python -m search.runs /data/runs
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.console import Console

from emgmodels.command import CommandLine
from emgmodels.factory import notation, parse_notation
from search.console import duration, with_room
from search.lock import is_running
from search.report.tables import Table
from search.results import (
    CUT_OFF,
    FAILED,
    PAUSED,
    RUNNING,
    TIME_IS_UP,
    WAITING,
    read_trials,
)

FINISHED, INTERRUPTED = "finished", "interrupted"


@dataclass(frozen=True)
class Listed:
    """A run folder in a few facts."""

    path: Path
    state: str
    """``running``, ``finished``, ``interrupted`` (``--resume`` goes on) or ``failed``."""
    val_cer: float | None
    """Lowest validation CER (%)."""
    architecture: str
    """Of the best trial, in brief."""
    trials: int
    changed: float
    """When its tables were last written (unix seconds)."""
    size: int
    """All its files together (bytes)."""


def list_runs(folder: str | Path) -> list[Listed]:
    """Return the runs below a folder, the one changed last first.

    Raises:
        ValueError: the folder is not there.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise ValueError(
            f"{folder}: is no folder: name the one that run folders are in, by default runs, where "
            f"python -m search.run makes them"
        )
    found = [_listed(path.parent) for path in folder.glob("*/space.yaml")]
    return sorted(found, key=lambda run: -run.changed)


app = CommandLine()


@app.command(epilog="Examples:\n\npython -m search.runs\n\npython -m search.runs /data/runs")
def command(
    folder: Annotated[Path, typer.Argument(help="Where the run folders are.")] = Path("runs"),
) -> None:
    """List searches with state, best validation CER, age and size, the newest first.

    An interrupted search goes on with: python -m search.run --resume RUN
    """
    console = with_room(Console())
    runs = list_runs(folder)
    if not runs:
        console.print(f"{folder}: holds no run folder", highlight=False, soft_wrap=True)
        return
    console.print(_table(runs).rich(str(folder), console.width))


def _listed(path: Path) -> Listed:
    files = [file.stat() for file in path.rglob("*") if file.is_file()]
    table = path / "trials.parquet"
    changed = (table if table.is_file() else path / "space.yaml").stat().st_mtime
    columns = ["val_cer", "architecture", "state", "reason"]
    try:
        rows = read_trials(path).select(columns).to_pylist()
    except (ValueError, pa.ArrowException):  # nothing trained yet, or damaged
        rows = []
    best = rows[0] if rows and rows[0]["val_cer"] is not None else None
    return Listed(
        path,
        "running" if is_running(path) else _ended(rows),
        best and best["val_cer"],
        notation(parse_notation(best["architecture"]), brief=True) if best else "",
        len(rows),
        changed,
        sum(stat.st_size for stat in files),
    )


def _ended(rows: list[dict[str, str]]) -> str:
    """Return the state of a search that is not running, from its trials."""
    unfinished = [
        row
        for row in rows
        if row["state"] in (WAITING, RUNNING, PAUSED)
        or (row["state"] == CUT_OFF and not row["reason"].endswith(TIME_IS_UP))
    ]
    if unfinished or not rows:
        return INTERRUPTED
    return FAILED if all(row["state"] == FAILED for row in rows) else FINISHED


def _table(runs: list[Listed]) -> Table:
    now = time.time()
    rows = [
        [
            run.path.name,
            run.state,
            "–" if run.val_cer is None else f"{run.val_cer:.2f}",
            f"{_age(now - run.changed)} ago",
            _size(run.size),
            str(run.trials),
            run.architecture,
        ]
        for run in runs
    ]
    headers = ["run", "state", "best CER %", "changed", "size", "trials", "best architecture"]
    return Table(headers, rows, left=("run", "state", "best architecture"))


def _age(seconds: float) -> str:
    days = int(seconds // 86400)
    return f"{days} days" if days > 1 else duration(max(0.0, seconds))


def _size(size: float) -> str:
    for unit in ("B", "kB", "MB", "GB"):
        if size < 1000:
            return f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


if __name__ == "__main__":
    app(prog_name="python -m search.runs")
