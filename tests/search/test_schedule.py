"""The schedulers by name, their options, and the real engine with a trainable of made-up curves."""

import dataclasses
import io
import json
import math
import os
import re
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
import yaml
from conftest import make_session
from ray import cloudpickle, tune
from ray.tune.experiment import Trial
from ray.tune.search import Searcher
from rich.console import Console

from emgmodels.config import Config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.sessions import Split, write_session
from search.engine.schedulers import SCHEDULERS, check_options, make_scheduler
from search.halving.rungs import defaults, rungs
from search.run.conduct import scheduler_of
from search.run.plan import decided
from search.run.sessions import open_sessions
from search.simulate.replay import Curve as Recorded
from search.simulate.replay import Replay, ReplayTrial
from search.space import load_space

ROOT = Path(__file__).parents[2]


def test_rungs_stand_at_absolute_epochs_a_factor_apart():
    assert rungs(150, grace=5, eta=3) == [5, 15, 45, 135]
    assert rungs(10, grace=1, eta=1.3)[0] == 1
    assert rungs(50, grace=48, eta=3) == [48]


@pytest.mark.parametrize("max_epochs", [1, 2, 3, 5, 10, 50, 400])
@pytest.mark.parametrize("aligned", [0, 1, 3, 8])
def test_default_rungs_increase_and_lie_inside_the_training(max_epochs, aligned):
    epochs = rungs(max_epochs, *defaults(max_epochs, aligned))
    assert epochs == sorted(set(epochs))
    assert all(1 <= epoch < max_epochs for epoch in epochs)


@pytest.mark.parametrize(
    ("start", "grace"),
    [
        ("null", 4),
        ("{epochs: 4, weight: 3}", 4),
        ("{}", 3),
        ("{epochs: 8}", 4),
        ("{epochs: 1}", 4),
        ("{epochs: {int: [2, 6]}}", 4),
        ("{epochs: {choice: [3, 5]}}", 3),
        ("{choice: [{epochs: 3}, {weight: 2}]}", 3),
        ("{choice: [null, {epochs: 3}]}", 4),
    ],
)
def test_the_first_rung_is_the_last_epoch_in_which_all_trials_start_aligned(start, grace):
    own = ["training.aligned_start=null", f"training.aligned_start={start}"]  # not deep's, merged
    space = load_space(ROOT / "spaces/deep.yaml", overrides=own)
    halving = scheduler_of(space).halving
    plateau = start in ("null", "{epochs: 1}", "{epochs: {int: [2, 6]}}") or "null" in start
    assert (halving.rungs[0], halving.eta) == (grace, 1.5 if plateau else 3.0)


@pytest.mark.parametrize(
    ("prompted", "silent", "lag", "eta"),
    [(1, 0, "auto", 3.0), (2, 0, "auto", 1.5), (1, 1, "auto", 1.5), (1, 1, "0", 3.0)],
)
def test_rungs_are_those_of_the_plateau_where_most_sessions_have_no_key_times(
    prompted, silent, lag, eta, tmp_path
):
    """Or none that can be relied on, since nothing in the EMG goes with them."""
    paths = [tmp_path / f"s{number}.hdf5" for number in range(4)]
    for number, path in enumerate(paths):
        session = make_session(seed=number, name=path.stem, on_keyboard=number >= prompted)
        if number == 2 and silent:
            emg = np.random.default_rng(0).standard_normal(session.emg.shape, dtype=np.float32)
            session = dataclasses.replace(session, emg=5 * emg)
        write_session(path, session)
    split = Split("12345678", tuple(paths[:3]), tuple(paths[3:]), (), "here")
    overrides = [f"training.aligned_start.key_lag_ms={lag}"]
    space = load_space(ROOT / "spaces/deep.yaml", overrides=overrides)
    console = Console(file=io.StringIO())
    found = decided(space, open_sessions(split, space, console))
    told = " ".join(console.file.getvalue().split())
    assert "have no key times" in told
    assert ("training session s2: no lag" in told) == (silent == 1 and lag == "auto")
    halving = scheduler_of(found).halving
    assert (halving.rungs[0], halving.eta) == (4, eta)
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(found.resolved()))
    again = scheduler_of(load_space(tmp_path / "space.yaml")).halving
    assert again.rungs == halving.rungs, "a resumed search has the same"


