"""The run folder: what a search writes while it runs, and how it is read back.

Everything that looks at a search (report, evaluation, replay) reads these files and never a live
tuner. ``docs/architecture.md`` lists them.
"""

from search.results.folder import RunFolder
from search.results.reading import read_curves, read_trials, read_windows
from search.results.record import (
    COMPLETE,
    CUT_OFF,
    FAILED,
    PAUSED,
    RUNNING,
    STATES,
    STOPPED,
    TIME_IS_UP,
    WAITING,
    TrialRecord,
    Weights,
    flatten,
    kept_note,
)
from search.tables import CURVE_METRICS

__all__ = [
    "COMPLETE",
    "CURVE_METRICS",
    "CUT_OFF",
    "FAILED",
    "PAUSED",
    "RUNNING",
    "STATES",
    "STOPPED",
    "TIME_IS_UP",
    "WAITING",
    "RunFolder",
    "TrialRecord",
    "Weights",
    "flatten",
    "kept_note",
    "read_curves",
    "read_trials",
    "read_windows",
]
