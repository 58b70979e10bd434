"""The run folder: what a search writes while it runs, and how it is read back.

Everything that looks at a search (report, evaluation, replay) reads these files and never a live
tuner. ``docs/architecture.md`` lists them.
"""

from __future__ import annotations

import contextlib
import heapq
import json
import math
import os
import platform
import re
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import torch
import yaml

from emgmodels.config import Config, dump_config
from emgmodels.factory import describe, notation
from search import intervals
from search.intervals import Windows
from search.storage import Mirror, Place, StoredFile, redact

WAITING, RUNNING, PAUSED = "waiting", "running", "paused"
COMPLETE, STOPPED, FAILED = "complete", "stopped", "failed"
CUT_OFF = "cut off"
"""By the end of the search; it can go on if the search is resumed."""
STATES = (WAITING, RUNNING, PAUSED, COMPLETE, STOPPED, FAILED, CUT_OFF)
CURVE_METRICS = (
    *("train_loss", "val_loss", "val_cer", "val_ier", "val_der", "val_ser"),
    *("best_val_cer", "learning_rate", "seconds", "arrived"),
)
"""Columns of the learning curves; ``arrived``: seconds of searching when the epoch was reported,
the time between an interruption and ``--resume`` left out."""
TIME_IS_UP = "the time budget was spent"
"""How the reason of a trial ends that the time budget cut off."""
_OFTEN = 5.0
"""Seconds between two writings of the tables, at least."""
_WRITING_SHARE = 20
"""The tables rest at least so many times as long as their writing takes."""


@dataclass
class TrialRecord:
    """What is known of one trial; a row of the trials table."""

    number: int
    config: Config
    state: str = WAITING
    reason: str = ""
    node: str = ""
    curve: list[dict[str, float]] = field(default_factory=list)
    best: dict[str, float] | None = None
    checkpoint: StoredFile | None = None
    windows: Windows | None = None

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Take in an epoch's metrics; ``best`` is the epoch with the lowest validation CER.

        An epoch that a trial repeats, because it went back to a checkpoint, replaces the earlier.
        The windows of a new best epoch come with it.
        """
        if "best_windows" in metrics:
            self.windows = Windows.of(int(metrics["best_epoch"]), metrics["best_windows"])
        row = {name: float(metrics.get(name, math.nan)) for name in ("epoch", *CURVE_METRICS)}
        repeated = bool(self.curve) and self.curve[-1]["epoch"] >= row["epoch"]
        if repeated:
            self.curve = [known for known in self.curve if known["epoch"] < row["epoch"]]
            self.best = None
        self.curve.append(row)
        for known in self.curve if repeated else [row]:
            if math.isfinite(known["val_cer"]) and (
                self.best is None or known["val_cer"] < self.best["val_cer"]
            ):
                self.best = known

    @property
    def best_windows(self) -> Windows | None:
        """Validation windows of the best epoch, where they are known."""
        known = self.windows and self.best and self.windows.epoch == self.best["epoch"]
        return self.windows if known else None

    @property
    def interval(self) -> tuple[float, float] | None:
        """95 % bootstrap interval of the best CER (%), once the tables were written."""
        return self.best_windows.interval if self.best_windows else None

    @property
    def name(self) -> str:
        """Readable name: trial number and architecture."""
        return f"{self.number:03d} {notation(self.config.model, brief=True)}"

    @property
    def slug(self) -> str:
        """The name as a file name."""
        return re.sub(r"[^\w.-]+", "-", self.name).strip("-")

    @property
    def epoch(self) -> int:
        """Epochs trained."""
        return int(self.curve[-1]["epoch"]) if self.curve else 0

    @property
    def sort_key(self) -> tuple[float, int]:
        """Ranks trials: lowest validation CER first, those without one last."""
        return (self.best["val_cer"] if self.best else math.inf, self.number)

    def row(self, rank: int) -> dict[str, Any]:
        """Return the trial's row of the trials table."""
        summary, best = describe(self.config.model), self.best
        low, high = self.interval or (None, None)
        return {
            "rank": rank,
            "trial": self.number,
            "architecture": notation(self.config.model),
            "val_cer": best["val_cer"] if best else None,
            "val_cer_low": low,
            "val_cer_high": high,
            "best_epoch": int(best["epoch"]) if best else None,
            "epochs": self.epoch,
            "state": self.state,
            "reason": self.reason,
            "parameters": summary.parameters,
            "macs_per_second": summary.macs_per_second,
            "lookahead_ms": summary.lookahead_ms,
            "seconds": sum(row["seconds"] for row in self.curve),
            "node": self.node,
            "seed": self.config.seed,
            "config": self.config.model_dump_json(),
            **flatten(self.config.model.model_dump(mode="json"), "model"),
            **flatten(self.config.training.model_dump(mode="json"), "training"),
        }


