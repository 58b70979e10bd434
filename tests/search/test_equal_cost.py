"""Rungs that count seconds or operations: slow and fast architectures meet at equal cost."""

import io
import os
import re
from dataclasses import replace

import optuna
import pytest
import yaml
from helpers.curves import simulate, write_csv
from helpers.searches import killed, results, search_command, wait_for_epochs, wait_until
from rich.console import Console

from emgmodels.config import Config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.sessions import find_split
from search import run
from search.engine.resources import Resources
from search.engine.schedulers import make_scheduler
from search.halving.ending import Ending, Why
from search.halving.halving import Decision, Halving, State
from search.halving.rungs import epochs_of_trial, resolve
from search.results.reading import read_trials
from search.run.conduct import scheduler_of
from search.run.cost import cost_of, emg_seconds
from search.run.plan import decided
from search.run.sessions import open_sessions
from search.sampler.samplers import make_sampler
from search.sampler.trial_views import AsPruned, shown_to
from search.simulate.replay import Curve, Replay, ReplayTrial
from search.space import load_space

SECONDS = {"resource": "seconds", "max_seconds": 100}
"""Of trainings of 10 epochs."""


def test_a_trial_reaches_a_rung_with_the_first_epoch_that_brings_its_cost_there():
    halving = Halving([10.0, 30.0], 50, eta=2, unit="s")
    for trial_id, price in (("fast", 2.0), ("slow", 7.0)):
        halving.add(trial_id)
        epoch = 1
        while halving.report(trial_id, epoch, 50.0, price, cost=price) is Decision.CONTINUE:
            epoch += 1
        assert halving[trial_id].epoch == {"fast": 5, "slow": 2}[trial_id]
    assert halving.why("slow") == "paused at rung 10 s: rank 2 of 2"
    assert halving.promotable() == "fast"


def test_an_epoch_beyond_several_rungs_is_compared_at_each_of_them():
    halving = Halving([1.0, 2.0, 4.0], 50, eta=2, unit="s")
    for number in range(4):
        halving.add(f"fast{number}")
        halving.report(f"fast{number}", 1, 50.0, 3.0 + number, cost=1.0)
        assert halving[f"fast{number}"].state is State.PAUSED
    halving.add("slow")
    assert halving.report("slow", 1, 50.0, 2.0, cost=3.0) is Decision.PAUSE
    assert halving["slow"].target == 1, "the best of five, so it passed the first rung"
    assert halving.why("slow") == "paused at rung 2 s: rank 1 of 1"
    assert halving.promotable() == "fast0", "the second of five"
    assert halving.promote("fast0"), "which trains on"
    assert halving.report("fast0", 2, 50.0, 1.0, cost=1.0) is Decision.CONTINUE
    assert halving.report("fast0", 3, 50.0, 1.0, cost=1.0) is Decision.CONTINUE


def test_a_paused_trial_may_pass_a_rung_and_stand_at_the_next_without_training():
    halving = Halving([1.0, 2.0, 4.0], 50, eta=2, unit="s")
    halving.add("slow")
    assert halving.report("slow", 1, 50.0, 2.0, 2, cost=3.0) is Decision.PAUSE
    halving.add("worse")
    assert halving.report("worse", 1, 50.0, 3.0, 1, cost=1.0) is Decision.PAUSE
    assert halving.promotable() == "slow"
    assert not halving.promote("slow")
    assert (halving["slow"].state, halving["slow"].target) == (State.PAUSED, 1)


def test_a_trial_that_cost_what_it_may_ends_there_and_counts_as_whole():
    halving = Halving([20.0], 50, eta=2, most=60.0, unit="s")
    halving.add("slow")
    halving.report("slow", 1, 50.0, 2.0, 0, cost=50.0)
    assert halving["slow"].state is State.TRAINING
    assert halving.report("slow", 2, 40.0, 1.0, 0, cost=50.0) is Decision.STOP
    assert halving["slow"].state is State.FINISHED
    assert halving.ending("slow") == Ending(Why.WHOLE, epoch=2, rung=60.0, unit="s")
    assert halving.why("slow") == "trained for 60 s in 2 epochs, as long as a trial may"
    assert halving.hopeless(0) == []


