"""Replays recorded learning curves through schedulers: no training, no Ray processes, no clock.

A ``Replay`` stands where Ray Tune's controller stands and offers the schedulers what they use of
it: the same scheduler objects that steer a search decide here, in simulated time.
"""

from __future__ import annotations

import heapq
import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from search.simulate.curves import Curve, lowest, read_curves, whole

__all__ = [
    "NEAR_BEST",
    "Curve",
    "Outcome",
    "Replay",
    "ReplaySummary",
    "ReplayTrial",
    "lowest",
    "read_curves",
    "replay_many",
    "whole",
]

# Differences below it would be decided by the seed.
NEAR_BEST = 0.4
"""CER points: what the same configuration differs by from seed to seed."""


@dataclass(frozen=True)
class Outcome:
    """What one replayed search came to."""

    share: float
    """Epochs trained, as a share of training every trial to its last epoch."""
    regret: float
    """CER points between the best found and the best there was."""
    time: float
    """Duration (s); in epochs where seconds were not recorded."""
    near: float = math.inf
    """When it first had a CER within 0.4 points of the best there was; infinite: never."""


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
            **({"seconds": self.curve.seconds[index]} if self.curve.seconds else {}),
            **({"macs": self.curve.macs} if self.curve.macs else {}),
        }


class Replay:
    """One search over recorded curves; stands where Ray Tune's controller stands.

    Args:
        curves: One a trial, in the order of suggestion.
        scheduler: A scheduler of Ray Tune.
        epochs: Epochs of a whole training.
        slots: Trials that train at a time.
        near: CER (%) whose first time ``Outcome.near`` tells; None: 0.4 points above the best.
        ahead: Trials that are suggested before a slot is free.
    """

    def __init__(
        self,
        curves: Sequence[Curve],
        scheduler: TrialScheduler,
        epochs: int,
        slots: int,
        near: float | None = None,
        ahead: int = 1,
    ) -> None:
        self.curves, self.scheduler, self.epochs, self.slots = curves, scheduler, epochs, slots
        self.ahead = ahead
        # Schedulers ask the controller's searcher how many trials may still come.
        self.search_alg = self
        self.total_samples = len(curves)
        self.trials: list[ReplayTrial] = []
        # What a scheduler asked for is kept, so that tests see at which epochs trials were saved.
        self.saved: list[tuple[str, int]] = []
        self.trained: list[tuple[str, int]] = []
        self.ends: list[float] = []
        """When each of them ended."""
        self.most_running = 0
        self._wanted, self._near = near, math.inf
        self._events: list[tuple[float, int, ReplayTrial]] = []
        self._now = 0.0
        # Two epochs that end at the same time are taken in the order in which they began.
        self._sequence = itertools.count()
        scheduler.set_search_properties("val_cer", "min")

    def run(self) -> Outcome:
        """Run the search to its end."""
        best = min(curve.best for curve in self.curves)
        wanted = best + NEAR_BEST if self._wanted is None else self._wanted
        self._start_trials()
        while self._events:
            self._now, _, trial = heapq.heappop(self._events)
            trial.epoch += 1
            if trial.curve.cer[trial.epoch - 1] <= wanted:
                self._near = min(self._near, self._now)
            self.trained.append((trial.trial_id, trial.epoch))
            self.ends.append(self._now)
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
        share = len(self.trained) / (self.epochs * len(self.curves))
        regret = found - best if math.isfinite(best) else 0.0
        return Outcome(share, regret, self._now, self._near)

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
        """Fill the slots as Ray does: suggest ahead, then ask the scheduler, until it rests."""
        running = sum(trial.status == Trial.RUNNING for trial in self.trials)
        while True:
            pending = sum(trial.status == Trial.PENDING for trial in self.trials)
            for _ in range(min(self.ahead - pending, len(self.curves) - len(self.trials))):
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
