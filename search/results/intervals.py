"""What each trial's CER is worth: the validation windows of its best epoch, and their interval.

A search of thousands of trials keeps two bytes for the edits and two for the characters of each
window of each trial. It computes intervals for all trials with news at once, on the same draws.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emgmodels.bootstrap import cer_intervals
from emgmodels.scoring import Scoring

_AT_ONCE = 500
"""Trials whose intervals are computed at once, which bounds the memory."""


@dataclass
class Windows:
    """The validation windows of one epoch."""

    epoch: int
    edits: np.ndarray
    """(W,) edits in each window, in order of time."""
    characters: np.ndarray
    """(W,) characters of each window."""
    interval: tuple[float, float] | None = None
    """95 % bootstrap interval of the CER (%); None until ``add_intervals``."""

    @classmethod
    def of(cls, epoch: int, windows: np.ndarray) -> Windows:
        """Return the (W, 2) edits and characters of ``fit`` in little memory."""
        # Two bytes are enough for the edits of a window of 4 s; thousands of trials with hundreds
        # of windows stay small.
        edits, characters = np.asarray(windows, dtype=np.uint16).T
        return cls(epoch, edits.copy(), characters.copy())


def add_intervals(windows: Iterable[Windows], scoring: Scoring | None = None) -> bool:
    """Compute the intervals that are missing, and return whether there were any.

    Args:
        windows: of trials.
        scoring: of several validation users, whose each window is.
    """
    # One draw of windows serves all trials that were validated on the same text. That is what
    # makes intervals of ten thousand trials cheap.
    alike: dict[bytes, list[Windows]] = {}
    for found in windows:
        if found.interval is None:
            alike.setdefault(found.characters.tobytes(), []).append(found)
    for group in (part for same in alike.values() for part in _parts(same)):
        edits = np.stack([found.edits for found in group])
        characters = group[0].characters
        known = scoring if scoring and len(scoring.of_window) == len(characters) else None
        intervals = cer_intervals(edits, characters, scoring=known)
        for found, (low, high) in zip(group, intervals.tolist(), strict=True):
            found.interval = (low, high)
    return bool(alike)


def to_table(windows: Mapping[int, Windows]) -> pa.Table:
    """Return one row a trial: ``trial``, ``epoch``, and lists ``edits`` and ``characters``."""
    found = list(windows.values())
    offsets = np.cumsum([0, *(len(each.edits) for each in found)], dtype=np.int32)
    edits = np.concatenate([each.edits for each in found])
    characters = np.concatenate([each.characters for each in found])
    return pa.table(
        {
            "trial": pa.array(list(windows), pa.int64()),
            "epoch": pa.array([each.epoch for each in found], pa.int64()),
            "edits": pa.ListArray.from_arrays(offsets, edits),
            "characters": pa.ListArray.from_arrays(offsets, characters),
        }
    )


def from_table(table: pa.Table) -> dict[int, Windows]:
    """Return the windows by trial."""
    columns = [table[name] for name in ("trial", "epoch", "edits", "characters")]
    return {
        trial.as_py(): Windows(epoch.as_py(), edits.values.to_numpy(), characters.values.to_numpy())
        for trial, epoch, edits, characters in zip(*columns, strict=True)
    }


def _parts(windows: list[Windows]) -> Iterator[list[Windows]]:
    for first in range(0, len(windows), _AT_ONCE):
        yield windows[first : first + _AT_ONCE]
