"""A stream reads what one pass over the session reads, however its EMG is cut into chunks."""

import time
from itertools import pairwise

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from emgmodels.charset import decode
from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config, TrainingConfig
from emgmodels.ctc import greedy_decode
from emgmodels.factory import build
from emgmodels.network.summary import describe
from emgmodels.notation import parse_notation
from emgmodels.reading.reader import Origin, Reader
from emgmodels.reading.sessions import one_pass_emissions
from emgmodels.reading.stream import Stream
from emgmodels.sessions import read_session
from emgmodels.stages.registry import STAGES
from emgmodels.stream.__main__ import app
from emgmodels.stream.playing import play
from emgmodels.windows.recording import Recording

STREAMED = {
    "transformer": [
        "transformer:2(heads=2,positions=rotary,left_context=9,right_context=0)",
        "transformer:2(heads=2,width=12,left_context=5,right_context=2)",
    ],
    "recurrent": [
        "gru:2(hidden=9,bidirectional=false)",
        "lstm:1(hidden=10,bidirectional=false,layer_norm=true)",
    ],
    "conv": ["conv:2(channels=5,kernel=12,causal=true)", "conv:2(channels=4,kernel=12)"],
    "conv1d": [
        "conv1d:2(channels=12,kernel=4,stride=2,separable=true,norm=none,causal=true)",
        "conv1d:3(channels=8/12/12,kernel=6/2/3,stride=2/3/2,residual=true,norm=layer)",
    ],
    "conformer": [
        "conformer:2(heads=2,feedforward=16,width=12,kernel=5,right_context=0,left_context=7)",
        "conformer:1(heads=2,feedforward=16,width=12,kernel=5,stride=3,right_context=2,left_context=4)",
    ],
    "s4": ["s4:2(width=12,states=6,bidirectional=false)"],
}
REFUSED = {
    "gru:1(hidden=9)": "recurrent stage .* bidirectional: false",
    "s4:1(width=12,states=6)": "s4 stage .* bidirectional: false",
    "transformer:1(heads=2)": "transformer stage .* right_context: 0",
    "transformer:1(heads=2,right_context=0)": "transformer stage .* left_context: 125",
    "conformer:1(heads=2,width=12)": "conformer stage .* right_context: 0",
    "pretrained:2(name=GPT2)": "pretrained stage .* transformer in its place",
}
CASES = [f"{text} mlp:10 @2ch" for texts in STREAMED.values() for text in texts]
CASES += [
    "gru:1(hidden=9,bidirectional=false) conv:1(channels=5,kernel=6) mlp:10 norm:rolling @2ch",
    "conv1d:1(channels=8,stride=2) transformer:1(heads=2,left_context=9,right_context=1) "
    "conv:1(channels=4,kernel=5) mlp:10 hop:24 norm:bin bins:6 @3ch:contiguous",
    "none mlp:10 norm:rolling hop:200 @2ch:right",
    "conv:1(channels=5,kernel=2+6) gru:1(hidden=6,bidirectional=false) "
    "conv:1(channels=4,kernel=11) mlp:6 share_bands:encoder_but_last @3ch",
    "conv1d:1(channels=8,stride=2,norm=layer) conv:1(channels=4,kernel=5) mlp:6 "
    "share_bands:encoder norm:rolling hop:24 @3ch",
    "conv1d:1(channels=8,norm=layer) mlp:10 filters:learned bins:7 hop:40 n_fft:32 @2ch",
]
SHORT = TrainingConfig(past_seconds=0.3, future_seconds=0.05)


def model_of(text):
    """Return a model of which each frame says something, unlike its neighbours."""
    model = build(parse_notation(text), seed=1)
    with torch.no_grad():
        for name, buffer in model.named_buffers():
            if "running" in name:
                buffer.uniform_(0.5, 2, generator=torch.Generator().manual_seed(0))
        model.eval()
        model.head.weight *= 20
        log_probs = in_one_piece(model, session(4000, seed=1), SHORT)
        model.head.bias -= log_probs.mean(0)
    return model


def session(samples, seed=0):
    return np.random.default_rng(seed).normal(size=(samples, 2, 16)).astype(np.float32) * 3


def in_one_piece(model, emg, training):
    recording = Recording(
        "", emg.transpose(1, 2, 0), *(np.empty(0, dtype=np.int64),) * 3, has_key_times=False
    )
    return one_pass_emissions(model, recording, training)


def chunks_of(emg, sizes):
    edges = [0, *np.cumsum(sizes), len(emg)]
    return [emg[low:high] for low, high in pairwise(edges) if low < len(emg)]


def test_every_stage_streams_or_says_why_not():
    named = {*STREAMED, *(message.split()[0] for message in REFUSED.values())}
    assert named == set(STAGES)


