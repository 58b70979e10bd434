"""A run folder as the report sees it: trials with their curves, the space, the data, the cost."""

from __future__ import annotations

import itertools
import json
import math
import shlex
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from emgmodels.config import write_yaml_line
from emgmodels.saying import whose
from search.halving.rungs import Schedule, aligned_epochs, resolve
from search.report.display.shared import shared_settings
from search.report.tested import test_cer_of, tested_by_trial
from search.results import seeds
from search.results.folder import RunFolder
from search.results.growing_tables import read_parquet, to_numbers
from search.results.lock import is_running
from search.results.people import scoring_of
from search.results.reading import read_curves, read_trials
from search.results.record import (
    CUT_OFF,
    FAILED,
    PAUSED,
    RUNNING,
    STOPPED,
    WAITING,
    Weights,
    kept_note,
)
from search.results.session_files import is_synthetic
from search.results.trial_row import TrialRow, facts_of
from search.space import Space, load_space
from search.space.merging import is_distribution
from search.space.objectives import COLUMNS, on_front

HIGHLIGHTED = 5
"""Trials with a colour of their own, the same in every figure."""
_LONGEST_VALUES = 120
"""Characters of a distribution beyond which it is counted, not shown."""
_UNDER_WAY = (WAITING, RUNNING, PAUSED)


@dataclass(frozen=True, eq=False, kw_only=True)
class Trial(TrialRow):
    """One row of the trials table, with its settings and its learning curve."""

    node: str
    """Address of the machine that trains or trained it; empty: not known."""
    notes: list[str]
    """Where its checkpoint, or its test CER, is of other weights than it is ranked by."""
    values: dict[str, Any]
    """Settings by dotted name; those of absent stages are absent."""
    curve: dict[str, np.ndarray]
    """Columns of the learning curve, (epochs,) each."""

    @property
    def has_cer(self) -> bool:
        """Whether the trial has a place in a figure."""
        return math.isfinite(self.val_cer)

    @property
    def is_whole(self) -> bool:
        """Whether it was trained to its last epoch."""
        return self.epochs >= self.max_epochs


class History(NamedTuple):
    """A search's best so far, one element an epoch that any trial trained."""

    best: np.ndarray
    """Lowest validation CER so far (%); NaN before the first."""
    hours: np.ndarray
    """Training time so far, summed over trials (h)."""
    whole_epochs: int
    """What training every trial to its last epoch takes."""
    whole_hours: float
    """The same in hours, at each trial's own mean seconds an epoch."""


