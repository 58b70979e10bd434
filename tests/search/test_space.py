import pickle
from pathlib import Path

import hypothesis.strategies as st
import numpy as np
import optuna
import pytest
import yaml
from hypothesis import HealthCheck, given, settings

from emgmodels.config import Config
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from search.space import OutsideError, Sessions, SpaceError, load_space
from search.space.draws import RandomDraw
from search.space.settings import seconds

SPACES = sorted((Path(__file__).parents[2] / "spaces").glob("*.yaml"))

DEEP = """
name: deep
model:
  electrodes: {choice: [4, 8, 16]}
  mlp_features: {choice: [256, 384]}
  encoder:
    order: {permutation: [transformer, recurrent, conv]}
    transformer: {layers: {choice: [0, 2, 4]}, heads: {choice: [4, 8]}}
    recurrent: {cell: {choice: [gru, lstm]}, layers: {int: [0, 4]}, hidden: {choice: [128, 256]}}
    conv: {layers: {choice: [0, 2, 4, 6, 8]}, channels: 24, kernel: 32}
training: {epochs: 50, learning_rate: {float: [3e-4, 3e-3], log: true}}
"""


@pytest.fixture
def space_of(tmp_path):
    def load(text, demo=False, overrides=(), name="space.yaml"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if isinstance(text, str) else yaml.safe_dump(text))
        return load_space(path, demo=demo, overrides=overrides)

    return load


