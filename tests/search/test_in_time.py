"""A demo ends in its time with all trials ended, also where its machine becomes slower."""

from __future__ import annotations

import pickle
import time
from types import SimpleNamespace

import pytest
from helpers.searches import told
from ray.tune.experiment import Trial
from ray.tune.schedulers import TrialScheduler

from benchmarks.idle import IdleTrial, search_idly
from emgmodels.config import Config
from search.engine.in_time import InTime
from search.engine.schedulers import Asha, scheduler_from
from search.halving.ending import Why
from search.halving.rungs import resolve
from search.results.growing_tables import CURVE_METRICS
from search.results.record import COMPLETE, STOPPED, TrialRecord
from search.space import load_space

SCHEDULE = resolve("none", 12)


class Slowing(IdleTrial):
    """Its epochs take no time at first; from some moment on, other programs use the machine."""

    quick, slow, after = 0.02, 3.0, 2

    def step(self):
        took = self.quick if self.config["number"] < self.after else self.slow
        time.sleep(took)
        return {**super().step(), "seconds": took}


class Crawling(Slowing):
    """No training of it could end."""

    slow, after = 8.0, 0


DEMO = ["search.trials=16", "training.epochs=12", "search.sampler=random"]


def in_time(tmp_path, scheduler: str, seconds: float, trial: type[Slowing]) -> list[TrialRecord]:
    """Search with a few seconds of time, and return the trials: each has ended with an epoch."""
    rules = [*DEMO, f"search.scheduler={scheduler}", f"search.time_budget={seconds}"]
    folder = search_idly(tmp_path, rules, trial=trial, slots=2, in_time=seconds)
    trials = list(folder.trials.values())
    assert all(trial.curve for trial in trials), "what did not begin has no row"
    assert {trial.state for trial in trials} <= {COMPLETE, STOPPED}
    assert load_space(folder.path / "space.yaml").search.trials == len(trials)
    return trials


@pytest.mark.slow
def test_a_search_whose_machine_becomes_slower_begins_less_and_ends_in_time(all_cores, tmp_path):
    trials = in_time(tmp_path, "none", 60.0, Slowing)
    assert 2 <= len(trials) < 16
    assert len(told(tmp_path / "deep-001", "deep")) == len(trials), "others may come again"
    for trial in trials:
        assert trial.ending.why is (Why.WHOLE if trial.epoch == 12 else Why.IN_TIME)


@pytest.mark.slow
def test_with_rungs_the_best_is_trained_whole(all_cores, tmp_path):
    trials = in_time(tmp_path, "asha", 60.0, Slowing)
    assert 2 <= len(trials) < 16
    assert any(trial.state == COMPLETE for trial in trials)


@pytest.mark.slow
def test_where_nothing_can_be_trained_whole_all_end_with_what_they_have(all_cores, tmp_path):
    trials = in_time(tmp_path, "asha", 60.0, Crawling)
    assert {trial.state for trial in trials} == {STOPPED}
    assert Why.IN_TIME in {trial.ending.why for trial in trials}


class Controller:
    """The part of Ray's controller that a scheduler sees."""

    def __init__(self, scheduler: InTime, statuses: dict[int, str]) -> None:
        self.scheduler = scheduler
        self.trials = [
            SimpleNamespace(config={"number": n}, trial_id=str(n), status=status, is_saving=False)
            for n, status in statuses.items()
        ]

    def get_trials(self):
        return self.trials

    def stop_trial(self, trial):
        self.scheduler.on_trial_remove(self, trial)
        trial.status = Trial.TERMINATED


def begun(number: int, epochs: int, seconds: float) -> TrialRecord:
    record = TrialRecord(number, Config(seed=number))
    for epoch in range(1, epochs + 1):
        row = dict.fromkeys(CURVE_METRICS, 1.0)
        record.add({**row, "epoch": epoch, "seconds": seconds, "val_cer": 50.0 - epoch})
    return record


@pytest.fixture
def held():
    """A scheduler that is held to 100 s of a clock that a test sets, and what it was told."""
    now, records, closed = [0.0], {}, []
    scheduler = InTime(
        scheduler_from(SCHEDULE), SCHEDULE, 100.0, 2, records, closed.append, lambda: now[0]
    )
    return SimpleNamespace(scheduler=scheduler, now=now, records=records, closed=closed)