@dataclass(frozen=True, eq=False)
class Run:
    """A search, read from its folder."""

    path: Path
    space: Space
    environment: dict[str, Any]
    trials: list[Trial]
    """Best first."""
    confirmed: list[dict[str, Any]]
    """Rows of ``confirm.parquet``, the lowest mean CER first; none where there is no such file."""
    over_seeds: list[dict[str, Any]]
    """Rows of ``seeds.table`` where configurations were trained with several seeds, else none."""

    called: str = ""
    """What sets it apart from another of the same name; empty: nothing needs to."""

    @property
    def name(self) -> str:
        """The folder's name; beside others of that name, with the folders that differ."""
        return self.called or self.path.resolve().name

    @property
    def synthetic(self) -> bool:
        """Whether the sessions were written by a synthetic typist."""
        return is_synthetic(self.environment)

    @property
    def data(self) -> str:
        """On which data the search measured, in a few words."""
        if self.synthetic:
            return "synthetic data"
        return whose(self.environment.get("subject", "unknown"))

    @property
    def weights_notes(self) -> list[str]:
        """What to know of checkpoints and test CERs that other weights have than are ranked."""
        return [note for trial in self.trials for note in trial.notes]

    @property
    def is_running(self) -> bool:
        """Whether trials were still under way when the tables were written."""
        return any(trial.state in _UNDER_WAY for trial in self.trials)

    @property
    def is_abandoned(self) -> bool:
        """Whether trials were under way, and no search runs in the folder that could train them."""
        return self.is_running and not is_running(self.path)

    @property
    def cut_off(self) -> list[Trial]:
        """Trials that the end of the search cut off; they go on if it is resumed."""
        return [trial for trial in self.trials if trial.state == CUT_OFF]

    @cached_property
    def ranked(self) -> list[Trial]:
        """Trials that have a validation CER, best first."""
        return [trial for trial in self.trials if trial.has_cer]

    @cached_property
    def front(self) -> list[Trial]:
        """Trials that no other beats in all objectives, of one objective in CER and parameters."""
        names = self.space.search.objectives
        names = names if len(names) > 1 else ("val_cer", "parameters")
        points = [[getattr(trial, COLUMNS[name]) for name in names] for trial in self.ranked]
        found = on_front(np.array(points, float).reshape(-1, len(names)))
        return list(itertools.compress(self.ranked, found))

    @cached_property
    def shared(self) -> list[str]:
        """Settings that all trials share, in the words of the compact notation."""
        return shared_settings(sorted({trial.architecture for trial in self.trials}))

    @property
    def failed(self) -> list[Trial]:
        """Trials that ended in an error."""
        return [trial for trial in self.trials if trial.state == FAILED]

    @property
    def stopped(self) -> list[Trial]:
        """Trials that the scheduler, or the end of the search, ended early."""
        return [trial for trial in self.trials if trial.state in (STOPPED, CUT_OFF)]

    @property
    def is_evaluated(self) -> bool:
        """Whether test CERs are known."""
        return any(math.isfinite(trial.test_cer) for trial in self.trials)

    @property
    def max_epochs(self) -> int:
        """Epochs of a whole training."""
        return max(trial.max_epochs for trial in self.trials)

    @property
    def command(self) -> str:
        """The command that repeats the search."""
        # A search that a notebook started has no command that could be typed again.
        words = [str(word) for word in self.environment.get("command", [])]
        if words[:3] == ["python", "-m", "search.run"] or words[:2] == ["emgsearch", "run"]:
            return shlex.join(words)
        data = [] if self.environment.get("synthetic") else ["--data", "DIR"]
        space = self.path / "space.yaml"
        return shlex.join(["python", "-m", "search.run", str(space), *data])

    @cached_property
    def schedule(self) -> Schedule:
        """The scheduler with every option decided."""
        scheduler = self.space.search.scheduler
        aligned = aligned_epochs(self.space.training.plain())
        return resolve(scheduler.name, self.max_epochs, aligned, **scheduler.options)

    @property
    def rungs(self) -> list[float]:
        """Epochs at which the scheduler compared trials; none where it compared at none."""
        return list(self.schedule.rungs) if self.schedule.resource == "epochs" else []

    @cached_property
    def varied(self) -> list[str]:
        """Dotted names of the searched settings of which trials had more than one value."""
        return [
            name
            for name in self.space.parameters()
            if len({str(trial.values.get(name)) for trial in self.ranked}) > 1
        ]

    @cached_property
    def history(self) -> History:
        """The search in the order in which epochs ended."""
        # Runs of earlier versions have no times in their curves; the journal has the order at
        # least.
        arrival = self._arrived or _arrivals(self.path / "study.journal")
        epochs = sorted(
            (arrival.get((trial.number, epoch), math.inf), trial.number, epoch, cer, seconds)
            for trial in self.trials
            for epoch, cer, seconds in zip(
                *(trial.curve[column].tolist() for column in ("epoch", "val_cer", "seconds")),
                strict=True,
            )
        )
        cers = np.array([cer if math.isfinite(cer) else math.inf for *_, cer, _ in epochs])
        best = np.minimum.accumulate(cers) if epochs else cers
        trained = [trial for trial in self.trials if len(trial.curve["seconds"])]
        return History(
            best=np.where(np.isinf(best), math.nan, best),
            hours=np.cumsum([seconds for *_, seconds in epochs]) / 3600,
            whole_epochs=sum(trial.max_epochs for trial in trained),
            whole_hours=sum(t.max_epochs * t.curve["seconds"].mean() for t in trained) / 3600,
        )

    @property
    def elapsed(self) -> float:
        """Seconds of searching up to the last epoch; NaN where the run does not say."""
        return max(self._arrived.values(), default=math.nan)

    @cached_property
    def _arrived(self) -> dict[tuple[int, int], float]:
        """When each epoch of each trial was reported (s), where the curves say so."""
        found = {
            (trial.number, epoch): when
            for trial in self.trials
            if "arrived" in trial.curve
            for epoch, when in zip(
                trial.curve["epoch"].tolist(), trial.curve["arrived"].tolist(), strict=True
            )
        }
        # A part of the times would put epochs into a wrong order.
        return found if all(map(math.isfinite, found.values())) else {}


