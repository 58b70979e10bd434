"""How long a search will take: arithmetic by hand, and a measurement of this machine."""

import time

import pytest
import torch
from conftest import make_session
from rich.console import Console

from emgmodels.config import Config
from emgmodels.sessions import write_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare
from search.engine.resources import Resources
from search.engine.trial import TrialData
from search.halving.rungs import epochs_of_trial, expected_epochs, resolve
from search.run import estimate as module
from search.run import forecast
from search.run.estimate import Estimate, estimate, in_words
from search.run.forecast import mean_epochs, tell_time
from search.run.sessions import Opened
from search.space import load_space

SPACE = """
name: a
model:
  mlp_features: 8
  features: {hop: 64, bins: 8}
  encoder: {order: [recurrent], recurrent: {layers: {choice: [1, 2]}, hidden: {choice: [8, 16]}}}
training: {epochs: 9, batch_size: 4}
search: {trials: 9, time_budget: 30}
"""


@pytest.fixture(scope="module")
def paths(tmp_path_factory):
    folder = tmp_path_factory.mktemp("estimate")
    for i, seconds in enumerate((41, 13)):
        write_session(folder / f"s{i}.hdf5", make_session(seconds, seed=i, name=f"s{i}"))
    return [folder / "s0.hdf5", folder / "s1.hdf5"]


@pytest.fixture(scope="module")
def space(tmp_path_factory):
    path = tmp_path_factory.mktemp("space") / "a.yaml"
    path.write_text(SPACE)
    return load_space(path)


def test_epochs_of_successive_halving_by_hand():
    """All train 4 epochs, a third 8 more, a ninth the last 38."""
    assert expected_epochs(50, [4, 12], 3.0) == pytest.approx(4 + 8 / 3 + 38 / 9)
    assert expected_epochs(7, [], 3.0) == 7
    assert 4 < epochs_of_trial(resolve("asha", 50)) < 25
    assert epochs_of_trial(resolve("none", 50)) == 50


def test_a_trial_that_is_alone_trains_whole(space):
    asha = resolve("asha", 9, grace=2, eta=2)
    assert mean_epochs(space, asha, 1) == 9
    assert mean_epochs(space, asha, 100) == epochs_of_trial(asha) < 9
    assert mean_epochs(space, resolve("none", 9), 1) == 9


def test_an_estimate_is_near_what_training_takes(paths, space, monkeypatch):
    """Within a factor of five, and in little time.

    It is tried again where a busy machine was slow in one of the two.
    """
    monkeypatch.setattr(module, "_LEAST", 0.0)
    train, val = prepare(paths[:1]), prepare(paths[1:])
    config = Config.model_validate(
        {
            "model": {
                "mlp_features": 8,
                "features": {"hop": 64, "bins": 8},
                "encoder": {"order": ["recurrent"], "recurrent": {"layers": 1, "hidden": 16}},
            },
            "training": {"epochs": 3, "batch_size": 4},
        }
    )
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    ratios: list[float] = []
    try:
        while not ratios or (not 1 / 5 < ratios[-1] < 5 and len(ratios) < 4):
            before = time.process_time()
            found = estimate(space, train, val, trials=9, epochs=3.0, threads=1, slots=2)
            assert time.process_time() - before < 10
            assert found.low <= found.epoch <= found.high
            assert found.slots == 2
            assert 0.999 * 9 * 3 / 2 * found.low <= found.search <= 1.001 * 9 * 3 / 2 * found.high
            seconds = min(result.seconds for result in fit(config, train, val))
            ratios.append(found.epoch / seconds)
    finally:
        torch.set_num_threads(threads)
    assert 1 / 5 < ratios[-1] < 5, ratios


@pytest.mark.parametrize("always", [0.0, 0.3], ids=["each window alike", "time step by time step"])
def test_what_a_step_always_takes_is_shared_by_its_windows(always, monkeypatch):
    """A recurrent stage takes little more for a batch than for one window."""
    config = Config.model_validate({"training": {"batch_size": 32}})
    measured = []

    def epoch(config, windows):
        measured.append(windows)
        return always + 0.05 * (windows + 1 / 3)

    monkeypatch.setattr(module, "_epoch", epoch)
    for windows in (500.0, 7.0):
        size = min(32, windows)
        found = module._seconds_a_window(module._Work(config, windows, 1e6))
        assert found == pytest.approx(0.05 + always / (size + 1 / 3))
    assert max(measured) < 7, "only a few are trained"


