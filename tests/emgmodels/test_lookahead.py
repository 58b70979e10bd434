"""A stage says how far it looks ahead; a trial run finds one that looks farther."""

import pytest
import torch

from emgmodels.notation import parse_notation
from emgmodels.stages.registry import _seen_ahead, build_stage


@pytest.mark.parametrize(
    "text",
    [
        "conv:3(channels=4,kernel=65,causal=true)",  # consumes more frames than a trial run gives
        "conv:2(channels=4,kernel=21)",
        "conv1d:2(channels=8,kernel=5)",
        "conv1d:2(channels=8,kernel=5,stride=2)",
        "conv1d:2(channels=8,kernel=5,causal=true)",
        "transformer:2(heads=2,feedforward=8,left_context=4,right_context=3)",
        "gru:1(hidden=8,bidirectional=false)",
    ],
)
def test_no_stage_looks_farther_ahead_than_it_says(text):
    [(name, config)] = parse_notation(f"{text} @2ch").encoder.stages()
    torch.manual_seed(0)
    stage = build_stage(name, 16, config).eval()
    with torch.no_grad():
        said = stage.lookahead
        assert _seen_ahead(stage, 16) <= said
        stage.lookahead = 0  # as if it did not say
        assert (_seen_ahead(stage, 16) > 0) == (said > 0)
