"""Our baseline against a plain one written from emg2qwerty's published description."""

import pickle
import sys
import types

import numpy as np
import pytest
import torch
from torch import nn
from typer.testing import CliRunner

import emgmodels
from emgmodels.charset import encode
from emgmodels.checkpoints.emg2qwerty import padding
from emgmodels.checkpoints.exported import write_emg2qwerty, write_torch
from emgmodels.config import Config, ModelConfig
from emgmodels.export.__main__ import app
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader


class PlainNorm(nn.Module):
    def __init__(self):
        super().__init__()
        self.batch_norm = nn.BatchNorm2d(32)

    def forward(self, x):  # (T, N, 2, 16, F)
        steps, windows, bands, electrodes, bins = x.shape
        planes = x.movedim(0, -1).reshape(windows, bands * electrodes, bins, steps)
        return (
            self.batch_norm(planes).reshape(windows, bands, electrodes, bins, steps).movedim(-1, 0)
        )


class PlainMLP(nn.Module):
    def __init__(self, inputs, sizes):
        super().__init__()
        layers = []
        for outputs in sizes:
            layers += [nn.Linear(inputs, outputs), nn.ReLU()]
            inputs = outputs
        self.mlp = nn.Sequential(*layers)

    def forward(self, x):  # (T, N, 16, F)
        copies = torch.stack([x.roll(offset, dims=2) for offset in (-1, 0, 1)], dim=2)
        return self.mlp(copies.flatten(start_dim=3)).mean(dim=2)


class PlainBands(nn.Module):
    def __init__(self, inputs, sizes):
        super().__init__()
        self.mlps = nn.ModuleList(PlainMLP(inputs, sizes) for _ in range(2))

    def forward(self, x):  # (T, N, 2, 16, F)
        return torch.stack([mlp(x[:, :, band]) for band, mlp in enumerate(self.mlps)], dim=2)


class PlainConv(nn.Module):
    def __init__(self, channels, width, kernel):
        super().__init__()
        self.channels, self.width = channels, width
        self.conv2d = nn.Conv2d(channels, channels, kernel_size=(1, kernel))
        self.layer_norm = nn.LayerNorm(channels * width)

    def forward(self, x):  # (T, N, D)
        steps, windows, features = x.shape
        planes = x.permute(1, 2, 0).reshape(windows, self.channels, self.width, steps)
        y = torch.relu(self.conv2d(planes)).reshape(windows, features, -1).permute(2, 0, 1)
        return self.layer_norm(y + x[-len(y) :])


class PlainFull(nn.Module):
    def __init__(self, features):
        super().__init__()
        self.fc_block = nn.Sequential(
            nn.Linear(features, features), nn.ReLU(), nn.Linear(features, features)
        )
        self.layer_norm = nn.LayerNorm(features)

    def forward(self, x):
        return self.layer_norm(self.fc_block(x) + x)


