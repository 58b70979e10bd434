import pickle
from itertools import pairwise
from pathlib import Path

import numpy as np
import optuna
import pytest
import yaml
from helpers.spaces import DEEP, mistakes, samples

from emgmodels.config import Config, ConvConfig
from emgmodels.notation import brief_notation, notation, parse_notation
from search.space import OutsideError, SpaceError, load_space

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))

# The grammar


@pytest.mark.parametrize(
    ("written", "drawn"),
    [
        ("48", {48}),
        ("{choice: [48, 64]}", {48, 64}),
        ("{int: [3, 5]}", {3, 4, 5}),
        ("{int: [16, 64], step: 16}", {16, 32, 48, 64}),
        ("{int: [1, 3], log: true}", {1, 2, 3}),
        ("{choice: [7, {int: [1, 2]}]}", {1, 2, 7}),
    ],
)
def test_every_value_of_a_distribution_is_drawn_and_no_other(space_of, written, drawn):
    space = space_of(f"model: {{mlp_features: {written}}}")
    assert {config.model.mlp_features for config, _ in samples(space, 200)} == drawn
    assert {config.model.mlp_features for config in space.grid()} == drawn
    assert space.size == len(drawn)


@pytest.mark.parametrize("options", ["", ", log: true", ", step: 1e-3"])
def test_real_numbers_stay_in_their_range(space_of, options):
    space = space_of(f"training: {{learning_rate: {{float: [1e-3, 1e-2]{options}}}}}")
    rates = [config.training.learning_rate for config, _ in samples(space, 300)]
    assert min(rates) >= 1e-3
    assert max(rates) <= 1e-2
    below_geometric_mean = np.mean(np.array(rates) < 10**-2.5)
    assert (below_geometric_mean > 0.4) == (options == ", log: true")


def test_choices_may_be_lists_null_and_mappings_with_distributions(space_of):
    space = space_of(
        """
        model:
          encoder:
            order: {choice: [[conv, recurrent], [recurrent, conv]]}
            recurrent:
              choice:
                - {cell: gru, hidden: {choice: [32, 64]}}
                - {cell: lstm, hidden: 16}
        training: {aligned_start: {choice: [null, {epochs: {int: [1, 3]}}]}}
        """
    )
    configs = list(space.grid())
    assert len(configs) == space.size == 2 * (2 + 1) * (1 + 3)
    assert {c.training.aligned_start and c.training.aligned_start.epochs for c in configs} == {
        None, 1, 2, 3,
    }  # fmt: skip
    for config in configs:
        stage = config.model.encoder.recurrent
        assert (stage.cell, stage.hidden) in {("gru", 32), ("gru", 64), ("lstm", 16)}
    _, params = next(samples(space))
    assert params["model.encoder.order"] in ("[conv, recurrent]", "[recurrent, conv]")
    assert {type(value) for value in params.values()} <= {str, int, type(None)}


def test_the_same_name_always_has_the_same_distribution(space_of):
    space = space_of(
        """
        training:
          aligned_start: {choice: [{epochs: {int: [1, 3]}}, {epochs: {choice: [5, 9]}, weight: 2}]}
        """
    )
    study = optuna.create_study(sampler=optuna.samplers.RandomSampler(seed=0))
    for _ in range(30):
        trial = study.ask()
        assert space.suggest(trial).training.aligned_start is not None
        study.tell(trial, 0.0)
    names = {name for trial in study.trials for name in trial.params}
    assert names == {
        "training.aligned_start",
        "training.aligned_start.choice[0].epochs",
        "training.aligned_start.choice[1].epochs",
    }


# Stages and their order


def test_an_absent_stage_draws_nothing_else(space_of):
    for config, params in samples(space_of(DEEP), 200):
        for stage in ("transformer", "recurrent", "conv"):
            drawn = {name for name in params if name.startswith(f"model.encoder.{stage}.")}
            present = getattr(config.model.encoder, stage) is not None
            assert present == (stage in config.model.encoder.order)
            assert (drawn == {f"model.encoder.{stage}.layers"}) or present


def test_an_order_is_drawn_of_the_present_stages_under_a_name_of_their_own(space_of):
    seen = {}
    for config, params in samples(space_of(DEEP), 400):
        named = [name for name in params if name.startswith("model.encoder.order")]
        order = config.model.encoder.order
        present = [s for s in ("transformer", "recurrent", "conv") if s in order]
        if len(order) < 2:
            assert named == []
        else:
            assert named == [f"model.encoder.order[{' '.join(present)}]"]
            assert params[named[0]] == " ".join(order)
            seen.setdefault(named[0], set()).add(order)
    assert sorted(map(len, seen.values())) == [2, 2, 2, 6]


def test_a_grid_counts_every_architecture_once(space_of):
    space = space_of(DEEP, overrides=["training.learning_rate=1e-3", "model.electrodes=16"])
    configs = list(space.grid())
    # Ways to have each stage, absent ones apart, and the orders of those present.
    transformer, recurrent, conv = 2 * 2, 2 * 4 * 2, 4
    pairs = transformer * recurrent + transformer * conv + recurrent * conv
    triples = transformer * recurrent * conv
    expected = 2 * (1 + transformer + recurrent + conv + 2 * pairs + 6 * triples)
    assert len(set(configs)) == len(configs) == space.size == expected
    assert {config for config, _ in samples(space, 200)} <= set(configs)


