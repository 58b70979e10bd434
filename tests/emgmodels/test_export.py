"""The export command, and ONNX against PyTorch."""

import json

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from typer.testing import CliRunner

import emgmodels
from emgmodels.charset import CLASSES
from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config
from emgmodels.config.electrodes import band_indices, electrode_indices
from emgmodels.export.__main__ import app
from emgmodels.export.onnx import write_onnx
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.stages.registry import STAGES

GRAPHS = {
    "attention and recurrence, stages twice": "transformer:1(heads=2,left_context=5,"
    "right_context=2) conv:1(channels=2,kernel=4) lstm:1(hidden=6) conv:1(channels=3,kernel=5) "
    "mlp:6 norm:rolling @2ch",
    "convolution and state space": "conv1d:1(channels=8,kernel=3,stride=2,residual=true) "
    "gru:2(hidden=6,bidirectional=false) "
    "conformer:1(heads=2,feedforward=8,width=8,kernel=5,stride=3) "
    "s4:1(width=12,states=6) mlp:6 mlp_layers:2 filters:learned bins:7 hop:20 @3ch:right",
    "hands apart, kernels side by side": "conv:1(channels=4,kernel=3+6) gru:1(hidden=4) mlp:6 "
    "share_bands:encoder_but_last hop:32 @4ch",
    "a language model": "pretrained:1(name=GPT2) mlp:6 hop:32 @2ch:contiguous",
}


def reader_of(text, language_models=None):
    for kind, folder in (language_models or {}).items():
        text = text.replace(f"name={kind}", f"name={folder}")
    config = Config(model=parse_notation(text))
    return Reader(config, build(config.model, seed=1), Origin(val_cer=12.5, epoch=3, val=("s2",)))


def emg_of(windows, samples):
    return np.random.default_rng(samples).normal(size=(windows, samples, 2, 16)).astype(np.float32)


@torch.no_grad()
def emissions(reader, emg):
    config = reader.config.model
    used = emg[:, :, band_indices(config.electrode_choice)]
    used = used[..., electrode_indices(config.electrodes, config.electrode_choice)]
    model = reader.model
    return model(model.spectrogram(torch.from_numpy(used.transpose(0, 2, 3, 1)))).numpy()


def test_every_stage_is_exported():
    stages = {name for text in GRAPHS.values() for name in parse_notation(text).encoder.kinds()}
    assert stages == set(STAGES)


QUICK = "hands apart, kernels side by side"


@pytest.mark.parametrize(
    "name",
    [pytest.param(name, marks=() if name == QUICK else pytest.mark.slow) for name in GRAPHS],
)
def test_onnx_computes_what_pytorch_does(name, language_models, tmp_path):
    """For other numbers of windows and samples than it was exported with."""
    reader = reader_of(GRAPHS[name], language_models)
    write_onnx(reader, tmp_path / "model.onnx")
    onnx.checker.check_model(tmp_path / "model.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "model.onnx")
    for windows, samples in ((1, 9001), (3, 8000), (2, 701)):
        emg = emg_of(windows, samples)
        (found,) = session.run(["log_probs"], {"emg": emg})
        np.testing.assert_allclose(found, emissions(reader, emg), rtol=0, atol=2e-5)
    metadata = session.get_modelmeta().custom_metadata_map
    card = {key: json.loads(value) for key, value in metadata.items() if key in reader.card()}
    assert card == json.loads(json.dumps(reader.card()))
    assert card["labels"] == list(CLASSES)
    assert card["samples_per_frame"] == reader.step
    assert card["origin"]["val_cer"] == 12.5
    assert [path.name for path in tmp_path.iterdir()] == ["model.onnx"]


def test_a_language_model_travels_without_its_folder(language_models, tmp_path):
    reader = reader_of(GRAPHS["a language model"], language_models)
    write_torch(reader, tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    state["card"] = state["card"].replace(str(language_models["GPT2"]), "/nowhere/gpt2")
    torch.save(state, tmp_path / "elsewhere.pt")
    back = emgmodels.load(tmp_path / "elsewhere.pt")
    assert back.config.model.encoder.pretrained.name == "/nowhere/gpt2"
    emg = emg_of(1, 6000)[0]
    np.testing.assert_array_equal(back.emissions(emg), reader.emissions(emg))
    assert back.card()["lookahead_ms"] == reader.card()["lookahead_ms"] == 32


@pytest.mark.parametrize(
    ("to", "file"), [("torch", "-model.pt"), ("emg2qwerty", "-emg2qwerty.ckpt")]
)
def test_the_command_writes_beside_the_checkpoint(to, file, tmp_path):
    reader = reader_of("conv:2(channels=4,kernel=5) mlp:8 @16ch")
    write_torch(reader, tmp_path / "best.pt")
    done = CliRunner().invoke(app, [str(tmp_path / "best.pt"), "--to", to])
    assert done.exit_code == 0, done.output
    assert "conv:2(channels=4,kernel=5) mlp:8 @16ch, validation CER 12.50 % on s2 at epoch 3" in (
        done.output
    )
    emg = emg_of(1, 6000)[0]
    written = emgmodels.load(next(tmp_path.glob("best-*")))
    np.testing.assert_array_equal(written.emissions(emg), reader.emissions(emg))


def test_bad_input_is_one_message(tmp_path):
    write_torch(reader_of("gru:1(hidden=8) mlp:8 @16ch"), tmp_path / "best.pt")
    best = str(tmp_path / "best.pt")
    for arguments, message in [
        ([str(tmp_path / "no.pt"), "--to", "torch"], "no.pt: cannot be read: No such file"),
        ([best, "--to", "emg2qwerty"], "the encoder is recurrent, not conv alone"),
        (
            [best, "--to", "torch", "--out", best],
            "is read by this command: name another file to write",
        ),
        ([best, "--to", "tflite"], "'tflite' is not one of"),
    ]:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert message in " ".join(done.stderr.replace("│", " ").split())
