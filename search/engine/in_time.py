"""Lets a search end within its time budget with all of its trials ended, whatever its scheduler.

A demo is sized by a measurement of the machine. Other programs may slow the machine down later,
so what still fits is asked again as the search runs: first of trials that have not begun, then of
each further epoch.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler
from typing_extensions import override

from search.halving.ending import Ending, Why
from search.halving.rungs import Schedule
from search.results.record import PAUSED, RUNNING, WAITING, TrialRecord
from search.results.time_left import standing, time_left

_RESERVE = 0.05
"""Part of the time kept for the last weights, the tables, and an epoch that takes longer."""
_SPARE = 1.3
"""What an epoch may take, of what the last ones took."""
_EARLY = 1 / 3
"""Part of the time in which trials begin in any case. Other programs come and go: the first epochs
say too little to leave trials out for good, and the best can still be trained whole."""
_SURE = 0.05
"""Part of the time for which too little has to be left: estimates jump where other programs run."""
_LOOK = 0.5
"""Seconds between two looks at what still fits."""
_STATES = {Trial.RUNNING: RUNNING, Trial.PAUSED: PAUSED, Trial.PENDING: WAITING}


class InTime(TrialScheduler):
    """A scheduler that is held to a time.

    After a third of the time no further trial begins once it has been clear for a while that one
    more would not end in it. A trial that has no time for another epoch ends with the one it has,
    as if its training were that long.

    Args:
        scheduler: what decides otherwise.
        schedule: the same, as it was decided.
        seconds: that the search may take, from now on.
        slots: trials that train at once; None: as many as do.
        records: the trials that have begun, by number.
        close: is told how many trials the search trains, when no more of them fit.
        clock: seconds since some moment.
    """

    def __init__(
        self,
        scheduler: TrialScheduler,
        schedule: Schedule,
        seconds: float,
        slots: int | None,
        records: Mapping[int, TrialRecord],
        close: Callable[[int], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__()
        self._inner, self._schedule, self._slots = scheduler, schedule, slots
        self._records, self._close, self._clock = records, close, clock
        self._begin = self._looked = clock()
        self._seconds = seconds
        self._unfit_since: float | None = None
        self._ended: dict[str, Ending] = {}

    # Ray pickles the scheduler with its tuner. A search that goes on is given another.
    def __reduce__(self) -> tuple[Callable[..., TrialScheduler], tuple[TrialScheduler]]:
        return _itself, (self._inner,)

    def ending(self, trial_id: str) -> Ending | None:
        """Return why a trial ended; None where only its last epoch says."""
        explain = getattr(self._inner, "ending", None)
        return self._ended.get(trial_id) or (explain(trial_id) if explain else None)

    @override
    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        decision = self._inner.on_trial_result(tune_controller, trial, dict(result))
        if decision == TrialScheduler.CONTINUE and not self._has_time(trial, result["seconds"]):
            self._ended[trial.trial_id] = Ending(Why.IN_TIME, epoch=result["epoch"])
            return TrialScheduler.STOP
        return decision

    @override
    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        if self._clock() - self._looked >= _LOOK:
            self._looked = self._clock()
            self._leave_out(tune_controller)
            self._end(tune_controller)
        return self._inner.choose_trial_to_run(tune_controller)

    def _leave_out(self, tune_controller: Any) -> None:
        """Take back trials that have not begun and would not end in time."""
        trials, begun = tune_controller.get_trials(), len(self._records)
        fresh = [
            trial
            for trial in trials
            if trial.status == Trial.PENDING and trial.config["number"] not in self._records
        ]
        is_early = self._clock() - self._begin <= _EARLY * self._seconds
        if not fresh or is_early or begun < (self._slots or 1):
            return
        if self._fit(trials, begun + len(fresh)):
            self._unfit_since = None
            return
        now = self._clock()
        self._unfit_since = now if self._unfit_since is None else self._unfit_since
        if now - self._unfit_since < _SURE * self._seconds:
            return
        for trial in fresh:
            tune_controller.stop_trial(trial)
        self._close(begun)

    def _end(self, tune_controller: Any) -> None:
        """End trials that wait for another epoch which they have no time for."""
        for trial in tune_controller.get_trials():
            waits = trial.status in (Trial.PAUSED, Trial.PENDING) and not trial.is_saving
            record = self._records.get(trial.config["number"])
            if waits and record is not None and record.curve and not self._has_time(trial):
                self._ended[trial.trial_id] = Ending(Why.IN_TIME, epoch=record.epoch)
                tune_controller.stop_trial(trial)

    def _left(self) -> float:
        """Return the seconds that trials have left."""
        return self._begin + (1 - _RESERVE) * self._seconds - self._clock()

    def _has_time(self, trial: Trial, last: float = 0.0) -> bool:
        """Return whether another epoch of a trial would end in time; its last took so long (s)."""
        record = self._records.get(trial.config["number"])
        usual = standing(record).pace if record is not None else None
        return _SPARE * max(last, usual or 0.0) <= self._left()

    def _fit(self, trials: Sequence[Trial], count: int) -> bool:
        """Return whether that many trials would end in time, were one of the last ones the best."""
        begun = []
        for trial in trials:
            if (record := self._records.get(trial.config["number"])) is not None:
                state = _STATES.get(trial.status, record.state)
                begun.append(standing(record)._replace(state=state))
        paces = [trial.pace for trial in begun if trial.pace is not None]
        left = time_left(self._schedule, count, begun, self._slots)
        if left is None or not paces:
            return False
        whole = self._schedule.epochs * sum(paces) / len(paces)
        return max(left, whole) <= self._left()

    @property
    @override
    def metric(self) -> Any:
        return self._inner.metric

    @property
    @override
    def supports_buffered_results(self) -> bool:
        return self._inner.supports_buffered_results

    @override
    def set_search_properties(self, metric: str | None, mode: str | None, **spec: Any) -> bool:
        return self._inner.set_search_properties(metric, mode, **spec)

    @override
    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        self._inner.on_trial_add(tune_controller, trial)

    @override
    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        self._inner.on_trial_error(tune_controller, trial)

    @override
    def on_trial_complete(self, tune_controller: Any, trial: Trial, result: Any) -> None:
        self._inner.on_trial_complete(tune_controller, trial, result)

    @override
    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        self._inner.on_trial_remove(tune_controller, trial)

    @override
    def debug_string(self) -> str:
        return self._inner.debug_string()


def _itself(scheduler: TrialScheduler) -> TrialScheduler:
    return scheduler