def test_a_stage_that_the_order_drawn_does_not_name_is_absent(space_of):
    space = space_of(
        "model: {encoder: {order: {choice: [[conv], [recurrent, conv]]}, "
        "recurrent: {layers: {int: [1, 2]}}, conv: {layers: 2}}}"
    )
    assert {config.model.encoder.order for config in space.grid()} == {
        ("conv",),
        ("recurrent", "conv"),
    }
    assert space.size == 3


def test_a_null_option_of_a_stage_is_its_absence(space_of):
    space = space_of(
        "model: {encoder: {order: {permutation: [conv, recurrent]}, "
        "recurrent: {choice: [null, {layers: 2}]}}}"
    )
    assert {config.model.encoder.order for config in space.grid()} == {
        ("conv",),
        ("conv", "recurrent"),
        ("recurrent", "conv"),
    }


def test_a_stage_may_stand_in_an_order_twice(space_of):
    space = space_of(
        "model: {encoder: {order: {permutation: [conv, recurrent, conv_2]}, recurrent: {layers: 2},"
        " conv: {layers: {int: [0, 1]}}, conv_2: {layers: {int: [0, 1]}, kernel: 8}}}"
    )
    found = {brief_notation(notation(config.model)) for config in space.grid()}
    once = ["gru:2", "conv:1 gru:2", "gru:2 conv:1"]
    twice = ["conv:1 conv:1 gru:2", "conv:1 gru:2 conv:1", "gru:2 conv:1 conv:1"]
    assert found == {f"{text} @16ch" for text in (*once, *twice)}
    # A conv before or behind, of either kernel: the section says which, and not the number.
    assert space.size == 1 + 2 * 2 + 3
    for config, params in samples(space):
        assert space.params_of(config) == params


SEQUENCE = """
model:
  encoder:
    order: {sequence: {of: [transformer, recurrent, conv], length: {int: [2, 4]}}}
    transformer: {layers: {choice: [0, 1, 2]}, heads: 4}
    recurrent: {layers: {int: [0, 2]}, cell: {choice: [gru, lstm]}}
    conv: {layers: {int: [1, 4]}, kernel: {choice: [8, 16]}}
    conv_2: {layers: 3, kernel: 2+5}
"""


def test_a_sequence_is_one_parameter_without_equal_neighbours(space_of):
    space = space_of(SEQUENCE)
    sequences, kernels = set(), set()
    for config, params in samples(space, 400):
        encoder = config.model.encoder
        sequences.add(" ".join(encoder.kinds()))
        assert params["model.encoder.order"] == " ".join(encoder.kinds())
        assert all(a != b for a, b in pairwise(encoder.kinds()))
        assert all(stage.layers > 0 for _, stage in encoder.stages())
        named = {name.split(".")[2] for name in params} - {"order"}
        assert named == set(encoder.order) - {"conv_2"}
        assert space.params_of(config) == params
        kernels |= {(n, s.kernel) for n, s in encoder.stages() if isinstance(s, ConvConfig)}
    assert len(sequences) == 3 * 2 + 3 * 2**2 + 3 * 2**3
    assert kernels == {("conv", 8), ("conv", 16), ("conv_2", "2+5")}
    assert "model.encoder.recurrent_2.cell" in space.parameters()
    assert space_of(yaml.safe_dump(space.resolved())) == space


def test_repeats_draw_values_of_their_own(space_of):
    order = "model.encoder.order={sequence: {of: [recurrent, conv], length: 3}}"
    space = space_of(SEQUENCE, overrides=[order, "model.encoder.transformer=null"])
    pairs = {
        (config.model.encoder.recurrent.layers, config.model.encoder.recurrent_2.layers)
        for config, _ in samples(space, 100)
        if config.model.encoder.order[0] == "recurrent"
    }
    assert pairs == {(1, 1), (1, 2), (2, 1), (2, 2)}


def test_a_sequence_may_be_one_of_several_orders(space_of):
    order = "{choice: [[recurrent], {sequence: {of: [conv, recurrent], length: 3}}]}"
    gone = "model.encoder.transformer=null"
    space = space_of(SEQUENCE, overrides=[f"model.encoder.order={order}", gone])
    found = {" ".join(config.model.encoder.kinds()) for config, _ in samples(space, 60)}
    assert found == {"recurrent", "conv recurrent conv", "recurrent conv recurrent"}


