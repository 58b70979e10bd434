"""Contract of every stage in the registry, and what the factory says of a model."""

import math

import pytest
import torch

from emgmodels.config import ModelConfig
from emgmodels.config.electrodes import mirrored_places
from emgmodels.factory import build
from emgmodels.network.network import Network
from emgmodels.network.show import summary
from emgmodels.network.summary import describe
from emgmodels.notation import notation, parse_notation
from emgmodels.stages.registry import STAGES
from emgmodels.stages.tds import TDSBlock

STAGE_NOTATIONS = {
    "transformer": [
        "transformer:2(heads=3,feedforward=24)",
        "transformer:2(heads=3,positions=rotary,activation=gelu)",
        "transformer:2(heads=2,left_context=5,right_context=2)",
        "transformer:1(heads=2,positions=rotary,right_context=0)",
    ],
    "recurrent": [
        "gru:2(hidden=12)",
        "gru:1(hidden=12,layer_norm=true)",
        "lstm:1(hidden=10,bidirectional=false)",
    ],
    "conv": [
        "conv:2(channels=5,kernel=4)",
        "conv:3(channels=4,kernel=12)",
        "conv:2(channels=5,kernel=12,causal=true)",
        "conv:2(channels=4/10,kernel=3)",
        "conv:2(channels=5,kernel=3+12)",
    ],
    "conv1d": [
        "conv1d:2(channels=12,kernel=5)",
        "conv1d:3(channels=8/12/12,kernel=6/3/3,stride=2/1/2,residual=true,norm=layer)",
        "conv1d:2(channels=12,kernel=4,stride=2,separable=true,norm=none,causal=true)",
    ],
    "conformer": [
        "conformer:1(heads=3,feedforward=16,width=null,kernel=5)",
        "conformer:2(heads=2,feedforward=16,width=20,kernel=5,stride=3,right_context=1)",
        "conformer:2(heads=2,feedforward=16,width=12,kernel=5,right_context=0,left_context=7)",
    ],
    "s4": ["s4:2(width=12,states=6)", "s4:1(width=null,states=8,bidirectional=false)"],
    "pretrained": [
        "pretrained:2(name=GPT2,train_first=1)",
        "pretrained:3(name=GPT2,train_norms=true,weights=random)",
        "pretrained:2(name=BERT,train_last=1)",
    ],
}
CAUSAL = [
    "transformer:1(heads=2,positions=rotary,right_context=0)",
    "lstm:1(hidden=10,bidirectional=false)",
    "conv:2(channels=5,kernel=12,causal=true)",
    "conv1d:2(channels=12,kernel=4,stride=2,separable=true,norm=none,causal=true)",
    "conformer:2(heads=2,feedforward=16,width=12,kernel=5,right_context=0,left_context=7)",
    "s4:1(width=null,states=8,bidirectional=false)",
    "pretrained:2(name=GPT2,train_first=1)",
]
MIXED = [
    "transformer:1(heads=4) gru:1(hidden=9) conv:2(channels=6,kernel=5) mlp:10 hop:32 @4ch",
    "conv:1(channels=6,kernel=5) transformer:1(heads=3) lstm:1(hidden=9) mlp:10 @1ch",
    "none mlp:5 @3ch",
    "gru:1(hidden=9) mlp:5 norm:bin bins:6 @3ch",
    "conv1d:1(channels=8,kernel=3,stride=2) conv:1(channels=4,kernel=13) mlp:6 @2ch",
    "conv:1(channels=5,kernel=11) conformer:1(heads=2,width=8,kernel=3,stride=2,right_context=1) "
    "conv1d:1(channels=6,kernel=5,stride=2) mlp:10 @2ch",
    "gru:1(hidden=9,bidirectional=false) mlp:5 mlp_layers:3 share_bands:true norm:rolling @3ch",
    "none mlp:5 filters:learned bins:7 hop:20 @5ch:contiguous",
    "lstm:1(hidden=6,bidirectional=false) mlp:5 mlp_layers:2 @4ch:right",
    "none mlp:5 norm:rolling filters:learned hop:200 @2ch",
    "conv:1(channels=5,kernel=4) gru:1(hidden=9) conv:2(channels=3,kernel=2+6) lstm:1(hidden=4) "
    "mlp:10 @2ch",
    "gru:1(hidden=6,bidirectional=false) conv:1(channels=4,kernel=12) mlp:6 mlp_layers:2 "
    "share_bands:encoder norm:bin bins:6 @4ch",
    "conv1d:1(channels=8,kernel=3,stride=2) transformer:1(heads=2) s4:1(width=6,states=4) mlp:6 "
    "share_bands:encoder_but_last @3ch:contiguous",
    "none mlp:5 share_bands:encoder mirror_left:false @2ch",
]
CASES = [f"{text} mlp:10 @2ch" for texts in STAGE_NOTATIONS.values() for text in texts] + MIXED


