import importlib.util
import math
from collections import Counter

import optuna
import pytest
from helpers.samplers import ELECTRODES, RATES, SPACE, config_of, finish, recorded, result
from optuna.trial import TrialState
from ray.tune.search import Searcher

from emgmodels.config import Config
from emgmodels.network.memory_estimate import training_bytes
from emgmodels.network.summary import describe
from emgmodels.notation import notation
from search.engine.searcher import SKIPPED, OptunaSampler
from search.sampler.samplers import SAMPLERS, trial_seed
from search.space import SpaceError


def test_a_journal_that_another_program_adds_a_trial_to_stays_whole(space_of, journal):
    """A person can do that in optuna-dashboard, while the search runs."""
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    backend = optuna.storages.journal.JournalFileBackend(str(journal))
    storage = optuna.storages.JournalStorage(backend)
    other = optuna.load_study(study_name="small", storage=storage)
    other.add_trial(optuna.create_trial(state=TrialState.FAIL))
    suggested = sampler.suggest("b")
    finish(sampler, "b", cer=17.0)
    trials = {trial.user_attrs.get("trial_id"): trial for trial in recorded(journal)}
    assert set(trials) == {"a", None, "b"}
    assert (trials["b"].number, trials["b"].value) == (suggested["number"], 17.0)


