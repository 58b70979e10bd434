"""Recorded learning curves, from run folders and CSVs."""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv

from emgmodels.paths import refuse_pointer
from search.halving.cost import macs_of_epoch
from search.results.facts import read_facts
from search.results.growing_tables import curves_of, trials_of


@dataclass(frozen=True)
class Curve:
    """A recorded training."""

    name: str
    source: str
    """Where it comes from: curves of one source resemble each other."""
    cer: list[float]
    """Validation CER (%) of each epoch from 1."""
    loss: list[float]
    """Validation CTC loss of each epoch from 1."""
    seconds: list[float] | None
    """Duration of each epoch; None: not recorded."""
    macs: float | None = None
    """Multiply-accumulates of an epoch; None: not recorded."""

    @property
    def best(self) -> float:
        """Lowest validation CER of the whole training (%)."""
        return lowest(self.cer)

    @property
    def diverged(self) -> bool:
        """Whether it ended by a metric that is not finite."""
        return not math.isfinite(self.cer[-1] + self.loss[-1])

    def cut(self, epochs: int) -> Curve:
        """Return its first epochs, or as many as a training has that ends where it diverges."""
        metrics = zip(self.cer[:epochs], self.loss[:epochs], strict=True)
        finite = sum(1 for _ in itertools.takewhile(math.isfinite, map(sum, metrics)))
        # The epoch that is not finite stays, since the scheduler must see it.
        end = min(epochs, finite + 1)
        seconds = self.seconds and self.seconds[:end]
        return replace(self, cer=self.cer[:end], loss=self.loss[:end], seconds=seconds)

    def cost(self, resource: str) -> float | None:
        """Return what the whole training cost in what rungs count; None: not recorded."""
        if resource == "seconds":
            return sum(self.seconds) if self.seconds else None
        return self.macs * len(self.cer) if self.macs else None


def read_curves(path: Path) -> list[Curve]:
    """Read a run folder (its ``curves.parquet``) or a CSV of learning curves.

    A CSV has columns run, epoch, val_cer, val_loss; source, seconds and macs (multiply-accumulates
    of the epoch) are used where present. A run folder's macs follow from its trials table. Where an
    older one does not say how much EMG an epoch has, they are those of one second.

    Raises:
        ValueError: the file is missing, no table, lacks a column or holds no curve.
    """
    folder = path.is_dir()
    file, name = (path / "curves.parquet", "trial") if folder else (path, "run")
    if not (file.is_file() or (folder and curves_of(path).exists())):
        wanted = "a run folder with its curves.parquet, or a CSV of curves"
        raise ValueError(f"{file}: does not exist; give {wanted}")
    table = curves_of(path).read() if folder else _read_csv(file)
    needed = [name, "epoch", "val_cer", "val_loss"]
    if missing := [column for column in needed if column not in table.column_names]:
        raise ValueError(f"{file}: has no column {', '.join(missing)}; needs {', '.join(needed)}")
    more = ("source", "seconds", "macs")
    columns = [*needed, *(each for each in more if each in table.column_names)]
    if twice := [column for column in columns if table.column_names.count(column) > 1]:
        raise ValueError(f"{file}: has the column {twice[0]} twice: leave one of them out")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.select(columns).to_pylist():
        rows.setdefault(str(row[name]), []).append(row)
    if not rows:
        raise ValueError(f"{file}: holds no learning curve")
    curves = [_curve(file, run, of) for run, of in rows.items()]
    if not folder:
        return curves
    known = _macs_in(path)
    return [replace(curve, macs=known.get(curve.name)) for curve in curves]


def whole(curves: list[Curve], epochs: int) -> list[Curve]:
    """Return the first epochs of the curves that have as many, or that diverged before."""
    short = [curve.cut(epochs) for curve in curves]
    return [curve for curve in short if len(curve.cer) == epochs or curve.diverged]


def lowest(cer: list[float]) -> float:
    """Return the lowest finite value, infinity when there is none."""
    return min((value for value in cer if math.isfinite(value)), default=math.inf)


def _read_csv(file: Path) -> pa.Table:
    refuse_pointer(file)
    try:
        return pa.csv.read_csv(file)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is not a table: {str(error).splitlines()[0]}") from None


def _curve(file: Path, run: str, rows: list[dict[str, Any]]) -> Curve:
    for row in rows:
        row["epoch"] = _number(file, run, row, "epoch")
    rows = sorted(rows, key=lambda row: row["epoch"])
    epochs = [row["epoch"] for row in rows]
    if epochs != list(range(1, len(rows) + 1)):
        raise ValueError(
            f"{file}: run {run}: epochs must be 1, 2, 3, ... without gaps or repeats, "
            f"and are {', '.join(f'{epoch:g}' for epoch in epochs[:8])} ..."
        )
    timed = all(row.get("seconds") is not None for row in rows)
    seconds = [_number(file, run, row, "seconds") for row in rows] if timed else None
    if seconds and not all(0 <= each < math.inf for each in seconds):
        raise ValueError(f"{file}: run {run}: seconds must be 0 or more, each epoch's own duration")
    counted = all(row.get("macs") is not None for row in rows)
    macs = {_number(file, run, row, "macs") for row in rows} if counted else {None}
    if len(macs) > 1 or not all(each is None or 0 < each < math.inf for each in macs):
        raise ValueError(
            f"{file}: run {run}: macs must be above 0, and equal in each of its epochs"
        )
    return Curve(
        run,
        str(rows[0].get("source", "")),
        [_number(file, run, row, "val_cer") for row in rows],
        [_number(file, run, row, "val_loss") for row in rows],
        seconds,
        macs.pop(),
    )


def _macs_in(run: Path) -> dict[str, float]:
    """Return the multiply-accumulates of an epoch of each trial of a run folder, by its number."""
    table = trials_of(run)
    if not table.exists() or "macs_per_second" not in (found := table.read()).column_names:
        return {}
    facts = run / "environment.json"
    emg = read_facts(facts).get("emg_seconds") if facts.is_file() else None
    emg = emg or {"training": 0.0, "validation": 1.0}
    return {
        str(row["trial"]): macs_of_epoch(row["macs_per_second"], **emg)
        for row in found.select(["trial", "macs_per_second"]).to_pylist()
    }


def _number(file: Path, run: str, row: dict[str, Any], column: str) -> float:
    value = row[column]
    try:
        # Python takes True for 1, and a column of truths is surely the wrong one.
        if not isinstance(value, bool):
            return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):  # text, a date, a time of day, a list
        pass
    at = "" if column == "epoch" else f", epoch {row['epoch']:g}"
    shown = repr(value) if isinstance(value, str) else str(value)
    raise ValueError(f"{file}: run {run}{at}: {column} is {shown}, and must be a number")