class RunFolder:
    """Writes the folder of one search.

    Tables are written whole, at intervals that grow with the time a write takes, so that writing
    stays a small share of a search of any size; ``flush`` writes what is new.

    Attributes:
        checkpoints: trials, the best ones, whose checkpoints are kept.
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
        self.checkpoints = 3
        self.trials: dict[int, TrialRecord] = {}
        self._due = 0.0
        self._begin = time.monotonic()
        self.unsent = ""
        self._copied: dict[Path, str] = {}

    @classmethod
    def create(cls, parent: Path, name: str, storage: Place | None = None) -> RunFolder:
        """Make the next free folder ``<parent>/<name>-NNN``, free in ``storage`` too."""
        parent.mkdir(parents=True, exist_ok=True)
        taken = {path.split("/")[0] for path in storage.files()} if storage else set()
        for number in range(1, 1_000_000):
            path = parent / f"{name}-{number:03d}"
            if path.name in taken:
                continue
            try:
                path.mkdir()
            except FileExistsError:
                continue
            return cls(path, storage / path.name if storage else None)
        raise AssertionError("unreachable")

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
            raise ValueError(f"{path}: is not the folder of a search: it holds no space.yaml")
        folder = cls(path, place)
        if not (path / "trials.parquet").is_file():
            return folder
        rows = read_trials(path).to_pylist()
        for row in rows:
            config = Config.model_validate_json(row["config"])
            folder.trials[row["trial"]] = TrialRecord(
                row["trial"], config, row["state"], row["reason"], row["node"]
            )
        for row in read_curves(path).to_pylist():
            folder.trials[row["trial"]].add(row)
        if (path / "windows.parquet").is_file():
            windows = intervals.from_table(read_windows(path))
            for row in rows:
                if (found := windows.get(row["trial"])) is not None:
                    found.interval = (row["val_cer_low"], row["val_cer_high"])
                    folder.trials[row["trial"]].windows = found
        arrived = (row["arrived"] for trial in folder.trials.values() for row in trial.curve)
        folder._begin -= max(filter(math.isfinite, arrived), default=0.0)
        return folder

    @property
    def elapsed(self) -> float:
        """Seconds of searching, that of an earlier, interrupted search included."""
        return time.monotonic() - self._begin

    def write_space(self, resolved: Mapping[str, Any]) -> None:
        """Write ``space.yaml``, the space as it was searched."""
        text = yaml.safe_dump(dict(resolved), sort_keys=False, allow_unicode=True)
        _write(self.path / "space.yaml", text)

    def write_environment(self, facts: Mapping[str, Any]) -> None:
        """Write ``environment.json``: versions, hardware, command line, and the facts given."""
        _write(self.path / "environment.json", json.dumps({**environment(), **facts}, indent=2))

    def read_environment(self) -> dict[str, Any]:
        """Return what ``write_environment`` wrote.

        Raises:
            ValueError: it is missing or broken.
        """
        path = self.path / "environment.json"
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except (OSError, json.JSONDecodeError) as error:
            raise ValueError(f"{path}: cannot be read: {error}") from None

    def ranking(self) -> list[TrialRecord]:
        """Return the trials, best first."""
        return sorted(self.trials.values(), key=lambda trial: trial.sort_key)

    @property
    def is_interrupted(self) -> bool:
        """Whether Ctrl-C ended the search."""
        return any(
            trial.state == CUT_OFF and trial.reason.endswith("interrupted")
            for trial in self.trials.values()
        )

    def is_due(self) -> bool:
        """Return whether it is time to ``flush`` again."""
        return time.monotonic() >= self._due

    def flush(self) -> None:
        """Write all tables and ``best.yaml`` as they are now."""
        begin = time.monotonic()
        self._write_windows()
        ranking = self.ranking()
        trials = _table([trial.row(rank) for rank, trial in enumerate(ranking, start=1)])
        _replace(self.path / "trials.parquet", lambda to: pa.parquet.write_table(trials, to))
        _replace(self.path / "trials.csv", lambda to: pa.csv.write_csv(trials, to))
        curves = self._curves()
        _replace(self.path / "curves.parquet", lambda to: pa.parquet.write_table(curves, to))
        if ranking and ranking[0].best:
            config = ranking[0].config.model_copy(update={"name": self.path.name})
            header = (
                f"# {notation(config.model)}\n# Best of {self.path.name}: validation CER "
                f"{ranking[0].best['val_cer']:.2f} % after {ranking[0].best['epoch']:.0f} epochs.\n"
                f"# Train it again: python -m emgmodels.training {self.path / 'best.yaml'}\n"
            )
            _write(self.path / "best.yaml", header + dump_config(config))
        self.send()
        now = time.monotonic()
        self._due = now + max(_OFTEN, _WRITING_SHARE * (now - begin))

    def send(self, *names: str) -> None:
        """Copy what is new, or these files of it, to storage; what can't be sent is sent later."""
        if self.mirror is None:
            return
        try:
            self.mirror.push(*names)
            self.unsent = ""
        except (OSError, ValueError) as error:
            self.unsent = redact(str(error))

    def write_failure(self, trial: TrialRecord, text: str) -> None:
        """Write why a trial failed, with its traceback, to ``failures/``."""
        folder = self.path / "failures"
        folder.mkdir(exist_ok=True)
        _write(folder / f"{trial.slug}.txt", text)

    def keep_best_checkpoints(self) -> None:
        """Copy new checkpoints of the best few into ``checkpoints/`` and delete the losers'."""
        folder = self.path / "checkpoints"
        folder.mkdir(exist_ok=True)
        wanted: set[Path] = set()
        for trial in heapq.nsmallest(
            self.checkpoints, self.trials.values(), key=lambda trial: trial.sort_key
        ):
            kept, source = folder / f"{trial.slug}.pt", trial.checkpoint
            if trial.best is None:
                continue
            if source is not None and self._copied.get(kept) != source.path:
                with contextlib.suppress(OSError):  # Ray replaced it by a newer one
                    _replace(kept, source.copy_to)
                    self._copied[kept] = source.path
            wanted.add(kept)
        for path in folder.glob("*.pt"):
            if path not in wanted:
                path.unlink()
                self._copied.pop(path, None)

    def _write_windows(self) -> None:
        """Complete the intervals, and write the windows they come from where there are news."""
        found = {number: trial.best_windows for number, trial in self.trials.items()}
        known = {number: windows for number, windows in found.items() if windows is not None}
        if intervals.add_intervals(known.values()):
            table = intervals.to_table(known)
            _replace(
                self.path / "windows.parquet",
                lambda to: pa.parquet.write_table(table, to, compression="zstd"),
            )

    def _curves(self) -> pa.Table:
        rows = [
            {"trial": trial.number, "epoch": int(row["epoch"])}
            | {name: float(row[name]) for name in CURVE_METRICS}
            for trial in sorted(self.trials.values(), key=lambda trial: trial.number)
            for row in trial.curve
        ]
        schema = pa.schema(
            [("trial", pa.int64()), ("epoch", pa.int64())]
            + [(name, pa.float64()) for name in CURVE_METRICS]
        )
        return pa.Table.from_pylist(rows, schema=schema)


