import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from emgmodels.config import STAGE_NAMES, ModelConfig, OwnStage
from emgmodels.notation import _stage, notation, parse_notation

sizes = st.integers(1, 600)
frames = st.none() | st.integers(0, 300)
shares = st.floats(0, 0.9)


def per_layer(layers, values):
    lists = st.lists(values, min_size=layers, max_size=layers)
    return values | lists.map(lambda found: found if len(set(found)) > 1 else 3)


def conv(layers):
    return st.fixed_dictionaries(
        {"layers": st.just(layers)},
        optional={
            "channels": per_layer(layers, sizes),
            "kernel": sizes,
            "causal": st.booleans(),
        },
    )


def conv1d(layers):
    return st.fixed_dictionaries(
        {"layers": st.just(layers)},
        optional={
            "stride": st.just([2, *[1] * (layers - 1)] if layers > 1 else 1),
            "channels": per_layer(layers, sizes),
            "kernel": per_layer(layers, sizes),
            "residual": st.booleans(),
            "separable": st.booleans(),
            "causal": st.booleans(),
            "norm": st.sampled_from(["batch", "layer", "none"]),
            "dropout": shares,
        },
    )


def pretrained(layers):
    return st.fixed_dictionaries(
        {"layers": st.just(layers)},
        optional={
            "name": st.sampled_from(
                ["gpt2", "distilbert/distilroberta-base", "./null", "~/a-b_1.5"]
            ),
            "train_first": st.integers(0, layers // 2),
            "train_last": st.integers(0, layers // 2),
            "train_norms": st.booleans(),
            "weights": st.sampled_from(["pretrained", "random"]),
        },
    )


@st.composite
def attending(draw, stage):
    """Take widths that divide into heads, of pairs of features."""
    values = draw(stage)
    if values.get("width"):
        values["heads"] = values.get("heads", 2)
        values["width"] = 2 * values["heads"] * (1 + values["width"] % 5)
    return values


STAGES = {
    "transformer": attending(
        st.fixed_dictionaries(
            {"layers": st.integers(0, 8)},
            optional={
                "heads": sizes,
                "feedforward": sizes,
                "dropout": shares,
                "width": st.none() | sizes,
                "positions": st.sampled_from(["sinusoidal", "rotary"]),
                "activation": st.sampled_from(["relu", "gelu"]),
                "left_context": frames,
                "right_context": frames,
            },
        )
    ),
    "recurrent": st.fixed_dictionaries(
        {"layers": st.integers(0, 8)},
        optional={
            "cell": st.sampled_from(["gru", "lstm"]),
            "hidden": sizes,
            "bidirectional": st.booleans(),
            "layer_norm": st.booleans(),
        },
    ),
    "conv": st.integers(0, 8).flatmap(conv),
    "conv1d": st.integers(0, 8).flatmap(conv1d),
    "conformer": attending(
        st.fixed_dictionaries(
            {"layers": st.integers(0, 8), "width": st.none() | sizes},
            optional={
                "heads": sizes,
                "kernel": sizes,
                "stride": st.integers(1, 4),
                "right_context": frames,
            },
        )
    ),
    "s4": st.fixed_dictionaries(
        {"layers": st.integers(0, 8)},
        optional={
            "width": st.none() | sizes,
            "states": st.integers(1, 64).map(lambda pairs: 2 * pairs),
            "bidirectional": st.booleans(),
        },
    ),
    "pretrained": st.integers(0, 12).flatmap(pretrained),
}


def with_a_repeat(order):
    """Return sections of stages in an order, and of a second one that keeps the frame rate."""
    again = next(name for name in order if name not in ("conv1d", "conformer"))
    sections = {**STAGES, f"{again}_2": STAGES[again]}
    return st.fixed_dictionaries({"order": st.just([*order, f"{again}_2"]), **sections})


models = st.fixed_dictionaries(
    {
        "electrodes": st.integers(1, 16),
        "electrode_choice": st.sampled_from(["spaced", "contiguous", "left", "right"]),
        "mlp_features": sizes,
        "mlp_layers": st.integers(1, 4),
        "share_bands": st.sampled_from([False, True, "mlp", "encoder", "encoder_but_last"]),
        "mirror_left": st.booleans(),
        "features": st.fixed_dictionaries(
            # Two stages of strides may follow, and 10 frames a second must be left.
            {"hop": st.integers(1, 10)},
            optional={
                "bins": st.integers(1, 33),
                "filters": st.sampled_from(["fixed", "learned"]),
            },
        ),
        "norm": st.sampled_from(["electrode", "bin", "rolling"]),
        "encoder": st.permutations(list(STAGES)).flatmap(with_a_repeat),
    }
).map(ModelConfig.model_validate)


def test_every_stage_is_in_the_round_trip():
    assert set(STAGES) == set(STAGE_NAMES)


@settings(deadline=None)
@given(models)
def test_round_trip(model):
    assert parse_notation(notation(model)) == model


@settings(deadline=None)
@given(models)
def test_brief_notation_names_the_same_stages(model):
    brief = parse_notation(notation(model, brief=True))
    assert brief.encoder.order == model.encoder.order
    assert brief.electrodes == model.electrodes
    assert brief.electrode_choice == model.electrode_choice
    assert "(" not in notation(model, brief=True)


def test_the_reports_winner():
    text = "transformer:2 gru:4 conv:4 @16ch"
    model = parse_notation(text)
    assert model.encoder.order == ("transformer", "recurrent", "conv")
    assert model.encoder.recurrent.layers == 4
    assert notation(model) == text


@pytest.mark.parametrize(
    "text",
    [
        "conv1d:3(channels=512/1024/1024,kernel=3,stride=2,residual=true) lstm:2 @16ch",
        "transformer:4(heads=6,width=384,positions=rotary,right_context=8) @16ch",
        "conformer:8(stride=2) norm:rolling share_bands:mlp hop:32 @16ch",
        "conv:2 gru:3 conv:2(kernel=8) gru:1 conv:1 @16ch",
        "gru:2 lstm:2(hidden=128) @16ch",
        "conv:2 conv:2(channels=24/48,kernel=8+32) share_bands:encoder mirror_left:false @8ch",
        "s4:8(bidirectional=false) mlp:528 filters:learned @8ch:contiguous",
        "conv:4(causal=true) pretrained:12(train_first=1,train_last=1) @16ch:left",
    ],
)
def test_what_it_reads_is_what_it_writes(text):
    assert notation(parse_notation(text)) == text


def test_no_stage_at_all():
    assert notation(parse_notation("none @4ch")) == "none @4ch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gru", "name:layers"),
        ("wavelet:3", "is not known"),
        ("conv:2(kernel=8/32)", r"side by side, as in 8\+32"),
        ("conv:2(channels=2,kernel=3+4+5)", "3 convolutions for 2 channels"),
        ("conv:2 conv_2:2", "conv_2' is not known"),
        ("conv:2 share_bands:both", "'mlp', 'encoder' or 'encoder_but_last'"),
        ("gru:2(hidden:3)", "key=value"),
        ("gru:2(hiden=3)", "hiden"),
        ("conv:4 @17ch", "electrodes"),
        ("conv:4 @8ch:top", "electrode_choice"),
        ("conv1d:2(channels=8/9/10)", r"channels \[8, 9, 10\] names 3 layers of 2"),
        ("conv1d:2(stride=4) conformer:2(stride=2)", "leave 3.91 frames a second"),
        ("pretrained:2(train_first=2,train_last=1)", "more than its 2 layers"),
        ("pretrained:2(name=..|rm)", "name"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_notation(text)


def test_nothing_is_said_twice_or_dropped():
    for text in ("conv:4 @4ch @8ch", "hop:16 hop:32 conv:4", "mlp:384 mlp:512"):
        with pytest.raises(ValueError, match="twice"):
            parse_notation(text)
    with pytest.raises(ValueError, match="mlp has no settings in parentheses"):
        parse_notation("mlp:4(foo=3) conv:4")


def test_settings_of_the_users_own_may_be_of_any_kind():
    code = "blocks.py:Mine@" + "0" * 64  # which this process has not loaded
    for pairs, said in (
        ([[1, 2], [3, 4]], "[1, 2]/[3, 4]"),
        ([1, 2], "1/2"),
        ([1.0, 2.0], "1.0/2.0"),
    ):
        stage = OwnStage.model_validate({"code": code, "layers": 1, "pairs": pairs})
        assert _stage("mine", stage, False) == f"mine:1(pairs={said})"