@pytest.fixture
def parse(language_models):
    """Return the architecture of a notation in which a tiny language model stands by its kind."""

    def parse(text):
        for kind, folder in language_models.items():
            text = text.replace(f"name={kind}", f"name={folder}")
        return parse_notation(text)

    return parse


def features(model: ModelConfig, frames: int, windows: int = 2) -> torch.Tensor:
    bins = model.features.bins or model.features.n_fft // 2 + 1
    generator = torch.Generator().manual_seed(frames)
    return torch.randn(windows, model.bands, model.electrodes, frames, bins, generator=generator)


def test_every_stage_has_contract_cases():
    assert set(STAGE_NOTATIONS) == set(STAGES)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("frames", [41, 64])
def test_output_length_is_that_of_the_real_output(parse, text, frames):
    config = parse(text)
    model = build(config).eval()
    log_probs = model(features(config, frames))
    assert log_probs.shape == (2, model.output_length(frames), 99)
    consumed = model.left + model.right
    assert model.output_length(frames) == math.ceil((frames - consumed) / model.stride)
    assert model.stride == config.encoder.reduction()
    torch.testing.assert_close(log_probs.exp().sum(-1), torch.ones(2, log_probs.shape[1]))


@pytest.mark.parametrize("text", CASES)
def test_gradients_reach_every_parameter_that_learns(parse, text):
    config = parse(text)
    model = build(config)
    samples = model.spectrogram.samples(50)
    emg = torch.randn(2, config.bands, config.electrodes, samples)
    model(model.spectrogram(emg))[..., :98].sum().backward()
    without = {name for name, p in model.named_parameters() if p.grad is None}
    assert without == {name for name, p in model.named_parameters() if not p.requires_grad}


@pytest.mark.parametrize("text", CASES)
def test_state_round_trip_and_determinism(parse, text):
    config = parse(text)
    first, second = build(config, seed=1).eval(), build(config, seed=2).eval()
    x = features(config, 45)
    assert not torch.equal(first(x), second(x))
    second.load_state_dict(first.state_dict())
    torch.testing.assert_close(first(x), second(x), rtol=0, atol=0)
    torch.testing.assert_close(build(config, seed=1).eval()(x), first(x), rtol=0, atol=0)


def moved_outputs(model, config, frame):
    """Return which outputs a changed frame of 60 changes, beyond rounding."""
    x = features(config, 60, windows=1).double()
    changed = x.clone()
    changed[..., frame, :] += 50.0
    model = model.double().eval()
    return ((model(x) - model(changed)).abs() > 2e-6).any(-1)[0].nonzero().flatten()


@pytest.mark.parametrize("text", CASES)
def test_lookahead_is_the_real_one(parse, text):
    """Changing a frame changes exactly the outputs whose look-ahead reaches it."""
    config = parse(text)
    model = build(config)
    summary = describe(config)
    hop_ms = config.features.hop / 2
    if math.isinf(summary.lookahead_ms):
        assert moved_outputs(model, config, frame=10).min() == 0
    else:
        moved = moved_outputs(model, config, frame=40)
        lookahead = (summary.lookahead_ms - config.features.n_fft / 2) / hop_ms
        assert moved.min() == max(0, math.ceil((40 - model.left - lookahead) / model.stride))


@pytest.mark.parametrize("text", CAUSAL)
def test_what_is_causal_waits_for_nothing(parse, text):
    config = parse(f"{text} mlp:10 @2ch")
    assert describe(config).lookahead_ms == config.features.n_fft / 2
    model = build(config)
    moved = moved_outputs(model, config, frame=40) * model.stride + model.left
    assert 40 <= moved.min() < 40 + model.stride


