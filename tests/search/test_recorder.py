"""When a search is given up, and which of its trials are taken for hung."""

from __future__ import annotations

from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest
import ray
from ray.tune.experiment import Trial

from emgmodels.config import Config
from emgmodels.notation import parse_notation
from search.engine.failures import explain
from search.engine.recorder import Recorder
from search.halving.ending import Ending, Why
from search.results.folder import RunFolder
from search.results.growing_tables import CURVE_METRICS
from search.results.record import FAILED, STOPPED, TrialRecord
from search.space import SearchConfig

CONFIG = Config(model=parse_notation("conv:1"))
EPOCH = dict.fromkeys(CURVE_METRICS, 1.0) | {"epoch": 1, "best_epoch": 1}
FAILURE = {"failure": explain(RuntimeError("no")).facts, "traceback": "no"}


def trial(number: int) -> SimpleNamespace:
    """Return what the recorder looks at of a trial of Ray's."""
    return SimpleNamespace(
        trial_id=str(number),
        config={"number": number, "config": CONFIG.model_dump_json()},
        status=Trial.RUNNING,
        temporary_state=SimpleNamespace(ray_actor=f"process {number}"),
        num_failures=0,
        error_file=None,
        storage=None,
        checkpoint=None,
    )


class Search:
    """A search whose results are made up; whether its end was asked for."""

    def __init__(self, folder: RunFolder, **settings) -> None:
        self.recorder = Recorder(
            folder, MagicMock(), MagicMock(), object(), SearchConfig(**settings)
        )

    def report(self, number: int, **result) -> None:
        reporting = trial(number)
        self.recorder.on_trial_start(0, [], reporting)
        self.recorder.on_trial_result(0, [], reporting, result)
        if "failure" in result:
            reporting.status = Trial.TERMINATED

    @property
    def ending(self) -> Ending | None:
        self.recorder._looked = 0.0
        self.recorder.on_step_end(0, [])
        return self.recorder.ending


@pytest.fixture
def folder(tmp_path) -> RunFolder:
    return RunFolder.create(tmp_path, "small")


def test_each_trial_that_ends_is_told_once(folder, monkeypatch):
    """A trial that fails before its first epoch is told; a paused one of an earlier part is not."""
    for forgets in ("forget_statistics", "forget_configuration"):  # what only Ray's trials have
        monkeypatch.setattr(f"search.engine.recorder.{forgets}", lambda trial: None)
    paused = Ending(Why.OUTRANKED, epoch=1)
    folder.trials[0] = TrialRecord(0, CONFIG, state=STOPPED, ending=paused)
    search = Search(folder)
    search.recorder.explain = lambda trial_id: paused
    search.recorder.on_trial_complete(0, [], trial(0))
    assert not search.recorder.progress.ended.called
    search.report(1, **FAILURE)
    search.recorder.on_trial_complete(0, [], trial(1))
    search.report(2, **EPOCH)
    search.recorder.on_trial_complete(0, [], trial(2))
    told = [call.args[0].number for call in search.recorder.progress.ended.call_args_list]
    assert told == [1, 2]


def test_a_search_of_which_many_trials_failed_can_be_resumed(folder):
    for number in range(9):
        folder.trials[number] = TrialRecord(number, CONFIG, state=FAILED, ending=Ending(Why.MEMORY))
    search = Search(folder)
    assert search.ending is None
    for number in range(9, 13):
        search.report(number, **FAILURE)
    assert search.ending is None


def test_a_search_is_given_up_when_the_trials_that_trained_failed_too(folder):
    search = Search(folder)
    search.report(0, **EPOCH)
    for number in range(1, 7):
        search.report(number, **FAILURE)
    assert search.ending is None, "one still trains"
    search.report(0, **FAILURE)
    search.report(7, **EPOCH)
    assert search.ending is None, "another does"
    search.report(7, **FAILURE)
    assert search.ending == Ending(Why.NONE_TRAINS)
    assert "none of 8 trials could be trained; 8 of them: RuntimeError: no" in (
        search.recorder.failure
    )


@pytest.mark.parametrize(
    ("settings", "epochs", "limit"),
    [({}, 0, 3600), ({}, 1, 600), ({"hang_after": 5000.0}, 0, 5000)],
    ids=["first epoch of the search", "later", "as the space says"],
)
def test_a_silent_trial_is_ended_after_its_time(settings, epochs, limit, folder, monkeypatch):
    killed = []
    monkeypatch.setattr(ray, "kill", killed.append)
    search = Search(folder, **settings)
    for _ in range(epochs):
        search.report(0, **EPOCH)
    silent = trial(1)
    search.recorder.on_trial_start(0, [], silent)
    begun = search.recorder._heard["1"][1]
    for silence, ended in [(limit - 5, False), (limit + 1, True)]:
        search.recorder._heard = {"1": (silent, begun - silence)}
        assert not search.ending
        assert killed == ["process 1"] * ended
    silent.num_failures = 1
    search.recorder.on_trial_error(0, [], silent)
    reason = search.recorder.folder.trials[1].reason
    assert reason == f"hung: no report within {limit} s (search.hang_after)"


def test_the_reason_of_a_failed_trial_says_how_often_it_was_started(folder):
    search = Search(folder)
    for number, starts in enumerate((1, 3)):
        failed = trial(number)
        failed.num_failures = starts
        search.recorder.on_trial_error(0, [], failed)
    reasons = [record.reason for record in folder.trials.values()]
    assert reasons == ["unknown", "unknown, 3 times"]
