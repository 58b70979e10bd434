"""Every architecture with a public result on this task, in notation and in a shipped space."""

from functools import cache
from pathlib import Path

import pytest
import yaml

from emgmodels.config import ModelConfig
from emgmodels.factory import build
from emgmodels.network.summary import describe
from emgmodels.notation import notation, parse_notation
from search.space import OutsideError, load_space
from search.space.space import partial

SPACES = Path(__file__).parents[2] / "spaces"
KNOWN = {
    "report's baseline": ("conv:4", 5_293_315),
    "report's transformer": ("conv:4 transformer:2", None),
    "report's language model": ("conv:4 pretrained:12(train_first=2,train_last=2)", None),
    "report's LSTM": ("lstm:4 conv:4", None),
    "report's winner": ("transformer:2 gru:4 conv:4", None),
    "conv and BiLSTM": ("conv1d:2 lstm:2(hidden=320) hop:30", None),
    "the same, coarsest": ("conv1d:2 lstm:2(hidden=320) hop:200", None),
    "the same, coarse": ("conv1d:2 lstm:2(hidden=320) hop:48", None),
    "the same, finest": ("conv1d:2 lstm:2(hidden=320)", None),
    "residual conv and BiLSTM": (
        "conv1d:3(channels=512/1024/1024,stride=2,residual=true) lstm:2",
        None,
    ),
    "rotary transformer": (
        "transformer:4(heads=6,width=384,feedforward=1536,positions=rotary)",
        None,
    ),
    "conformer": ("conformer:8(heads=4,width=256,kernel=15,stride=2)", 12.8e6),
    "TDS and BiGRU": ("conv:4 gru:3(hidden=384)", None),
    "BiLSTM": ("lstm:3(hidden=512)", 18.4e6),
    "TDS and wide BiGRU": ("conv:2 gru:3(hidden=512) hop:32", None),
    "small BiLSTM": ("lstm:2(hidden=384)", None),
    "TDS and transformer": ("conv:4 transformer:4(heads=8,width=384,feedforward=1536)", None),
    "conv and BiGRU": ("conv1d:2 gru:3(hidden=256)", None),
    "few bins, rolling norm, shared hands": (
        "conv:4(channels=24/24/48/48) mlp:528 share_bands:true norm:rolling bins:6",
        None,
    ),
    "state space on raw EMG": (
        "conv1d:1(channels=256,stride=4) s4:8(width=256) filters:learned",
        None,
    ),
    "causal conformer": ("conformer:8(right_context=0,left_context=125)", None),
}


@cache
def searched() -> set[ModelConfig]:
    """The architectures of the spaces that are fixed lists."""
    files = [SPACES / f"{name}.yaml" for name in ("baseline", "report", "gpt2", "published")]
    return {config.model for file in files for config in load_space(file).grid()}


@pytest.mark.parametrize("name", KNOWN)
def test_a_shipped_space_trains_it(name):
    assert parse_notation(KNOWN[name][0]) in searched()


@pytest.mark.parametrize("name", KNOWN)
def test_it_is_built_from_notation_and_from_yaml(name):
    text, parameters = KNOWN[name]
    model = parse_notation(text)
    written = yaml.safe_dump(model.model_dump(mode="json"))
    assert ModelConfig.model_validate(yaml.safe_load(written)) == model
    assert parse_notation(notation(model)) == model
    summary = describe(model)
    if parameters is not None:
        assert summary.parameters == pytest.approx(parameters, rel=0.05)
    if model.encoder.pretrained is None:
        built = build(model)
        learning = sum(p.numel() for p in built.parameters() if p.requires_grad)
        assert learning == summary.parameters


def test_beyond_holds_whatever_did_well():
    """All public architectures, the report's best, hands that share an encoder.

    The coarsest frames were left out.
    """
    public = yaml.safe_load((SPACES / "published.yaml").read_text())["model"]["choice"]
    beyond = load_space(SPACES / "beyond.yaml")
    outside = []
    models = [each["model"] if isinstance(each, dict) else each for each in public]
    for architecture in [*models, "transformer:2 gru:4 conv:4", "conv:4 share_bands:encoder"]:
        try:
            beyond.params_of({"model": partial(architecture)})
        except OutsideError:
            outside.append(architecture)
    assert [text.split()[-1] for text in outside] == ["hop:96", "hop:200"]
