"""Tables that grow: rows are appended at once, and brought into the Parquet file now and then.

Rows lie as lines of JSON beside the file (``.curves.rows`` beside ``curves.parquet``) until they
are brought in. A process that is killed at any moment leaves both readable, and a row that is in
both counts once. Readers take appended rows first: what is brought in meanwhile is in the file.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet

from emgmodels.atomic import append, unlinked, whole
from emgmodels.config import read_yaml
from emgmodels.paths import refuse_pointer
from emgmodels.saying import counted
from search.space.objectives import COLUMNS, on_front

CURVE_METRICS = (
    *("train_loss", "val_loss", "val_cer", "val_ier", "val_der", "val_ser"),
    *("best_val_cer", "learning_rate", "seconds", "arrived"),
)
"""Columns of the learning curves; ``arrived``: seconds of searching when the epoch was reported,
the time between an interruption and ``--resume`` left out."""
USER_RATES = ("val_cer_pooled", "val_cer_mean_user", "val_cer_sd_user", "val_cer_worst_user")
"""Further columns of both tables: CERs beside the one that ranks, which is one of them; see
``emgmodels.scoring``."""

_TRIALS = pa.schema(
    [(name, pa.int64()) for name in ("rank", "trial")]
    + [("architecture", pa.string())]
    + [(name, pa.float64()) for name in ("val_cer", "val_cer_low", "val_cer_high")]
    + [(name, pa.float64()) for name in USER_RATES]
    + [("best_epoch", pa.int64()), ("weights", pa.string())]
    + [("kept_epoch", pa.int64()), ("kept_cer", pa.float64()), ("epochs", pa.int64())]
    + [(name, pa.string()) for name in ("state", "reason", "ending", "ending_facts")]
    + [("parameters", pa.int64())]
    + [(name, pa.float64()) for name in ("macs_per_second", "lookahead_ms")]
    + [("electrodes", pa.int64()), ("seconds", pa.float64())]
    + [("node", pa.string()), ("seed", pa.int64()), ("config", pa.string())]
)
"""Columns of the trials table, before those of every setting. A search of several objectives has
``front`` too: which trials no other beats in all of them. ``ending`` says why a trial ended (a
``search.halving.ending.Why``), ``ending_facts`` has its numbers, as JSON, and ``reason`` has both
in words. ``weights`` is the hash of the weights of ``best_epoch``; ``kept_epoch`` and ``kept_cer``
are of those in the trial's file in ``checkpoints/``."""

Row = Mapping[str, Any]
Merge = Callable[[pa.Table, Sequence[Row]], pa.Table]
"""Brings rows, in the order in which they were appended, into a table."""


def read_parquet(path: Path) -> pa.Table:
    """Return a table from its file, opened once: a search that runs may put another in its place.

    ``pa.parquet.read_table`` opens a file twice, and fails where the two are not the same.

    Raises:
        ValueError: it is no Parquet file, or a damaged one.
    """
    try:
        with pa.parquet.ParquetFile(path) as file:
            return file.read()
    except FileNotFoundError:
        raise
    except (pa.ArrowException, OSError) as error:
        if isinstance(error, OSError) and error.errno is not None:
            raise
        refuse_pointer(path)
        why = str(error).splitlines()[0]
        raise ValueError(
            f"{path}: is no Parquet file, or is cut off or damaged "
            f"({counted(path.stat().st_size, 'byte')}): "
            f"copy it again, or name another run: {why}"
        ) from None


def to_numbers(column: pa.ChunkedArray) -> np.ndarray:
    """Return a table's column of numbers; none is NaN.

    ``to_numpy()`` would import pandas first, for most of a second.
    """
    whole = column.combine_chunks()
    if whole.null_count:
        return np.array(whole.to_pylist(), dtype=float)
    return np.from_dlpack(whole)


@dataclass
class GrowingTable:
    """A Parquet file that rows are appended to.

    Attributes:
        path: the file.
        merge: what becomes of rows about the same thing, and in which order rows stand.
        schema: columns of the table while it has no row.
    """

    path: Path
    merge: Merge
    schema: pa.Schema
    _mended: bool = False

    @property
    def rows_path(self) -> Path:
        """Where appended rows lie."""
        return self.path.with_name(f".{self.path.stem}.rows")

    def exists(self) -> bool:
        """Return whether there is anything to read."""
        return self.path.is_file() or self.rows_path.is_file()

    def append(self, rows: Sequence[Row]) -> None:
        """Write rows, all or none; they are read back whatever becomes of this process.

        Raises:
            OSError: there is no room for them.
        """
        # A process that was killed before may have left half a line. The next row would be
        # appended to it.
        if not self._mended:
            drop_torn_line(self.rows_path)
            self._mended = True
        append(self.rows_path, b"".join(json.dumps(row).encode() + b"\n" for row in rows))

    def read(self) -> pa.Table:
        """Return the table with all rows that were appended."""
        # Appended rows are read before the file: what a search brings in between the two is then
        # in the file. The other way round it would be in neither.
        rows = self._appended()
        known = read_parquet(self.path) if self.path.is_file() else None
        if known is None or not known.num_rows:
            known = self.schema.empty_table()
        return self.merge(known, rows) if rows else known

    def bring_in(self) -> pa.Table:
        """Write the file again, with all appended rows, and return it."""
        table = self.read()
        # The file takes its place before the rows go. A kill in between leaves rows twice, and
        # merging drops the copy.
        with whole(self.path) as scratch:
            pa.parquet.write_table(table, scratch)
        self.rows_path.unlink(missing_ok=True)
        return table

    def _appended(self) -> list[Row]:
        try:
            written = self.rows_path.read_bytes()
        except FileNotFoundError:
            return []
        # A running search may be in the middle of a line.
        whole_lines = written[: written.rfind(b"\n") + 1].splitlines()
        try:
            return [json.loads(line) for line in whole_lines]
        except ValueError as error:
            raise ValueError(f"{self.rows_path}: is damaged: a line is not JSON: {error}") from None