def test_every_scheduler_is_made_by_name():
    for name in SCHEDULERS:
        assert make_scheduler(name, max_epochs=50) is not None


@pytest.mark.parametrize(
    ("name", "options", "says"),
    [
        ("ash", {}, "choose one of asha, asha_stopping, hyperband, median, none"),
        ("asha", {"grace": 50}, "grace 50: the first rung must stand at epoch 1 or later, before"),
        ("asha", {"grace": 0}, "grace 0"),
        ("asha", {"eta": 1.0}, "eta 1: must be above 1"),
        ("asha", {"eta": math.nan}, "eta nan: must be above 1"),
        ("asha", {"rank_by": "wer"}, "rank_by 'wer' is not known: choose one of loss, cer, both"),
        ("median", {"eta": 3.0}, "'median' has no option 'eta'; its options: grace"),
        ("asha", {"grace": "early"}, "scheduler 'asha': grace: "),
        ("asha", {"rank_by": ["loss"]}, "scheduler 'asha': rank_by: "),
        ("asha", {"resource": "hours"}, "resource: Input should be 'epochs', 'seconds' or 'macs'"),
        ("asha", {"resource": "seconds"}, "add it, such as 'max_seconds: 10m'"),
        ("asha", {"max_seconds": 60}, "max_seconds 60 is for rungs that count seconds"),
        ("asha", {"max_macs": 1e12}, "add 'resource: macs', or leave max_macs out"),
        ("asha", {"resource": "seconds", "max_seconds": 60, "max_macs": 9}, "leave max_macs out"),
        ("asha", {"grace": 2.5}, "grace 2.5: rungs count epochs: write a whole number of them"),
        ("asha", {"grace": "30s"}, "grace 30 s: rungs count epochs: write a whole number"),
        (
            "asha",
            {"resource": "macs", "grace": "30s"},
            "grace 30 s: rungs count macs: write how many",
        ),
        ("asha", {"resource": "seconds", "max_seconds": "1m", "grace": 60}, "below max_seconds"),
        ("asha_stopping", {"resource": "macs", "max_macs": 9, "grace": 90}, "below max_macs (9)"),
        ("asha", {"resource": "seconds", "max_seconds": "soon"}, "scheduler 'asha': max_seconds: "),
        ("asha", {"resource": "seconds", "max_seconds": -1}, "scheduler 'asha': max_seconds: "),
        ("median", {"resource": "seconds"}, "'median' has no option 'resource'"),
        ("none", {"max_seconds": 60}, "'none' has no option 'max_seconds'"),
    ],
)
def test_a_wrong_option_is_refused_with_what_would_be_right(name, options, says):
    with pytest.raises(ValueError, match=re.escape(says)):
        check_options(name, 50, **options)


def test_rungs_of_several_objectives_know_what_each_trial_costs(tmp_path):
    space = tmp_path / "small.yaml"
    space.write_text("search: {objectives: [parameters, val_cer, lookahead_ms]}")
    config = parse_notation("conv:1")
    trial = ReplayTrial(0, Recorded("", "", [], [], None))
    trial.config = {"config": Config(model=config).model_dump_json(), "number": 0}
    first, restored = (scheduler_of(load_space(space)) for _ in range(2))
    first.on_trial_add(None, trial)
    restored.on_trial_add(None, trial)
    summary = describe(config)
    for scheduler in (first, restored):
        assert scheduler.halving.fronts
        known = scheduler.halving[trial.trial_id]
        assert known.costs == [summary.parameters, summary.lookahead_ms]
    assert not scheduler_of(load_space(ROOT / "spaces/deep.yaml")).halving.fronts


