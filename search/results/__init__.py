"""The run folder: what a search writes while it runs, and how it is read back.

Everything that looks at a search (report, evaluation, replay) reads these files and never a live
tuner. ``docs/results.md`` lists them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from emgmodels.lazy import offered

if TYPE_CHECKING:
    from search.results.reading import read_curves, read_trials, read_windows
    from search.results.session_files import sessions_of

__all__ = ["read_curves", "read_trials", "read_windows", "sessions_of"]

_TABLES = dict.fromkeys(["read_curves", "read_trials", "read_windows"], "search.results.reading")
__getattr__ = offered(__name__, {**_TABLES, "sessions_of": "search.results.session_files"})
