"""TPE asks few trials: it suggests what Optuna's own does, and takes no longer after many."""

import cProfile
import random
import warnings

import optuna
import pytest
from helpers.samplers import SPACE, result

from search.engine.searcher import OptunaSampler
from search.sampler.study import SearchStudy


def suggested(sampler, count):
    """Return configurations; trials end whole, stopped, or not at all."""
    draw, configs = random.Random(0), []
    for number in range(count):
        configs.append(sampler.suggest(str(number))["config"])
        end, cer = draw.random(), draw.uniform(10, 90)
        if end < 0.7:
            sampler.on_trial_complete(str(number), result(9 if end < 0.4 else 3, cer))
        else:
            sampler.on_trial_result(str(number), result(3, cer))
    return configs


@pytest.mark.parametrize("objectives", ["[val_cer]", "[val_cer, parameters]"])
def test_it_suggests_what_optunas_own_does_that_asks_all_trials_each_time(
    space_of, monkeypatch, objectives
):
    space = space_of(SPACE, f"search.objectives={objectives}")
    quick = suggested(OptunaSampler(space), 40)

    def each_time(study, deepcopy=True, states=None, use_cache=False):
        trials = map(study.shown, study._seen(use_cache))
        return [trial for trial in trials if states is None or trial.state in states]

    monkeypatch.setattr(SearchStudy, "_get_trials", each_time)
    plain = OptunaSampler(space)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", optuna.exceptions.ExperimentalWarning)
        plain._sampler = optuna.samplers.TPESampler(
            seed=space.search.seed, multivariate=True, group=True, constant_liar=True
        )
    assert suggested(plain, 40) == quick


def calls_a_suggestion(space, trials):
    """Return the calls of functions in a suggestion after that many trials."""
    study, draw = optuna.create_study(), random.Random(0)
    known = []
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    seed = optuna.samplers.RandomSampler(seed=0)
    study.sampler = seed
    for _ in range(40):
        trial = study.ask()
        space.suggest(trial)
        study.tell(trial, draw.uniform(10, 90))
    drawn = study.get_trials(deepcopy=False)
    for number in range(trials):
        like = drawn[number % len(drawn)]
        known.append(
            optuna.trial.create_trial(
                params=like.params, distributions=like.distributions, value=draw.uniform(10, 90)
            )
        )
    sampler = OptunaSampler(space, None, known)
    sampler.suggest("first")
    profile = cProfile.Profile()
    for number in range(5):
        profile.runcall(sampler.suggest, str(number))
    return sum(entry.callcount for entry in profile.getstats()) / 5


def test_a_suggestion_takes_no_more_work_after_many_trials(space_of):
    few, many = (calls_a_suggestion(space_of(), trials) for trials in (250, 2000))
    assert many < 1.2 * few