def test_epochs_that_a_trial_repeats_cost_nothing_again():
    halving = Halving([10.0], 50, eta=2, unit="s")
    halving.add("trial")
    for epoch, cost in ((1, 4.0), (2, 4.0), (1, 9.0), (2, 9.0)):
        assert halving.report("trial", epoch, 50.0, 1.0, cost=cost) is Decision.CONTINUE
    assert halving["trial"].cost == 8.0
    assert halving.report("trial", 3, 50.0, 1.0, cost=2.0) is Decision.PAUSE


def test_rungs_are_the_same_part_of_a_training_whatever_they_count():
    by_epochs = resolve("asha", 50, 4)
    by_macs = resolve("asha", 50, 4, resource="macs", max_macs=5e12)
    assert by_macs.rungs == tuple(level * 1e11 for level in by_epochs.rungs)
    assert by_macs.eta == by_epochs.eta
    assert resolve("asha", 50, **SECONDS, grace=25, eta=3.0).rungs == (25.0, 75.0)
    assert resolve("asha", 50, resource="macs").rungs == (), "the sessions decide"
    assert epochs_of_trial(by_macs) == pytest.approx(epochs_of_trial(by_epochs))
    slow = epochs_of_trial(by_macs, cost=4e11)
    assert slow == pytest.approx(epochs_of_trial(by_epochs) / 4)
    with pytest.raises(ValueError, match="needs max_macs"):
        make_scheduler("asha", max_epochs=50, resource="macs")


@pytest.mark.parametrize(
    ("resources", "share"),
    [
        (Resources(4, 0), 1.0),
        (Resources(0.5, 0), 0.5),
        (Resources(4, 1), 1.0),
        (Resources(0.5, 1), 1.0),
        (Resources(4, 0.25), 0.25),
    ],
)
def test_seconds_count_by_the_part_of_a_gpu_or_core_that_a_trial_has(resources, share):
    assert cost_of("seconds", None, resources)(None, {"seconds": 8.0}) == 8.0 * share


@pytest.fixture(scope="module")
def opened(tiny_space, data):
    """The sessions that a search of the tiny space trains on."""
    space = load_space(tiny_space)
    return open_sessions(find_split(data, None, None, seed=0), space, Console(file=io.StringIO()))


def test_operations_of_an_epoch_follow_from_the_model_and_the_sessions(opened):
    """Forward and backward over the training sessions, forward over those of validation."""
    config = Config(model=parse_notation("gru:1"))
    trial = ReplayTrial(0, Curve("", "", [], [], None))
    trial.config = {"config": config.model_dump_json(), "number": 0}
    training, validation = (
        sum(recording.samples for recording in recordings) / 2000
        for recordings in (opened.train, opened.val)
    )
    assert emg_seconds(opened) == {"training": training, "validation": validation}
    found = cost_of("macs", opened, Resources(1, 0))(trial, {})
    assert found == describe(config.model).macs_per_second * (3 * training + validation)
    assert cost_of("epochs", opened, Resources(1, 0)) is None


def test_what_a_space_leaves_out_of_operations_is_decided_with_its_sessions(
    tiny_space, opened, tmp_path
):
    space = load_space(tiny_space, overrides=["search.scheduler={name: asha, resource: macs}"])
    found = decided(space, opened)
    halving = scheduler_of(found).halving
    assert halving.most == found.search.scheduler.max_macs > halving.rungs[-1] > 0
    (tmp_path / "space.yaml").write_text(yaml.safe_dump(found.resolved()))
    again = scheduler_of(load_space(tmp_path / "space.yaml")).halving
    assert (again.rungs, again.most, again.unit) == (halving.rungs, halving.most, "MACs")
    beyond = load_space(
        tiny_space, overrides=["search.scheduler={name: asha, resource: macs, grace: 1.0e30}"]
    )
    with pytest.raises(ValueError, match="must stand below max_macs"):
        decided(beyond, opened)


def test_samplers_see_trials_by_their_lowest_cer_where_epochs_cost_unequally(tiny_space):
    """By how many epochs they came a fast architecture would look better than it is."""
    space = load_space(tiny_space, overrides=["search.sampler=tpe", "search.scheduler=asha"])
    assert isinstance(shown_to(make_sampler(space.search), space), AsPruned)
    space = load_space(
        tiny_space, overrides=["search.sampler=tpe", f"search.scheduler={yaml_of(SECONDS)}"]
    )
    shown = shown_to(make_sampler(space.search), space)
    stopped = optuna.trial.create_trial(
        state=optuna.trial.TrialState.PRUNED, intermediate_values={1: 90.0, 2: 40.0, 3: 50.0}
    )
    assert shown(stopped).state == optuna.trial.TrialState.COMPLETE
    assert shown(stopped).values == [40.0]


