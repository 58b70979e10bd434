"""Writes the folder of a search as it runs, and opens that of an earlier one."""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from emgmodels.atomic import whole
from emgmodels.config import Config, dump_config, write_yaml
from emgmodels.notation import notation
from emgmodels.own_code import FOLDER, Code, write_code
from emgmodels.saying import counted
from emgmodels.scoring import Scoring
from search.halving.ending import Why
from search.results import intervals, people
from search.results.environment import environment
from search.results.facts import SPLIT, read_facts, training_command
from search.results.growing_tables import curves_of, trials_of
from search.results.reading import read_curves, read_trials, read_windows
from search.results.record import CUT_OFF, TrialRecord, Weights, ending_in
from search.storage import Mirror, Place, redact

_RESERVE = ".reserve"
# Enough for the tables, the journal's last lines and a snapshot of thousands of trials.
_RESERVED_BLOCKS = 32
"""Blocks of 1 MiB that are held for the last writing."""
_OFTEN = 5.0
"""Seconds between two writings of the tables' files, at least."""
# Tables grow with the search, and each writing is a whole file. At this rate even ten thousand
# trials keep a slow disk free.
_WRITTEN_ANEW = 100_000
"""Bytes of tables' files that are written again for each second of a search, at most."""


class RunFolder:
    """Writes the folder of one search.

    Epochs, and the rows of trials that begin or end, are appended to the tables at once. What else
    has changed follows with ``flush``, which also brings all of it into the files that others read.
    It is due again after a time that grows with their size.

    Attributes:
        unsent: why storage could not be written the last time, if so.
    """

    def __init__(self, path: Path, place: Place | None = None) -> None:
        """Write a folder.

        Args:
            path: the folder.
            place: where it is copied to as it grows; checkpoints of trials are written there.
        """
        self.path = path
        self.mirror = None if place is None else Mirror(path, place)
        self.trials: dict[int, TrialRecord] = {}
        self._tables = trials_of(path), curves_of(path)
        self._written: dict[int, tuple[object, ...]] = {}
        self._due = 0.0
        self._begin = time.monotonic()
        self.unsent = ""

    @classmethod
    def create(cls, parent: Path, name: str, storage: Place | None = None) -> RunFolder:
        """Make the next free folder ``<parent>/<name>-NNN``, free in ``storage`` too."""
        parent.mkdir(parents=True, exist_ok=True)
        for path in cls.free(parent, name, storage):
            try:
                # Making the folder is what takes the number: two searches that start together
                # never get the same.
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path, storage / path.name if storage else None)
        raise AssertionError("unreachable")

    @staticmethod
    def free(parent: Path, name: str, storage: Place | None = None) -> Iterator[Path]:
        """Yield the folders ``<parent>/<name>-NNN`` that are not there yet, in order."""
        taken = {path.split("/")[0] for path in storage.files()} if storage else set()
        for number in range(1, 1_000_000):
            path = parent / f"{name}-{number:03d}"
            if path.name not in taken and not os.path.lexists(path):
                yield path

    @classmethod
    def open(cls, path: Path, place: Place | None = None) -> RunFolder:
        """Open the folder of an earlier search, with the trials in its tables.

        Args:
            path: the folder.
            place: its copy, kept up to date from now on.

        Raises:
            ValueError: it is not a run folder; a search that had no trial yet has none here.
        """
        if not (path / "space.yaml").is_file():
            if not path.exists():
                raise ValueError(f"{path}: does not exist; python -m search.runs lists searches")
            raise ValueError(f"{path}: is not the folder of a search: it holds no space.yaml")
        folder = cls(path, place)
        if not trials_of(path).exists():
            return folder
        # From the tables, and not from Ray's snapshot, so that reading works without Ray.
        rows = read_trials(path).to_pylist()
        for row in rows:
            config = Config.model_validate_json(row["config"])
            folder.trials[row["trial"]] = record = TrialRecord(
                row["trial"], config, row["state"], ending_in(row), row.get("node") or ""
            )
            if row.get("weights"):  # tables of old have none
                record.reported = Weights(row["best_epoch"], row["val_cer"], row["weights"])
            if row.get("kept_epoch"):
                record.kept = Weights(row["kept_epoch"], row["kept_cer"])
        for row in read_curves(path).to_pylist() if curves_of(path).exists() else ():
            folder.trials[row["trial"]].add(row)
        if (path / "windows.parquet").is_file():
            windows = intervals.from_table(read_windows(path))
            for row in rows:
                if (found := windows.get(row["trial"])) is not None:
                    if row["val_cer_low"] is not None:  # of a copy, windows may be newer than rows
                        found.interval = (row["val_cer_low"], row["val_cer_high"])
                    folder.trials[row["trial"]].windows = found
        arrived = (row["arrived"] for trial in folder.trials.values() for row in trial.curve)
        # The time budget and the curves' column count seconds of searching, not the pause between
        # two runs.
        folder._begin -= max(filter(math.isfinite, arrived), default=0.0)
        for row in rows:
            record = folder.trials[row["trial"]]
            folder._note(record)
            if row["epochs"] != record.epoch:  # its process was killed before the row followed
                del folder._written[record.number]
        return folder

    @property
    def elapsed(self) -> float:
        """Seconds of searching, that of an earlier, interrupted search included."""
        return time.monotonic() - self._begin

    def write_space(self, resolved: Mapping[str, Any], codes: Iterable[Code] = ()) -> None:
        """Write ``space.yaml``, the space as it was searched, and the code that it names."""
        write_code(codes, self.path / FOLDER)
        _write(self.path / "space.yaml", write_yaml(dict(resolved)))

    def write_split(self, text: str) -> None:
        """Write ``split.yaml``, the text of ``emgmodels.sessions.split_text``."""
        _write(self.path / SPLIT, text)

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write ``environment.json``: versions, hardware, command line, and the facts given."""
        _write(self.path / "environment.json", json.dumps({**environment(), **facts}, indent=2))

    def read_environment(self) -> dict[str, Any]:
        """Return what ``write_environment`` wrote.

        Raises:
            ValueError: it is missing or broken.
        """
        return read_facts(self.path / "environment.json")

    @property
    def scoring(self) -> Scoring | None:
        """Whose each validation window is, where there are several users."""
        return people.scoring_of(self.path)

    def ranking(self) -> list[TrialRecord]:
        """Return the trials, best first."""
        return sorted(self.trials.values(), key=lambda trial: trial.sort_key)

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C ended the search."""
        return any(
            trial.state == CUT_OFF and trial.ending and trial.ending.why is Why.INTERRUPTED
            for trial in self.trials.values()
        )

    def reserve(self) -> None:
        """Hold some space on the disk for the last writing, should it fill up."""
        self.release()  # what an earlier search left, or a link
        with (self.path / _RESERVE).open("xb") as file:
            for _ in range(_RESERVED_BLOCKS):
                # Real blocks: a file that is only long, without content, holds no space on most
                # file systems.
                file.write(bytes(2**20))

    def release(self) -> None:
        """Give the reserved space back."""
        # Called when the disk is full, before the last tables are written.
        (self.path / _RESERVE).unlink(missing_ok=True)

    def append(self, trial: TrialRecord) -> None:
        """Append a trial's new epochs, and its row if it has changed."""
        self._append([trial])

    def append_epochs(self, trial: TrialRecord) -> None:
        """Append a trial's new epochs; its row follows with ``append`` or ``flush``."""
        if trial.fresh:
            self._tables[1].append([_epoch(trial.number, row) for row in trial.fresh])
            trial.fresh = []

    def is_due(self) -> bool:
        """Return whether it is time to ``flush`` again."""
        return time.monotonic() >= self._due

    def flush(self) -> None:
        """Write the tables' files and ``best.yaml`` as they are now."""
        self._write_windows()
        # Windows first: their intervals are columns of the trials' rows.
        self._append(self.trials.values())
        trials, _ = (table.bring_in() for table in self._tables)
        with whole(self.path / "trials.csv") as scratch:
            pa.csv.write_csv(trials, scratch)
        self._write_best()
        self.send()
        # Time between two writings grows with what is written, so that the share of it stays
        # bounded.
        size = sum(path.stat().st_size for path in self.path.glob("*.parquet"))
        size += (self.path / "trials.csv").stat().st_size
        self._due = time.monotonic() + max(_OFTEN, size / _WRITTEN_ANEW)

    def send(self, *names: str) -> None:
        """Copy what is new, or these files of it, to storage; what can't be sent is sent later."""
        if self.mirror is None:
            return
        try:
            self.mirror.push(*names)
            self.unsent = ""
        except (OSError, ValueError) as error:
            # A store that cannot be reached for a while must not end a search that trains well.
            self.unsent = redact(str(error))

    def write_failure(self, trial: TrialRecord, text: str) -> None:
        """Write why a trial failed, with its traceback, to ``failures/``."""
        folder = self.path / "failures"
        folder.mkdir(exist_ok=True)
        _write(folder / f"{trial.slug}.txt", text)

    def _append(self, trials: Iterable[TrialRecord]) -> None:
        rows = []
        for trial in trials:
            self.append_epochs(trial)
            if self._written.get(trial.number) != trial.version:
                rows.append(trial.row())
                self._note(trial)
        if rows:
            self._tables[0].append(rows)

    def _note(self, trial: TrialRecord) -> None:
        """Note that the tables have all of a trial."""
        self._written[trial.number] = trial.version
        trial.fresh = []

    def _write_best(self) -> None:
        best = min(self.trials.values(), key=lambda trial: trial.sort_key, default=None)
        if best is None or best.best is None:
            return
        config = best.config.model_copy(update={"name": self.path.name})
        header = (
            f"# {notation(config.model)}\n# Best of {self.path.name}: validation CER "
            f"{best.best['val_cer']:.2f} % after {counted(best.best['epoch'], 'epoch')}.\n"
            f"# Train it again, in this folder: {training_command(self.path, inside=True)}\n"
        )
        _write(self.path / "best.yaml", header + dump_config(config))

    def _write_windows(self) -> None:
        """Complete the intervals, and write the windows they come from where there are news."""
        found = {number: trial.best_windows for number, trial in self.trials.items()}
        known = {number: windows for number, windows in found.items() if windows is not None}
        scoring = self.scoring
        if not intervals.add_intervals(known.values(), scoring):
            return
        tables = {"windows.parquet": intervals.to_table(known)}
        tables |= {} if scoring is None else {people.TABLE: people.by_user(known, scoring)}
        for name, table in tables.items():
            with whole(self.path / name) as scratch:
                pa.parquet.write_table(table, scratch, compression="zstd")


def _epoch(trial: int, row: Mapping[str, float]) -> dict[str, float]:
    """Return a row of the curves table."""
    return {"trial": trial, **row, "epoch": int(row["epoch"])}


def _write(path: Path, text: str) -> None:
    with whole(path) as scratch:
        scratch.write_text(text, encoding="utf-8")
