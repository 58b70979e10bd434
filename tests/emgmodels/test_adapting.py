"""The norm follows a session without labels: of whole sessions, and as a session arrives."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from emgmodels.config import Config
from emgmodels.factory import build
from emgmodels.notation import parse_notation
from emgmodels.reading.adapting import adapted, can_adapt
from emgmodels.reading.reader import Origin, Reader
from emgmodels.windows.cache import prepare
from search.evaluate.evaluation import ADAPTED, STITCHED, evaluate_trial
from search.results.record import COMPLETE, TrialRecord

MODELS = [
    f"gru:1(hidden=4,bidirectional=false) mlp:4 hop:32 bins:5 norm:{n} @3ch"
    for n in ("bin", "electrode")
]


@pytest.fixture(scope="module")
def recording(session_paths):
    return prepare(session_paths[:1])[0]


@pytest.mark.parametrize("text", MODELS)
def test_the_norm_has_the_sessions_statistics_for_a_while(recording, text):
    model = build(parse_notation(text), 0).eval()
    before = [value.clone() for value in model.norm.statistics]
    with adapted(model, recording):
        emg = torch.from_numpy(recording.emg[:, [0, 5, 11], : 3 * 2000].copy())
        whole = torch.from_numpy(recording.emg[:, [0, 5, 11]].copy())
        features = model.spectrogram(whole[None])
        found = model.norm(features)
        values = model.norm.channels(found)
        # Every channel of the session has mean 0 and deviation 1 then.
        torch.testing.assert_close(values.mean(1), torch.zeros(len(values)), atol=0.02, rtol=0)
        torch.testing.assert_close(values.std(1), torch.ones(len(values)), atol=0.02, rtol=0)
        assert model.norm(model.spectrogram(emg[None])).shape[3] > 0
    for value, known in zip(model.norm.statistics, before, strict=True):
        assert torch.equal(value, known)


@pytest.mark.parametrize("text", MODELS)
def test_a_streams_norm_is_causal_and_comes_to_the_sessions(text):
    """What comes later changes nothing before; chunks make no difference."""
    norm = build(parse_notation(text), 0).eval().norm
    rng = torch.Generator().manual_seed(0)
    features = 3 + 2 * torch.randn(1, 2, 3, 4000, 5, generator=rng)
    with torch.no_grad():
        flow = norm.flow(prior=20)
        parts = torch.cat([flow.push(part) for part in features.split(171, 3)], 3)
        first = norm.flow(prior=20).push(features[..., :900, :])
        torch.testing.assert_close(first, parts[..., :900, :], atol=1e-4, rtol=1e-4)
        last = norm.channels(parts[..., 3000:, :])
    assert last.mean().abs() < 0.05
    assert last.std() == pytest.approx(1, abs=0.05)
    # Little has arrived at first, so that it begins with the statistics of training.
    with torch.no_grad():
        begun = norm.flow(prior=100_000).push(features[..., :9, :])
        torch.testing.assert_close(begun, norm(features[..., :9, :]), atol=0.02, rtol=0.02)


def test_a_reader_streams_with_a_norm_that_follows(recording):
    config = Config(model=parse_notation(MODELS[0]))
    reader = Reader(config, build(config.model, 1), Origin())
    emg = np.ascontiguousarray(recording.emg.transpose(2, 0, 1))[:9000]
    texts = []
    for adapts in (False, True):
        live = reader.stream(1.0, adapts=adapts)
        live.push(emg)
        live.finish()
        texts.append(live.text)
    assert texts[0] != texts[1]


@pytest.mark.parametrize("norm", ["bin", "rolling"])
def test_an_evaluation_shows_it_beside_the_plain_figure(recording, norm):
    config = Config(model=parse_notation(MODELS[0].replace("norm:bin", f"norm:{norm}")))
    model = build(config.model, 0).eval()
    trial = TrialRecord(0, config, COMPLETE)
    found = evaluate_trial(trial, model, "val", [recording], adapts=True)
    ways = [row.way for row in found.rows() if row.session is None]
    assert STITCHED in ways
    assert (ADAPTED in ways) == can_adapt(model) == (norm == "bin")
    assert bool(found.notes) == (norm == "rolling")