def yaml_of(options):
    return yaml.safe_dump({"name": "asha", **options}, default_flow_style=True).strip()


def test_a_dry_run_says_what_trials_cost_at_most(tiny_space, data, capsys):
    options = {**SECONDS, "grace": "10s", "eta": 2}
    overrides = ["training.epochs=10", f"search.scheduler={yaml_of(options)}"]
    run.search(tiny_space, data=data, overrides=overrides, dry_run=True)
    lines = re.findall(r"^  (scheduler|epochs|cost) +(.*)$", capsys.readouterr().out, re.MULTILINE)
    assert [line for _, line in lines] == [
        "asha: rungs after 10s, 20s, 40s, 1m 20s of training; one in 2 passes; ranked by both",
        "10 a trial at most, fewer where they cost more than a trial may",
        "1m 40s of training a trial, 8m 20s in all at most; expected 26s a trial, 2m 11s in all",
    ]


SLOW = Curve("slow", "", [90.0, 50.0, 20.0, 10.0], [3.0, 2.0, 1.0, 0.5], [20.0] * 4, 20.0)
FAST = Curve("fast", "", [80.0, 60.0, 40.0, 30.0], [2.5, 2.2, 1.8, 1.5], [1.0] * 4, 1.0)


@pytest.mark.parametrize("resource", ["seconds", "macs"])
def test_a_replay_ends_a_trial_that_has_cost_what_it_may(resource):
    options = {"resource": resource, f"max_{resource}": 30.0}
    replay = Replay([SLOW, FAST], make_scheduler("asha", max_epochs=4, **options), 4, 1)
    replay.run()
    assert [trial.epoch for trial in replay.trials] == [2, 4]
    ending = replay.scheduler.ending(replay.trials[0].trial_id)
    assert (ending.why, ending.rung) == (Why.WHOLE, 30.0)


def test_the_replay_command_counts_what_it_is_asked_to(tmp_path):
    curves = [replace(FAST, name=f"fast{n}", cer=[c + n for c in FAST.cer]) for n in range(4)]
    path = write_csv(tmp_path / "curves.csv", [SLOW, *curves])
    done = simulate(path, "--resource", "seconds", "--repeats", 2)
    assert "by both resource seconds max_seconds 8 " in done.output, "twice what the median takes"
    text = "{name: asha, resource: seconds, grace: 2s, max_seconds: 1m}"
    done = simulate(path, "--scheduler", text, "--repeats", 2)
    assert "asha grace 2 eta 1.5 by both resource seconds max_seconds 60" in done.output
    done = simulate(path, "--resource", "macs", "--repeats", 2)
    assert done.exit_code == 2
    assert "resource macs: 5 of 5 curves have no macs" in done.stderr
    done = simulate(path, "--resource", "hours", "--repeats", 2)
    assert "Input should be 'epochs', 'seconds' or 'macs'" in done.stderr


@pytest.mark.slow
@pytest.mark.timeout(600)
def test_a_search_by_operations_that_was_killed_comes_to_what_a_whole_one_does(
    all_cores, data, tiny_space, tmp_path
):
    scheduler = yaml_of({"resource": "macs", "grace": 6e7, "eta": 1.5})
    more = {"epochs": 6, "cpus_per_trial": os.cpu_count()}
    overrides = [f"search.scheduler={scheduler}"]
    out = tmp_path / "whole"
    run.search(tiny_space, data=data, out=out, overrides=overrides, quiet=True, **more)
    options = ("--data", data, "--epochs", 6, "--cpus-per-trial", os.cpu_count(), "--quiet")
    often = os.environ | {"TUNE_GLOBAL_CHECKPOINT_S": "0.1"}
    folder = tmp_path / "killed" / "tiny-001"
    start = search_command(tiny_space, *options, "--set", *overrides, "--out", folder.parent)
    with killed(start, often):
        wait_for_epochs(folder, 8)
        wait_until(lambda: list(folder.glob(".ray/experiment_state-*.json")), "a snapshot")
    run.resume(folder, quiet=True)
    assert results(folder) == results(out / "tiny-001")
    rows = read_trials(folder).to_pylist()
    assert {row["state"] for row in rows} == {"complete", "stopped"}
    assert any(" MACs: rank " in row["reason"] for row in rows)
