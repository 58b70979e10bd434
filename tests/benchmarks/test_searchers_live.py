"""Searchers on real trainings: each is made once, as far as it is asked for, and goes on."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.searchers.compare_live import NAMES, PLAYERS, SMALL
from benchmarks.searchers.live import SPACE, live, parameters_of, searched_by
from benchmarks.searchers.live_report import (
    Searched,
    by_name,
    markdown,
    searched,
    t_interval,
    write_report,
)
from benchmarks.searchers.problem import Event
from benchmarks.searchers.trainings import Trainings
from search.sampler.study import training_key
from search.space import load_space


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """Return a folder of trainings that the tests of this module share."""
    return tmp_path_factory.mktemp("trainings")


def small(folder):
    return Trainings(load_space(SPACE, overrides=SMALL).typist, folder)


def tables(folder):
    return {path.stem: json.loads(path.read_text()) for path in folder.glob("*.json")}


def test_a_training_goes_no_further_than_it_is_asked_and_goes_on_after_a_kill(kept, tmp_path):
    whole = live(small(kept), 0, SMALL)
    expected = list(whole.cer[1])
    assert len(expected) == whole.epochs == 2
    cut = live(small(tmp_path), 0, SMALL)
    assert len(cut.cer[1]) == 2
    assert not tables(tmp_path)
    assert cut.cer[1][0] == expected[0]
    assert cut.loss[1][:1] == whole.loss[1][:1]
    ((name, one),) = tables(tmp_path).items()
    assert [len(values) for values in one.values()] == [1, 1, 1]
    later = live(small(tmp_path), 0, SMALL)
    assert list(later.cer[1]) == expected
    (both,) = tables(tmp_path).values()
    assert both["seconds"][:1] == one["seconds"]  # the first epoch was not trained again
    # Killed between table and checkpoint, or left without one: the same epochs follow.
    (tmp_path / f"{name}.json").write_text(json.dumps(one))
    (tmp_path / f"{name}.pt").unlink()
    assert list(live(small(tmp_path), 0, SMALL).cer[1]) == expected


@pytest.mark.parametrize("name", NAMES)
def test_a_searcher_trains_its_own_suggestions_within_its_budget(name, kept):
    problem = live(small(kept), 0, SMALL)
    before = list(problem.places)
    found = searched(name, problem, PLAYERS[name](problem))
    assert len(found.cer) <= problem.budget == round(0.3 * 4 * 2)
    assert found.cer == sorted(found.cer, reverse=True)
    assert found.seconds == sorted(found.seconds)
    suggests = name == "emgsearch" or name.startswith("Optuna")
    assert (problem.places[0] != before[0]) == suggests
    assert len(set(map(training_key, problem.places))) == problem.trials


ELSEWHERE = "benchmarks.searchers.optuna_alone", "Optuna: Hyperband pruner"


def test_a_searcher_in_another_process_trains_its_own_suggestions_here(kept):
    """Those of other libraries run in environments of their own, which lack this project."""
    problem = live(small(kept), 0, SMALL)
    before = list(problem.places)
    found = searched(ELSEWHERE[1], problem, searched_by(Path(sys.executable), *ELSEWHERE, problem))
    assert len(found.cer) == problem.budget
    assert training_key(problem.places[0]) != training_key(before[0])
    assert problem.places[-1] == before[-1]


def test_what_fails_in_another_process_is_named(kept):
    problem = live(small(kept), 0, SMALL)
    with pytest.raises(OSError, match=r"none: .*no_such"):
        searched_by(Path(sys.executable), "benchmarks.searchers.no_such", "none", problem)


def test_other_libraries_are_told_all_parameters_of_the_space():
    told = {each.name: each for each in parameters_of(load_space(SPACE))}
    orders = [name for name in told if "order[" in name]
    assert len(orders) == 3  # of two stages or three, with and without recurrent layers
    assert told["model.encoder.conv.layers"].values == (1, 2, 3)
    rate = told["training.learning_rate"]
    assert (rate.low, rate.high, rate.log) == (1e-3, 2e-2, True)


def test_searchers_that_take_the_same_trial_train_it_once(tmp_path):
    def trained():
        return sum(len(table["cer"]) for table in tables(tmp_path).values())

    first = live(small(tmp_path), 0, SMALL)
    events = PLAYERS["random search"](first)
    known = trained()
    again = live(small(tmp_path), 0, SMALL)
    assert PLAYERS["random search"](again) == events
    assert trained() == known >= len(events)


def test_a_search_follows_from_its_seed_but_for_its_seconds(kept, tmp_path):
    def trained(folder, seed):
        events = PLAYERS["emgsearch"](live(small(folder), seed, SMALL))
        return [event[1:] for event in events]

    one = trained(kept, 0)
    assert trained(tmp_path, 0) == one
    assert trained(tmp_path, 1) != one


def test_a_suggestion_is_the_configuration_that_is_trained(kept):
    problem = live(small(kept), 3, SMALL)
    for config in list(problem.places):
        trial = problem.trial_for(problem.values_of(config), [2])
        assert trial == 2
        assert training_key(problem.places[2]) == training_key(config)
        assert problem.places[2].seed == 3


def made_up(name, seed, cer):
    return Searched(name, seed, 20, 2, cer, [2.0 * (place + 1) for place in range(len(cer))])


def test_a_search_has_what_it_found_by_then():
    found = made_up("emgsearch", 0, [120.0, 60.0, 40.0, 30.0])
    assert [found.at(share) for share in (0.0, 0.05, 0.1, 0.2, 0.3)] == [100, 100, 60, 30, 30]
    assert [found.by(seconds) for seconds in (1.9, 4.0, 7.9, 100.0)] == [100, 60, 40, 30]


def test_what_no_search_could_have_trained_is_refused(kept):
    problem = live(small(kept), 0, SMALL)
    with pytest.raises(ValueError, match="out of turn"):
        searched("x", problem, [Event(1.0, 0, 2, 50.0)])
    with pytest.raises(ValueError, match="3 epochs, of 2 allowed"):
        searched("x", problem, [Event(1.0, trial, 1, 50.0) for trial in range(3)])


def test_an_interval_over_few_seeds_is_students():
    mean, low, high = t_interval([30.0, 32.0, 34.0])
    assert mean == 32
    assert (low, high) == pytest.approx((32 - 4.303 * 2 / 3**0.5, 32 + 4.303 * 2 / 3**0.5))
    assert np.isnan(t_interval([30.0])[1])


def test_the_report_compares_the_seeds_that_all_have(tmp_path):
    found = [
        made_up("emgsearch", 0, [60.0, 40.0, 40.0, 30.0, 30.0, 30.0]),
        made_up("random search", 0, [90.0, 50.0, 50.0, 50.0, 50.0, 36.0]),
        made_up("emgsearch", 1, [50.0, 40.0]),
        made_up("random search", 1, [80.0, 44.0, 44.0, 44.0, 44.0, 44.0]),
        made_up("emgsearch", 2, [10.0]),
    ]
    assert [each.seed for each in by_name(found)["emgsearch"]] == [0, 1]
    ours, theirs = _rows(markdown(found))
    assert ours[0] == "**emgsearch**"
    assert ours[3].startswith("35.0 (")  # 30 and 40
    assert ours[5].startswith("0.0 (")
    assert theirs[4:7:2] == ["36.0", "+5.0 (-7.7 to +17.7)"]
    write_report(found, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json", ".png"}
    assert (tmp_path / "searchers-live.png").read_bytes().startswith(b"\x89PNG")


def _rows(text):
    lines = text.partition("## By epochs")[2].partition("## By time")[0].splitlines()
    rows = [line.strip("| ").split(" | ") for line in lines if line.startswith("|")]
    return rows[2:]