def samples(space, count=50, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(count):
        draw = RandomDraw(rng)
        yield space.suggest(draw), draw.params


def mistakes(space_of, text, **options):
    with pytest.raises(SpaceError) as caught:
        space_of(text, **options)
    return caught.value.mistakes


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


def test_grid_names_what_is_continuous(space_of):
    with pytest.raises(ValueError, match=r"training\.learning_rate is continuous"):
        next(space_of(DEEP).grid())
    assert space_of(DEEP).size is None


# Mistakes


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            "model: {encoder: {conv: {kernel: 0}}}",
            "model.encoder.conv.kernel: 0 is not allowed: must be greater than 0",
        ),
        (
            "model: {electrodes: {choice: [4, 17]}}",
            "model.electrodes.choice[1]: 17 is not allowed: must be less than or equal to 16",
        ),
        (
            "model: {mlp_featurs: 3}",
            "model.mlp_featurs: unknown key; did you mean 'mlp_features'? (allowed: electrodes, ",
        ),
        (
            "model: {features: {n_fft: {int: [8, 64]}}}",
            "model.features.n_fft.int: 9 is not allowed: must be a multiple of 2",
        ),
        ("model: {features: {hop: [16, 32]}}", "to choose, write {choice: [...]}"),
        ("model: {mlp_features: {float: [1, 8]}}", "must be a valid integer"),
        ("model: {mlp_features: true}", "true is not allowed: must be a valid integer"),
        ("model: {mlp_features: '384'}", "'384' is not allowed: must be a valid integer"),
        ("model: {electrodes: {choice: []}}", "name at least one option"),
        ("model: {electrodes: {choice: [4, 8, 4]}}", "choice[2]: 4 repeats choice[0]"),
        ("model: {electrodes: {choice: 4}}", "model.electrodes.choice: 4 is not allowed"),
        ("model: {electrodes: {int: [8, 4]}}", "the range is reversed: write [4, 8]"),
        ("model: {electrodes: {int: [1, 2, 3]}}", "must be [low, high], each an integer"),
        ("model: {electrodes: {int: [1.0, 2]}}", "must be [low, high], each an integer"),
        ("model: {electrodes: {int: [0, 4], log: true}}", "must begin above 0"),
        ("model: {electrodes: {int: [1, 4], step: 2}}", "steps of 2 from 1 do not reach 4"),
        ("model: {electrodes: {int: [1, 4], step: 0}}", "step: 0 must be an integer above 0"),
        ("model: {electrodes: {int: [1, 4], log: 1}}", "log: 1 must be true or false"),
        ("model: {electrodes: {int: [1, 3], log: true, step: 2}}", "has no step"),
        ("model: {electrodes: {int: [1, 4], lg: true}}", "did you mean 'log'?"),
        ("model: {electrodes: {int: [1, 4], choice: [1]}}", "write one of int and choice"),
        ("training: {learning_rate: {float: [1e-3, .inf]}}", "each a finite number"),
        ("training: {weight_decay: .nan}", "must be a finite number"),
        ("training: {epochs: yes}", "'yes' is not allowed: must be a valid integer"),
        ("training: {aligned_start: 3}", "must be a mapping of epochs, weight"),
        (
            "training: {aligned_start: {choice: [null, {epoch: 3}]}}",
            "training.aligned_start.choice[1].epoch: unknown key; did you mean 'epochs'?",
        ),
        (
            "model: {encoder: {recurrent: {choice: [{layers: 1}, {layers: 1, cell: gur}]}}}",
            "model.encoder.recurrent.choice[1].cell: gur is not allowed: must be 'gru' or 'lstm'",
        ),
        (
            "model: {encoder: {order: {permutation: [conv, gru]}}}",
            "item 1 must be 'transformer', 'recurrent', 'conv'",
        ),
        ("model: {encoder: {order: {permutation: [conv, conv]}}}", "names a stage twice"),
        ("model: {encoder: {order: {choice: [[conv, conv]]}}}", "names a stage twice"),
        (
            "model: {encoder: {order: [conv], recurrent: {layers: {int: [0, 2]}}}}",
            "stage 'recurrent' is configured and is not in order",
        ),
        ("constraints: {max_parameters: -1}", "must be greater than 0"),
        ("search: {trials: {choice: [1, 2]}}", "distributions stand in model and training only"),
        ("search: {sampler: tpee}", "search.sampler: tpee is not allowed: must be 'tpe'"),
        ("search: {scheduler: ahsa}", "search.scheduler: ahsa is not allowed: must be 'asha'"),
        ("search: {scheduler: {name: asha, grce: 3}}", "did you mean 'grace'?"),
        ("search: {time_budget: 8x}", "a duration such as 90s, 8m, 1h30m or 2d"),
        ("search: {objectives: [parameters]}", "must name val_cer"),
        ("search: {objectives: [val_cer, val_cer]}", "must name each objective once"),
        ("search: {sampler: cmaes, objectives: [val_cer, macs]}", "cmaes minimises one objective"),
        ("search: {start_with: ['gru:x']}", "search.start_with[0]: 'gru:x'"),
        ("search: {start_with: [{electrodes: 20}]}", "search.start_with[0].electrodes: 20"),
        (
            "{model: {electrodes: {choice: [4, 8]}}, search: {start_with: ['conv:4 @16ch']}}",
            "search.start_with[0]: model.electrodes: 16 is not in the space (it has 4, 8)",
        ),
        (
            "{training: {learning_rate: {float: [1e-4, 1e-3]}}, search: {sampler: grid}}",
            "search.sampler: grid: training.learning_rate is continuous",
        ),
        (
            "{model: {electrodes: {int: [1, 16]}, mlp_features: {int: [1, 2000]}}, "
            "search: {sampler: grid}}",
            "the space has 32,000 configurations",
        ),
        ("demo: {training: {epochs: 0}}", "demo.training.epochs: 0 is not allowed"),
        ("demo: {name: x}", "demo.name: unknown key"),
        ("name: a/b", "name: a/b is not allowed"),
        ("fooo: 1", "fooo: unknown key"),
        ("{1: 2}", "1: unknown key"),
        ("[1, 2]", "must be a mapping"),
        ("model: [", "line 1"),
        ("model: {}\nmodel: {}", "line 2: the key 'model' stands there twice"),
        ("model: &a [*a]", "contains itself"),
        ("model: !!python/object:os.system {}", "could not determine a constructor"),
    ],
)
def test_a_mistake_names_file_path_value_and_rule(space_of, tmp_path, text, expected):
    [line] = mistakes(space_of, text)
    assert line.startswith(f"{tmp_path / 'space.yaml'}: ")
    assert expected in line


def test_all_mistakes_are_reported_together(space_of):
    lines = mistakes(
        space_of,
        "{model: {mlp_features: 0, encoder: {conv: {kernel: x}}}, training: {epochs: -1}, "
        "search: {seed: -3}, constraints: {max_mac: 1}}",
    )
    assert [line.split(": ")[1] for line in lines] == [
        "model.mlp_features",
        "model.encoder.conv.kernel",
        "training.epochs",
        "search.seed",
        "constraints.max_mac",
    ]


