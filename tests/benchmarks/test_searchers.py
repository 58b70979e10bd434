"""Searchers on recorded trainings: what they are charged, and that all of them end."""

import dataclasses
import functools
import itertools
import json
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.searchers import freeze_thaw, optuna_alone, own
from benchmarks.searchers.compare import played
from benchmarks.searchers.play import play
from benchmarks.searchers.problem import Job, Machines, Parameter, Problem
from benchmarks.searchers.report import markdown, picture, write_report
from benchmarks.searchers.score import Played, outcome
from benchmarks.searchers.tables import TABLES, draw, recorded, settings
from benchmarks.searchers.venvs import Library

PLAYERS = own.PLAYERS | freeze_thaw.PLAYERS | optuna_alone.PLAYERS


@functools.cache
def small(slots: int) -> Problem:
    table = TABLES[1]
    return draw(table, recorded(table), 3, slots)


def made_up(slots: int = 1, budget: int = 100) -> Problem:
    """Four trials of three epochs, the better the later; the second takes twice as long."""
    cer = [[90.0, 50.0 - 10 * trial, 40.0 - 10 * trial] for trial in range(4)]
    seconds = [[2.0 if trial == 1 else 1.0] * 3 for trial in range(4)]
    parameters = [Parameter("width", (8, 16, 64)), Parameter("cell", ("gru", "lstm"))]
    configs = [
        {"width": 8, "cell": "gru"},
        {"width": 16, "cell": "gru"},
        {"width": 64, "cell": "lstm"},
        {"width": 64, "cell": None},
    ]
    return Problem("made up", 0, slots, budget, 0, cer, cer, seconds, parameters, configs)


@pytest.mark.parametrize(("name", "slots"), [*((name, 4) for name in PLAYERS), ("emgsearch", 1)])
def test_a_searcher_trains_no_epoch_twice_and_keeps_to_its_budget(name, slots):
    problem = small(slots)
    events = PLAYERS[name](problem)
    assert len({(event.trial, event.epoch) for event in events}) == len(events) <= problem.budget
    found = outcome(problem, events)
    assert found.trained == len(events) / (problem.trials * problem.epochs)
    assert found.regret == sorted(found.regret, reverse=True)
    assert found.epochs == sorted(found.epochs)
    assert found.seconds == sorted(found.seconds)
    assert found.at(1.0) == min(event.cer for event in events) - problem.best
    running = max(
        sum(event.end - problem.seconds[event.trial][event.epoch - 1] < now for event in events)
        - sum(event.end <= now for event in events)
        for now in (event.end - 1e-6 for event in events)
    )
    assert running <= slots


@pytest.mark.parametrize("name", optuna_alone.PLAYERS)
def test_a_search_by_optuna_follows_from_its_seed(name):
    problem = small(1)
    assert PLAYERS[name](problem) == PLAYERS[name](problem)


def test_the_default_search_finds_what_random_search_does_not():
    problem = small(1)
    ours, random = (
        outcome(problem, PLAYERS[name](problem)) for name in ("emgsearch", "random search")
    )
    assert ours.at(0.3) < random.at(0.3)


def test_a_trial_goes_on_where_it_was_however_long_ago_that_is():
    problem = made_up()
    asked = iter([Job(2, 2), Job(0, 1), Job(2, 3), Job(2, 2), None])

    class Scripted:
        def ask(self):
            return next(asked)

        def tell(self, job, epoch, cer):
            assert cer == problem.cer[job.trial][epoch - 1]

    events = Machines(problem).run(Scripted())
    assert [event[:3] for event in events] == [(1, 2, 1), (2, 2, 2), (3, 0, 1), (4, 2, 3)]


def test_slots_train_side_by_side_and_a_slow_trial_ends_later():
    problem = made_up(slots=2)
    events = Machines(problem).run(own.Whole(problem))
    last = {event.trial: event.end for event in events}
    assert last == {0: 3, 1: 6, 2: 6, 3: 9}  # the second one's six seconds beside two of three
    assert [event.end for event in events] == sorted(event.end for event in events)


def test_a_search_stops_at_its_budget():
    problem = made_up(budget=4)
    assert len(Machines(problem).run(own.Whole(problem))) == 4


def test_what_was_never_trained_has_no_part_in_the_outcome():
    problem = made_up()
    events = Machines(problem).run(own.Whole(problem))
    found = outcome(problem, events[:3])
    assert found.at(3 / 12) == 30  # the first trial's 40 against the last one's 10
    assert found.near() == 1
    assert outcome(problem, events).near() == 1
    with pytest.raises(ValueError, match="trains epoch"):
        outcome(problem, [*events[:3], events[2]])
    with pytest.raises(ValueError, match="recorded CER"):
        outcome(problem, [events[0]._replace(cer=1.0)])


