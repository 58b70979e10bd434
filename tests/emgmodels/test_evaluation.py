import math

import pytest
import torch

from emgmodels.charset import encode
from emgmodels.config import TrainingConfig
from emgmodels.factory import build
from emgmodels.metrics import EditCounts, count_edits
from emgmodels.notation import parse_notation
from emgmodels.reading.sessions import (
    ONE_PASS,
    STITCHED,
    WINDOWS,
    align,
    edits_by_chunk,
    emit,
    one_pass_bytes,
    one_pass_emissions,
    stitched_emissions,
)
from emgmodels.windows.cache import prepare

FINITE = [
    "conv:2(channels=4,kernel=8) mlp:16 hop:16",
    "conv:1(channels=4,kernel=32) mlp:16 hop:36",
    "conv:1(channels=4,kernel=8) conv1d:1(channels=16,kernel=5,stride=3) mlp:16 hop:24 @4ch",
]


def model_of(text):
    return build(parse_notation(text), seed=1).eval()


@pytest.fixture(scope="module")
def recording(session_paths):
    """24 s, of which the last 0.6 s are cut, so that no window length divides the rest."""
    whole = prepare(session_paths[:1])[0]
    return type(whole)(**{**vars(whole), "emg": whole.emg[..., : whole.samples - 1210]})


@pytest.mark.parametrize("text", FINITE)
def test_stitched_is_one_pass_where_a_model_sees_only_so_far(recording, text):
    model, training = model_of(text), TrainingConfig(batch_size=4)
    stitched = stitched_emissions(model, recording, training)
    one_pass = one_pass_emissions(model, recording, training)
    assert stitched.shape == one_pass.shape
    step = model.spectrogram.hop * model.stride
    assert len(stitched) == math.ceil((recording.samples // model.spectrogram.hop) / model.stride)
    assert abs(len(stitched) * step - recording.samples) <= step
    assert torch.allclose(stitched, one_pass, atol=1e-4)


def test_stitched_and_one_pass_part_where_a_model_sees_everything(recording):
    model, training = model_of("transformer:1 mlp:16 hop:64"), TrainingConfig()
    stitched = stitched_emissions(model, recording, training)
    one_pass = one_pass_emissions(model, recording, training)
    assert stitched.shape == one_pass.shape
    assert (stitched - one_pass).abs().max() > 1e-2


def test_every_key_of_the_session_is_in_the_ground_truth(recording):
    model = model_of(FINITE[0])
    low, high = recording.label_span(0, recording.samples)
    for way in (STITCHED, ONE_PASS):
        found = emit(model, recording, TrainingConfig(), way).read()
        assert found.target == recording.labels[low:high].tolist()
        assert found.edits.target == len(found.target)
        assert found.edits.cer == pytest.approx(count_edits(found.predicted, found.target).cer)
        assert found.duration == recording.samples / 2000
    windows = emit(model, recording, TrainingConfig(), WINDOWS).read()
    assert len(windows.chunks) == 5
    assert windows.edits.target < len(found.target)


def test_a_session_shorter_than_a_window_is_read_whole(recording):
    short = type(recording)(**{**vars(recording), "emg": recording.emg[..., :5001]})
    model = model_of(FINITE[0])
    stitched = stitched_emissions(model, short, TrainingConfig())
    assert torch.equal(stitched, one_pass_emissions(model, short, TrainingConfig()))
    assert len(stitched) == 5001 // 16
    assert emit(model, short, TrainingConfig(), WINDOWS).read().chunks == []


def test_a_session_too_long_for_the_memory_is_refused(recording, monkeypatch):
    text = "transformer:1(left_context=50,right_context=5) mlp:16 hop:16"
    config = parse_notation(text)
    assert one_pass_bytes(config, 20 * 8000) > 50 * one_pass_bytes(config, 8000)
    monkeypatch.setattr("emgmodels.reading.sessions._free_bytes", lambda device: 10_000_000)
    stitched_emissions(build(config).eval(), recording, TrainingConfig())
    with pytest.raises(MemoryError, match=r"needs about .* GB"):
        one_pass_emissions(build(config), recording, TrainingConfig())


def test_edits_fall_in_the_chunk_of_the_character_they_touch():
    chunks = edits_by_chunk("xabcdeZg!", "abcdefgh", ends=[3, 3, 5, 8])
    assert chunks == [
        EditCounts(insertions=1, target=3),
        EditCounts(target=0),
        EditCounts(target=2),
        EditCounts(substitutions=2, target=3),
    ]
    assert sum(chunks, EditCounts()) == count_edits("xabcdeZg!", "abcdefgh")
    assert edits_by_chunk("abc", "", ends=[0, 0])[-1].insertions == 3


def test_errors_are_marked_where_they_are():
    rows = align(encode("the⌫n ⇧I⏎"), encode("thn  ⇧l⏎s"))
    assert {len(row) for row in rows} == {len(rows[0])}
    true, read, marks = rows
    assert true.replace("·", "") == "the⌫n ⇧I⏎"
    assert read.replace("·", "") == "thn  ⇧l⏎s"
    assert sorted(marks.replace(" ", "")) == ["D", "D", "I", "I", "S"]
    for above, below, mark in zip(*rows, strict=True):
        assert (above == "·") == (mark == "I")
        assert (below == "·") == (mark == "D")
        assert (above == below) == (mark == " ")
