"""Contract of every stage in the registry, and what the factory says of a model."""

import math

import pytest
import torch

from emgmodels.config import BANDS, ModelConfig
from emgmodels.factory import STAGES, build, describe, parse_notation

STAGE_NOTATIONS = {
    "transformer": ["transformer:2(heads=3,feedforward=24)"],
    "recurrent": ["gru:2(hidden=12)", "lstm:1(hidden=10,bidirectional=false)"],
    "conv": ["conv:2(channels=5,kernel=4)", "conv:3(channels=4,kernel=12)"],
}
MIXED = [
    "transformer:1(heads=4) gru:1(hidden=9) conv:2(channels=6,kernel=5) mlp:10 hop:32 @4ch",
    "conv:1(channels=6,kernel=5) transformer:1(heads=3) lstm:1(hidden=9) mlp:10 @1ch",
    "none mlp:5 @3ch",
    "gru:1(hidden=9) mlp:5 norm:bin bins:6 @3ch",
]
CASES = [f"{text} mlp:10 @2ch" for texts in STAGE_NOTATIONS.values() for text in texts] + MIXED


def features(model: ModelConfig, frames: int, windows: int = 2) -> torch.Tensor:
    bins = model.features.bins or model.features.n_fft // 2 + 1
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(windows, BANDS, model.electrodes, frames, bins, generator=generator)


def test_every_stage_has_contract_cases():
    assert set(STAGE_NOTATIONS) == set(STAGES)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("frames", [41, 64])
def test_output_length_is_that_of_the_real_output(text, frames):
    config = parse_notation(text)
    model = build(config).eval()
    log_probs = model(features(config, frames))
    assert log_probs.shape == (2, model.output_length(frames), 99)
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, log_probs.shape[1]))


@pytest.mark.parametrize("text", CASES)
def test_gradients_reach_every_parameter(text):
    config = parse_notation(text)
    model = build(config)
    model(features(config, 50))[..., :98].sum().backward()
    missing = [name for name, p in model.named_parameters() if p.grad is None]
    assert not missing


@pytest.mark.parametrize("text", CASES)
def test_state_round_trip_and_determinism(text):
    config = parse_notation(text)
    first, second = build(config, seed=1).eval(), build(config, seed=2).eval()
    x = features(config, 45)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    torch.testing.assert_close(build(config, seed=1).eval()(x), first(x), rtol=0, atol=0)


@pytest.mark.parametrize("text", CASES)
def test_lookahead_is_the_real_one(text):
    """Changing a frame changes exactly the outputs whose look-ahead reaches it."""
    config = parse_notation(text)
    model = build(config).eval()
    x = features(config, 60, windows=1)
    changed = x.clone()
    changed[..., 40, :] += 50.0
    moved = (model(x) != model(changed)).any(-1)[0].nonzero().flatten() + model.left
    summary = describe(config)
    hop_ms = config.features.hop / 2
    if math.isinf(summary.lookahead_ms):
        assert moved.min() == model.left
    else:
        lookahead = (summary.lookahead_ms - config.features.n_fft / 2) / hop_ms
        assert moved.min() == max(model.left, 40 - lookahead)


def test_windows_of_a_batch_do_not_see_each_other():
    for text in CASES:
        config = parse_notation(text)
        model = build(config).eval()
        x = features(config, 50, windows=3)
        torch.testing.assert_close(model(x)[1:2], model(x[1:2]), rtol=1e-4, atol=1e-5)


def test_the_baseline_has_the_published_parameter_count():
    summary = describe(ModelConfig())
    assert summary.parameters == 5_293_315
    assert summary.context_ms == 992
    assert build(ModelConfig()).output_length(622) == 498
    assert sum(parameters for *_, parameters in summary.stages) == 5_293_315


def test_a_public_models_parameter_count():
    """3 BiLSTM of 512 units are reported with 18.4 million parameters."""
    assert describe(parse_notation("lstm:3(hidden=512)")).parameters == pytest.approx(
        18.4e6, rel=0.05
    )


@pytest.mark.parametrize("text", CASES)
def test_multiply_accumulates_agree_with_counted_ones(text):
    """Every matrix product and convolution, counted by hooks on a real forward pass."""
    config = parse_notation(text)
    model = build(config).eval()
    frames, total = 50, 0

    def count(module, inputs, output):
        nonlocal total
        if isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, torch.nn.GRU | torch.nn.LSTM):
            matrices = sum(p.numel() for n, p in module.named_parameters() if "weight" in n)
            total += inputs[0].shape[1] * matrices
        elif type(module).__name__ == "TransformerLayer":
            total += 2 * inputs[0].shape[1] ** 2 * inputs[0].shape[2]

    for module in model.modules():
        module.register_forward_hook(count)
    model(features(config, frames, windows=1))
    assert model.macs(frames) == total + model.mlp.macs(frames)


def test_framing_gives_every_architecture_the_same_frames():
    for text in [*CASES, "conv:8 @2ch", "conv:4 @16ch"]:
        model = build(parse_notation(text))
        framing = model.framing(window=8000, past=1800, future=200)
        frames = model.spectrogram.frames(framing.samples)
        out = model.output_length(frames)
        assert framing.frames == 8000 // model.spectrogram.hop
        assert framing.first + framing.frames <= out, text
        assert framing.before >= 1800 - model.spectrogram.hop
        # The first frame of the window is the one whose samples begin with it.
        assert framing.first + model.left == framing.before // model.spectrogram.hop


def test_a_window_shorter_than_a_hop_is_refused():
    with pytest.raises(ValueError, match="shorter than one hop"):
        build(parse_notation("none hop:500 @1ch")).framing(window=100, past=0, future=0)


def test_bridges_are_in_the_summary():
    rows = describe(parse_notation("gru:1(hidden=128) conv:1 @4ch")).stages
    assert any("bridge to 264" in name for name, *_ in rows)
