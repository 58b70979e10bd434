"""The users of a search's validation: whose each window is, and what each of them comes to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from emgmodels.scoring import PEOPLE, RankBy, Scoring
from search.results.facts import read_facts
from search.results.intervals import Windows

TABLE = "users.parquet"
"""One row a trial and validation user."""
IN_SHORT = {
    "pooled": "all users together",
    "mean_user": "mean over users",
    "worst_user": "of the worst user",
}
_COLUMNS = pa.schema(
    [
        *(("trial", pa.int64()), ("epoch", pa.int64()), ("user", pa.string())),
        *((name, pa.int64()) for name in ("windows", "edits", "characters")),
        ("cer", pa.float64()),
    ]
)


def people_facts(users: Sequence[str], rank_by: RankBy | None) -> dict[str, Any]:
    """Return what ``environment.json`` says of the validation's users; nothing of a single one."""
    scoring = Scoring.of(users, rank_by)
    if len(scoring.names) < 2:
        return {}
    return {PEOPLE: {"rank_by": scoring.by, "windows": scoring.runs}}


def scoring_of(run: Path) -> Scoring | None:
    """Return whose each validation window of a run folder is; None: one user's, or not known.

    Raises:
        ValueError: its ``environment.json`` is broken.
    """
    path = run / "environment.json"
    return Scoring.in_facts(read_facts(path)) if path.is_file() else None


def by_user(windows: Mapping[int, Windows], scoring: Scoring) -> pa.Table:
    """Return one row a trial and user: what the windows of its best epoch come to."""
    known = {n: found for n, found in windows.items() if len(found.edits) == len(scoring.of_window)}
    shape = len(known), len(scoring.names)
    edits, characters = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
    # Trial by trial, since the windows of all of them as whole numbers would be gigabytes.
    for row, found in enumerate(known.values()):
        edits[row], characters[row] = scoring.sums(found.edits), scoring.sums(found.characters)
    with np.errstate(invalid="ignore", divide="ignore"):
        cer = 100.0 * edits / characters
    columns = {
        "trial": np.repeat(np.array(list(known), np.int64), shape[1]),
        "epoch": np.repeat(np.array([each.epoch for each in known.values()], np.int64), shape[1]),
        "user": pa.DictionaryArray.from_arrays(
            np.tile(np.arange(shape[1], dtype=np.int32), shape[0]), list(scoring.names)
        ).cast(pa.string()),
        "windows": np.tile(scoring.sums(np.ones(len(scoring.of_window))), shape[0]),
        "edits": edits.ravel(),
        "characters": characters.ravel(),
        "cer": pa.array(cer.ravel(), mask=(characters == 0).ravel()),
    }
    return pa.Table.from_pydict(columns, schema=_COLUMNS)