def resumed(name, trials, ended, going_on, slots=2):
    """Return a search that is about to go on with a new scheduler, as on a resume."""
    curves = [
        Recorded(
            str(i), "", [50.0 + i - k for k in range(9)], [2.0 + i - k / 9 for k in range(9)], None
        )
        for i in range(trials)
    ]
    scheduler = make_scheduler(name, max_epochs=9)
    search = Replay(curves, scheduler, 9, slots)
    for number in range(ended + going_on):
        trial = ReplayTrial(number, curves[number])
        trial.epoch = 9 if number < ended else 1 + 5 * number % 8
        trial.status = Trial.TERMINATED if number < ended else Trial.PENDING
        search.trials.append(trial)
        scheduler.on_trial_add(search, trial)
    return search


@pytest.mark.parametrize("name", ["asha", "asha_stopping", "hyperband", "median", "none"])
@pytest.mark.parametrize("ended", range(10))
@pytest.mark.parametrize("going_on", [0, 2, 4, 6])
def test_a_resumed_search_comes_to_its_end(name, ended, going_on):
    """Neither trials that ended before nor those that were trained far are waited for."""
    search = resumed(name, 10, ended, min(going_on, 10 - ended))
    search.run()
    assert {trial.status for trial in search.trials} == {Trial.TERMINATED}


def test_the_median_rule_compares_with_what_trials_reported_before_a_resume():
    first = resumed("median", 4, 0, 0)
    first.run()
    later = make_scheduler("median", max_epochs=9)
    later.set_search_properties("val_cer", "min")
    bad = ReplayTrial(4, Recorded("", "", [90.0] * 9, [9.0] * 9, None))
    for trial in [*first.trials, bad]:
        later.on_trial_add(first, trial)
    bad.epoch = 5
    assert later.on_trial_result(first, bad, bad.result()) == "STOP"


EPOCHS = 9
TRIALS = 12


class Curve(tune.Trainable):
    """Trains nothing: its loss falls towards ``quality``, the better the lower."""

    def setup(self, config):
        self.reset_config(config)

    def reset_config(self, new_config):
        self.config, self.epoch = new_config, 0
        return True

    def step(self):
        self.epoch += 1
        with open(self.config["log"], "a") as log:
            log.write(f"[{self.config['quality']}, {self.epoch}]\n")
        if self.config["quality"] == self.config["fails_once"] and self.epoch == 3:
            mark = Path(self.config["log"]).with_suffix(".failed")
            if not mark.exists():
                mark.touch()
                raise RuntimeError("a trial that fails once")
        loss = self.config["quality"] + 1 / self.epoch
        loss = math.nan if self.config["quality"] == 4 else loss
        last = self.epoch >= EPOCHS
        return {"epoch": self.epoch, "val_cer": 100.0, "val_loss": loss, "done": last}

    def save_checkpoint(self, checkpoint_dir):
        Path(checkpoint_dir, "epoch").write_text(str(self.epoch))

    def load_checkpoint(self, checkpoint):
        self.epoch = int(Path(checkpoint, "epoch").read_text())


@pytest.fixture
def workers(engine, monkeypatch):
    """Ray, whose processes lack this folder, and whose Tune prints little."""
    for name in ("RAY_AIR_NEW_OUTPUT", "TUNE_PRINT_ALL_TRIAL_ERRORS"):
        monkeypatch.setenv(name, "0")
    cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


class Listed(Searcher):
    """Suggests a list of configurations, one when asked."""

    def __init__(self, configs):
        super().__init__(metric="val_cer", mode="min")
        self.configs = configs
        self.ended = []

    def suggest(self, trial_id):
        return self.configs.pop(0)

    def on_trial_complete(self, trial_id, result=None, error=False):
        self.ended.append(trial_id)

    def save(self, checkpoint_path):
        Path(checkpoint_path).write_text(json.dumps(self.configs))

    def restore(self, checkpoint_path):
        self.configs = json.loads(Path(checkpoint_path).read_text())