def test_windows_of_a_batch_do_not_see_each_other(parse):
    for text in CASES:
        config = parse(text)
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
def test_multiply_accumulates_agree_with_counted_ones(parse, text):
    """Every matrix product and convolution, counted by hooks on a real forward pass."""
    config = parse(text)
    model = build(config).eval()
    frames, total = 50, 0
    in_mlp = set(model.mlp.modules())

    def count(module, inputs, output):
        nonlocal total
        kind = type(module).__name__
        if isinstance(module, torch.nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, torch.nn.Conv1d | torch.nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif kind == "Conv1D":  # GPT-2's name for a linear map
            total += output.numel() * module.weight.shape[0]
        elif isinstance(module, torch.nn.GRU | torch.nn.LSTM):
            matrices = sum(p.numel() for n, p in module.named_parameters() if "weight" in n)
            total += inputs[0].shape[0] * inputs[0].shape[1] * matrices
        elif kind in ("SelfAttention", "GPT2Attention", "BertSelfAttention"):
            total += 2 * inputs[0].shape[0] * inputs[0].shape[1] ** 2 * inputs[0].shape[2]
        elif kind == "DiagonalStateSpace":  # the recurrence, not the FFT that trains it
            total += inputs[0].shape[0] * inputs[0].shape[2] * module.output.numel() * 3

    for module in model.modules():
        if module not in in_mlp:
            module.register_forward_hook(count)
    model(features(config, frames, windows=1))
    electrodes = config.bands * config.electrodes
    front = model.hands * model.mlp.macs(frames) + model.spectrogram.macs(electrodes, frames)
    assert model.macs(frames) == total + front


def test_framing_gives_every_architecture_the_same_frames(parse):
    for text in [*CASES, "conv:8 @2ch", "conv:4 @16ch"]:
        model = build(parse(text))
        framing = model.framing(window=8000, past=1800, future=200)
        frames = model.spectrogram.frames(framing.samples)
        hop = model.spectrogram.hop
        assert framing.frames == math.ceil(8000 // hop / model.stride)
        assert framing.step == hop * model.stride
        assert framing.first + framing.frames <= model.output_length(frames), text
        assert framing.before >= 1800 - hop
        # The first frame of the window is the one whose samples begin with it.
        assert (framing.first * model.stride + model.left) * hop == framing.before


@pytest.mark.parametrize("hop", [16, 20])
def test_a_key_press_is_in_the_frame_that_training_expects(hop):
    """An impulse in the EMG of a window moves the output frame of its sample, whatever strides."""
    text = (
        f"conv1d:2(channels=8,kernel=1,stride=2/3,norm=none) conv:1(channels=4,kernel=5) hop:{hop}"
    )
    model = build(parse_notation(f"{text} n_fft:16 mlp:4 @1ch")).eval()
    framing = model.framing(window=4000, past=500, future=100)
    emg = torch.randn(1, 2, 1, framing.samples, generator=torch.Generator().manual_seed(0))
    for press in (0, 3 * framing.step, framing.step * (framing.frames - 1)):
        changed = emg.clone()
        changed[..., framing.before + press : framing.before + press + 16] += 100
        moved = (model(model.spectrogram(emg)) != model(model.spectrogram(changed))).any(-1)[0]
        moved = moved[framing.first : framing.first + framing.frames].nonzero().flatten()
        assert moved.min() == press // framing.step


def test_a_window_shorter_than_a_hop_is_refused():
    with pytest.raises(ValueError, match="shorter than one hop"):
        build(parse_notation("none hop:200 @1ch")).framing(window=100, past=0, future=0)


def test_bridges_are_in_the_summary():
    rows = describe(parse_notation("gru:1(hidden=128) conv:1 @4ch")).stages
    assert any("bridge to 264" in name for name, *_ in rows)


@pytest.mark.parametrize("text", [*CASES, "conv:4 @16ch"])
def test_the_command_prints_a_summary(parse, text, capsys):
    config = parse(text)
    summary(notation(config))
    printed = capsys.readouterr().out
    assert f"{describe(config).parameters:,}" in printed
    assert f"{describe(config).frame_rate:g} frames a second" in printed
    for name, _ in config.encoder.stages():
        assert name in printed


def test_what_does_not_divide_is_refused_with_what_would_fit():
    with pytest.raises(
        ValueError, match="width 256 does not divide into 7 heads: take width 252 or"
    ):
        parse_notation("transformer:2(heads=7,width=256)")
    with pytest.raises(
        ValueError, match=r"width 256 .* 6 heads of pairs.*heads 1, 2, 4, 8, 16, 32"
    ):
        parse_notation("conformer:2(heads=6,width=256)")
    with pytest.raises(ValueError, match=r"1000 channels of the 768 features .* at most 768"):
        describe(parse_notation("conv:1(channels=1000)"))


def test_a_space_is_not_taken_for_a_model(tmp_path):
    from emgmodels.config import load_config

    (tmp_path / "space.yaml").write_text("search: {trials: 3}")
    with pytest.raises(ValueError, match="is a space file, which holds many models"):
        load_config(tmp_path / "space.yaml")


def at_the_head(model: Network, x: torch.Tensor) -> torch.Tensor:
    seen = []
    with model.head.register_forward_pre_hook(lambda module, inputs: seen.append(inputs[0])):
        model(x)
    return seen[0]


@pytest.mark.parametrize("electrodes", ["@16ch", "@4ch", "@5ch:contiguous"])
def test_hands_that_share_an_encoder_look_alike_to_it(electrodes):
    """What a left hand does gives what its mirror image gives of a right hand, hands swapped."""
    text = f"conv:1(channels=4,kernel=5) gru:1(hidden=5) mlp:6 share_bands:encoder {electrodes}"
    model = build(parse_notation(text)).eval()
    x = features(model.config, 30)
    places = mirrored_places(model.config.electrodes, model.config.electrode_choice)
    left, right = x.unbind(1)
    swapped = torch.stack([right[:, places], left[:, places]], 1)
    out, other = at_the_head(model, x), at_the_head(model, swapped)
    half = out.shape[-1] // 2
    assert not torch.allclose(out[..., :half], out[..., half:])
    torch.testing.assert_close(out, other.roll(half, -1))
    alone = x.clone()
    alone[:, 1] = 0  # the right hand, of which the left one's half says nothing
    torch.testing.assert_close(at_the_head(model, alone)[..., :half], out[..., :half])


def test_mirrored_electrodes_are_reversed_and_few_have_their_nearest():
    assert mirrored_places(16) == list(range(16))[::-1]
    assert mirrored_places(8) == list(range(8))[::-1]
    assert mirrored_places(4) == [0, 3, 2, 1]  # at 0, 4, 8, 12, whose images are 15, 11, 7, 3
    assert mirrored_places(4, "contiguous") == [3, 2, 1, 0]


def test_the_last_stage_may_see_both_hands():
    model = build(parse_notation("gru:1(hidden=4) conv:1(channels=4) mlp:6 @2ch"))
    shared = parse_notation("gru:1(hidden=4) conv:1(channels=4) mlp:6 share_bands:encoder @2ch")
    last = parse_notation(
        "gru:1(hidden=4) conv:1(channels=4) mlp:6 share_bands:encoder_but_last @2ch"
    )
    widths = [
        [stage.width for stage in each.stages] for each in (model, build(shared), build(last))
    ]
    assert widths == [[8, 8], [8, 8], [8, 16]]
    rows = {name: (shape, out) for name, shape, out, _ in describe(last).stages}
    assert rows["recurrent"] == ((2, 531, 6), (2, 531, 8))
    assert rows["conv"] == ((531, 16), (500, 16))


def test_kernels_side_by_side_each_make_a_share_of_the_channels():
    """Against the same convolution with one wide kernel whose weights are zero elsewhere."""
    config = parse_notation("conv:1(channels=5,kernel=3+8) mlp:5 @1ch")
    narrow, wide = build(config).stages[0].blocks[0].conv.parts
    assert (narrow.out_channels, wide.out_channels) == (2, 3)
    block = TDSBlock(10, 5, 3, 8)
    plain = TDSBlock(10, 5, 8)
    state = block.state_dict()
    parts = {k: v for k, v in state.items() if k.startswith("conv.")}
    weights = [parts["conv.parts.0.weight"], parts["conv.parts.1.weight"]]
    weights[0] = torch.nn.functional.pad(weights[0], (5, 0))
    state = {k: v for k, v in state.items() if k not in parts} | {
        "conv.weight": torch.cat(weights),
        "conv.bias": torch.cat([parts["conv.parts.0.bias"], parts["conv.parts.1.bias"]]),
    }
    plain.load_state_dict(state)
    x = torch.randn(2, 20, 10)
    torch.testing.assert_close(block(x), plain(x), rtol=1e-5, atol=1e-6)
