"""Whatever a space says: it writes itself, and finds its samples."""

import hypothesis.strategies as st
import optuna
import yaml
from helpers.spaces import samples
from hypothesis import HealthCheck, given, settings

from emgmodels.config import Config


def numbers(low, high):
    value = st.integers(low, high)
    pair = st.lists(value, min_size=2, max_size=2).map(sorted)
    choices = st.lists(value, min_size=1, max_size=3, unique=True).map(lambda v: {"choice": v})
    ranges = pair.map(lambda v: {"int": v})
    logs = pair.filter(lambda v: v[0] > 0).map(lambda v: {"int": v, "log": True})
    steps = st.tuples(value, st.integers(1, 3), st.integers(0, 3)).map(
        lambda v: {"int": [v[0], v[0] + v[1] * v[2]], "step": v[1]}
    )
    return value | choices | ranges | logs | (steps.filter(lambda v: v["int"][1] <= high))


def rates(low, high):
    value = st.floats(low, high)
    pair = st.lists(value, min_size=2, max_size=2).map(sorted)
    return value | pair.map(lambda v: {"float": v}) | pair.map(lambda v: {"float": v, "log": True})


def mappings(**keys):
    return st.fixed_dictionaries({}, optional=keys)


def choices_of(strategy):
    several = st.lists(strategy, min_size=1, max_size=2, unique_by=repr)
    return strategy | several.map(lambda v: {"choice": v})


def stages(least):
    """Return sections of stages; in a sequence none has 0 layers alone."""
    return {
        "transformer": mappings(layers=numbers(least, 3), heads=numbers(1, 8)),
        "recurrent": mappings(
            layers=numbers(least, 3),
            cell=st.sampled_from(["gru", "lstm", {"choice": ["gru", "lstm"]}]),
            bidirectional=st.booleans() | st.just({"choice": [True, False]}),
        ),
        "conv": mappings(layers=numbers(least, 3), kernel=numbers(1, 9)),
    }


@st.composite
def encoders(draw):
    names = draw(st.permutations(sorted(stages(0))))[: draw(st.integers(1, 3))]
    order = draw(st.sampled_from(["list", "permutation", "choice", "sequence"]))
    again = f"{names[0]}_2"
    twice = [*names, again] if draw(st.booleans()) else names
    length = draw(numbers(1, 1 if len(names) == 1 else 4))
    orders = {"list": twice, "permutation": {"permutation": twice},
              "choice": {"choice": [twice, names[:1]] if len(twice) > 1 else [names]},
              "sequence": {"sequence": {"of": names, "length": length}}}  # fmt: skip
    encoder, sections = {"order": orders[order]}, stages(int(order == "sequence"))
    if order != "sequence" and again in twice:
        encoder[again] = draw(choices_of(sections[names[0]]))
    for name in names:
        if draw(st.booleans()):
            encoder[name] = draw(choices_of(sections[name]))
    return encoder


SPACE = st.fixed_dictionaries(
    {
        "model": mappings(electrodes=numbers(1, 16), encoder=encoders()),
        "training": mappings(
            epochs=numbers(1, 60),
            learning_rate=rates(1e-5, 1e-1),
            optimizer=st.sampled_from(["adamw", {"choice": ["adam", "adamw"]}]),
            aligned_start=st.none() | choices_of(mappings(epochs=numbers(1, 4))),
            gradient_clip=st.just({"choice": [None, 0.5, {"float": [0.1, 1.0]}]}),
        ),
        "constraints": mappings(max_parameters=st.integers(1, 10**8)),
        "search": mappings(
            trials=st.integers(1, 99),
            scheduler=st.sampled_from(["median", {"name": "asha", "grace": 3, "eta": 2.5}]),
            time_budget=st.sampled_from([None, 90, "2m"]),
        ),
    }
)


@settings(
    max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(SPACE, st.integers(0, 2**32 - 1))
def test_any_space_writes_itself_samples_validly_and_finds_its_samples(space_of, raw, seed):
    space = space_of(raw)
    assert space_of(yaml.safe_dump(space.resolved())) == space
    for config, params in samples(space, 5, seed):
        assert Config.model_validate(config.model_dump(mode="json")) == config
        found = space.params_of(config)
        assert space.suggest(optuna.trial.FixedTrial(found)) == config
        overlapping = "'choice': [{" in repr(raw) or "'choice': [[" in repr(raw)
        assert found == params or overlapping