def test_a_grid_has_every_sequence_once(space_of):
    space = space_of(
        "model: {encoder: {order: {sequence: {of: [conv, recurrent], length: {int: [1, 3]}}},"
        " conv: {layers: {int: [1, 2]}, kernel: 8}, recurrent: {hidden: 8}}}"
    )
    grid = [config.model for config in space.grid()]
    assert space.size == space.model.count() == len(set(grid)) == 2 + 1 + 2 * 2 + 4 + 2


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        ("conv:2(kernel=8) gru:1 conv:3(kernel=2+5)", None),
        (
            "gru:1 conv:2(kernel=8) gru:2 lstm:1",
            "order: [recurrent, conv, recurrent_2, recurrent_3",
        ),
        ("conv:2(kernel=8) gru:1 conv:2(kernel=2+5)", "conv_2.layers: 2 is not in the space"),
    ],
)
def test_a_start_point_of_a_sequence(space_of, start, expected):
    override = f"search.start_with=['{start}']"
    if expected is None:
        [params] = space_of(SEQUENCE, overrides=[override]).start_points()
        assert params["model.encoder.order"] == "conv recurrent conv"
    else:
        [line] = mistakes(space_of, SEQUENCE, overrides=[override])
        assert expected in line


def test_a_value_written_in_another_way_is_found(space_of):
    space = space_of(
        "model: {share_bands: {choice: [false, true, encoder]}, encoder: {conv: {kernel: {choice:"
        " [32+8, 8]}}}}"
    )
    for config, params in samples(space, 20):
        assert space.params_of(config) == params


def test_grid_names_what_is_continuous(space_of):
    with pytest.raises(ValueError, match=r"training\.learning_rate is continuous"):
        next(space_of(DEEP).grid())
    assert space_of(DEEP).size is None


def test_a_space_travels_to_another_process(space_of):
    space = space_of(DEEP)
    assert pickle.loads(pickle.dumps(space)) == space


# Start points


def test_a_start_point_has_defaults_where_the_space_has_them(space_of):
    space = space_of(DEEP, overrides=["search.start_with=['transformer:2 gru:4 conv:4 @16ch']"])
    [params] = space.start_points()
    config = space.suggest(optuna.trial.FixedTrial(params))
    # The space's conv section is its default, and the rest of the notation's defaults are inside.
    assert config.model == parse_notation("transformer:2 gru:4 conv:4 @16ch")
    assert config.training.learning_rate == 1e-3


def test_a_part_of_the_model_leaves_the_rest_to_the_sampler(space_of):
    space = space_of(
        DEEP, overrides=["model.mlp_features={choice: [48, 64]}",
                         "search.start_with=[{encoder: {recurrent: {layers: 2}, conv: {}}}]"]
    )  # fmt: skip
    [params] = space.start_points()
    assert params["model.encoder.transformer.layers"] == 0
    assert params["model.encoder.conv.layers"] == 4
    assert not {"model.mlp_features", "model.encoder.order[recurrent conv]"} & params.keys()


def test_params_of_says_which_value_is_outside(space_of):
    config = Config(model=parse_notation("gru:9 conv:4 @16ch"))
    with pytest.raises(OutsideError, match=r"model\.encoder\.recurrent\.layers: 9 is not in"):
        space_of(DEEP).params_of(config)


# Architectures in compact notation


def test_an_architecture_may_stand_in_compact_notation(space_of):
    space = space_of(
        "model: {choice: ['transformer:2 gru:4(hidden=64) @8ch', 'conv:2 mlp:48 hop:32',"
        " {encoder: {order: [conv1d], conv1d: {channels: {choice: [64, 128]}}}}]}"
    )
    assert {config.model for config in space.grid()} == {
        parse_notation(text)
        for text in (
            "transformer:2 gru:4(hidden=64) @8ch",
            "conv:2 mlp:48 hop:32",
            "conv1d:2(channels=64)",
            "conv1d:2(channels=128)",
        )
    }
    assert [config.model for config in space_of("model: 'conv:3 @4ch'").grid()] == [
        parse_notation("conv:3 @4ch")
    ]


def test_a_mistake_in_compact_notation_names_its_place(space_of):
    [line] = mistakes(space_of, "model: {choice: ['conv:4', 'convolution:4']}")
    assert "space.yaml: model.choice[1]: " in line
    assert "'convolution' is not known" in line


# What is shipped


@pytest.mark.parametrize("demo", [False, True], ids=["data", "demo"])
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_is_parsed_sampled_and_built(path, demo):
    # Of this one the user names a checkpoint.
    named = ["training.start_from=personal-start"] if path.stem == "personal" else []
    space = load_space(path, demo=demo, overrides=named)
    found = space.check(samples=100)
    assert found.feasible >= 0.9 * found.samples, found.reasons
    assert path.stem == "beyond" or found.warning is None
    assert not demo or space.typist is not None


def test_names_are_those_of_samplers_and_schedulers():
    from typing import get_args

    from search.engine.schedulers import SCHEDULERS
    from search.halving.halving import RANKINGS
    from search.sampler.samplers import SAMPLERS
    from search.space.settings import Ranking, SamplerName, SchedulerName

    assert set(get_args(SamplerName)) == set(SAMPLERS)
    assert set(get_args(SchedulerName)) == set(SCHEDULERS)
    assert set(get_args(Ranking)) == set(RANKINGS)


def test_a_scheduler_that_changes_what_is_trained_is_refused_with_the_reason(space_of):
    with pytest.raises(SpaceError, match=r"search.*pbt copies weights .* Take asha"):
        space_of("search: {scheduler: pbt}")
