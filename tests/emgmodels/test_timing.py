"""Key times of sessions that have none, from the model that is trained on them."""

from __future__ import annotations

import itertools
from dataclasses import replace

import numpy as np
import pytest
import torch
from conftest import START, make_session
from helpers.prompts import KEYS, MODEL, SPANS, PerfectReader, marked, opened, prompted, small

from emgmodels.charset import BLANK, encode
from emgmodels.config import TrainingConfig
from emgmodels.ctc.alignment import best_frames
from emgmodels.notation import parse_notation
from emgmodels.training import timing
from emgmodels.training.feed import Feed
from emgmodels.training.fit import fit
from emgmodels.windows.device import DeviceRecordings
from emgmodels.windows.recording import key_corrections

__all__ = ["opened"]  # the fixture


def collapsed(path) -> list[int]:
    return [label for label, _ in itertools.groupby(path) if label != BLANK]


def plainly(log_probs: np.ndarray, labels: list[int]) -> list[int]:
    """Return each label's frame by looking at every path there is."""
    classes = sorted({*labels, BLANK})
    paths = itertools.product(classes, repeat=len(log_probs))
    frames = np.arange(len(log_probs))
    best = max(
        (path for path in paths if collapsed(path) == labels),
        key=lambda path: log_probs[frames, list(path)].sum(),
    )
    found, at = [], 0
    for label, run in itertools.groupby(best):
        length = len(list(run))
        if label != BLANK:
            found.append(at + int(log_probs[at : at + length, label].argmax()))
        at += length
    return found


@pytest.mark.parametrize("labels", [[3], [3, 5], [3, 3], [3, 5, 3], [3, 3, 5]])
@pytest.mark.parametrize("seed", range(3))
def test_the_best_alignment_is_that_of_all_alignments(labels, seed):
    rng = np.random.default_rng(seed)
    log_probs = np.log(rng.dirichlet(np.ones(BLANK + 1), size=6)).astype(np.float32)
    (found,) = best_frames([log_probs], [np.array(labels)])
    assert found.tolist() == plainly(log_probs, labels)


def test_texts_of_any_length_are_aligned_together_as_they_are_alone():
    rng = np.random.default_rng(0)
    texts = [rng.integers(5, size=size) for size in rng.integers(0, 12, size=70)]
    parts = [
        np.log(rng.dirichlet(np.ones(BLANK + 1), size=size)).astype(np.float32)
        for size in rng.integers(25, 40, size=70)
    ]
    for found, part, text in zip(best_frames(parts, texts), parts, texts, strict=True):
        (alone,) = best_frames([part], [text])
        assert found.tolist() == alone.tolist()
        assert (np.diff(found) > 0).all()


def test_a_text_with_more_labels_than_frames_has_no_alignment():
    log_probs = np.log(np.full((3, BLANK + 1), 1 / (BLANK + 1), dtype=np.float32))
    fits, equal = best_frames([log_probs] * 2, [np.array([1, 2, 3]), np.array([1, 1, 1])])
    assert fits.tolist() == [0, 1, 2]
    assert equal is None


def test_a_model_that_reads_a_session_says_when_its_keys_were_pressed(opened):
    session = marked(SPANS)
    (recording,) = opened(session)
    model = PerfectReader(parse_notation(MODEL))
    (found,) = timing.timed(model, [recording], TrainingConfig())
    assert found.has_key_times
    assert not len(found.prompts)
    assert found.labels.tolist() == encode("".join(p.text + "⏎" for p in session.prompts))
    # Each key is a burst of 64 ms, on an electrode of its own, from its press on.
    for label, sample in zip(found.labels, found.first, strict=True):
        electrode = 3 * [encode(key)[0] for key in KEYS].index(label)
        near = np.abs(recording.emg[0, electrode, sample - 64 : sample + 64])
        assert near.max() > 100


def test_times_that_a_model_read_are_moved_by_no_lag(opened):
    (recording,) = opened(marked(SPANS))
    model = PerfectReader(parse_notation(MODEL))
    found = timing.timed(model, [recording], TrainingConfig())
    assert key_corrections(found, 80.0) == key_corrections(found, "auto") == [0]
    assert key_corrections(opened(make_session()), 80.0) == [160]


@pytest.mark.parametrize(
    "what", ["shorter than a window", "read badly", "a prompt outside", "a prompt too long"]
)
def test_a_session_of_which_a_part_is_unknown_counts_by_whole_prompts(opened, what, monkeypatch):
    session = marked(SPANS)
    if what == "read badly":
        monkeypatch.setattr(timing, "WORST_CER", -1.0)
    if what == "a prompt outside":
        late = replace(session.prompts[-1], end=START + 30.0)
        session = replace(session, prompts=(*session.prompts[:-1], late))
    (recording,) = opened(session)
    if what == "a prompt too long":
        monkeypatch.setattr("emgmodels.windows.recording.LONGEST_PROMPT", 6.0)
    model = PerfectReader(parse_notation(MODEL))
    seconds = 30.0 if what == "shorter than a window" else 4.0
    training = TrainingConfig(window_seconds=seconds)
    assert timing.timed(model, [recording], training) == [recording]


@pytest.mark.parametrize("aligned", [None, {"epochs": 2}])
def test_a_training_with_key_times_of_its_own_resumes_the_same(
    aligned, opened, tmp_path, monkeypatch
):
    """In windows from the first epoch on, also in an aligned start."""
    monkeypatch.setattr(timing, "WORST_CER", float("inf"))
    asked = []
    known = timing.best_frames
    monkeypatch.setattr(timing, "best_frames", lambda *given: asked.append(1) or known(*given))
    recordings = opened(make_session(), prompted(SPANS))
    config = small(epochs=4, aligned_start=aligned)
    whole = []
    for result in fit(config, recordings, recordings[:1]):
        whole.append(result)
        if result.epoch == 3:
            result.save(tmp_path / "c.pt")
    assert len(asked) == 4
    (last,) = fit(config, recordings, recordings[:1], resume=tmp_path / "c.pt")
    assert last.train_loss == whole[-1].train_loss
    assert last.val_cer == whole[-1].val_cer
    assert torch.isfinite(torch.tensor(last.train_loss))


def test_an_aligned_start_waits_with_prompts_until_the_model_reads_them(opened, monkeypatch):
    """A whole prompt has nothing to align to; where there is nothing else, it is trained on."""
    keyed, text = opened(make_session(), prompted(SPANS))
    trained = []
    known = Feed.steps
    monkeypatch.setattr(
        Feed, "steps", lambda feed, *given: trained.append(len(given[1])) or known(feed, *given)
    )
    config = small(epochs=3, aligned_start={"epochs": 2})
    list(fit(config, [keyed, text], [keyed]))
    assert trained[-3:] == [0, 0, 4]
    list(fit(config, [text], [keyed]))
    assert trained[-3:] == [4, 4, 4]


def test_windows_are_of_their_own_session_on_a_device_too(opened, monkeypatch):
    """Whatever sessions wait, in whatever order."""
    recordings = opened(prompted(SPANS), make_session(seed=1), prompted(SPANS, seed=2))
    config = small(epochs=3, aligned_start={"epochs": 2})
    plain = [result.train_loss for result in fit(config, recordings, recordings[1:2])]
    cpu = torch.device("cpu")
    monkeypatch.setattr(
        "emgmodels.training.state.recordings_on", lambda _, given: DeviceRecordings(given, cpu)
    )
    resident = [result.train_loss for result in fit(config, recordings, recordings[1:2])]
    assert resident == pytest.approx(plain, rel=2e-3)
