"""Replays recorded learning curves through schedulers: no training, no Ray processes, no clock.

A ``Replay`` stands where Ray Tune's controller stands and offers the schedulers what they use of
it: the same scheduler objects that steer a search decide here, in simulated time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from emgmodels.paths import refuse_pointer
from search.results.growing_tables import curves_of

# Differences below it would be decided by the seed.
NEAR_BEST = 0.4
"""CER points: what the same configuration differs by from seed to seed."""


@dataclass(frozen=True)
class Curve:
    """A recorded training."""

    name: str
    source: str
    """Where it comes from: curves of one source resemble each other."""
    cer: list[float]
    """Validation CER (%) of each epoch from 1."""
    loss: list[float]
    """Validation CTC loss of each epoch from 1."""
    seconds: list[float] | None
    """Duration of each epoch; None: not recorded."""

    @property
    def best(self) -> float:
        """Lowest validation CER of the whole training (%)."""
        return lowest(self.cer)

    @property
    def diverged(self) -> bool:
        """Whether it ended by a metric that is not finite."""
        return not math.isfinite(self.cer[-1] + self.loss[-1])

    def cut(self, epochs: int) -> Curve:
        """Return its first epochs, or as many as a training has that ends where it diverges."""
        metrics = zip(self.cer[:epochs], self.loss[:epochs], strict=True)
        finite = sum(1 for _ in itertools.takewhile(math.isfinite, map(sum, metrics)))
        # The epoch that is not finite stays, since the scheduler must see it.
        end = min(epochs, finite + 1)
        seconds = self.seconds and self.seconds[:end]
        return Curve(self.name, self.source, self.cer[:end], self.loss[:end], seconds)


@dataclass(frozen=True)
class Outcome:
    """What one replayed search came to."""

    share: float
    """Epochs trained, as a share of training every trial to its last epoch."""
    regret: float
    """CER points between the best found and the best there was."""
    time: float
    """Duration (s); in epochs where seconds were not recorded."""


@dataclass(frozen=True)
class ReplaySummary:
    """Many replayed searches with one scheduler."""

    outcomes: list[Outcome]

    @property
    def share(self) -> float:
        """Mean share of all epochs."""
        return float(np.mean([outcome.share for outcome in self.outcomes]))

    @property
    def regrets(self) -> np.ndarray:
        """Regret of every search (CER points)."""
        return np.array([outcome.regret for outcome in self.outcomes])

    @property
    def regret(self) -> float:
        """Mean regret (CER points)."""
        return float(self.regrets.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean regret."""
        return float(self.regrets.std() / math.sqrt(len(self.outcomes)))

    @property
    def p90(self) -> float:
        """90th percentile of regret (CER points)."""
        return float(np.percentile(self.regrets, 90))

    @property
    def near_best(self) -> float:
        """Share of searches that found a trial within 0.4 CER points of the best."""
        return float((self.regrets <= NEAR_BEST).mean())

    @property
    def time(self) -> float:
        """Mean duration (s, or epochs)."""
        return float(np.mean([outcome.time for outcome in self.outcomes]))


def read_curves(path: Path) -> list[Curve]:
    """Read a run folder (its ``curves.parquet``) or a CSV of learning curves.

    A CSV has columns run, epoch, val_cer, val_loss; source and seconds are used where present.

    Raises:
        ValueError: the file is missing, no table, lacks a column or holds no curve.
    """
    folder = path.is_dir()
    file, name = (path / "curves.parquet", "trial") if folder else (path, "run")
    if not (file.is_file() or (folder and curves_of(path).exists())):
        wanted = "a run folder with its curves.parquet, or a CSV of curves"
        raise ValueError(f"{file}: does not exist; give {wanted}")
    table = curves_of(path).read() if folder else _read_csv(file)
    needed = [name, "epoch", "val_cer", "val_loss"]
    if missing := [column for column in needed if column not in table.column_names]:
        raise ValueError(f"{file}: has no column {', '.join(missing)}; needs {', '.join(needed)}")
    columns = [*needed, *(each for each in ("source", "seconds") if each in table.column_names)]
    if twice := [column for column in columns if table.column_names.count(column) > 1]:
        raise ValueError(f"{file}: has the column {twice[0]} twice: leave one of them out")
    rows: dict[str, list[dict[str, Any]]] = {}
    for row in table.select(columns).to_pylist():
        rows.setdefault(str(row[name]), []).append(row)
    if not rows:
        raise ValueError(f"{file}: holds no learning curve")
    return [_curve(file, run, of) for run, of in rows.items()]