def read_trials(run: str | Path) -> pa.Table:
    """Return the trials table of a run folder, best first.

    Raises:
        ValueError: the folder is not a run folder, or has no trial yet.
    """
    return _read(Path(run) / "trials.parquet")


def read_curves(run: str | Path) -> pa.Table:
    """Return the learning curves of a run folder: one row a trial and epoch.

    Raises:
        ValueError: the folder is not a run folder, or has no trial yet.
    """
    return _read(Path(run) / "curves.parquet")


def read_windows(run: str | Path) -> pa.Table:
    """Return the validation windows of each trial's best epoch: one row a trial.

    ``edits`` and ``characters`` are lists with one element a window, in order of time.

    Raises:
        ValueError: the folder holds none.
    """
    return _read(Path(run) / "windows.parquet")


def environment() -> dict[str, Any]:
    """Return what a result depends on beside its configuration."""
    packages = ("emgsearch", "ray", "torch", "optuna", "numpy", "pyarrow", "h5py", "pydantic")
    gpus = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return {
        "started": time.strftime("%Y-%m-%dT%H:%M:%S%z"),
        "command": [Path(sys.argv[0]).name, *map(redact, sys.argv[1:])],
        "python": platform.python_version(),
        "platform": platform.platform(),
        "versions": {name: _version(name) for name in packages},
        "commit": _commit(),
        "cpus": os.cpu_count(),
        "gpus": gpus,
    }


def flatten(values: Mapping[str, Any], prefix: str) -> dict[str, Any]:
    """Return nested mappings as one, with dotted keys; lists become text, nulls are left out."""

    def walk(value: Any, path: str) -> Iterator[tuple[str, Any]]:
        if isinstance(value, Mapping):
            for key, inner in value.items():
                yield from walk(inner, f"{path}.{key}")
        elif isinstance(value, list | tuple):
            yield path, " ".join(map(str, value))
        elif value is not None:
            yield path, value

    return dict(walk(values, prefix))


def _table(rows: list[dict[str, Any]]) -> pa.Table:
    columns = {name: None for row in rows for name in row}
    return pa.table({name: _column([row.get(name) for row in rows]) for name in columns})


def _column(values: list[Any]) -> pa.Array:
    """Return a column; where a setting is a number here and a list there, all of it is text."""
    if any(isinstance(value, str) for value in values):
        values = [value if value is None else str(value) for value in values]
    return pa.array(values)


def _read(path: Path) -> pa.Table:
    if not path.is_file():
        raise ValueError(
            f"{path.parent}: holds no {path.name}: give the folder of a search, such as "
            f"runs/deep-001, that has begun its first trial"
        )
    return pa.parquet.read_table(path)


def _write(path: Path, text: str) -> None:
    _replace(path, lambda to: to.write_text(text, encoding="utf-8"))


def _replace(path: Path, write: Any) -> None:
    """Write a file in one step, so that a reader sees the old one or the new one."""
    scratch = path.with_name(f".{path.name}.tmp")
    write(scratch)
    os.replace(scratch, path)


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def _commit() -> str | None:
    root = Path(__file__).resolve().parent.parent
    try:
        found = subprocess.run(
            ["git", "-C", str(root), "describe", "--always", "--dirty"],
            capture_output=True,
            text=True,
            timeout=10,
            check=True,
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return found.stdout.strip()
