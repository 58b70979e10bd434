"""The durable study: Optuna's journal in the run folder, as the sampler is to see it."""

from __future__ import annotations

import copy
import json
import os
import time
from collections.abc import Container
from pathlib import Path
from typing import Any, Literal

import optuna
from optuna.samplers import BaseSampler
from optuna.storages.journal import JournalFileBackend
from optuna.storages.journal._file import get_lock_file
from optuna.trial import FrozenTrial, TrialState

from search.tables import drop_torn_line

_FORCE_EVERY = 1.0
"""Seconds between two writings of the journal through to the disk."""


class SearchStudy(optuna.Study):
    """A study that shows its sampler unfinished trials as pruned where they have got to."""

    def recorded(self) -> list[FrozenTrial]:
        """Return the trials as they are."""
        return super()._get_trials(deepcopy=False)

    def _get_trials(
        self,
        deepcopy: bool = True,
        states: Container[TrialState] | None = None,
        use_cache: bool = False,
    ) -> list[FrozenTrial]:
        trials = map(_as_pruned, super()._get_trials(False, None, use_cache))
        wanted = [trial for trial in trials if states is None or trial.state in states]
        return copy.deepcopy(wanted) if deepcopy else wanted


class JournalFile(JournalFileBackend):
    """Optuna's journal, forced to the disk once a second instead of at each of a trial's 15 lines.

    A process that is killed loses no line. A power failure loses those of the last second, and Ray
    has no snapshot of the trials they are about either.
    """

    _forced = 0.0

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Append lines."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs)
        with get_lock_file(self._lock), open(self._file_path, "ab") as file:
            file.write(lines.encode())
            file.flush()
            if time.monotonic() - self._forced >= _FORCE_EVERY:
                os.fsync(file.fileno())
                self._forced = time.monotonic()


def _as_pruned(trial: FrozenTrial) -> FrozenTrial:
    if trial.state == TrialState.RUNNING and trial.intermediate_values:
        trial = copy.copy(trial)
        trial.state = TrialState.PRUNED
    return trial


def open_study(
    name: str, objectives: int, journal: Path | None, sampler: BaseSampler
) -> SearchStudy:
    """Open a study, or create it.

    Args:
        name: of the study.
        objectives: how many values it minimises.
        journal: Optuna's journal file, or None for a study in memory.
        sampler: who suggests.

    Raises:
        ValueError: the journal holds a study of other objectives.
    """
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    storage: optuna.storages.BaseStorage = optuna.storages.InMemoryStorage()
    if journal is not None:
        drop_torn_line(journal)
        storage = optuna.storages.JournalStorage(JournalFile(str(journal)))
    minimize: Literal["minimize"] = "minimize"
    study = optuna.create_study(
        storage=storage, study_name=name, directions=[minimize] * objectives, load_if_exists=True
    )
    if len(study.directions) != objectives:
        raise ValueError(
            f"{journal}: holds a study of {len(study.directions)} objectives, the space has "
            f"{objectives}: start a new run"
        )
    return SearchStudy(name, storage, sampler, optuna.pruners.NopPruner())
