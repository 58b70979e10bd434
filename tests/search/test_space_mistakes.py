"""A mistake in a space file is told with file, path, value and what is allowed."""

import pytest
from helpers.spaces import mistakes


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
        ("training: {learning_rate: {flaot: [1e-4, 1e-3], log: true}}", "did you mean 'float'?"),
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
            "model: {encoder: {order: [conv, recurrent, conv_2]}}",
            "model.encoder.order: conv_2 has no section: add model.encoder.conv_2: {...}",
        ),
        (
            "model: {encoder: {order: {permutation: [conv_2, conv]}, conv_2: {}}}",
            "order has conv_2 and no conv before it",
        ),
        ("model: {encoder: {order: [conv], conv_2: {}}}", "'conv_2' is configured and is not in"),
        (
            "model: {encoder: {order: [conv, s4, conv_2], conv_2: {kernal: 3}}}",
            "model.encoder.conv_2.kernal: unknown key; did you mean 'kernel'?",
        ),
        (
            "model: {encoder: {order: [conv, s4, conv_2], conv_2: {kernel: {choice: [4, 0]}}}}",
            "model.encoder.conv_2.kernel.choice[1]: 0 is not allowed",
        ),
        ("model: {encoder: {order: {sequence: [conv]}}}", "must be {of: [conv, recurrent], len"),
        ("model: {encoder: {order: {sequence: {of: [conv]}}}}", "must be {of: [conv, recurrent]"),
        (
            "model: {encoder: {order: {sequence: {of: [conv], length: {int: [2, 3]}}}}}",
            "sequence.length: {int: [2, 3]} is not allowed: neighbours are never the same stage",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, conv], length: 2}}}}",
            "name each stage once",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, conv_2], length: 2}}}}",
            "sequence.of: conv_2 is not allowed: name conv",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, s4], length: {int: [0, 2]}}}}}",
            "sequence.length.int: 0 is not allowed: must be greater than 0",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, s4], len: 2, length: 2}}}}",
            "sequence.len: unknown key; did you mean 'length'?",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, s4, conv1d, recurrent, conformer],"
            " length: {int: [2, 6]}}}}}",
            "6,820 sequences of 5 stages are more than 2,000: name fewer stages",
        ),
        (
            "model: {mlp_features: {sequence: {of: [4, 8], length: 2}}}",
            "model.mlp_features.sequence: stands for the order of an encoder's stages only",
        ),
        (
            "model: {encoder: {order: {sequence: {of: [conv, s4], length: 2}}, s4: {layers: 0}}}",
            "model.encoder.s4: has 0 layers, and stands in a sequence",
        ),
        ("model: {share_bands: both}", "both is not allowed: must be False, 'mlp', 'encoder' or"),
        (
            "model: {encoder: {order: [conv], recurrent: {layers: {int: [0, 2]}}}}",
            "stage 'recurrent' is configured and is not in order",
        ),
        ("constraints: {max_parameters: -1}", "must be greater than 0"),
        ("search: {trials: {choice: [1, 2]}}", "distributions stand in model and training only"),
        ("search: {sampler: tpee}", "search.sampler: tpee is not allowed: must be 'tpe'"),
        ("search: {scheduler: ahsa}", "search.scheduler: ahsa is not allowed: must be 'asha'"),
        ("search: {scheduler: {name: asha, grce: 3}}", "did you mean 'grace'?"),
        ("search: {scheduler: ashaa}", "'median' or 'none'; did you mean 'asha'?"),
        ("model: {encoder: {order: [convv]}}", "'pretrained'; did you mean 'conv'?"),
        ("model: {norm: electrodes}", "did you mean 'electrode'?"),
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