def whole(curves: list[Curve], epochs: int) -> list[Curve]:
    """Return the first epochs of the curves that have as many, or that diverged before."""
    short = [curve.cut(epochs) for curve in curves]
    return [curve for curve in short if len(curve.cer) == epochs or curve.diverged]


def lowest(cer: list[float]) -> float:
    """Return the lowest finite value, infinity when there is none."""
    return min((value for value in cer if math.isfinite(value)), default=math.inf)


def replay_many(
    curves: list[Curve],
    make: Callable[[], TrialScheduler],
    *,
    epochs: int,
    slots: int,
    trials: int,
    repeats: int,
    seed: int,
) -> ReplaySummary:
    """Replay searches over random choices of the curves; the same seed gives the same choices.

    Args:
        curves: Whole curves of at least one epoch and at most epochs.
        make: Makes a new scheduler.
        epochs: Epochs of a whole training.
        slots: Trials that train at a time.
        trials: Trials of each search, drawn without repetition.
        repeats: Searches.
        seed: Seed of the choices.
    """
    draw = np.random.default_rng(seed)
    outcomes = []
    for _ in range(repeats):
        # Without repetition: a curve drawn twice would tie with itself at every rung.
        chosen = [curves[index] for index in draw.choice(len(curves), trials, replace=False)]
        outcomes.append(Replay(chosen, make(), epochs, slots).run())
    return ReplaySummary(outcomes)


class ReplayTrial:
    """A trial as schedulers see it: name, status and nothing heavy."""

    def __init__(self, number: int, curve: Curve) -> None:
        self.trial_id = f"{number:05d}"
        self.curve = curve
        self.status = Trial.PENDING
        self.epoch = 0
        self.is_saving = False

    def is_finished(self) -> bool:
        """Return whether it ended."""
        return self.status == Trial.TERMINATED

    def set_status(self, status: str) -> None:
        """Set the status."""
        self.status = status

    def invalidate_json_state(self) -> None:
        """Nothing of a replay is saved."""

    def result(self) -> dict[str, float]:
        """Return the last trained epoch's result."""
        index = self.epoch - 1
        return {
            "epoch": self.epoch,
            "training_iteration": self.epoch,
            "val_cer": self.curve.cer[index],
            "val_loss": self.curve.loss[index],
        }