def trials_of(run: Path) -> GrowingTable:
    """Return the trials table of a run folder: one row a trial, best first."""
    merge = functools.partial(_ranked_and_marked, run)
    return GrowingTable(run / "trials.parquet", merge, _TRIALS)


def curves_of(run: Path) -> GrowingTable:
    """Return the curves table of a run folder: one row a trial and epoch."""
    schema = pa.schema(
        [("trial", pa.int64()), ("epoch", pa.int64())]
        + [(name, pa.float64()) for name in (*CURVE_METRICS, *USER_RATES)]
    )
    return GrowingTable(run / "curves.parquet", merge_curves, schema)


def objectives_of(run: Path) -> list[str]:
    """Return what the search of a run folder minimises."""
    try:
        path = run / "space.yaml"
        space = read_yaml(path.read_text(encoding="utf-8"), str(path))
    except FileNotFoundError:
        return ["val_cer"]
    return space.get("search", {}).get("objectives", ["val_cer"])


def merge_trials(known: pa.Table, rows: Sequence[Row]) -> pa.Table:
    """Keep the newest row of each trial, and rank trials by validation CER, lowest first."""
    # A trial's row is appended each time that its state changes.
    newest = {row["trial"]: row for row in rows}
    if known.num_rows:
        known = known.filter(pa.array([each not in newest for each in known["trial"].to_pylist()]))
    # Both depend on all trials, so they are computed again.
    found = {"rank", "front"} & set(known.column_names)
    table = _joined(known.drop_columns(list(found)), _table(list(newest.values())))
    cers = table["val_cer"].cast(pa.float64()).to_numpy()  # none is NaN, which sorts last
    order = np.lexsort([table["trial"].to_numpy(), cers])
    ranks = pa.array(np.arange(1, len(order) + 1))
    return table.take(pa.array(order)).add_column(0, "rank", ranks)


def merge_curves(known: pa.Table, rows: Sequence[Row]) -> pa.Table:
    """Order epochs; one that a trial repeats replaces the earlier, and what came after that."""
    newest: dict[int, dict[int, Row]] = {}
    begins: dict[int, int] = {}
    for row in rows:
        trial, epoch = row["trial"], row["epoch"]
        # A trial that went on from an older checkpoint trains some epochs a second time. The
        # later ones are what it comes to now.
        kept = {each: other for each, other in newest.get(trial, {}).items() if each < epoch}
        newest[trial] = {**kept, epoch: row}
        begins[trial] = min(epoch, begins.get(trial, epoch))
    if known.num_rows:
        limits = [begins.get(trial, np.inf) for trial in known["trial"].to_pylist()]
        known = known.filter(pa.array(known["epoch"].to_numpy() < np.array(limits)))
    added = [row for epochs in newest.values() for row in epochs.values()]
    table = _joined(known, pa.Table.from_pylist(added))
    return table.sort_by([("trial", "ascending"), ("epoch", "ascending")])


def _ranked_and_marked(run: Path, known: pa.Table, rows: Sequence[Row]) -> pa.Table:
    table, names = merge_trials(known, rows), objectives_of(run)
    if len(names) == 1:
        return table
    columns = [table[COLUMNS[name]].cast(pa.float64()).to_numpy() for name in names]
    return table.add_column(1, "front", pa.array(on_front(np.column_stack(columns))))


def drop_torn_line(path: Path) -> None:
    """Cut off a last line that a full disk or a power failure left unfinished."""
    if not path.exists():
        return
    # Never through a link: a run folder from elsewhere could lead to any file of this machine.
    with open(path, "r+b", opener=unlinked) as file:
        written = file.read()
        if written and not written.endswith(b"\n"):
            file.truncate(written.rfind(b"\n") + 1)


def _table(rows: Sequence[Row]) -> pa.Table:
    columns = {name: None for row in rows for name in row}
    return pa.table({name: _column([row.get(name) for row in rows]) for name in columns})


def _column(values: list[Any]) -> pa.Array:
    """Return a column; where a setting is a number here and a list there, all of it is text."""
    # Parquet columns have one type, and a space may vary between 4 and [512, 1024].
    if any(isinstance(value, str) for value in values):
        values = [value if value is None else str(value) for value in values]
    return pa.array(values)


def _joined(first: pa.Table, second: pa.Table) -> pa.Table:
    """Return the rows of both tables, with the columns of either."""
    for name in set(first.column_names) & set(second.column_names):
        if pa.types.is_string(first[name].type) != pa.types.is_string(second[name].type):
            first, second = _as_text(first, name), _as_text(second, name)
    return pa.concat_tables([first, second], promote_options="permissive")


def _as_text(table: pa.Table, name: str) -> pa.Table:
    column = [value if value is None else str(value) for value in table[name].to_pylist()]
    index = table.column_names.index(name)
    return table.set_column(index, name, pa.array(column, pa.string()))
