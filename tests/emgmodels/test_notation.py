import pytest
from hypothesis import given
from hypothesis import strategies as st

from emgmodels.config import ModelConfig
from emgmodels.notation import notation, parse_notation

sizes = st.integers(1, 600)
STAGES = {
    "transformer": st.fixed_dictionaries(
        {"layers": st.integers(0, 8)},
        optional={"heads": sizes, "feedforward": sizes, "dropout": st.floats(0, 0.9)},
    ),
    "recurrent": st.fixed_dictionaries(
        {"layers": st.integers(0, 8)},
        optional={
            "cell": st.sampled_from(["gru", "lstm"]),
            "hidden": sizes,
            "bidirectional": st.booleans(),
        },
    ),
    "conv": st.fixed_dictionaries(
        {"layers": st.integers(0, 8)}, optional={"channels": sizes, "kernel": sizes}
    ),
}
models = st.fixed_dictionaries(
    {
        "electrodes": st.integers(1, 16),
        "mlp_features": sizes,
        "features": st.fixed_dictionaries(
            {}, optional={"hop": st.integers(1, 200), "bins": st.integers(1, 33)}
        ),
        "norm": st.sampled_from(["electrode", "bin"]),
        "encoder": st.permutations(list(STAGES)).flatmap(
            lambda order: st.fixed_dictionaries({"order": st.just(order), **STAGES})
        ),
    }
).map(ModelConfig.model_validate)


@given(models)
def test_round_trip(model):
    assert parse_notation(notation(model)) == model


@given(models)
def test_brief_notation_names_the_same_stages(model):
    brief = parse_notation(notation(model, brief=True))
    assert brief.encoder.order == model.encoder.order
    assert brief.electrodes == model.electrodes
    assert "(" not in notation(model, brief=True)


def test_the_reports_winner():
    text = "transformer:2 gru:4 conv:4 @16ch"
    model = parse_notation(text)
    assert model.encoder.order == ("transformer", "recurrent", "conv")
    assert model.encoder.recurrent.layers == 4
    assert notation(model) == text


def test_no_stage_at_all():
    assert notation(parse_notation("none @4ch")) == "none @4ch"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("gru", "name:layers"),
        ("wavelet:3", "is not known"),
        ("gru:2 lstm:2", "twice"),
        ("gru:2(hidden:3)", "key=value"),
        ("gru:2(hiden=3)", "hiden"),
        ("conv:4 @17ch", "electrodes"),
    ],
)
def test_mistakes_are_named(text, message):
    with pytest.raises(ValueError, match=message):
        parse_notation(text)