class Replay:
    """One search over recorded curves; stands where Ray Tune's controller stands.

    Args:
        curves: One a trial, in the order of suggestion.
        scheduler: A scheduler of Ray Tune.
        epochs: Epochs of a whole training.
        slots: Trials that train at a time.
    """

    def __init__(
        self, curves: list[Curve], scheduler: TrialScheduler, epochs: int, slots: int
    ) -> None:
        self.curves, self.scheduler, self.epochs, self.slots = curves, scheduler, epochs, slots
        # Schedulers ask the controller's searcher how many trials may still come.
        self.search_alg = self
        self.total_samples = len(curves)
        self.trials: list[ReplayTrial] = []
        # What a scheduler asked for is kept, so that tests see at which epochs trials were saved.
        self.saved: list[tuple[str, int]] = []
        self.trained: list[tuple[str, int]] = []
        self.most_running = 0
        self._events: list[tuple[float, int, ReplayTrial]] = []
        self._now = 0.0
        # Two epochs that end at the same time are taken in the order in which they began.
        self._sequence = itertools.count()
        scheduler.set_search_properties("val_cer", "min")

    def run(self) -> Outcome:
        """Run the search to its end."""
        self._start_trials()
        while self._events:
            self._now, _, trial = heapq.heappop(self._events)
            trial.epoch += 1
            self.trained.append((trial.trial_id, trial.epoch))
            if self._decide(trial) == TrialScheduler.CONTINUE:
                self._train_epoch(trial)
            else:
                self._start_trials()
        unfinished = [trial.trial_id for trial in self.trials if not trial.is_finished()]
        # A scheduler that forgets a paused trial would make Ray wait for ever. Here it fails.
        assert not unfinished, f"never ended: {unfinished}"
        assert self.is_finished(), "the scheduler asked for no more trials"
        # Only what was trained counts: what a stopped trial would have reached is unknown to a
        # search.
        found = min(lowest(trial.curve.cer[: trial.epoch]) for trial in self.trials)
        best = min(curve.best for curve in self.curves)
        share = len(self.trained) / (self.epochs * len(self.curves))
        return Outcome(share, found - best if math.isfinite(best) else 0.0, self._now)

    def is_finished(self) -> bool:
        """Return whether every trial was suggested, as a search algorithm says it."""
        return len(self.trials) == len(self.curves)

    def get_trials(self) -> list[ReplayTrial]:
        """Return all trials."""
        return self.trials

    def get_live_trials(self) -> list[ReplayTrial]:
        """Return the trials that did not end."""
        return [trial for trial in self.trials if not trial.is_finished()]

    def stop_trial(self, trial: ReplayTrial) -> None:
        """End a trial, and tell the scheduler."""
        if trial.status == Trial.RUNNING:
            self.scheduler.on_trial_complete(self, trial, trial.result())  # type: ignore[arg-type]
        else:
            self.scheduler.on_trial_remove(self, trial)  # type: ignore[arg-type]
        trial.status = Trial.TERMINATED

    def _schedule_trial_save(self, trial: ReplayTrial) -> None:
        self.saved.append((trial.trial_id, trial.epoch))

    def _decide(self, trial: ReplayTrial) -> str:
        decision = TrialScheduler.STOP
        if trial.epoch < len(trial.curve.cer):
            decision = self.scheduler.on_trial_result(self, trial, trial.result())  # type: ignore[arg-type]
        if decision == TrialScheduler.STOP:
            self.stop_trial(trial)
        elif decision == TrialScheduler.PAUSE:
            self._schedule_trial_save(trial)
            trial.status = Trial.PAUSED
        return decision

    def _start_trials(self) -> None:
        """Fill the slots as Ray does: suggest one ahead, then ask the scheduler, until it rests."""
        running = sum(trial.status == Trial.RUNNING for trial in self.trials)
        while True:
            pending = any(trial.status == Trial.PENDING for trial in self.trials)
            if not pending and not self.is_finished():
                trial = ReplayTrial(len(self.trials), self.curves[len(self.trials)])
                self.trials.append(trial)
                self.scheduler.on_trial_add(self, trial)  # type: ignore[arg-type]
            chosen: Any = self.scheduler.choose_trial_to_run(self)  # type: ignore[arg-type]
            if chosen is None:
                break
            if running < self.slots:
                chosen.status = Trial.RUNNING
                running += 1
                self._train_epoch(chosen)
            elif chosen.status == Trial.PAUSED:
                chosen.status = Trial.PENDING
            else:
                break
        self.most_running = max(self.most_running, running)

    def _train_epoch(self, trial: ReplayTrial) -> None:
        # Without recorded times each epoch lasts as long as any other.
        seconds = trial.curve.seconds[trial.epoch] if trial.curve.seconds else 1.0
        heapq.heappush(self._events, (self._now + seconds, next(self._sequence), trial))


def _read_csv(file: Path) -> pa.Table:
    refuse_pointer(file)
    try:
        return pa.csv.read_csv(file)
    except (OSError, pa.ArrowException, UnicodeDecodeError) as error:
        raise ValueError(f"{file}: is not a table: {str(error).splitlines()[0]}") from None


def _curve(file: Path, run: str, rows: list[dict[str, Any]]) -> Curve:
    for row in rows:
        row["epoch"] = _number(file, run, row, "epoch")
    rows = sorted(rows, key=lambda row: row["epoch"])
    epochs = [row["epoch"] for row in rows]
    if epochs != list(range(1, len(rows) + 1)):
        raise ValueError(
            f"{file}: run {run}: epochs must be 1, 2, 3, ... without gaps or repeats, "
            f"and are {', '.join(f'{epoch:g}' for epoch in epochs[:8])} ..."
        )
    timed = all(row.get("seconds") is not None for row in rows)
    seconds = [_number(file, run, row, "seconds") for row in rows] if timed else None
    if seconds and not all(0 <= each < math.inf for each in seconds):
        raise ValueError(f"{file}: run {run}: seconds must be 0 or more, each epoch's own duration")
    return Curve(
        run,
        str(rows[0].get("source", "")),
        [_number(file, run, row, "val_cer") for row in rows],
        [_number(file, run, row, "val_loss") for row in rows],
        seconds,
    )


def _number(file: Path, run: str, row: dict[str, Any], column: str) -> float:
    value = row[column]
    try:
        # Python takes True for 1, and a column of truths is surely the wrong one.
        if not isinstance(value, bool):
            return math.nan if value is None else float(value)
    except (TypeError, ValueError, OverflowError):  # text, a date, a time of day, a list
        pass
    at = "" if column == "epoch" else f", epoch {row['epoch']:g}"
    shown = repr(value) if isinstance(value, str) else str(value)
    raise ValueError(f"{file}: run {run}{at}: {column} is {shown}, and must be a number")
