"""Which searches a folder holds, and how each stands: from its files alone."""

from __future__ import annotations

import contextlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from emgmodels.config import code_of
from emgmodels.notation import brief_notation, parse_notation
from search.halving.ending import RULES, Why
from search.results.facts import ASKED, PLANNED, read_facts
from search.results.growing_tables import trials_of
from search.results.lock import is_running
from search.results.reading import read_trials
from search.results.record import CUT_OFF, FAILED, STATES, UNFINISHED, ending_in

FINISHED, INTERRUPTED = "finished", "interrupted"
OUT_OF_TIME = "out of time"
"""The time budget cut trials off."""
UNREADABLE = "unreadable"
_TRACES = ("environment.json", "trials.parquet", "study.journal")
"""Files that show a run folder where ``space.yaml`` is lost."""


@dataclass(frozen=True)
class Listed:
    """A run folder in a few facts."""

    path: Path
    state: str
    """``running``, ``finished``, ``failed`` or ``unreadable``; ``--resume`` goes on with one that
    is ``interrupted`` or ``out of time``, and with one that a rule of ``search.stop`` finished."""
    val_cer: float | None
    """Lowest validation CER (%)."""
    architecture: str
    """Of the best trial, in brief."""
    trials: int
    changed: float
    """When its tables were last written (unix seconds)."""
    size: int
    """All its files together (bytes)."""
    why: str = ""
    """Why it is unreadable."""
    asked: int = 0
    """Trials that its space asked for; 0 where that is not known."""


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
    # A folder of runs may hold other things too, which are passed over.
    found = [run for path in sorted(folder.iterdir()) if (run := _listed(path)) is not None]
    return sorted(found, key=lambda run: -run.changed)


def _listed(path: Path) -> Listed | None:
    """Return what a folder holds, also where it cannot be read; None: it is no run folder."""
    try:
        return _read(path) if _is_run(path) else None
    except Exception as error:  # whatever is wrong with one run must not hide the others
        why = " ".join(str(error).split())
        why = why if isinstance(error, ValueError | OSError) else f"{type(error).__name__}: {why}"
        return Listed(path, UNREADABLE, None, "", 0, _changed(path), _total(path), why)


def _is_run(path: Path) -> bool:
    """Return whether a path is a run folder.

    Raises:
        PermissionError: what it holds cannot be seen.
        ValueError: it was one, and has lost its space file.
    """
    if not path.is_dir():
        return False
    names = {file.name for file in path.iterdir()}
    if (path / "space.yaml").is_file():
        return True
    if found := names & set(_TRACES):
        raise ValueError(f"{path}: holds {min(found)}, but no space.yaml")
    return False


def _changed(path: Path) -> float:
    """Return when the trials table was last written, or else the oldest file of a run."""
    for file in (path / "trials.parquet", path / "space.yaml", path):
        with contextlib.suppress(OSError):
            return file.stat().st_mtime
    return 0.0


def _total(path: Path) -> int:
    """Return the bytes of a folder's files, of which a running search may delete some."""
    total = 0
    with contextlib.suppress(OSError):
        for file in path.rglob("*"):
            with contextlib.suppress(OSError):
                total += file.stat().st_size if file.is_file() else 0
    return total


def _read(path: Path) -> Listed:
    rows: list[dict[str, Any]] = []
    if trials_of(path).exists():
        try:
            table = read_trials(path)
        except (pa.ArrowException, OSError) as error:
            raise ValueError(f"{path / 'trials.parquet'}: cannot be read: {error}") from None
        columns = ["val_cer", "architecture", "state", "reason", "config"]
        known = {"ending", "ending_facts"} & set(table.column_names)  # older tables have neither
        rows = table.select([*columns, *known]).to_pylist()
    if odd := {str(row["state"]) for row in rows} - set(STATES):
        raise ValueError(f"{path / 'trials.parquet'}: state: {min(odd)!r} is unknown")
    best = rows[0] if rows and rows[0]["val_cer"] is not None else None
    return Listed(
        path,
        # The lock comes first: the tables of a running search and of a killed one look the same.
        "running" if is_running(path) else _ended(rows),
        best["val_cer"] if best else None,
        _brief(best) if best else "",
        len(rows),
        _changed(path),
        _total(path),
        asked=_asked(path),
    )


def _asked(path: Path) -> int:
    """Return how many trials a search was to train, with those that did not fit into its time."""
    with contextlib.suppress(ValueError):
        facts = read_facts(path / "environment.json")
        return max(facts.get(PLANNED, 0), facts.get(ASKED, 0))
    return 0


def _brief(row: dict[str, str]) -> str:
    """Return a trial's architecture in short.

    Raises:
        ValueError: it is of another version; a stage of the user's own has a section with its code.
    """
    if not code_of(json.loads(row["config"])):
        parse_notation(row["architecture"])
    return brief_notation(row["architecture"])


def _ended(rows: list[dict[str, Any]]) -> str:
    """Return the state of a search that is not running, from its trials."""
    endings = [ending_in(row) for row in rows if row["state"] == CUT_OFF]
    late = sum(ending is not None and ending.why is Why.TIME_BUDGET for ending in endings)
    over = sum(ending is not None and ending.why in RULES for ending in endings)
    unfinished = sum(row["state"] in UNFINISHED for row in rows)
    if unfinished > late + over or not rows:
        return INTERRUPTED
    if late:
        return OUT_OF_TIME
    return FAILED if all(row["state"] == FAILED for row in rows) else FINISHED