def test_the_nearest_training_has_most_of_the_settings():
    problem = made_up()
    assert problem.nearest({"width": 64, "cell": "lstm"}, range(4)) == 2
    assert problem.nearest({"width": 64, "cell": "gru"}, range(4)) == 3  # a cell it has none of
    assert problem.nearest({"width": 8, "cell": "gru"}, [1, 2]) == 1
    assert problem.filled(3) == {"width": 64, "cell": "gru"}


def test_a_stage_that_is_absent_has_no_layers():
    encoder = {"order": ["conv"], "conv": {"layers": 2}, "recurrent": None}
    found = settings(
        {"model": {"encoder": encoder, "share_bands": True}, "training": {"epochs": 3}}
    )
    assert found == {
        "model.encoder.order": "conv",
        "model.encoder.conv.layers": 2,
        "model.encoder.recurrent.layers": 0,
        "training.epochs": 3,
    }


def test_draws_are_the_same_for_every_searcher_and_differ_by_repeat():
    table = TABLES[1]
    data = recorded(table)
    one, other = draw(table, data, 0, 1), draw(table, data, 1, 1)
    assert one == draw(table, data, 0, 1)
    assert one.cer != other.cer
    assert Problem.load(one.dump()) == one
    assert len({tuple(map(tuple, trial)) for trial in (c.items() for c in one.configs)}) == 20


def test_another_environment_plays_and_goes_on_where_it_was_killed(tmp_path):
    problems, results = tmp_path / "problems.jsonl", tmp_path / "results.jsonl"
    given = [small(1), small(4)]
    problems.write_text("".join(problem.dump() + "\n" for problem in given))
    played = ("benchmarks.searchers.own", "random search", problems, results)
    play(*played)
    first, second = results.read_text().splitlines()
    results.write_text(first + "\n")
    play(*played)
    lines = [json.loads(line) for line in results.read_text().splitlines()]
    assert lines[0] == json.loads(first)
    assert lines[1]["events"] == json.loads(second)["events"]
    for problem, line in zip(given, lines, strict=True):
        expected = Machines(problem).run(own.Whole(problem))
        assert [tuple(each) for each in line["events"]] == expected


def test_more_repeats_go_on_where_fewer_ended(tmp_path):
    given = [small(4), dataclasses.replace(small(4), repeat=0)]
    given = [given[1], given[0]]  # a first draw, and a later one
    module = "benchmarks.searchers.own"
    fewer = played("random search", module, given[:1], tmp_path)
    (results,) = tmp_path.glob("*.jsonl")
    kept = results.read_text()
    more = played("random search", module, given, tmp_path)
    assert results.read_text().startswith(kept)
    assert len(results.read_text().splitlines()) == 2
    key = given[0].table, 4
    assert more.outcomes[key][:1] == fewer.outcomes[key]


def test_what_fails_elsewhere_is_a_reason_and_ends_nothing(tmp_path):
    (tmp_path / "here").mkdir()
    packages = (("none==0",),)
    (tmp_path / "here" / "ready").write_text(repr(packages))
    (tmp_path / "here" / "bin").mkdir()
    (tmp_path / "here" / "bin" / "python").symlink_to(sys.executable)
    library = Library("here", "benchmarks.searchers.none_such", ("None: such",), packages)
    found = played("None: such", library.module, [small(4)], tmp_path, library)
    assert "none_such" in found.missing
    assert not found.outcomes


def test_modules_that_run_elsewhere_import_nothing_of_this_project():
    folder = Path(own.__file__).parent
    elsewhere = ("asked", "problem", "play", "optuna_alone", "smac_mf", "syne")
    for name in elsewhere:
        lines = (folder / f"{name}.py").read_text().splitlines()
        own_imports = [line for line in lines if line.startswith(("from emg", "from search"))]
        assert not own_imports, name


def test_the_report_has_a_row_a_searcher_and_says_what_was_not_played(tmp_path):
    found = []
    for name, slots in itertools.product(("emgsearch", "random search"), (1, 4)):
        played = next((each for each in found if each.name == name), None) or Played(name)
        played.add(small(slots), PLAYERS[name](small(slots)), 0.1)
        found = [each for each in found if each.name != name] + [played]
    found.append(Played("SMAC", missing="needs --venvs"))
    text = markdown(found)
    assert text.count("| **emgsearch** |") == 2
    assert "| SMAC |  | not played: needs --venvs |" in text.replace("this project", "")
    assert picture(found[:2]).startswith(b"\x89PNG")
    write_report(found, tmp_path)
    assert {path.suffix for path in tmp_path.iterdir()} == {".md", ".json", ".png"}


def test_a_forecast_by_other_curves_is_nearer_than_the_last_value():
    """It never saw the set that it forecasts."""
    problem = draw(TABLES[0], recorded(TABLES[0]), 0, 1)
    forecast = freeze_thaw.forecast_without(problem.table)
    errors = []
    for trial, cers in enumerate(problem.cer):
        mean, spread = forecast(problem, trial, 8)
        assert spread > 0
        errors.append([np.log(min(cers)) - mean, np.log(min(cers)) - np.log(min(cers[:8]))])
    found, last = np.abs(errors).mean(axis=0)
    assert found < last / 2
