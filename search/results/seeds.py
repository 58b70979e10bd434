"""Several trainings of one configuration, each with its own seed: their mean, spread and order.

One training says little about its architecture: another seed gives another CER. Where every
configuration was trained with several seeds, by ``--confirm`` or by a search with ``--repeats``,
they are ranked by their mean. Those that can't be told apart from the best are named.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from emgmodels.bootstrap import compare
from emgmodels.config import Config, ModelConfig, TrainingConfig
from emgmodels.notation import notation
from emgmodels.scoring import Scoring
from search.results.record import TrialRecord

# The confidence set compares each with each, and those far behind are told apart anyway.
_COMPARED = 20
"""Configurations that are compared, from the best on."""
_SEED = 0
"""Of the windows and seeds drawn for a comparison."""
_COLUMNS = pa.schema(
    [
        *(("rank", pa.int64()), ("architecture", pa.string())),
        *((name, pa.int64()) for name in ("trainings", "without_cer")),
        *((name, pa.float64()) for name in ("mean_cer", "sd", "lowest_cer", "highest_cer")),
        *((name, pa.float64()) for name in ("cer_low", "cer_high", "apart_low", "apart_high")),
        *(("p_best", pa.float64()), ("trials", pa.string()), ("config", pa.string())),
    ]
)


@dataclass(frozen=True, eq=False)
class Group:
    """Trainings that differ in their seed alone; at least one has a CER."""

    trials: list[TrialRecord]

    @property
    def config(self) -> Config:
        """The configuration, with the seed of its first training."""
        return self.trials[0].config

    @property
    def scored(self) -> list[TrialRecord]:
        """Trainings that have a CER."""
        return [trial for trial in self.trials if trial.best]

    @property
    def cers(self) -> np.ndarray:
        """(N,) lowest validation CER of each training that has one (%)."""
        return np.array([trial.best["val_cer"] for trial in self.trials if trial.best])

    @property
    def is_comparable(self) -> bool:
        """Whether it has the trainings, and their windows, that a comparison takes."""
        return len(self.scored) > 1 and all(trial.best_windows for trial in self.scored)


def by_configuration(trials: Iterable[TrialRecord]) -> list[Group]:
    """Return trials in groups of one configuration each, the lowest mean CER first."""
    found: dict[tuple[ModelConfig, TrainingConfig], list[TrialRecord]] = {}
    # By number, so that a group's first training is the same whatever the order of the table.
    for trial in sorted(trials, key=lambda trial: trial.number):
        found.setdefault(configuration(trial.config), []).append(trial)
    groups = [group for group in map(Group, found.values()) if group.scored]
    return sorted(groups, key=lambda group: float(group.cers.mean()))


def configuration(config: Config) -> tuple[ModelConfig, TrainingConfig]:
    """Return a configuration without name and seed."""
    return config.model, config.training


def table(groups: Sequence[Group], scoring: Scoring | None = None) -> pa.Table:
    """Return one row a group, in their order.

    ``cer_low`` to ``cer_high`` is the 95 % interval of the mean CER over seeds and text,
    ``apart_low`` to ``apart_high`` that of its distance from the lowest mean, ``p_best`` the
    p-value of its being as good as the best; see ``emgmodels.bootstrap.compare``. They are null for
    a group with a single training, and beyond the best 20.

    Args:
        groups: what to compare.
        scoring: of several validation users, whose each window is.
    """
    rows = []
    comparisons = _compared(groups, scoring)
    for place, group in enumerate(groups):
        cers = group.cers
        row = {
            "rank": place + 1,
            "architecture": notation(group.config.model),
            "trainings": len(cers),
            "without_cer": len(group.trials) - len(cers),
            "mean_cer": float(cers.mean()),
            "sd": float(cers.std(ddof=1)) if len(cers) > 1 else None,
            "lowest_cer": float(cers.min()),
            "highest_cer": float(cers.max()),
            "trials": " ".join(str(trial.number) for trial in group.trials),
            "config": group.config.model_dump_json(),
        }
        rows.append(row | comparisons.get(place, {}))
    return pa.Table.from_pylist(rows, schema=_COLUMNS)


def _compared(groups: Sequence[Group], scoring: Scoring | None) -> dict[int, dict[str, float]]:
    """Return what a comparison says of each group that can be compared, by place."""
    # A comparison needs a spread over seeds, so at least two trainings.
    places = [place for place, group in enumerate(groups) if group.is_comparable][:_COMPARED]
    if not places:
        return {}
    windows = [[trial.best_windows for trial in groups[place].scored] for place in places]
    edits = [np.stack([found.edits for found in group if found]) for group in windows]
    characters = next(found.characters for found in windows[0] if found)
    if scoring is not None and len(scoring.of_window) != len(characters):
        scoring = None
    found = compare(edits, characters, np.random.default_rng(_SEED), scoring=scoring)
    columns = np.column_stack([found.intervals, found.differences, found.p_best])
    names = ("cer_low", "cer_high", "apart_low", "apart_high", "p_best")
    return {
        place: dict(zip(names, row, strict=True))
        for place, row in zip(places, columns.tolist(), strict=True)
    }