class InterruptAfter(tune.Callback):
    """Presses Ctrl-C after some results, and not again in the restored search."""

    def __init__(self, results, mark):
        self.left, self.mark = results, mark

    def on_trial_result(self, iteration, trials, trial, result, **info):
        self.left -= 1
        if self.left == 0 and not self.mark.exists():
            self.mark.touch()
            os.kill(os.getpid(), signal.SIGINT)


def start(folder, fails_once=None, callbacks=()):
    """Make a search of 12 curves, on one core each."""
    log = str(folder / "log.jsonl")
    order = [5, 9, 2, 11, 0, 7, 4, 1, 8, 3, 10, 6]
    configs = [{"quality": each, "log": log, "fails_once": fails_once} for each in order]
    return tune.Tuner(
        tune.with_resources(Curve, {"cpu": 1}),
        tune_config=tune.TuneConfig(
            scheduler=make_scheduler("asha", max_epochs=EPOCHS, grace=2, eta=2.0),
            search_alg=Listed(configs),
            num_samples=TRIALS,
            reuse_actors=True,
        ),
        run_config=tune.RunConfig(
            name="search",
            storage_path=str(folder),
            verbose=0,
            callbacks=list(callbacks),
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(num_to_keep=1),
        ),
    )


def trained(folder):
    """Return (quality, epoch) of every epoch that was trained, in order."""
    lines = (folder / "log.jsonl").read_text().splitlines()
    return [tuple(json.loads(line)) for line in lines]


def test_the_engine_pauses_and_promotes_without_losing_a_trial_or_an_epoch(
    workers, all_cores, tmp_path
):
    tuner = start(tmp_path)
    assert len(tuner.fit()) == TRIALS
    scheduler = tuner._local_tuner._tune_config.scheduler
    searcher = tuner._local_tuner._tune_config.search_alg
    epochs = trained(tmp_path)
    last = dict(epochs)
    assert len(set(epochs)) == len(epochs), "no epoch was trained twice"
    assert last[0] == EPOCHS, "the best was trained to the end"
    assert last[4] == 1, "NaN ended its trial"
    assert len(epochs) < 0.6 * TRIALS * EPOCHS
    assert len(searcher.ended) == len(set(searcher.ended)) == TRIALS
    assert {scheduler.state_of(id_) for id_ in searcher.ended} == {
        "finished",
        "stopped",
        "diverged",
    }
    assert any(scheduler.why(id_).startswith("stopped at rung 2: rank ") for id_ in searcher.ended)
    kept = list((tmp_path / "search").glob("*/checkpoint_*"))
    assert len(kept) <= TRIALS, "one checkpoint of a trial at most"


@pytest.mark.slow
def test_an_interrupted_search_resumes_with_its_rungs_and_its_paused_trials_paused(
    workers, tmp_path
):
    start(tmp_path, fails_once=1, callbacks=[InterruptAfter(17, tmp_path / "interrupted")]).fit()
    before = trained(tmp_path)
    tuner = tune.Tuner.restore(
        str(tmp_path / "search"), tune.with_resources(Curve, {"cpu": 1}), resume_errored=True
    )
    results = tuner.fit()
    scheduler = tuner._local_tuner._tune_config.scheduler
    assert len(results) == TRIALS
    first_rung = [entry.score for entry in scheduler.halving._rungs[0].entries]
    assert first_rung == [100 * (quality + 1 / 2) for quality in range(TRIALS) if quality != 4] + [
        math.inf
    ]
    epochs = trained(tmp_path)
    last = dict(epochs)
    twice = {quality for quality, epoch in epochs if epochs.count((quality, epoch)) > 1}
    assert len(before) < len(epochs)
    assert last[0] == EPOCHS
    assert len(twice) <= 2 + 1, "only what trained at the interruption, or failed, went back"
    assert len(epochs) < 0.7 * TRIALS * EPOCHS
