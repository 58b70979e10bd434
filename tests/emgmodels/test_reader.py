import json
import subprocess
import sys

import numpy as np
import pytest
import torch

import emgmodels
from emgmodels.charset import CLASSES, decode
from emgmodels.checkpoints.exported import write_torch
from emgmodels.config import Config, TrainingConfig
from emgmodels.ctc import BeamSearch, greedy_decode
from emgmodels.notation import parse_notation
from emgmodels.reading.sessions import STITCHED, emit
from emgmodels.sessions import read_session
from emgmodels.training.fit import fit
from emgmodels.windows.cache import prepare

CONFIG = Config(
    name="tiny",
    model=parse_notation("gru:1(hidden=24,bidirectional=false) mlp:24 hop:64 norm:bin bins:8 @8ch"),
    training=TrainingConfig(epochs=2, batch_size=4, past_seconds=0.5, aligned_start={"epochs": 2}),
)


@pytest.fixture(scope="module")
def checkpoint(session_paths, tmp_path_factory):
    """A training of two epochs on two sessions."""
    path = tmp_path_factory.mktemp("checkpoint") / "001-gru.pt"
    recordings = prepare(session_paths)
    for result in fit(CONFIG, recordings[:2], recordings[2:]):
        result.save(path)
    return path


def test_a_training_reads_what_its_evaluation_reads(checkpoint, session_paths):
    reader = emgmodels.load(checkpoint)
    emg = read_session(session_paths[2]).emg
    recording = prepare(session_paths[2:])[0]
    found = emit(emgmodels.load(checkpoint).model, recording, CONFIG.training, STITCHED).read()
    assert reader(emg) == decode(found.predicted)
    assert len(reader(emg)) > 10
    assert reader(torch.from_numpy(emg).double()) == reader(emg)
    emissions = reader.emissions(emg)
    assert emissions.shape == (len(emg) // 64, 99)
    assert reader.frame_seconds == 64 / 2000
    assert reader(emg, beam=BeamSearch(width=5)) == decode(BeamSearch(width=5).decode(emissions))
    assert decode(greedy_decode(torch.from_numpy(emissions)[None])[0]) == reader(emg)


def test_it_knows_where_it_comes_from(checkpoint):
    origin = emgmodels.load(checkpoint).origin
    state = torch.load(checkpoint, weights_only=True)
    assert origin.val_cer == state["best_cer"]
    assert origin.epoch == state["best_epoch"]
    assert (origin.train, origin.val) == (("s0", "s1"), ("s2",))


def test_the_weights_are_those_of_the_best_epoch(checkpoint, session_paths, tmp_path):
    state = torch.load(checkpoint, weights_only=True)
    state["model"]["head.bias"] += torch.arange(99)
    torch.save(state, tmp_path / "later.pt")
    emg = read_session(session_paths[2]).emg[:9000]
    expected = emgmodels.load(checkpoint).emissions(emg)
    np.testing.assert_array_equal(emgmodels.load(tmp_path / "later.pt").emissions(emg), expected)


def test_an_exported_file_is_the_same_reader(checkpoint, session_paths, tmp_path):
    reader = emgmodels.load(checkpoint)
    write_torch(reader, tmp_path / "model.pt")
    back = emgmodels.load(tmp_path / "model.pt")
    emg = read_session(session_paths[2]).emg[:9000]
    np.testing.assert_array_equal(back.emissions(emg), reader.emissions(emg))
    assert (back.config, back.origin, back.card()) == (reader.config, reader.origin, reader.card())
    assert (tmp_path / "model.pt").stat().st_size < 0.5 * checkpoint.stat().st_size


def test_the_file_says_all_that_another_program_needs(checkpoint, tmp_path):
    write_torch(emgmodels.load(checkpoint), tmp_path / "model.pt")
    card = json.loads(torch.load(tmp_path / "model.pt", weights_only=True)["card"])
    assert card["labels"] == list(CLASSES)
    assert card["blank"] == 98
    assert card["architecture"].startswith("gru:1(hidden=24,bidirectional=false)")
    assert card["electrodes"] == [0, 2, 4, 6, 8, 10, 12, 14]
    assert card["samples_per_frame"] == 64
    assert card["lookahead_ms"] == 32
    assert card["origin"]["val"] == ["s2"]
    assert "each bin of each electrode" in card["normalisation"]


def test_a_stream_of_it_reads_what_one_pass_reads(checkpoint, session_paths):
    reader = emgmodels.load(checkpoint)
    emg = read_session(session_paths[2]).emg[:20_000]
    stream = reader.stream()
    said = "".join(stream.push(emg[i : i + 100]) for i in range(0, len(emg), 100))
    assert said + stream.finish() == reader(emg, one_pass=True)


def test_short_recordings_and_wrong_shapes(checkpoint):
    reader = emgmodels.load(checkpoint)
    assert reader(np.zeros((63, 2, 16))) == ""
    assert reader.emissions(np.zeros((0, 2, 16))).shape == (0, 99)
    assert reader.emissions(np.zeros((64, 2, 16))).shape == (1, 99)
    with pytest.raises(ValueError, match=r"EMG of shape \(2, 16, 8000\): expected \(samples, 2"):
        reader(np.zeros((2, 16, 8000)))


def test_files_that_are_no_model_are_refused(checkpoint, tmp_path):
    with pytest.raises(ValueError, match=r"nowhere\.pt: cannot be read: No such file"):
        emgmodels.load(tmp_path / "nowhere.pt")
    (tmp_path / "text.pt").write_text("hello")
    with pytest.raises(ValueError, match=r"text\.pt: is not a checkpoint"):
        emgmodels.load(tmp_path / "text.pt")
    torch.save({"weights": 1, "a": 2}, tmp_path / "other.pt")
    with pytest.raises(ValueError, match=r"other\.pt: holds weights, a: expected a checkpoint"):
        emgmodels.load(tmp_path / "other.pt")
    write_torch(emgmodels.load(checkpoint), tmp_path / "model.pt")
    state = torch.load(tmp_path / "model.pt", weights_only=True)
    later = {**state, "card": state["card"].replace("emgsearch model 1", "emgsearch model 9")}
    torch.save(later, tmp_path / "later.pt")
    with pytest.raises(ValueError, match=r"later\.pt: is of the format 'emgsearch model 9'"):
        emgmodels.load(tmp_path / "later.pt")


def test_importing_the_package_is_light():
    code = "import sys, emgmodels; print(sorted({'torch', 'numpy', 'pydantic'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]"