@pytest.mark.parametrize("content", [None, b"\xff\xfe\x00"])
def test_a_file_that_cannot_be_read_is_named(tmp_path, content):
    path = tmp_path / "gone.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(SpaceError, match=r"gone\.yaml: "):
        load_space(path)


def test_aliases_cannot_blow_a_file_up(space_of):
    lines = ["a0: &a0 [1, 1, 1, 1, 1, 1, 1, 1]"]
    lines += [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 8)}]" for i in range(1, 12)]
    assert "more than" in mistakes(space_of, "\n".join(lines))[0]


# Files


def test_numbers_are_read_as_people_write_them(space_of):
    space = space_of(
        "{training: {learning_rate: 1e-4, weight_decay: 5E-2, gradient_clip: 1.},"
        " constraints: {max_parameters: 40_000_000}}"
    )
    config = next(space.grid())
    assert config.training.learning_rate == 1e-4
    assert config.training.weight_decay == 0.05
    assert space.constraints.max_parameters == 40_000_000


@pytest.mark.parametrize(
    ("written", "expected"),
    [("90", 90), ("8m", 480), ("1h30m", 5400), ("2d", 172800), ("1.5s", 1.5), ("null", None)],
)
def test_durations(space_of, written, expected):
    assert space_of(f"search: {{time_budget: {written}}}").search.time_budget == expected


def test_a_duration_is_not_guessed():
    with pytest.raises(ValueError, match="a duration such as"):
        seconds("1:30")


def test_extends_takes_keys_as_defaults_and_distributions_whole(space_of, tmp_path):
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "base.yaml").write_text(
        "{name: base, model: {electrodes: {int: [1, 16]}, mlp_features: {int: [16, 32], step: 8},"
        " encoder: {conv: {layers: 2}}}, training: {epochs: 9}}"
    )
    space = space_of(
        "{extends: shared/base.yaml, model: {electrodes: {choice: [4, 8]}, mlp_features: 24,"
        " encoder: {conv: {kernel: 5}}}}"
    )
    assert space.name == "space"
    assert space.resolved()["model"] == {
        "electrodes": {"choice": [4, 8]},
        "mlp_features": 24,
        "encoder": {"conv": {"layers": 2, "kernel": 5}},
    }
    assert next(space.grid()).training.epochs == 9


def test_a_mistake_in_an_extended_file_names_that_file(space_of, tmp_path):
    (tmp_path / "base.yaml").write_text("training: {epochs: 0}")
    lines = mistakes(space_of, "{extends: base.yaml, training: {batch_size: 0}}")
    assert [Path(line.split(": ")[0]).name for line in lines] == ["base.yaml", "space.yaml"]


@pytest.mark.parametrize(
    ("extends", "expected"),
    [
        ("space.yaml", "circle: space.yaml -> space.yaml"),
        ("/etc/passwd", "must stand in the file's folder or below it"),
        ("../other.yaml", "must stand in the file's folder or below it"),
        ("nowhere.yaml", "does not exist"),
        ("3", "must name a space file"),
    ],
)
def test_extends_stays_in_its_folder_and_ends(space_of, extends, expected):
    [line] = mistakes(space_of, f"extends: {extends}")
    assert expected in line


def test_demo_holds_only_without_data(space_of):
    text = """
    training: {epochs: 50}
    demo: {training: {epochs: 4}, search: {trials: 6}, typist: {sessions: 3, minutes: 1}}
    """
    real, demo = space_of(text), space_of(text, demo=True)
    assert next(real.grid()).training.epochs == 50
    assert real.typist is None
    assert next(demo.grid()).training.epochs == 4
    assert (demo.search.trials, demo.typist.sessions, demo.typist.minutes) == (6, 3, 1)


def test_overrides_come_last_and_may_be_distributions(space_of):
    text = "{training: {epochs: 50}, demo: {training: {epochs: 4}}}"
    space = space_of(
        text,
        demo=True,
        overrides=["training.epochs=7", "model.electrodes={choice: [1, 2]}", "name=mine"],
    )
    assert space.name == "mine"
    assert next(space.grid()).training.epochs == 7
    assert space.size == 2


