"""Asynchronous successive halving: the decisions, free of Ray and of time.

Li et al. 2020, arXiv:1810.05934. Trials are compared at rungs, which stand at fixed epochs; the
best ``1 / eta`` of those that reached a rung pass it. ``search.schedule`` makes a scheduler of Ray
Tune out of it, and ``search.simulate`` measures it on recorded learning curves.
"""

from __future__ import annotations

import bisect
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import StrEnum
from typing import NamedTuple

RANKINGS: dict[str, Callable[[float, float], float]] = {
    "loss": lambda cer, loss: loss,
    "cer": lambda cer, loss: cer + 1e-6 * loss,  # CERs tie often: at 100 %, and on small data
    "both": lambda cer, loss: min(cer, 100.0) * loss,
}
"""What a rung compares, lower is better: a function of the trial's lowest validation CER and lowest
validation CTC loss so far. While CER stands at 100 % only the loss tells trials apart; later on the
loss can rise while CER still falls."""


class Decision(StrEnum):
    """How a trial goes on after an epoch."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"


class State(StrEnum):
    """Where a trial stands in the search."""

    TRAINING = "training"
    """Running, or waiting for a slot."""
    PAUSED = "paused"
    """At a rung, holding a checkpoint and no slot."""
    STOPPED = "stopped"
    """Ended at a rung: too many others were better."""
    FINISHED = "finished"
    """Trained to the last epoch."""
    DIVERGED = "diverged"
    """Ended by a metric that is not finite."""
    FAILED = "failed"
    """Ended by an error."""


@dataclass
class Progress:
    """What is known of one trial; plain values, so that it is saved and restored with the trial."""

    order: int
    """Trials are numbered as they are added."""
    target: int = 0
    """Index of the rung it trains towards, or stands at; len(rungs): the last epoch."""
    epoch: int = 0
    """Epochs trained."""
    cer: float = math.inf
    """Lowest validation CER so far (%)."""
    loss: float = math.inf
    """Lowest validation CTC loss so far."""
    scores: list[float] = field(default_factory=list)
    """What was compared at each rung it reached."""
    state: State = State.TRAINING
    why: str = ""
    """Why it ended."""


class Entry(NamedTuple):
    """A trial's arrival at a rung; sorts from best to worst."""

    score: float
    order: int
    trial_id: str