def test_slots_that_a_search_has_no_trials_for_make_it_no_shorter(paths, space, monkeypatch):
    monkeypatch.setattr(module, "_ROUGH_WINDOW", 10.0)
    monkeypatch.setattr(module, "_measured", lambda works: [(1e6, 0.5), (2e6, 0.5)])
    train, val = prepare(paths[:1]), prepare(paths[1:])
    few = estimate(space, train, val, trials=2, epochs=3.0, threads=1, slots=2)
    many = estimate(space, train, val, trials=2, epochs=3.0, threads=1, slots=64)
    assert few == many
    assert few.is_measured


def test_more_windows_take_longer(paths, space, monkeypatch):
    monkeypatch.setattr(module, "_LEAST", 0.0)
    monkeypatch.setattr(module, "_measured", lambda works: [(1e6, 0.5), (2e6, 0.5)])
    train, val = prepare(paths[:1]), prepare(paths[1:])
    once = estimate(space, train, val, trials=9, epochs=3.0, threads=1, slots=1)
    twice = estimate(space, train * 2, val * 2, trials=9, epochs=3.0, threads=1, slots=1)
    assert twice.epoch == pytest.approx(2 * once.epoch)
    # 41 s are 10.25 windows, and 13 s of validation count a third
    assert once.low == pytest.approx(0.5 * (41 / 4 + 13 / 4 / 3))


def test_what_is_over_in_a_minute_or_printed_to_nobody_is_not_measured(
    paths, space, monkeypatch, capsys
):
    def refuse(works):
        raise AssertionError("measured")

    monkeypatch.setattr(module, "_measured", refuse)
    data = Opened(TrialData((), ()), prepare(paths[:1]), prepare(paths[1:]))
    scheduler = resolve("none", 9)
    _, found = tell_time(Console(), space, data, scheduler, Resources(1, 0))
    assert capsys.readouterr().out.startswith(
        "By a rough guess the search takes less than a minute"
    )
    assert 0 < found.search < 60
    monkeypatch.setattr(module, "_LEAST", 0.0)
    tell_time(Console(quiet=True), space, data, scheduler, Resources(1, 0))
    tell_time(Console(), space, data, scheduler, Resources(1, 0.5))
    with pytest.raises(AssertionError, match="measured"):
        tell_time(Console(), space, data, scheduler, Resources(1, 0))


@pytest.mark.parametrize(
    ("search", "says", "trials"),
    [
        (30.0, "the search takes about 30s", 9),
        (40.0, "trains 4 of its 9 trials, so that it ends within 30s on this machine;", 4),
        (90.0, "trains 4 of its 9 trials, the fewest, and ends them after 30s, whole or not;", 4),
    ],
)
def test_a_demo_says_what_of_it_fits(search, says, trials, space, monkeypatch, capsys):
    found = Estimate(epoch=1.0, low=1.0, high=1.0, search=search, slots=2)
    monkeypatch.setattr(forecast, "estimate", lambda *_, **__: found)
    opened = Opened(TrialData((), ()), (), ())
    told, _ = tell_time(
        Console(width=200), space, opened, resolve("none", 9), Resources(1, 0), fits=search > 30
    )
    assert says in capsys.readouterr().out
    assert told.search.trials == trials


def test_a_budget_that_ends_before_an_epoch_is_said():
    found = Estimate(epoch=540.0, low=60.0, high=700.0, search=9000.0, slots=2)
    line, note = in_words(found, 360.0)
    assert "9m 00s an epoch (1m 00s to 11m 40s by architecture), trials 2 at once" in line
    assert "about 2h 30m, more than its budget of 6m 00s" in line
    assert note.startswith("note: the budget of 6m 00s is shorter than an epoch")
    assert len(in_words(found, 600.0)) == 1
    (line,) = in_words(found, None)
    assert "budget" not in line