@pytest.mark.parametrize(
    ("override", "expected"),
    [
        ("training.epochs", "must be path.to.key=value"),
        ("training.epochs=0", "training.epochs: 0 is not allowed"),
        ("training.epoch=1", "did you mean 'epochs'?"),
        ("training.epochs=[", "line 1"),
        ("extends=x.yaml", "stands in files only"),
    ],
)
def test_a_mistake_in_an_override_names_it(space_of, override, expected):
    [line] = mistakes(space_of, "{}", overrides=[override])
    assert line.startswith(f"override '{override}': ")
    assert expected in line


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


# Constraints


def test_constraints_hold_and_say_what_they_forbid(space_of):
    space = space_of(DEEP, overrides=["constraints.max_parameters=3_000_000"])
    small = Config(model=parse_notation("gru:1(hidden=128) @4ch"))
    large = Config(model=parse_notation("transformer:4 conv:8 @16ch"))
    assert space.violation(small) is None
    assert "more than max_parameters 3,000,000" in space.violation(large)


def test_look_ahead_and_operations_are_limited(space_of):
    space = space_of("constraints: {max_lookahead_ms: 500, max_macs: 1e9}")
    assert "ms of look-ahead" in space.violation(Config(model=parse_notation("gru:1 @16ch")))
    forward = Config(model=parse_notation("gru:1(bidirectional=false) @16ch"))
    assert space.violation(forward) is None
    heavy = Config(model=parse_notation("gru:4(bidirectional=false,hidden=2048) @16ch"))
    assert "multiply-accumulates" in space.violation(heavy)


def test_context_is_limited_by_what_is_there(space_of):
    space = space_of("constraints: {max_context_ms: 900}")
    assert "ms of context" in space.violation(Config(model=parse_notation("conv:4 @16ch")))
    assert space.violation(Config(model=parse_notation("conv:3 @16ch"))) is None
    assert space.within(lasting(5000)).constraints.max_context_ms == 900
    short = space.within(lasting(700))
    assert "more than max_context_ms 700" in short.violation(
        Config(model=parse_notation("conv:3 @16ch"))
    )
    assert space_of("{}").within(lasting(700)).constraints == short.constraints


def lasting(milliseconds, frames=0):
    return Sessions(shortest_ms=milliseconds, longest_ms=milliseconds, frames=frames)


def test_windows_reach_and_frames_are_limited_by_the_sessions(space_of):
    space = space_of("{}").within(lasting(9000, frames=50))

    def objection(architecture, **training):
        config = {"model": parse_notation(architecture).model_dump(), "training": training}
        return space.violation(Config.model_validate(config))

    assert objection("gru:1", window_seconds=9) is None
    assert "windows of 16000 ms, and the longest training" in objection("gru:1", window_seconds=16)
    assert "9,000 ms: take fewer layers" in objection("conv1d:1(kernel=5001) hop:16")
    assert "40 frames for a window of 4 s, and one window in twenty has keys for 50" in objection(
        "lstm:1 hop:200"
    )
    pretrained = "conv:1 pretrained:2(weights=random)"
    assert objection(pretrained) is None
    assert "takes 8,4" in objection(pretrained, window_seconds=8)


def test_no_listed_architecture_is_left_out_without_a_word(space_of):
    with pytest.raises(
        SpaceError, match=r"model.*1.*nothing with it can be built.*frames a second"
    ):
        space_of(
            "{model: {choice: ['conv:4', {encoder: {order: [conv1d],"
            " conv1d: {layers: 4, stride: 4}}}]}, search: {sampler: grid}}"
        ).check()
    with pytest.raises(SpaceError, match=r"heads.*7.*width 256 does not divide into 7 heads: take"):
        space_of(
            "model: {encoder: {order: [transformer], transformer: {width: {choice: [256, 512]},"
            " heads: {choice: [4, 7]}}}}"
        ).check()
    some = space_of(
        "model: {encoder: {order: [transformer], transformer: {width: {choice: [256, 384]},"
        " heads: {choice: [4, 6]}}}}"
    ).check()
    assert some.warning.startswith("3 of 4 sampled configurations can be trained; 1 of the others")


def test_pretrained_stages_are_found_wherever_the_space_allows_them(space_of):
    space = space_of(
        "model: {choice: ['conv:1', 'conv:1 pretrained:2', 'pretrained:2(name=other)',"
        " 'pretrained:2(name=third,weights=random)']}"
    )
    assert sorted(stage.name for stage in space.pretrained()) == ["gpt2", "other"]


