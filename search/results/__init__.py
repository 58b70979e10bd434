"""The run folder: what a search writes while it runs, and how it is read back.

Everything that looks at a search (report, evaluation, replay) reads these files and never a live
tuner. ``docs/results.md`` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from search.results.reading import read_curves, read_trials, read_windows

__all__ = ["read_curves", "read_trials", "read_windows"]

__getattr__ = offered(__name__, dict.fromkeys(__all__, "search.results.reading"))
