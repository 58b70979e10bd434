"""Schedulers: which trials of a search train on, and which end early.

``asha`` is asynchronous successive halving by promotion. A trial pauses at a rung and gives its
slot back. It goes on from its checkpoint when it is among the best ``1 / eta`` of all trials that
reached that rung. ``asha_stopping`` decides once, when a trial arrives, and never pauses. What a
rung compares and where rungs stand was chosen by measurement: see EXPERIMENTS.md, and
``python -m search.simulate`` to choose for trainings of another length or task.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import ValidationError
from ray.tune.experiment import Trial
from ray.tune.schedulers import FIFOScheduler, TrialScheduler

from emgmodels.config import explain
from emgmodels.own_code import explained, load_class
from search.engine.stock_schedulers import HyperBand, Median, TrainAll
from search.halving.ending import Ending, Why, ending_of
from search.halving.halving import RANKINGS, Decision, Halving, Progress, State
from search.halving.rungs import UNITS, Schedule, resolve
from search.space.choices import Chosen
from search.space.settings import SCHEDULER_OPTIONS, SchedulerConfig

CostsOf = Callable[[Trial], Sequence[float]]
"""What of a trial is to be low beside its error rate: known before it trains."""
CostOf = Callable[[Trial, Mapping[str, Any]], float]
"""What the epoch of a result cost, in what rungs count."""


class _Scheduler(NamedTuple):
    make: Callable[[Schedule, CostsOf | None], TrialScheduler]
    options: tuple[str, ...]


_MAKERS: dict[str, Callable[[Schedule, CostsOf | None], TrialScheduler]] = {
    "asha": lambda plan, costs_of: _asha(plan, costs_of, True),
    "asha_stopping": lambda plan, costs_of: _asha(plan, costs_of, False),
    "hyperband": lambda plan, _: HyperBand(
        "epoch", max_t=plan.epochs, reduction_factor=plan.eta or 3
    ),
    "median": lambda plan, _: Median("epoch", grace_period=plan.grace),
    "none": lambda plan, _: TrainAll(),
}
SCHEDULERS = {name: _Scheduler(_MAKERS[name], takes) for name, takes in SCHEDULER_OPTIONS.items()}
"""Every scheduler by the name it has in a space file, and the options it takes there."""


def make_scheduler(
    name: str,
    *,
    max_epochs: int,
    aligned: int = 0,
    costs_of: CostsOf | None = None,
    chosen: Chosen | None = None,
    **options: Any,
) -> TrialScheduler:
    """Return a scheduler of Ray Tune by name.

    Args:
        name: A key of ``SCHEDULERS``.
        max_epochs: Epochs of a whole training.
        aligned: Epochs that every trial has the framewise loss of an aligned start, at least.
        costs_of: Of several objectives, those beside the error rate; asha's rungs keep the front.
        chosen: One of the user's own, which is made instead of this project's.
        options: Fields of ``SchedulerConfig`` that this scheduler takes; None: not given.

    Raises:
        ValueError: an option is out of range, or not one of this scheduler.
    """
    given = {option: value for option, value in options.items() if value is not None}
    if chosen is None:
        check_options(name, max_epochs, **given)
    return scheduler_from(resolve(name, max_epochs, aligned, **given), costs_of, chosen)


def scheduler_from(
    schedule: Schedule, costs_of: CostsOf | None = None, chosen: Chosen | None = None
) -> TrialScheduler:
    """Return the scheduler of Ray Tune that does as decided.

    Metric and mode (``val_cer``, ``min``) are told to it by ``TuneConfig``.
    """
    if chosen is not None:
        return _own(schedule, chosen)
    return SCHEDULERS[schedule.name].make(schedule, costs_of)


def check_options(name: str, max_epochs: int, **options: Any) -> SchedulerConfig:
    """Return a scheduler's options.

    Raises:
        ValueError: ``make_scheduler`` does not take these for this scheduler.
    """
    if name not in SCHEDULERS:
        raise ValueError(f"scheduler '{name}' is not known: choose one of {', '.join(SCHEDULERS)}")
    takes = SCHEDULERS[name].options
    for option in options:
        if option not in takes:
            its = ", ".join(takes) or "none"
            raise ValueError(f"scheduler '{name}' has no option '{option}'; its options: {its}")
    grace, eta, rank_by = (options.get(key) for key in ("grace", "eta", "rank_by"))
    by_epochs = options.get("resource") in (None, "epochs")
    # What is of another type is told below, by the field's own type.
    if (
        by_epochs
        and isinstance(grace, int)
        and (grace < 1 or grace >= max_epochs > 1)  # one epoch has no rungs
    ):
        raise ValueError(
            f"grace {grace}: the first rung must stand at epoch 1 or later, "
            f"before the last one ({max_epochs})"
        )
    if isinstance(eta, int | float) and not 1 < eta < math.inf:
        raise ValueError(f"eta {eta:g}: must be above 1; 3 lets one in three pass a rung")
    if isinstance(rank_by, str) and rank_by not in RANKINGS:
        raise ValueError(f"rank_by '{rank_by}' is not known: choose one of {', '.join(RANKINGS)}")
    try:
        found = SchedulerConfig.model_validate({"name": name, **options})
    except ValidationError as error:
        raise ValueError("\n".join(explain(error, f"scheduler '{name}'"))) from None
    found.check_resource()
    return found


class Asha(FIFOScheduler):
    """``Halving`` as a scheduler of Ray Tune.

    Results must carry ``epoch`` (absolute, kept across restores), ``val_cer`` and ``val_loss``.
    Concurrency is limited by resources: under ``max_concurrent_trials`` paused trials would keep
    new ones out. A trial's progress is kept on Ray's trial and saved with it, so a restored search
    has its rungs, and its paused trials stay paused.
    """

    # Buffered results would arrive several epochs late, and a rung would be passed before it was
    # decided.
    _supports_buffered_results = False

    def __init__(
        self, halving: Halving, costs_of: CostsOf | None = None, resource: str = "epochs"
    ) -> None:
        super().__init__()
        self.halving = halving
        self._costs_of = costs_of
        self.cost_of: CostOf | None = None
        """What an epoch cost, where rungs do not count epochs; a search on machines replaces it."""
        if resource != "epochs":
            self.cost_of = lambda trial, result: result[resource]
        # Ray does not say how many trials fit at once. The most that ever ran at once is known to
        # fit.
        self._slots = 0
        self._trials: dict[str, Trial] = {}
        self._active: dict[str, Trial] = {}
        """Those that run or wait for a slot, and some that did; in the order in which they came."""

    def state_of(self, trial_id: str) -> str:
        """Return a trial's state: training, paused, stopped, finished, diverged or failed."""
        return str(self.halving[trial_id].state)

    def why(self, trial_id: str) -> str:
        """Say where a trial stands: 'stopped at rung 9: rank 7 of 9'."""
        return self.halving.why(trial_id)

    def ending(self, trial_id: str) -> Ending | None:
        """Return why a trial ended."""
        return self.halving.ending(trial_id)

    def on_trial_add(self, tune_controller: Any, trial: Trial) -> None:
        """Take in a new, a restored or a retried trial."""
        trial_id = trial.trial_id
        self._trials[trial_id] = trial
        self._activate(trial)
        # Ray adds a trial again when it starts it again after a failure. Its scores at rungs
        # stay.
        if trial_id in self.halving:
            self.halving.revive(trial_id)
            return
        known = getattr(trial, "progress", None)
        restored = Progress.restored(known) if known else None
        costs = self._costs_of(trial) if self._costs_of and not restored else ()
        progress = self.halving.add(trial_id, restored, costs)
        if trial.is_finished():
            self.halving.end(trial_id, State.STOPPED, Ending(Why.EARLIER))
        elif progress.state is State.PAUSED:
            # Otherwise all paused trials of a restored search would train on at once.
            trial.set_status(Trial.PAUSED)  # Ray restores paused trials as pending
        else:
            self.halving.revive(trial_id)
        # Ray saves the attributes of its trial with each snapshot. So rungs and trials can never
        # be of different times.
        vars(trial)["progress"] = vars(progress)  # saved with the trial
        trial.invalidate_json_state()

    def on_trial_result(self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]) -> str:
        """Decide at a rung; a trial that passes on the spot is saved there as well."""
        trial_id = trial.trial_id
        target = self.halving[trial_id].target
        decision = self._report(trial, result, _upcoming(tune_controller))
        trial.invalidate_json_state()
        if decision is Decision.CONTINUE and self.halving[trial_id].target > target:
            # A trial that passes on the spot does not pause, so nothing else would save it at its
            # rung. A trial that is killed later goes on from here.
            tune_controller._schedule_trial_save(trial)
        return getattr(TrialScheduler, decision)  # Ray compares by identity

    def on_trial_complete(
        self, tune_controller: Any, trial: Trial, result: Mapping[str, Any]
    ) -> None:
        """Note the end of a trial that Ray or the trial itself ended, with its last result."""
        trial_id, epoch = trial.trial_id, result.get("epoch", 0)
        if "failure" in result:
            failure = ending_of(result["failure"]) or Ending(Why.FAILED, epoch=epoch)
            self.halving.end(trial_id, State.FAILED, failure)
        elif epoch and self.halving[trial_id].state is State.TRAINING:
            self._report(trial, result)
        self.halving.end(trial_id, State.STOPPED, Ending(Why.ENDED, epoch=epoch))
        trial.invalidate_json_state()

    def on_trial_remove(self, tune_controller: Any, trial: Trial) -> None:
        """Note the end of a trial that was not running."""
        self.halving.end(trial.trial_id, State.STOPPED, Ending(Why.UNSTARTED))
        trial.invalidate_json_state()

    def on_trial_error(self, tune_controller: Any, trial: Trial) -> None:
        """Note a failure; Ray adds the trial again when it is to be retried."""
        self.halving.fail(trial.trial_id)
        trial.invalidate_json_state()

    def choose_trial_to_run(self, tune_controller: Any) -> Trial | None:
        """Return the trial for the next slot: a promoted one, or else one that is new.

        A promotion is decided when a slot is free, not before: the next result may bring a better
        one. How many slots there are shows in how many trials ran at once. Without new trials to
        fill slots that appear, one promotion waits ahead.
        """
        upcoming = _upcoming(tune_controller)
        while True:
            # Trials that no result can promote must end, or Ray would wait for them for ever.
            for trial_id in self.halving.hopeless(upcoming):
                if self._trials[trial_id].status == Trial.PAUSED:
                    self.halving.stop(trial_id)
                    tune_controller.stop_trial(self._trials[trial_id])
            waiting, running = self._waiting_and_running()
            promoted = next((trial for trial in waiting if self._is_promoted(trial)), None)
            if promoted:
                return promoted
            self._slots = max(self._slots, running)
            chosen_id = self.halving.promotable(upcoming)
            if chosen_id is None or (waiting and running >= self._slots):
                return waiting[0] if waiting else None
            chosen = self._trials[chosen_id]
            # Its checkpoint is still being written. A trial that started now would go on from an
            # older one.
            if chosen.status != Trial.PAUSED or chosen.is_saving:
                return None
            chosen.invalidate_json_state()
            # Its cost may have reached the next rung too. Then it is compared there, the slot is
            # still free, and others may have become hopeless.
            if self.halving.promote(chosen_id):
                self._activate(chosen)
                return chosen

    def debug_string(self) -> str:
        """Return a line for Ray's own progress table."""
        return f"asha: rungs {self.halving.rungs}, eta {self.halving.eta:g}"

    def _report(
        self, trial: Trial, result: Mapping[str, Any], upcoming: float = math.inf
    ) -> Decision:
        cost = None if self.cost_of is None else self.cost_of(trial, result)
        metrics = result["val_cer"], result["val_loss"]
        return self.halving.report(trial.trial_id, result["epoch"], *metrics, upcoming, cost)

    def _activate(self, trial: Trial) -> None:
        self._active.pop(trial.trial_id, None)
        self._active[trial.trial_id] = trial

    def _waiting_and_running(self) -> tuple[list[Trial], int]:
        """Return the trials that wait for a slot, and how many hold one; forget the others."""
        self._active = {
            trial_id: trial
            for trial_id, trial in self._active.items()
            if trial.status == Trial.RUNNING or self.halving[trial_id].state is State.TRAINING
        }
        active = self._active.values()
        waiting = [trial for trial in active if trial.status == Trial.PENDING]
        return waiting, sum(trial.status == Trial.RUNNING for trial in active)

    def _is_promoted(self, trial: Trial) -> bool:
        return self.halving[trial.trial_id].target > 0