def read_run(path: str | Path) -> Run:
    """Read a run folder, of a search that ended or is still running.

    Args:
        path: the folder. ``trials.parquet``, ``curves.parquet``, ``space.yaml`` and
            ``environment.json`` must be there; ``study.journal`` tells the order of epochs;
            ``evaluation.parquet`` (columns ``trial``, ``test_cer``, and ``weights`` and ``epoch``
            of those that were read) adds test CERs.

    Raises:
        ValueError: a file is missing or damaged, or the search has no trial yet; the message names
            it.
    """
    path = Path(path)
    try:
        rows, curves = read_trials(path).to_pylist(), read_curves(path)
    except pa.ArrowInvalid as error:
        raise ValueError(f"{path}: a table is damaged: {error}") from None
    if not rows:
        raise ValueError(
            f"{path}: its search has begun no trial yet, so there is nothing to report"
        )
    space = load_space(path / "space.yaml", imports=False)
    columns = {name: to_numbers(curves[name]) for name in curves.column_names}
    tested = tested_by_trial(path)
    order = np.argsort(columns["trial"], kind="stable")
    numbers, begins = np.unique(columns["trial"][order], return_index=True)
    # Of no epoch at all, np.split would still make one part.
    parts = np.split(order, begins[1:]) if len(order) else []
    places = dict(zip(numbers.tolist(), parts, strict=True))
    nothing = np.empty(0, dtype=int)
    trials = []
    for row in rows:
        mine = places.get(row["trial"], nothing)
        curve = {name: column[mine] for name, column in columns.items()}
        trials.append(_trial(row, curve, tested.get(row["trial"], [])))
    confirmed = path / "confirm.parquet"
    again = read_parquet(confirmed).to_pylist() if confirmed.is_file() else []
    # One training more tells nothing yet: a confirmation that was interrupted goes on.
    again = again if all(row["trainings"] > 1 for row in again) else []
    # Only then do trials share a configuration, so the folder is opened a second time for those
    # runs alone.
    repeated = space.search.repeats > 1
    groups = seeds.by_configuration(RunFolder.open(path).trials.values()) if repeated else []
    over_seeds = seeds.table(groups, scoring_of(path)).to_pylist() if groups else []
    environment = _read_environment(path / "environment.json")
    return Run(path, space, environment, trials, again, over_seeds)


def told_apart(runs: Sequence[Run]) -> list[Run]:
    """Return runs whose names differ: equal ones with as many folders above as it takes."""
    found = []
    for run in runs:
        parts = run.path.resolve().parts
        others = [each.path.resolve().parts for each in runs if each.path != run.path]
        alike = [other for other in others if other[-1] == parts[-1]]
        depth = 1
        while depth < len(parts) and any(o[-depth:] == parts[-depth:] for o in alike):
            depth += 1
        found.append(replace(run, called="/".join(parts[-depth:])) if alike else run)
    return found


def searched(run: Run) -> dict[str, str]:
    """Return what varies in a run's space: dotted name and distribution as the space writes it."""
    found: dict[str, str] = {}
    resolved = run.space.resolved()
    for section in ("model", "training"):
        _find_distributions(resolved[section], section, found)
    return found


def _trial(
    row: dict[str, Any], curve: dict[str, np.ndarray], tested: Sequence[tuple[float, Weights]]
) -> Trial:
    facts = facts_of(row)
    note = kept_note(row["trial"], facts["ranked"], facts["kept"])
    test_cer, test_notes = test_cer_of(row["trial"], facts["ranked"], tested)
    return Trial(
        **facts,
        test_cer=test_cer,
        node=row.get("node") or "",
        notes=[*([note] if note else []), *test_notes],
        values={
            name: value
            for name, value in row.items()
            if name.startswith(("model.", "training.")) and value is not None
        },
        curve=curve,
    )


def _read_environment(path: Path) -> dict[str, Any]:
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except OSError as error:
        raise ValueError(f"{path}: cannot be read: {error.strerror}") from None
    except ValueError as error:
        raise ValueError(f"{path}: is not JSON: {error}") from None


def _arrivals(journal: Path) -> dict[tuple[int, int], float]:
    """Return the place of every (trial, epoch) in the order in which the study heard of them.

    The journal's lines are in order of time. It is read, and never opened as a study, because the
    search may be writing to it.
    """
    places: dict[tuple[int, int], float] = {}
    if not journal.is_file():
        return places
    with journal.open(encoding="utf-8") as lines:
        for line in lines:
            if '"intermediate_value"' in line and line.endswith("\n"):
                entry = json.loads(line)
                places[entry["trial_id"], entry["step"]] = len(places)
    return places


def _find_distributions(value: Any, path: str, found: dict[str, str]) -> None:
    if not isinstance(value, dict):
        return
    if is_distribution(value):
        text = write_yaml_line(value)
        if len(text) > _LONGEST_VALUES:
            options = value.get("choice")
            text = f"one of {len(options)}, in the space file" if options else "in the space file"
        found[path] = text
        return
    for key, inner in value.items():
        _find_distributions(inner, f"{path}.{key}", found)
