"""Reads the tables of a run folder, while its search runs as well as later."""

from __future__ import annotations

from pathlib import Path

import pyarrow as pa

from search.results.growing_tables import GrowingTable, curves_of, read_parquet, trials_of

_NEEDED = (
    *("trial", "rank", "architecture", "val_cer", "best_epoch", "epochs", "state", "reason"),
    *("parameters", "macs_per_second", "lookahead_ms", "seconds", "config"),
)
"""Columns of the trials table that every version has written."""


def read_trials(run: str | Path) -> pa.Table:
    """Return the trials table of a run folder, best first.

    Raises:
        ValueError: the folder is not a run folder, has no trial yet, or its table lacks columns.
    """
    table = trials_of(Path(run))
    found = _read(table)
    if lacking := [name for name in _NEEDED if name not in found.column_names]:
        raise ValueError(
            f"{table.path}: has no column {', '.join(lacking)}: a search writes it: copy it again"
        )
    return found


def read_curves(run: str | Path) -> pa.Table:
    """Return the learning curves of a run folder: one row a trial and epoch.

    Raises:
        ValueError: the folder is not a run folder, or has no trial yet.
    """
    return _read(curves_of(Path(run)))


def read_windows(run: str | Path) -> pa.Table:
    """Return the validation windows of each trial's best epoch: one row a trial.

    ``edits`` and ``characters`` are lists with one element a window, in order of time.

    Raises:
        ValueError: the folder holds none.
    """
    path = Path(run) / "windows.parquet"
    if not path.is_file():
        raise ValueError(f"{run}: holds no windows.parquet: it has no epoch yet, or is of old")
    return read_parquet(path)


def _read(table: GrowingTable) -> pa.Table:
    if not table.path.parent.is_dir():
        raise ValueError(f"{table.path.parent}: does not exist: give the folder of a search")
    if not table.exists():
        raise ValueError(
            f"{table.path.parent}: holds no {table.path.name}: give the folder of a search, such "
            f"as runs/deep-001, that has begun its first trial"
        )
    return table.read()