def _asha(schedule: Schedule, costs_of: CostsOf | None, pausing: bool) -> TrialScheduler:
    assert schedule.eta is not None, "decided for every scheduler with rungs"
    if schedule.most is None:  # a search decides it by its sessions
        raise ValueError("resource macs needs max_macs: add it, such as 'max_macs: 1.0e+13'")
    rungs, last = list(schedule.rungs), schedule.epochs
    fronts = costs_of is not None
    halving = Halving(rungs, last, schedule.eta, schedule.rank_by, pausing, fronts)
    if schedule.resource != "epochs":
        halving.most, halving.unit = schedule.most, UNITS[schedule.resource]
    return Asha(halving, costs_of, schedule.resource)


def _own(schedule: Schedule, chosen: Chosen) -> TrialScheduler:
    """Return a scheduler of the user's own; it is given its settings and the schedule."""
    what = f"search.scheduler: {schedule.name}"
    kind = load_class(chosen.code, TrialScheduler, what, "a scheduler of ray.tune")
    with explained(what, chosen.code, "its settings and a Schedule"):
        return kind(chosen.settings, schedule)


def _upcoming(tune_controller: Any) -> float:
    """Return how many trials the search may still add."""
    search = tune_controller.search_alg
    if search.is_finished():
        return 0
    total = search.total_samples
    return max(1, total - len(tune_controller.get_trials())) if total > 0 else math.inf