class Halving:
    """The decisions of asynchronous successive halving; deterministic, and free of Ray.

    A trial passes a rung that ``n`` trials reached when at most ``n / eta`` of them, itself
    included, are at least as good: of trials that tie across the cut none passes. When nobody else
    can arrive at a rung and nobody passed it, its best trial does, so that every search trains a
    winner to the last epoch.

    Args:
        rungs: Epochs of comparison, increasing, below max_epochs.
        max_epochs: Epochs of a whole training.
        eta: One in eta passes a rung.
        rank_by: A key of ``RANKINGS``.
        pausing: Promotion when True. Otherwise a trial is stopped where it would be paused, and
            the best so far always passes.
    """

    def __init__(
        self,
        rungs: list[int],
        max_epochs: int,
        eta: float,
        rank_by: str = "both",
        pausing: bool = True,
    ) -> None:
        self.rungs = rungs
        self.max_epochs = max_epochs
        self.eta = eta
        self.rank_by = rank_by
        self.pausing = pausing
        self._progress: dict[str, Progress] = {}
        self._entries: list[list[Entry]] = [[] for _ in rungs]

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._progress

    def __getitem__(self, trial_id: str) -> Progress:
        return self._progress[trial_id]

    def add(self, trial_id: str, progress: Progress | None = None) -> Progress:
        """Take in a new trial, or with its earlier progress one of a restored search."""
        if progress is None:
            order = 1 + max((known.order for known in self._progress.values()), default=-1)
            progress = Progress(order)
        self._progress[trial_id] = progress
        for entries, score in zip(self._entries, progress.scores, strict=False):
            bisect.insort(entries, Entry(score, progress.order, trial_id))
        return progress

    def report(
        self, trial_id: str, epoch: int, cer: float, loss: float, upcoming: float = math.inf
    ) -> Decision:
        """Take in an epoch's result and decide how the trial goes on.

        Args:
            trial_id: Whose result it is.
            epoch: Absolute epoch, from 1.
            cer: Validation CER (%).
            loss: Validation CTC loss.
            upcoming: Trials that the search may still add.

        Returns:
            PAUSE only when pausing.
        """
        trial = self._progress[trial_id]
        trial.epoch = max(trial.epoch, epoch)
        if not (math.isfinite(cer) and math.isfinite(loss)):
            name, value = ("val_loss", loss) if math.isfinite(cer) else ("val_cer", cer)
            self._enter(trial_id, math.inf)
            self.end(trial_id, State.DIVERGED, f"diverged at epoch {epoch}: {name} is {value}")
            return Decision.STOP
        trial.cer, trial.loss = min(trial.cer, cer), min(trial.loss, loss)
        if epoch >= self.max_epochs:
            self.end(trial_id, State.FINISHED, f"trained all {self.max_epochs} epochs")
            return Decision.STOP
        if trial.target == len(self.rungs) or epoch < self.rungs[trial.target]:
            return Decision.CONTINUE
        self._enter(trial_id, RANKINGS[self.rank_by](trial.cer, trial.loss))
        return self._pause(trial_id, upcoming) if self.pausing else self._pass_or_stop(trial_id)

    def promotable(self, upcoming: float = math.inf) -> str | None:
        """Return the paused trial to resume when a slot is free: highest rung first, then best."""
        closed = [arrivals == 0 for arrivals in self._arrivals(upcoming)]
        for rung in reversed(range(len(self.rungs))):
            passing = self._passing(rung, len(self._entries[rung]))
            if not passing and closed[rung]:
                passing = self._last_resort(rung)
            for entry in passing:
                trial = self._progress[entry.trial_id]
                if trial.state is State.PAUSED and trial.target == rung:
                    return entry.trial_id
        return None

    def promote(self, trial_id: str) -> None:
        """Let a paused trial train towards its next rung."""
        trial = self._progress[trial_id]
        assert trial.state is State.PAUSED, trial
        trial.state = State.TRAINING
        trial.target += 1

    def hopeless(self, upcoming: float) -> list[str]:
        """Return the paused trials that no further result could promote."""
        arrivals = self._arrivals(upcoming)
        return [
            entry.trial_id
            for rung, entries in enumerate(self._entries)
            for entry in entries[len(self._hopeful(rung, arrivals[rung])) :]
            if self._is_paused_at(entry.trial_id, rung)
        ]

    def stop(self, trial_id: str) -> None:
        """End a paused trial for its rank."""
        self.end(trial_id, State.STOPPED, f"stopped at {self._standing(trial_id)}")

    def end(self, trial_id: str, state: State, why: str) -> None:
        """Note that a trial ended, and why, unless that is known already."""
        trial = self._progress[trial_id]
        if trial.state in (State.TRAINING, State.PAUSED):
            trial.state, trial.why = state, why

    def fail(self, trial_id: str) -> None:
        """Note that a trial failed, even while it was being paused."""
        trial = self._progress[trial_id]
        trial.state, trial.why = State.FAILED, f"failed after {trial.epoch} epochs"

    def revive(self, trial_id: str) -> None:
        """Let a trial that failed train again, towards the rung it was after."""
        trial = self._progress[trial_id]
        trial.state, trial.why = State.TRAINING, ""

    def why(self, trial_id: str) -> str:
        """Say in words where a trial stands, or why it ended."""
        trial = self._progress[trial_id]
        if trial.state is State.PAUSED:
            return f"paused at {self._standing(trial_id)}"
        if trial.state is State.TRAINING:
            return f"training to epoch {[*self.rungs, self.max_epochs][trial.target]}"
        return trial.why

    def _enter(self, trial_id: str, score: float) -> None:
        """Note a trial's score at the rung it trained towards, in place of an earlier one."""
        trial = self._progress[trial_id]
        if trial.target == len(self.rungs):
            return
        entries = self._entries[trial.target]
        if len(trial.scores) > trial.target:
            entries.remove(Entry(trial.scores.pop(), trial.order, trial_id))
        trial.scores.append(score)
        bisect.insort(entries, Entry(score, trial.order, trial_id))

    def _pause(self, trial_id: str, upcoming: float) -> Decision:
        self._progress[trial_id].state = State.PAUSED
        if self.promotable(upcoming) == trial_id:
            self.promote(trial_id)
            return Decision.CONTINUE
        if trial_id in self.hopeless(upcoming):
            self.stop(trial_id)
            return Decision.STOP
        return Decision.PAUSE

    def _pass_or_stop(self, trial_id: str) -> Decision:
        trial = self._progress[trial_id]
        entries = self._entries[trial.target]
        if any(entry.trial_id == trial_id for entry in self._cut(entries, len(entries), 1)):
            trial.target += 1
            return Decision.CONTINUE
        self.stop(trial_id)
        return Decision.STOP

    def _passing(self, rung: int, reached: float) -> list[Entry]:
        """Return the entries that pass a rung once so many trials reached it, best first."""
        return self._cut(self._entries[rung], reached, 0)

    def _cut(self, entries: list[Entry], reached: float, at_least: int) -> list[Entry]:
        count = len(entries)
        if reached < math.inf:
            count = min(count, max(at_least, math.floor(reached / self.eta + 1e-9)))
        if count < len(entries):
            while count and entries[count - 1].score == entries[count].score:
                count -= 1
        while count and entries[count - 1].score == math.inf:
            count -= 1
        return entries[:count]

    def _last_resort(self, rung: int) -> list[Entry]:
        """Return the best entry of a rung that nobody passed."""
        entries = self._entries[rung]
        passed = any(self._progress[entry.trial_id].target > rung for entry in entries)
        return [] if passed else [entry for entry in entries[:1] if entry.score < math.inf]

    def _hopeful(self, rung: int, arrivals: float) -> list[Entry]:
        """Return the entries that may pass a rung if so many more trials arrive, best first."""
        passing = self._passing(rung, len(self._entries[rung]) + arrivals)
        return passing or self._last_resort(rung)

    def _arrivals(self, upcoming: float) -> list[float]:
        """Return, for each rung, how many more trials may reach it at most."""
        heading = [0] * (len(self.rungs) + 1)
        for trial in self._progress.values():
            heading[trial.target] += trial.state is State.TRAINING
        arrivals = []
        coming = upcoming
        for rung in range(len(self.rungs)):
            coming += heading[rung]
            arrivals.append(coming)
            hopeful = self._hopeful(rung, coming)
            coming += sum(self._is_paused_at(entry.trial_id, rung) for entry in hopeful)
        return arrivals

    def _is_paused_at(self, trial_id: str, rung: int) -> bool:
        trial = self._progress[trial_id]
        return trial.state is State.PAUSED and trial.target == rung

    def _standing(self, trial_id: str) -> str:
        trial = self._progress[trial_id]
        entries = self._entries[trial.target]
        rank = bisect.bisect_right(entries, trial.scores[-1], key=lambda entry: entry.score)
        return f"rung {self.rungs[trial.target]}: rank {rank} of {len(entries)}"
