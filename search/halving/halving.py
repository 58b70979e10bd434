"""Asynchronous successive halving: the decisions, free of Ray and of time.

Li et al. 2020, arXiv:1810.05934. Trials are compared at rungs. A rung is a level of what a training
costs: epochs, seconds or multiply-accumulates. A trial reaches it with the first epoch that brings
its cost to the level. The best ``1 / eta`` of those that reached a rung pass it.
``search.engine.schedulers`` makes a scheduler of Ray Tune out of it. ``search.simulate`` measures
it on recorded learning curves.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from enum import StrEnum

from search.halving.ending import Ending, Why, ending_of, level
from search.halving.progress import Progress, State
from search.halving.rung import Arrival, FrontRung, Rung

__all__ = ["RANKINGS", "Arrival", "Decision", "Halving", "Progress", "State"]

RANKINGS: dict[str, Callable[[float, float], float]] = {
    "loss": lambda cer, loss: loss,
    "cer": lambda cer, loss: cer + 1e-6 * loss,  # CERs tie often: at 100 %, and on small data
    # CER may exceed 100 % on CTC's plateau, where its size says nothing.
    "both": lambda cer, loss: min(cer, 100.0) * loss,
}
"""What a rung compares, lower is better: a function of the trial's lowest validation CER and lowest
validation CTC loss so far. While CER stands at 100 % only the loss tells trials apart; later on the
loss can rise while CER still falls."""
_SAID = {"loss": "loss", "both": "CER times loss"}


class Decision(StrEnum):
    """How a trial goes on after an epoch."""

    CONTINUE = "CONTINUE"
    PAUSE = "PAUSE"
    STOP = "STOP"


_LIVE = (State.TRAINING, State.PAUSED, State.FINISHED)
"""Those of which a whole training has come or may still come."""


class Halving:
    """The decisions of asynchronous successive halving; deterministic, and free of Ray.

    A trial passes a rung that ``n`` trials reached when at most ``n / eta`` of them, itself
    included, are at least as good. Of trials that tie across the cut none passes. When pausing, a
    rung waits for a quorum as long as the search has new trials to train instead. The best of the
    first few is seldom among the best. When nobody else can arrive at a rung, and all that passed
    it diverged or failed, or nobody did, its best paused trial passes. None is given up before one
    has finished. So, when pausing, every search of which not every trial diverges or fails trains a
    winner to the last epoch.

    An epoch may cost more than the rungs are apart. A trial that passes a rung then stands at the
    next one at once, without training. So it has to be among the best at each.

    Args:
        rungs: Costs at which trials are compared, increasing.
        max_epochs: Epochs of a whole training.
        eta: One in eta passes a rung.
        rank_by: A key of ``RANKINGS``.
        pausing: Promotion when True. Otherwise a trial is stopped where it would be paused, and
            the best so far always passes.
        fronts: Trials have costs beside their score, and a rung keeps the Pareto front.
        patience: How many trials the first rung waits for before it promotes any; half of the
            search's if that is fewer. The next rung waits for one in eta of them, and so on.
        most: What a trial may cost; with the epoch that reaches it, it ends.
        unit: Unit of costs in words, such as ``s``; empty for epochs.
    """

    def __init__(
        self,
        rungs: Sequence[float],
        max_epochs: int,
        eta: float,
        rank_by: str = "both",
        pausing: bool = True,
        fronts: bool = False,
        patience: int = 32,
        most: float = math.inf,
        unit: str = "",
    ) -> None:
        self.rungs = rungs
        self.max_epochs = max_epochs
        self.eta = eta
        self.rank_by = rank_by
        self.pausing = pausing
        self.fronts = fronts
        self.patience = patience
        self.most = most
        self.unit = unit
        # Somebody who reads a rank takes it for that of the CER.
        self._compared = None if fronts else _SAID.get(rank_by)
        self._progress: dict[str, Progress] = {}
        # Each rung keeps its trials sorted, so no decision looks at all trials of the search. A
        # plain form that does stands in the tests, and both must agree.
        self._rungs = [FrontRung(eta) if fronts else Rung(eta) for _ in rungs]
        self._next_order = 0
        self._finished = 0

    def __contains__(self, trial_id: str) -> bool:
        return trial_id in self._progress

    def __getitem__(self, trial_id: str) -> Progress:
        return self._progress[trial_id]

    def add(
        self, trial_id: str, progress: Progress | None = None, costs: Sequence[float] = ()
    ) -> Progress:
        """Take in a new trial, or with its earlier progress one of a restored search."""
        if progress is None:
            progress = Progress(self._next_order, costs=list(costs))
        # Restored trials keep the order in which they came, since that order breaks ties.
        self._next_order = max(self._next_order, progress.order + 1)
        self._progress[trial_id] = progress
        for rung, score in zip(self._rungs, progress.scores, strict=False):
            rung.enter(Arrival(score, progress.order, trial_id), progress.costs)
        self._count(trial_id, 1)
        return progress

    def report(
        self,
        trial_id: str,
        epoch: int,
        cer: float,
        loss: float,
        upcoming: float = math.inf,
        cost: float | None = None,
    ) -> Decision:
        """Take in an epoch's result and decide how the trial goes on.

        Args:
            trial_id: Whose result it is.
            epoch: Absolute epoch, from 1.
            cer: Validation CER (%).
            loss: Validation CTC loss.
            upcoming: Trials that the search may still add.
            cost: What the epoch cost; None: rungs count epochs.

        Returns:
            PAUSE only when pausing.
        """
        trial = self._progress[trial_id]
        again = epoch < trial.epoch
        # A trial that went back to a checkpoint repeats epochs. Their first cost counts, so that
        # it reaches its rung where it did.
        if epoch > trial.epoch:
            trial.cost += epoch - trial.epoch if cost is None else cost
            trial.epoch = epoch
        if not (math.isfinite(cer) and math.isfinite(loss)):
            name, value = ("val_loss", loss) if math.isfinite(cer) else ("val_cer", cer)
            # It counts as an arrival: the others at this rung compete for one in eta of all that
            # came.
            self._enter(trial_id, math.inf)
            diverged = Ending(Why.DIVERGED, epoch=epoch, metric=name, value=str(value))
            self.end(trial_id, State.DIVERGED, diverged)
            return Decision.STOP
        # The lowest so far and not the last: the loss has spikes, even in trainings that end
        # among the best.
        trial.cer, trial.loss = min(trial.cer, cer), min(trial.loss, loss)
        if epoch >= self.max_epochs:
            self.end(trial_id, State.FINISHED, Ending(Why.WHOLE, epoch=self.max_epochs))
            return Decision.STOP
        if again:
            return Decision.CONTINUE
        if trial.cost >= self.most:
            spent = Ending(Why.WHOLE, epoch=epoch, rung=self.most, unit=self.unit or None)
            self.end(trial_id, State.FINISHED, spent)
            return Decision.STOP
        decision = Decision.CONTINUE
        while decision is Decision.CONTINUE and self._is_at_rung(trial):
            self._enter(trial_id, self._score(trial))
            if self.pausing:
                decision = self._pause(trial_id, upcoming)
            else:
                decision = self._pass_or_stop(trial_id)
        return decision

    def promotable(self, upcoming: float = math.inf) -> str | None:
        """Return the paused trial to resume when a slot is free: highest rung first, then best."""
        # While new trials can fill the slots, waiting costs no time. It spares a tenth of the
        # epochs for 0.02 points of CER.
        arrivals = self._arrivals(upcoming)
        quorums = self._quorums(upcoming, arrivals)
        found = zip(self._rungs, arrivals, quorums, strict=True)
        # The highest rung first, so that a winner is trained to the end as early as possible.
        for rung, coming, quorum in reversed(list(found)):
            if len(rung.entries) < quorum:
                continue
            passing = rung.paused_within(rung.passing(len(rung.entries)))
            # If all that passed have diverged or failed, one in eta of the rest may be none. Then
            # the best one goes on nevertheless.
            if passing or (not coming and rung.last_resort()):
                return rung.paused[0].trial_id
        return None

    def promote(self, trial_id: str) -> bool:
        """Let a paused trial pass its rung.

        Returns:
            Whether it trains on. If its cost has reached the next rung too, it is paused there.
        """
        trial = self._progress[trial_id]
        assert trial.state is State.PAUSED, trial
        self._set_state(trial_id, State.TRAINING)
        self._pass(trial_id)
        if not self._is_at_rung(trial):
            return True
        self._enter(trial_id, self._score(trial))
        self._set_state(trial_id, State.PAUSED)
        return False

    def hopeless(self, upcoming: float) -> list[str]:
        """Return the paused trials to give up: no further result could promote them.

        Until a trial has finished there are none, since those that passed may yet fail.
        """
        # The best of a rung may fail in its last epochs, then the second best, and so on. Until
        # one training has finished, the others keep their checkpoints.
        if not self._finished:
            return []
        return [
            entry.trial_id
            for rung, coming in zip(self._rungs, self._arrivals(upcoming), strict=True)
            for entry in rung.paused[rung.hopeful(coming) :]
        ]

    def stop(self, trial_id: str) -> None:
        """End a paused trial for its rank."""
        rung, rank, reached = self._standing(trial_id)
        outranked = Ending(
            Why.OUTRANKED,
            rung=rung,
            unit=self.unit or None,
            rank=rank,
            reached=reached,
            metric=self._compared,
        )
        self.end(trial_id, State.STOPPED, outranked)

    def end(self, trial_id: str, state: State, why: Ending) -> None:
        """Note that a trial ended, and why, unless that is known already."""
        if self._progress[trial_id].state in (State.TRAINING, State.PAUSED):
            self._set_state(trial_id, state, why)

    def fail(self, trial_id: str) -> None:
        """Note that a trial failed, even while it was being paused."""
        epoch = self._progress[trial_id].epoch
        self._set_state(trial_id, State.FAILED, Ending(Why.FAILED, epoch=epoch))

    def revive(self, trial_id: str) -> None:
        """Let a trial that failed train again, towards the rung it was after."""
        self._set_state(trial_id, State.TRAINING)

    def why(self, trial_id: str) -> str:
        """Say in words where a trial stands, or why it ended."""
        trial = self._progress[trial_id]
        if trial.state is State.PAUSED:
            rung, rank, reached = self._standing(trial_id)
            return f"paused at rung {level(rung, self.unit)}: rank {rank} of {reached}"
        if trial.state is State.TRAINING:
            if trial.target == len(self.rungs) or not self.unit:
                return f"training to epoch {[*self.rungs, self.max_epochs][trial.target]}"
            return f"training to rung {level(self.rungs[trial.target], self.unit)}"
        return str(self.ending(trial_id) or "")

    def ending(self, trial_id: str) -> Ending | None:
        """Return why a trial ended; None while it trains or is paused."""
        return ending_of(self._progress[trial_id].ended)

    def _is_at_rung(self, trial: Progress) -> bool:
        """Return whether a trial's cost has reached the rung that it trained towards."""
        return trial.target < len(self.rungs) and trial.cost >= self.rungs[trial.target]

    def _score(self, trial: Progress) -> float:
        return RANKINGS[self.rank_by](trial.cer, trial.loss)

    def _enter(self, trial_id: str, score: float) -> None:
        """Note a trial's score at the rung it trained towards, in place of an earlier one."""
        trial = self._progress[trial_id]
        if trial.target == len(self.rungs):
            return
        self._count(trial_id, -1)
        rung = self._rungs[trial.target]
        # A trial that was started again reaches its rung a second time.
        if len(trial.scores) > trial.target:
            rung.leave(self._entry(trial_id))
            trial.scores.pop()
        trial.scores.append(score)
        rung.enter(self._entry(trial_id), trial.costs)
        self._count(trial_id, 1)

    def _pause(self, trial_id: str, upcoming: float) -> Decision:
        self._set_state(trial_id, State.PAUSED)
        while self.promotable(upcoming) == trial_id:
            if self.promote(trial_id):
                return Decision.CONTINUE
        if trial_id in self.hopeless(upcoming):
            self.stop(trial_id)
            return Decision.STOP
        return Decision.PAUSE

    def _pass_or_stop(self, trial_id: str) -> Decision:
        trial = self._progress[trial_id]
        rung = self._rungs[trial.target]
        if rung.place(self._entry(trial_id)) < rung.passing(len(rung.entries), at_least=1):
            self._pass(trial_id)
            return Decision.CONTINUE
        self.stop(trial_id)
        return Decision.STOP

    def _pass(self, trial_id: str) -> None:
        """Let a trial train towards its next rung."""
        self._count(trial_id, -1)
        self._progress[trial_id].target += 1
        self._count(trial_id, 1)

    def _arrivals(self, upcoming: float) -> list[float]:
        """Return, for each rung, how many more trials may reach it at most."""
        arrivals = []
        coming = upcoming
        for rung in self._rungs:
            coming += rung.heading
            arrivals.append(coming)
            coming += rung.hopeful(coming)
        return arrivals

    def _quorums(self, upcoming: float, arrivals: Sequence[float]) -> list[float]:
        """Return, for each rung, how many trials it waits for; none where nobody knows how many."""
        # When no new trial can fill the slots, waiting would leave them idle.
        if not 0 < upcoming < math.inf:
            return [0.0] * len(arrivals)
        # Half of those that can ever come: a small search would otherwise wait for more trials
        # than it has.
        half = (len(self._rungs[0].entries) + arrivals[0]) / 2 if arrivals else 0
        return [min(self.patience, half) / self.eta**index for index in range(len(arrivals))]

    def _set_state(self, trial_id: str, state: State, why: Ending | None = None) -> None:
        trial = self._progress[trial_id]
        self._count(trial_id, -1)
        trial.state, trial.ended = state, why.facts if why else {}
        self._count(trial_id, 1)

    def _count(self, trial_id: str, by: int) -> None:
        """Count a trial at the rungs it passed and the one it is before; with -1 no longer."""
        trial = self._progress[trial_id]
        self._finished += by * (trial.state is State.FINISHED)
        # Those that diverged or failed do not count as passed. Where nobody else is left, the
        # best paused trial goes on in their place.
        if trial.state in _LIVE:
            for rung in self._rungs[: trial.target]:
                rung.passed += by
        if trial.target == len(self.rungs):
            return
        rung = self._rungs[trial.target]
        if trial.state is State.TRAINING:
            rung.heading += by
        elif trial.state is State.PAUSED:
            (rung.pause if by > 0 else rung.wake)(self._entry(trial_id))

    def _entry(self, trial_id: str) -> Arrival:
        """Return a trial's arrival at the rung it trained towards."""
        trial = self._progress[trial_id]
        return Arrival(trial.scores[trial.target], trial.order, trial_id)

    def _standing(self, trial_id: str) -> tuple[float, int, int]:
        """Return a trial's rung (its cost), its rank there, and how many reached it."""
        target = self._progress[trial_id].target
        rung = self._rungs[target]
        return self.rungs[target], rung.rank(self._entry(trial_id)), len(rung.entries)