class PlainEncoder(nn.Module):
    def __init__(self, features, channels, kernel):
        super().__init__()
        blocks = []
        for count in channels:
            blocks += [PlainConv(count, features // count, kernel), PlainFull(features)]
        self.tds_conv_blocks = nn.Sequential(*blocks)

    def forward(self, x):
        return self.tds_conv_blocks(x)


class PlainBaseline(nn.Module):
    def __init__(self, in_features, mlp_features, block_channels, kernel_width):
        super().__init__()
        features = 2 * mlp_features[-1]
        self.model = nn.Sequential(
            PlainNorm(),
            PlainBands(in_features, mlp_features),
            nn.Flatten(start_dim=2),
            PlainEncoder(features, block_channels, kernel_width),
            nn.Linear(features, 99),
            nn.LogSoftmax(dim=-1),
        )

    def forward(self, emg):  # (S, N, 2, 16) to (T, N, 99)
        signal = emg.permute(1, 2, 3, 0).double()
        window = torch.hann_window(64, dtype=torch.float64)
        frames = signal.unfold(-1, 64, 16) * (window / window.square().sum().sqrt())
        power = torch.fft.rfft(frames).abs().square()
        return self.model((power + 1e-6).log10().float().permute(3, 0, 1, 2, 4))


BASELINE = {
    "in_features": 528,
    "mlp_features": [384],
    "block_channels": [24] * 4,
    "kernel_width": 32,
}
OTHER = {
    "in_features": 528,
    "mlp_features": [48, 48],
    "block_channels": [6, 12, 12],
    "kernel_width": 7,
}


def trained(model, seed=0):
    """Give all parameters and statistics values of their own."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, tensor in model.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 2, generator=generator)
            elif tensor.ndim < 2 and tensor.is_floating_point():
                tensor += torch.rand(tensor.shape, generator=generator) - 0.5
    return model.eval()


def emg_of(samples):
    return np.random.default_rng(0).normal(size=(samples, 2, 16)).astype(np.float32) * 30


def lightning(model, **more):
    """Return what Lightning's checkpoint of emg2qwerty's module is like."""
    return {
        "epoch": 7,
        "global_step": 900,
        "pytorch-lightning_version": "1.8.6",
        "state_dict": model.state_dict(),
        "optimizer_states": [{"state": {0: {"exp_avg": torch.zeros(2)}}, "param_groups": []}],
        "hyper_parameters": {**BASELINE, **more},
    }


@torch.no_grad()
def plain_emissions(model, emg):
    return model(torch.from_numpy(emg)[:, None])[:, 0].numpy()


@torch.no_grad()
def our_emissions(model, emg):
    return model(model.spectrogram(torch.from_numpy(emg).permute(1, 2, 0)[None]))[0].numpy()


@pytest.mark.parametrize("sizes", [BASELINE, OTHER], ids=["baseline", "other sizes"])
def test_their_checkpoint_computes_the_same_emissions_here(sizes, tmp_path):
    theirs = trained(PlainBaseline(**sizes))
    torch.save(lightning(theirs), tmp_path / "theirs.ckpt")
    reader = emgmodels.load(tmp_path / "theirs.ckpt")
    emg = emg_of(4000)
    expected = plain_emissions(theirs, emg)
    np.testing.assert_allclose(our_emissions(reader.model, emg), expected, rtol=0, atol=2e-5)
    if sizes is BASELINE:
        assert reader.config.model == ModelConfig()
        assert sum(p.numel() for p in reader.model.parameters()) == 5_293_315
        assert sum(p.numel() for p in theirs.parameters()) == 5_293_315
    assert reader.origin.epoch == 8  # Lightning counts from 0
    # A recording gets 0.9 s of mirrored past and 0.1 s of future; inside it nothing differs.
    inside = reader.emissions(emg, one_pass=True)[reader.model.left :][: len(expected)]
    np.testing.assert_allclose(inside, expected[: len(inside)], rtol=0, atol=2e-5)


@pytest.mark.parametrize(
    ("text", "sizes"),
    [
        ("conv:4 @16ch", BASELINE),
        ("conv:3(channels=6/12/12,kernel=7) mlp:48 mlp_layers:2 @16ch", OTHER),
    ],
)
def test_our_checkpoint_computes_the_same_emissions_there(text, sizes, tmp_path):
    config = Config(model=parse_notation(text))
    ours = trained(build(config.model, seed=3))
    reader = Reader(config, ours, Origin(epoch=5))
    write_emg2qwerty(reader, tmp_path / "ours.ckpt")
    state = torch.load(tmp_path / "ours.ckpt", weights_only=True)
    assert state["hyper_parameters"] == sizes
    theirs = PlainBaseline(**state["hyper_parameters"]).eval()
    theirs.load_state_dict(state["state_dict"])
    emg = emg_of(3000)
    np.testing.assert_allclose(
        plain_emissions(theirs, emg), our_emissions(ours, emg), rtol=0, atol=2e-5
    )
    back = emgmodels.load(tmp_path / "ours.ckpt")
    assert back.config.model == config.model
    assert back.origin.epoch == 5
    np.testing.assert_array_equal(our_emissions(back.model, emg), our_emissions(ours, emg))


def test_windows_are_scored_as_there(tmp_path):
    """4 s with 0.9 s of past and 0.1 s of future give 498 frames, all of them of the window."""
    model = build(ModelConfig())
    framing = model.framing(window=8000, past=1800, future=200)
    assert model.spectrogram.frames(10_000) == 622
    assert model.output_length(622) == 498
    assert framing.before == 1792
    assert framing.frames == 500
    assert framing.step == 16


@pytest.mark.parametrize(
    ("text", "needed"),
    [
        ("conv:4 mlp:24", [1792, 240]),  # nearly its default
        ("conv:4(channels=6,kernel=12) mlp:24", [640, 112]),
        ("conv:3(channels=6,kernel=7) mlp:24", [288, 48]),
        ("conv:2(channels=6,kernel=63) mlp:24", [1792, 240]),
        ("conv:124(channels=6,kernel=2) mlp:6", [1984, 48]),  # 124 frames as well, all of the past
        ("conv:2(channels=6,kernel=21) mlp:24 hop:32", [1152, 160]),
    ],
)
def test_its_windows_get_the_context_that_the_model_consumes(text, needed, tmp_path):
    """A window with that padding gives there the frames that are scored here."""
    config = Config(model=parse_notation(text))
    ours = build(config.model, seed=3).eval()
    assert list(padding(ours)) == needed
    step, (past, future) = config.model.features.hop, needed
    framing = ours.framing(window=800, past=1800, future=200)
    emg = torch.randn(1, 2, 16, 6000, generator=torch.Generator().manual_seed(1))
    with torch.no_grad():
        there = ours(ours.spectrogram(emg[..., 4000 - past : 4800 + future]))
        window = emg[..., 4000 - framing.before :][..., : framing.samples]
        here = ours(ours.spectrogram(window))[:, framing.first :][:, : framing.frames]
    assert there.shape[1] == framing.frames == 800 // step
    np.testing.assert_allclose(there, here, rtol=0, atol=2e-4)
    write_torch(Reader(config, ours, Origin()), tmp_path / "a.pt")
    arguments = [str(tmp_path / "a.pt"), "--to", "emg2qwerty"]
    done = CliRunner().invoke(app, arguments, catch_exceptions=False)
    assert done.exit_code == 0
    assert ("datamodule.padding" in done.stdout) == (needed != [1792, 240])
    assert (f"to {needed} there" in done.stdout) == (needed != [1792, 240])
    assert ("hop_length to 32" in done.stdout) == (step == 32)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("conv:2 gru:1(hidden=8) mlp:24", "the encoder is conv recurrent, not conv alone"),
        ("conv:2 mlp:24 @8ch", "electrodes is 8, not 16"),
        ("conv:2 mlp:24 norm:bin", "norm is bin, not electrode"),
        ("conv:2(causal=true) mlp:24", "causal"),
        ("conv:2(channels=5) mlp:24", "channels 5 do not divide 48 features"),
        ("conv:2 mlp:24 bins:6", "spectrogram with all its bins"),
    ],
)
def test_what_its_module_cannot_be_is_refused(text, reason, tmp_path):
    config = Config(model=parse_notation(text))
    reader = Reader(config, build(config.model), Origin())
    with pytest.raises(ValueError, match=reason):
        write_emg2qwerty(reader, tmp_path / "no.ckpt")
    assert not list(tmp_path.iterdir())


def test_a_checkpoint_of_another_architecture_is_refused(tmp_path):
    state = lightning(PlainBaseline(**OTHER))
    state["state_dict"]["model.3.lstm.weight"] = torch.zeros(3)
    torch.save(state, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match=r"other.ckpt: .*model\.3\.lstm\.weight is not part of it"):
        emgmodels.load(tmp_path / "other.ckpt")
    torch.save(lightning(nn.Linear(3, 3)), tmp_path / "linear.ckpt")
    with pytest.raises(ValueError, match="there are no TDS blocks"):
        emgmodels.load(tmp_path / "linear.ckpt")


def test_hyper_parameters_of_absent_packages_are_left_aside(tmp_path, monkeypatch):
    """Lightning pickles the configuration's own classes, which are nowhere to be found here."""
    package = types.ModuleType("absentconf")
    exec("class DictConfig(dict):\n    def __init__(self, x): self.content = x", vars(package))
    package.DictConfig.__module__ = "absentconf"
    monkeypatch.setitem(sys.modules, "absentconf", package)
    theirs = trained(PlainBaseline(**OTHER))
    hidden = package.DictConfig({"lr": package.DictConfig([1e-3])})
    hidden["key"] = 1
    torch.save(lightning(theirs, optimizer=hidden), tmp_path / "theirs.ckpt")
    monkeypatch.delitem(sys.modules, "absentconf")
    with pytest.raises(pickle.UnpicklingError):
        torch.load(tmp_path / "theirs.ckpt", weights_only=True)
    reader = emgmodels.load(tmp_path / "theirs.ckpt")
    emg = emg_of(2000)
    np.testing.assert_allclose(
        our_emissions(reader.model, emg), plain_emissions(theirs, emg), rtol=0, atol=2e-5
    )
    assert "absentconf" not in sys.modules


class Attack:
    def __init__(self, function, *args):
        self.parts = function, args

    def __call__(self):
        raise NotImplementedError

    def __reduce__(self):
        return self.parts


def test_what_a_checkpoint_would_run_is_not_run(tmp_path):
    """By a call, by an import, or by calling the result of another call."""
    mark = tmp_path / "mark"
    attacks = [
        Attack(eval, f"open({str(mark)!r}, 'w').close()"),
        Attack(exec, f"open({str(mark)!r}, 'w').close()"),
        Attack(getattr, Attack(__import__, "os"), "system"),
        Attack(Attack(getattr, Attack(__import__, "pathlib"), "Path"), str(mark)),
        Attack(torch.load, str(mark)),
    ]
    theirs = trained(PlainBaseline(**OTHER))
    for attack in attacks[:2]:
        pickle.loads(pickle.dumps(attack))
        assert mark.exists(), "the attack itself works"
        mark.unlink()
    torch.save(lightning(theirs, optimizer=attacks), tmp_path / "evil.ckpt")
    reader = emgmodels.load(tmp_path / "evil.ckpt")
    assert not mark.exists()
    assert reader.config.model.encoder.conv.layers == 3
    torch.save(attacks[0], tmp_path / "bare.ckpt")
    with pytest.raises(ValueError, match=r"bare\.ckpt: holds no weights"):
        emgmodels.load(tmp_path / "bare.ckpt")
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(attacks[0], protocol=2))
    with pytest.raises(ValueError, match=r"plain\.ckpt: is not a checkpoint"):
        emgmodels.load(tmp_path / "plain.ckpt")
    assert not mark.exists()


def test_a_state_that_is_code_is_refused(tmp_path):
    program = torch.jit.script(nn.Linear(2, 2))
    program.save(tmp_path / "program.pt")
    with pytest.raises(ValueError, match=r"program\.pt: is not a checkpoint"):
        emgmodels.load(tmp_path / "program.pt")


def test_text_comes_out_of_their_checkpoint(tmp_path):
    theirs = trained(PlainBaseline(**OTHER))
    torch.save(lightning(theirs), tmp_path / "theirs.ckpt")
    text = emgmodels.load(tmp_path / "theirs.ckpt")(emg_of(9000))
    assert len(encode(text)) == len(text) > 0