def test_a_suggestion_reaches_the_journal_whole_or_not_at_all(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    study, before = sampler._study(), journal.read_bytes()
    with study.together():
        trial = study.ask()
        sampler.space.suggest(trial)
        assert journal.read_bytes() == before
    assert recorded(journal)[1].params == trial.params == study.recorded()[1].params


# How trials end


def test_a_trial_trained_to_the_end_is_complete_with_its_lowest_cer(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    for epoch, cer in enumerate([90, 60, 30, 12, 15, 15, 14, 14], start=1):
        sampler.on_trial_result("a", result(epoch, cer))
    sampler.on_trial_complete("a", result(9, 13, best=12))
    [trial] = recorded(journal)
    assert trial.state == TrialState.COMPLETE
    assert trial.value == 12
    assert trial.intermediate_values == dict(
        enumerate([90, 60, 30, 12, 15, 15, 14, 14, 13], start=1)
    )


def test_a_stopped_trial_is_pruned_at_its_epoch(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    sampler.on_trial_result("a", result(1, 90))
    sampler.on_trial_result("a", result(2, 70))
    sampler.on_trial_complete("a", result(3, 60))
    [trial] = recorded(journal)
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 90, 2: 70, 3: 60}


def test_a_paused_trial_that_ends_without_another_result_is_pruned(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    sampler.on_trial_result("a", result(1, 90))
    sampler.on_trial_complete("a")
    [trial] = recorded(journal)
    assert trial.state == TrialState.PRUNED
    assert trial.intermediate_values == {1: 90}


def test_a_crashed_trial_is_infeasible_and_one_that_never_began_has_failed(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    sampler.suggest("b")
    sampler.on_trial_result("a", result(1, 90))
    sampler.on_trial_complete("a", error=True)
    sampler.on_trial_complete("b")
    crashed, never = recorded(journal)
    assert (crashed.state, never.state) == (TrialState.PRUNED, TrialState.FAIL)
    assert max(crashed.constraints.values()) > 0


@pytest.mark.parametrize(
    "last",
    [
        result(2, math.nan),
        result(2, math.inf),
        result(2, 50.0) | {"val_loss": math.nan},
        result(9, math.nan),
        result(1, math.nan, failure="out of GPU memory"),
    ],
)
def test_what_is_not_a_number_ends_as_infeasible(space_of, journal, last):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    if last["epoch"] > 1:
        sampler.on_trial_result("a", result(1, 30))
    sampler.on_trial_complete("a", last)
    [trial] = recorded(journal)
    assert trial.state == TrialState.PRUNED
    assert max(trial.constraints.values()) > 0


def test_results_that_ray_repeats_are_recorded_once(space_of, journal):
    sampler = OptunaSampler(space_of(), journal)
    sampler.suggest("a")
    sampler.on_trial_result("a", result(1, 90))
    sampler.on_trial_result("a", result(1, 80))
    sampler.on_trial_complete("a", result(1, 80))
    sampler.on_trial_complete("a", result(1, 80))
    sampler.on_trial_result("unknown", result(1, 80))
    [trial] = recorded(journal)
    assert trial.intermediate_values == {1: 90}


# What is suggested


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_equal_seeds_suggest_equally(space_of, name):
    rate = RATES

    def suggested(seed):
        space = space_of(SPACE, f"search.sampler={name}", f"search.seed={seed}", rate)
        sampler = OptunaSampler(space)
        drawn = []
        for index in range(14):
            drawn.append(sampler.suggest(str(index)))
            finish(sampler, str(index), cer=index, epochs=9 if index % 3 else 4)
        return drawn

    first = suggested(0)
    assert suggested(0) == first
    assert [config_of(s).model for s in suggested(1)] != [config_of(s).model for s in first]


@pytest.mark.parametrize(("name", "package"), [("gp", "scipy"), ("cmaes", "cmaes")])
def test_a_sampler_whose_package_is_missing_says_what_to_install(
    space_of, monkeypatch, name, package
):
    monkeypatch.setattr(importlib.util, "find_spec", lambda found: None)
    with pytest.raises(ValueError, match=rf"{package}: .*-m pip install .*\[samplers\]'"):
        OptunaSampler(space_of(SPACE, f"search.sampler={name}"))


def test_a_suggestion_is_a_configuration_with_its_own_seed(space_of):
    sampler = OptunaSampler(space_of(SPACE, "search.seed=5"))
    suggestions = [sampler.suggest(str(index)) for index in range(3)]
    for suggestion in suggestions:
        config = config_of(suggestion)
        assert config.seed == suggestion["seed"] == trial_seed(5, suggestion["number"])
        assert config.name == f"small-{suggestion['number']}"
    assert len({suggestion["seed"] for suggestion in suggestions}) == 3


@pytest.mark.parametrize("name", ["tpe", "random", "nsga2", "grid", "quasirandom"])
def test_nothing_is_suggested_twice_and_a_small_space_ends(space_of, name):
    sampler = OptunaSampler(space_of(ELECTRODES, f"search.sampler={name}"))
    drawn = []
    while (suggestion := sampler.suggest(str(len(drawn)))) != Searcher.FINISHED:
        finish(sampler, str(len(drawn)))
        drawn.append(config_of(suggestion).model.electrodes)
    assert sorted(drawn) == [1, 2, 3, 4, 5, 6]
    assert sampler.exhausted == "all 6 configurations of the space were suggested"


SEEDS = "{sampler: %s, scheduler: none, trials: 4, repeats: 3}"


@pytest.mark.parametrize("name", ["grid", "random", "quasirandom"])
def test_every_suggestion_is_repeated_with_other_seeds(space_of, journal, name):
    rate = "training.learning_rate={choice: [1e-4, 1e-3, 1e-2]}"
    space = space_of(SPACE, f"search={SEEDS % name}", rate)
    sampler = OptunaSampler(space, journal)
    assert sampler.trials == 12
    found = []
    for index in range(7):
        found.append(sampler.suggest(f"a{index}"))
        finish(sampler, f"a{index}")
    sampler = OptunaSampler(space, journal)  # from the journal alone, after a kill
    while (suggestion := sampler.suggest(f"b{len(found)}")) != Searcher.FINISHED:
        found.append(suggestion)
        finish(sampler, f"b{len(found) - 1}")
    keys = [(config_of(s).model, config_of(s).training) for s in found]
    assert len(set(keys[:4])) == 4  # each once before any again
    assert set(Counter(keys).values()) == {3}
    assert len({s["seed"] for s in found}) == len({s["number"] for s in found}) == 12


@pytest.mark.parametrize(
    "section", ["{repeats: 2, scheduler: none}", "{repeats: 2, sampler: grid}"]
)
def test_repeats_are_refused_where_one_seed_would_decide(space_of, section):
    with pytest.raises(SpaceError, match=r"repeats: 2 seeds .*--confirm K"):
        space_of(ELECTRODES, f"search={section}")


def test_a_sampler_that_keeps_suggesting_the_same_is_helped_out(space_of):
    text = "{name: few, model: {electrodes: {choice: [1, 2]}, mlp_features: {int: [16, 29]}}}"
    sampler = OptunaSampler(space_of(text))
    drawn = set()
    for index in range(28):
        config = config_of(sampler.suggest(str(index)))
        drawn.add((config.model.electrodes, config.model.mlp_features))
        sampler.on_trial_complete(str(index), result(50, config.model.mlp_features))
    assert len(drawn) == 28


def test_constraints_hold_for_every_suggestion_and_cost_no_trial(space_of, journal):
    space = space_of(SPACE, "constraints.max_parameters=60_000", "search.trials=8")
    sampler = OptunaSampler(space, journal)
    suggestions = []
    while (suggestion := sampler.suggest(str(len(suggestions)))) != Searcher.FINISHED:
        finish(sampler, str(len(suggestions)))
        suggestions.append(suggestion)
    assert len(suggestions) == 8
    for suggestion in suggestions:
        assert describe(config_of(suggestion).model).parameters <= 60_000
    skipped = [trial for trial in recorded(journal) if SKIPPED in trial.user_attrs]
    assert skipped
    for trial in skipped:
        assert trial.state == TrialState.FAIL
        assert "max_parameters" in trial.user_attrs[SKIPPED]


def test_every_suggestion_can_be_trained_in_the_memory_there_is(space_of):
    text = SPACE.replace("epochs: 9", "epochs: 9, batch_size: {choice: [2, 64]}")
    limit = "constraints.max_memory_mb=200"
    space = space_of(text, limit, "search.trials=4", "search.sampler=random")
    sampler = OptunaSampler(space)
    configs = [config_of(sampler.suggest(str(index))) for index in range(4)]
    assert {config.training.batch_size for config in configs} == {2}
    assert all(training_bytes(config) <= 200 * 2**20 for config in configs)


def test_a_sampler_that_finds_nothing_more_says_why(space_of):
    space = space_of(ELECTRODES, "search.trials=9")
    limit = describe(Config.model_validate({"model": {"electrodes": 3}}).model).parameters
    space = space_of(ELECTRODES, "search.trials=9", f"constraints.max_parameters={limit}")
    sampler = OptunaSampler(space)
    drawn = []
    while (suggestion := sampler.suggest(str(len(drawn)))) != Searcher.FINISHED:
        drawn.append(config_of(suggestion).model.electrodes)
    assert sorted(drawn) == [1, 2, 3]
    assert sampler.exhausted.startswith("after 3 trials")


def test_start_points_come_first(space_of, journal):
    starts = "search.start_with=['conv:1(channels=4,kernel=4) gru:2(hidden=32) mlp:24 @16ch', {encoder: {recurrent: {layers: 1}}}]"  # noqa: E501
    sampler = OptunaSampler(space_of(SPACE, starts), journal)
    first, second, third = (config_of(sampler.suggest(key)) for key in "abc")
    assert notation(first.model) == "conv:1(channels=4,kernel=4) gru:2(hidden=32) mlp:24 @16ch"
    assert first.training.learning_rate == 1e-3
    assert notation(second.model, brief=True) == "gru:1 @16ch"
    for key in "abc":
        finish(sampler, key)
    again = OptunaSampler(space_of(SPACE, starts), journal)
    assert config_of(again.suggest("d")).model not in (first.model, second.model, third.model)


def test_a_start_point_outside_the_space_is_refused(space_of):
    with pytest.raises(SpaceError, match=r"start_with\[0\]: model\.encoder\.recurrent\.layers: 7"):
        space_of(SPACE, "search.start_with=['gru:7 conv:1(channels=4,kernel=4) @16ch']")


def test_quasi_random_points_cover_a_range_evenly(space_of):
    text = "{model: {mlp_features: {int: [65, 128]}}, search: {sampler: quasirandom}}"
    sampler = OptunaSampler(space_of(text))
    drawn = [config_of(sampler.suggest(str(index))).model.mlp_features for index in range(16)]
    quarters = [sum(16 * q < value - 64 <= 16 * (q + 1) for value in drawn) for q in range(4)]
    assert quarters == [4, 4, 4, 4]


# Learning