@pytest.mark.parametrize("text", CASES)
@pytest.mark.parametrize("training", [SHORT, TrainingConfig(past_seconds=0, future_seconds=0)])
def test_the_emissions_are_those_of_one_pass(text, training, monkeypatch):
    model = model_of(text)
    seen = []
    classify = model._classify
    monkeypatch.setattr(model, "_classify", lambda x: seen.append(classify(x)) or seen[-1])
    emg = session(12_013)
    expected = in_one_piece(model, emg, training)
    seen.clear()
    stream = Stream(model, training)
    sizes = np.random.default_rng(1).integers(1, 200, size=150)
    said = "".join(stream.push(chunk) for chunk in chunks_of(emg, sizes)) + stream.finish()
    found = torch.cat(seen, 1)[0, model.framing(12_013, *stream._context).first :][: len(expected)]
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)
    assert said == stream.text == decode(greedy_decode(expected[None])[0])
    assert len(said) > 5


@settings(max_examples=30, deadline=None)
@given(
    text=st.sampled_from(CASES),
    samples=st.integers(0, 4000),
    sizes=st.lists(st.integers(0, 900), max_size=12),
    training=st.sampled_from([SHORT, TrainingConfig()]),
)
def test_chunks_of_any_size_give_the_same_text(text, samples, sizes, training):
    model = model_of(text)
    emg = session(samples)
    stream = Stream(model, training)
    for chunk in chunks_of(emg, sizes):
        stream.push(chunk)
    stream.finish()
    if samples < model.spectrogram.hop:
        assert stream.text == ""
    else:
        assert stream.text == decode(greedy_decode(in_one_piece(model, emg, training)[None])[0])


@pytest.mark.parametrize("text", CASES)
def test_a_key_waits_for_the_latency_and_no_longer(text):
    """All frames that the EMG so far settles have been read, whatever comes then."""
    model = model_of(text)
    emg = session(6000)
    stream = Stream(model, SHORT)
    for chunk in chunks_of(emg, [50] * 120):
        stream.push(chunk)
    step = model.spectrogram.hop * model.stride
    latency = round(stream.latency_ms * 2) + max(0, model.spectrogram.hop - 64)
    assert stream._frames >= (6000 - latency) // step
    assert stream.start_ms < 1000
    assert stream.latency_ms == describe(model.config).lookahead_ms


@pytest.mark.parametrize("text", REFUSED)
def test_what_has_no_end_is_refused(text, language_models):
    notation = text.replace("name=GPT2", f"name={language_models['GPT2']}")
    model = build(parse_notation(f"{notation} mlp:10 @2ch")).eval()
    with pytest.raises(ValueError, match=REFUSED[text]):
        Stream(model, SHORT)


def test_emg_of_another_shape_is_refused():
    stream = Stream(model_of(CASES[0]), SHORT)
    with pytest.raises(ValueError, match=r"EMG of shape \(2, 16, 100\): expected \(samples"):
        stream.push(np.zeros((2, 16, 100)))


def written(text, folder):
    model = model_of(text)
    reader = Reader(Config(model=model.config, training=SHORT), model, Origin())
    write_torch(reader, folder / "model.pt")
    return reader, str(folder / "model.pt")


def test_the_command_prints_what_one_pass_reads(session_paths, tmp_path):
    reader, file = written(CASES[2], tmp_path)
    arguments = [file, str(session_paths[0]), "--fast", "--chunk-ms", "33", "--seconds", "5"]
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    text = reader(read_session(session_paths[0]).emg[:10_000], one_pass=True)
    assert done.stdout == text + "\n"
    assert f"{len(text)} keys in 5.0 s, CER" in done.stderr
    assert "real-time factor" in done.stderr
    assert "A frame is read once 32 ms of EMG" in done.stderr


def test_a_session_is_played_at_its_own_pace(capsys):
    stream = Stream(model_of(CASES[2]), SHORT)
    begin = time.perf_counter()
    took = play(stream, session(2000), 100, fast=False)
    assert time.perf_counter() - begin >= 1
    assert len(took) == 20
    assert capsys.readouterr().out == stream.text


def test_bad_input_is_one_message(session_paths, tmp_path):
    _, file = written("gru:1(hidden=9) mlp:10 @2ch", tmp_path)
    for arguments, message in [
        ([file, str(session_paths[0])], "the recurrent stage cannot be streamed"),
        ([str(tmp_path / "no.pt"), str(session_paths[0])], "no.pt: cannot be read"),
    ]:
        done = CliRunner().invoke(app, arguments)
        assert done.exit_code == 2
        assert done.stderr.startswith("error: ")
        assert message in done.stderr
    _, file = written(CASES[2], tmp_path)
    done = CliRunner().invoke(app, [file, str(tmp_path / "no.hdf5")])
    assert done.exit_code == 2
    assert "no.hdf5: does not exist" in done.stderr


def test_all_stages_that_cannot_be_streamed_are_named_at_once():
    model = model_of("gru:1(hidden=9) transformer:1(heads=2,feedforward=8) mlp:10 @2ch")
    with pytest.raises(ValueError, match=r"the recurrent stage .*; the transformer stage "):
        model.flow()
