"""What samplers learn: from trials that ended, were stopped or paused, or diverged."""

import math

import pytest
from helpers.samplers import RATES, SPACE, config_of, finish, recorded, result
from optuna.trial import TrialState

from emgmodels.config.stage_names import numbered
from emgmodels.network.summary import describe
from search.engine.searcher import OptunaSampler
from search.sampler.samplers import SAMPLERS


@pytest.mark.parametrize("ending", ["complete", "pruned", "paused"])
@pytest.mark.parametrize("objectives", ["[val_cer]", "[electrodes, val_cer]"])
def test_tpe_learns_which_order_is_good_from_ended_and_from_paused_trials(
    space_of, ending, objectives
):
    stages = ["model.encoder.conv.layers=1", "model.encoder.recurrent.layers={int: [1, 2]}"]
    sampler = OptunaSampler(space_of(SPACE, *stages, f"search.objectives={objectives}"))
    orders = []
    for index in range(60):
        order = config_of(sampler.suggest(str(index))).model.encoder.order
        orders.append(order)
        cer = 20.0 if order == ("conv", "recurrent") else 60.0
        if ending == "paused":
            sampler.on_trial_result(str(index), result(3, cer))
        else:
            sampler.on_trial_complete(str(index), result(9 if ending == "complete" else 3, cer))
    assert orders[:10].count(("conv", "recurrent")) <= 9
    assert orders[30:].count(("conv", "recurrent")) >= 24


SEQUENCES = "model.encoder.order={sequence: {of: [conv, recurrent], length: {int: [1, 4]}}}"


@pytest.mark.parametrize("name", sorted(SAMPLERS))
def test_every_sampler_draws_sequences_of_stages(space_of, name):
    space = space_of(SPACE, f"search.sampler={name}", SEQUENCES, RATES)
    sampler, drawn = OptunaSampler(space), set()
    for index in range(24):
        model = config_of(sampler.suggest(str(index))).model
        drawn.add(model.encoder.order)
        finish(sampler, str(index), cer=50 - len(model.encoder.order))
    assert drawn <= {tuple(numbered(s)) for n in (1, 2, 3, 4) for s in alternating(n)}
    assert len(drawn) > 3


def alternating(length):
    pair = ["conv", "recurrent"] * 2
    return pair[:length], pair[::-1][:length]


def test_tpe_learns_which_sequence_is_good(space_of):
    sampler = OptunaSampler(space_of(SPACE, SEQUENCES))
    wanted, orders = ("conv", "recurrent", "conv_2"), []
    for index in range(60):
        orders.append(config_of(sampler.suggest(str(index))).model.encoder.order)
        finish(sampler, str(index), cer=20.0 if orders[-1] == wanted else 60.0)
    assert orders[30:].count(wanted) >= 12  # at random: 4 of 30


NUMBERS = """
name: numbers
model: {mlp_features: {int: [16, 512]}, encoder: {order: []}}
training: {epochs: 9, learning_rate: {float: [1e-4, 1e-2], log: true}}
search: {trials: 96}
"""


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_samplers_learn_although_most_trials_are_stopped_or_paused(space_of, name):
    sampler = OptunaSampler(space_of(NUMBERS, f"search.sampler={name}"))
    cers = []
    for index in range(18 if name == "gp" else 96):
        config = config_of(sampler.suggest(str(index)))
        narrow = abs(config.model.mlp_features - 400) / 400
        cers.append(20 + 20 * (abs(math.log10(config.training.learning_rate) + 3.5) + narrow))
        tell = sampler.on_trial_result if index % 2 else sampler.on_trial_complete
        tell(str(index), result(4, cers[-1]))
    late = cers[len(cers) * 2 // 3 :]
    assert sum(late) / len(late) < 36  # at random 41


@pytest.mark.parametrize("name", ["tpe", "gp", "cmaes", "nsga2"])
def test_samplers_leave_where_trainings_diverge(space_of, name):
    sampler = OptunaSampler(space_of(NUMBERS, f"search.sampler={name}"))
    rates = []
    for index in range(18 if name == "gp" else 96):
        rate = config_of(sampler.suggest(str(index))).training.learning_rate
        rates.append(rate)
        sampler.on_trial_complete(str(index), result(9, math.nan if rate > 1e-3 else 50.0))
    late = [rate > 1e-3 for rate in rates[len(rates) // 2 :]]
    assert sum(late) < 0.3 * len(late)


@pytest.mark.parametrize("name", ["tpe", "gp", "nsga2"])
def test_of_several_objectives_stopped_and_paused_trials_stand_where_they_got_to(
    space_of, journal, name
):
    space = space_of(SPACE, "search.objectives=[parameters, val_cer]", f"search.sampler={name}")
    sampler, parameters = OptunaSampler(space, journal), []
    for index in range(4):
        parameters.append(describe(config_of(sampler.suggest(str(index))).model).parameters)
        for epoch in range(1, 2 if index == 3 else 5):
            sampler.on_trial_result(str(index), result(epoch, 80 - 10 * index + abs(3 - epoch)))
    sampler.on_trial_complete("0")
    sampler.on_trial_complete("1", result(5, math.nan))
    stopped, diverged, paused, begun = sampler._study().trials
    assert (stopped.values, paused.values) == ([parameters[0], 80], [parameters[2], 60])
    assert diverged.values == [parameters[1], 100]
    assert stopped.state == diverged.state == paused.state == TrialState.COMPLETE
    assert begun.state == TrialState.RUNNING  # not compared yet
    told = recorded(journal)
    assert [trial.state.name for trial in told] == ["PRUNED", "PRUNED", "RUNNING", "RUNNING"]
    assert told[2].intermediate_values == {1: 62, 2: 61, 3: 60, 4: 61}


def test_several_objectives_make_a_front(space_of, journal):
    sampler = OptunaSampler(
        space_of(SPACE, "search.objectives=[val_cer, parameters, lookahead_ms]"), journal
    )
    for index in range(12):
        suggestion = sampler.suggest(str(index))
        sampler.on_trial_result(str(index), result(1, 90))
        last = 4 if index == 5 else 9
        sampler.on_trial_complete(str(index), result(last, 20 + index, best=10 + index))
        trial = recorded(journal)[suggestion["number"]]
        if index == 5:
            assert trial.state == TrialState.PRUNED
            assert trial.intermediate_values == {1: 90, 4: 25}
        else:
            parameters = describe(config_of(suggestion).model).parameters
            assert trial.values[:2] == [10 + index, parameters]
            assert all(map(math.isfinite, trial.values))