def statuses(controller: Controller) -> list[str]:
    return [trial.status for trial in controller.trials]


@pytest.mark.parametrize(("seconds", "left_out"), [(2.0, False), (6.0, True)])
def test_a_trial_begins_only_if_it_would_end_in_time(held, seconds, left_out):
    """Two trials have trained three of 12 epochs when a third of the time is over; one waits."""
    running = [Trial.RUNNING, Trial.RUNNING, Trial.PENDING]
    controller = Controller(held.scheduler, dict(enumerate(running)))
    held.now[0] = 3 * seconds
    assert held.now[0] < 34
    for number in range(2):
        held.records[number] = begun(number, 3, 9 * seconds)
    held.scheduler.choose_trial_to_run(controller)
    assert statuses(controller)[2] == Trial.PENDING, "it is too early to tell"
    held.now[0] = 34
    for number in range(2):
        held.records[number] = begun(number, 3, seconds)
    held.scheduler.choose_trial_to_run(controller)
    assert statuses(controller)[2] == Trial.PENDING, "an estimate may be wrong for a moment"
    held.now[0] += 5
    held.scheduler.choose_trial_to_run(controller)
    assert (statuses(controller)[2] == Trial.TERMINATED) == left_out
    held.now[0] += 1
    held.scheduler.choose_trial_to_run(controller)
    assert held.closed == [2] * left_out, "told once"


def test_no_trial_is_left_out_for_a_moment_in_which_the_machine_was_slow(held):
    running = [Trial.RUNNING, Trial.RUNNING, Trial.PENDING]
    controller = Controller(held.scheduler, dict(enumerate(running)))
    for now, seconds in ((34.0, 6.0), (38.0, 2.0), (40.0, 6.0), (44.0, 2.0)):
        held.now[0] = now
        for number in range(2):
            held.records[number] = begun(number, 3, seconds)
        held.scheduler.choose_trial_to_run(controller)
    assert statuses(controller)[2] == Trial.PENDING
    assert held.closed == []


def test_as_many_as_run_at_once_begin_in_any_case(held):
    controller = Controller(held.scheduler, {0: Trial.RUNNING, 1: Trial.PENDING})
    held.records[0] = begun(0, 1, 90.0)
    held.now[0] = 91.0
    held.scheduler.choose_trial_to_run(controller)
    assert statuses(controller)[1] == Trial.PENDING


def test_without_any_epoch_a_third_trial_waits_for_a_third_of_the_time(held):
    known = {0: Trial.RUNNING, 1: Trial.RUNNING, 2: Trial.PENDING}
    controller = Controller(held.scheduler, known)
    held.records |= {number: begun(number, 0, 0.0) for number in range(2)}
    for now, closed in ((30.0, []), (35.0, []), (40.0, [2])):
        held.now[0] = now
        held.scheduler.choose_trial_to_run(controller)
        assert held.closed == closed


def test_a_trial_without_time_for_an_epoch_ends_with_those_it_has(held):
    controller = Controller(held.scheduler, {0: Trial.RUNNING, 1: Trial.PAUSED, 2: Trial.PAUSED})
    held.records |= {0: begun(0, 3, 8.0), 1: begun(1, 4, 9.0), 2: begun(2, 4, 2.0)}
    result = {"epoch": 4, "seconds": 8.0, "val_cer": 9.0, "val_loss": 1.0}
    held.now[0] = 80.0
    decide = held.scheduler.on_trial_result
    assert decide(controller, controller.trials[0], result) == TrialScheduler.CONTINUE
    held.now[0] = 86.0
    assert decide(controller, controller.trials[0], result) == TrialScheduler.STOP
    assert str(held.scheduler.ending("0")) == "ended at epoch 4, for the search to end in its time"
    held.scheduler.choose_trial_to_run(controller)
    assert statuses(controller)[1:] == [Trial.TERMINATED, Trial.PAUSED]
    assert held.scheduler.ending("1").why is Why.IN_TIME
    assert held.scheduler.ending("2") is None


def test_rays_snapshots_hold_the_scheduler_alone():
    inner = scheduler_from(resolve("asha", 12))
    held = InTime(inner, SCHEDULE, 100.0, None, {}, lambda trials: None)
    assert isinstance(pickle.loads(pickle.dumps(held)), Asha)
    assert held.supports_buffered_results is False