def test_check_counts_what_can_be_trained(space_of):
    space = space_of(
        "{model: {mlp_features: {int: [16, 400], step: 16}},"
        " constraints: {max_parameters: 1_000_000}}"
    )
    found = space.check()
    assert found.samples == space.size == 25
    assert found.feasible == sum(space.violation(config) is None for config in space.grid()) > 1
    [reason] = found.reasons
    assert "max_parameters" in reason
    assert found.warning.startswith(f"{found.feasible} of 25 sampled configurations can be trained")


def test_a_space_that_can_hardly_be_satisfied_says_so(space_of):
    sizes = "{int: [16, 1000], step: 8}"
    smallest = describe(Config.model_validate({"model": {"mlp_features": 24}}).model).parameters
    space = space_of(
        f"{{model: {{mlp_features: {sizes}}}, constraints: {{max_parameters: {smallest}}}}}"
    )
    assert space.check().warning.startswith("only 2 of 124 sampled configurations can be trained")


def test_a_space_in_which_nothing_can_be_trained_is_refused(space_of):
    space = space_of(DEEP, overrides=["constraints.max_parameters=1000"])
    with pytest.raises(SpaceError, match=r"nothing in this space can be trained.*max_parameters"):
        space.check(samples=20)


def test_a_start_point_that_breaks_a_constraint_is_refused(space_of):
    space = space_of(
        DEEP,
        overrides=["constraints.max_parameters=4_000_000", "search.start_with=['conv:8 @16ch']"],
    )
    with pytest.raises(SpaceError, match=r"search\.start_with\[0\]: .*max_parameters"):
        space.check(samples=20)


def test_start_points_of_a_file_that_overrides_leave_no_room_for_are_left_out(space_of):
    text = """
        model:
          electrodes: {choice: [8, 16]}
          encoder: {order: [conv], conv: {layers: {int: [1, 8]}}}
        search: {start_with: ["conv:1 @8ch", "conv:2 @16ch", "conv:8 @16ch"]}
    """
    assert len(space_of(text, overrides=["search.trials=8"]).search.start_with) == 3
    narrow = space_of(text, overrides=["model.electrodes=16"])
    assert narrow.search.start_with == ("conv:2 @16ch", "conv:8 @16ch")
    small = space_of(text, overrides=["constraints.max_parameters=4_000_000"])
    assert small.search.start_with == ("conv:1 @8ch", "conv:2 @16ch")
    small.check(samples=20)


# Any space


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


STAGES = {
    "transformer": mappings(layers=numbers(0, 3), heads=numbers(1, 8)),
    "recurrent": mappings(
        layers=numbers(0, 3),
        cell=st.sampled_from(["gru", "lstm", {"choice": ["gru", "lstm"]}]),
        bidirectional=st.booleans() | st.just({"choice": [True, False]}),
    ),
    "conv": mappings(layers=numbers(0, 3), kernel=numbers(1, 9)),
}


@st.composite
def encoders(draw):
    names = draw(st.permutations(sorted(STAGES)))[: draw(st.integers(1, 3))]
    order = draw(st.sampled_from(["list", "permutation", "choice"]))
    orders = {"list": names, "permutation": {"permutation": names},
              "choice": {"choice": [names, names[:1]] if len(names) > 1 else [names]}}  # fmt: skip
    encoder = {"order": orders[order]}
    for name in names:
        if draw(st.booleans()):
            encoder[name] = draw(choices_of(STAGES[name]))
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


# What is shipped


@pytest.mark.parametrize("demo", [False, True], ids=["data", "demo"])
@pytest.mark.parametrize("path", SPACES, ids=lambda path: path.stem)
def test_every_shipped_space_is_parsed_sampled_and_built(path, demo):
    space = load_space(path, demo=demo)
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
    assert set(get_args(SchedulerName)) == {*SCHEDULERS, "pbt"}, "refused with its reason"
    assert set(get_args(Ranking)) == set(RANKINGS)


def test_a_scheduler_that_changes_what_is_trained_is_refused_with_the_reason(space_of):
    with pytest.raises(SpaceError, match=r"search.*pbt copies weights .* Take asha"):
        space_of("search: {scheduler: pbt}")
