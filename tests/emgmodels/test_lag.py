"""The lag between a session's keys and its EMG: found, corrected, or told not to be known."""

import re
from dataclasses import replace

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from emgmodels.config import Config
from emgmodels.sessions import Prompt, Split, write_session
from emgmodels.sessions.__main__ import app
from emgmodels.sessions.lag import KeyLag, key_lag
from emgmodels.synthetic import generate_session
from emgmodels.training.fit import fit
from emgmodels.windows.batches import batches
from emgmodels.windows.cache import open_split, prepare
from emgmodels.windows.cut import Cut
from emgmodels.windows.looking import look
from emgmodels.windows.recording import key_corrections, lag_notes

SMALL = {
    "model": {
        "features": {"hop": 128},
        "mlp_features": 8,
        "encoder": {"order": ["recurrent"], "recurrent": {"layers": 1, "hidden": 8}},
    }
}


def shifted(session, ms, jitter_ms=0.0):
    """Return a session whose keys are written later than pressed, each by a bit more or less."""
    jitter = np.random.default_rng(0).normal(0, jitter_ms, len(session.keystrokes))
    later = (ms + jitter) / 1000
    strokes = [
        replace(key, start=key.start + by, end=key.end + by)
        for key, by in zip(session.keystrokes, later.tolist(), strict=True)
    ]
    return replace(session, keystrokes=tuple(strokes))


def noise(session):
    emg = np.random.default_rng(1).standard_normal(session.emg.shape, dtype=np.float32)
    return replace(session, emg=50 * emg)


def bursts(session, delay, strength=0.3):
    """Return a session with one burst of activity a press, on electrodes that differ by key."""
    rng = np.random.default_rng(2)
    loud = np.ones((len(session.time), 32), np.float32)
    for key in session.keystrokes:
        begin = round(2000 * (key.start - session.time[0] - delay + rng.normal(0, 0.015)))
        loud[begin : begin + 240] += strength * rng.exponential(1, 32)
    loud *= 50 * rng.standard_normal(loud.shape, dtype=np.float32)
    return replace(session, emg=loud.reshape(-1, 2, 16))


@pytest.fixture(scope="module")
def typed():
    return generate_session(0, minutes=0.75, seed=4)


@pytest.fixture(scope="module")
def recordings(typed, tmp_path_factory):
    """Three recordings: keys on time, 150 ms late, and of EMG that has nothing to do with them."""
    folder = tmp_path_factory.mktemp("lags")
    sessions = {"good": typed, "late": shifted(typed, 150), "noise": noise(typed)}
    paths = [folder / f"{name}.hdf5" for name in sessions]
    for path, session in zip(paths, sessions.values(), strict=True):
        write_session(path, replace(session, name=path.stem))
    return paths, prepare(paths)


@pytest.mark.parametrize("jitter", [0, 20])
@pytest.mark.parametrize("ms", [-150, -80, 0, 30, 150, 280])
def test_the_lag_is_found_wherever_keys_are(typed, ms, jitter):
    lag = key_lag(shifted(typed, ms, jitter))
    assert lag.is_sure
    assert abs(lag.ms + ms) < 15
    assert bool(lag.remark) == (abs(ms) > 60)


@pytest.mark.parametrize("delay", [0.05, 0.075, 0.1])
def test_of_single_bursts_it_is_found_too(typed, delay):
    """Whatever precedes a press by 50 to 100 ms is taken for clocks that agree, within 55 ms."""
    session = bursts(typed, delay)
    own, late = key_lag(session), key_lag(shifted(session, 120))
    assert own.is_sure
    assert late.is_sure
    assert abs(own.ms) < 55
    assert abs(own.ms - late.ms - 120) < 10


def test_offsets_units_and_dead_electrodes_change_nothing(typed):
    emg = typed.emg * np.float32(1e-6)
    emg[:, 0, ::3] += np.float32(0.01)
    emg[:, 1, 5] = 0
    plain, other = key_lag(typed), key_lag(replace(typed, emg=emg))
    assert other.is_sure
    assert abs(other.ms - plain.ms) < 5


@pytest.mark.parametrize(
    ("change", "remark"),
    [
        (noise, "no lag between keys and EMG stands out"),
        (lambda s: replace(s, emg=s.emg[::-1].copy()), "no lag between keys and EMG stands out"),
        (lambda s: shifted(s, 6000), "no lag between keys and EMG stands out"),
        (lambda s: replace(s, emg=0 * s.emg), "too few keys or too short"),
        (lambda s: replace(s, keystrokes=s.keystrokes[:9]), "too few keys or too short"),
        (lambda s: replace(s, keystrokes=()), "too few keys or too short"),
        (lambda s: replace(s, time=s.time[:7000], emg=s.emg[:7000]), "too few keys or too short"),
        (lambda s: shifted(s, 500), "50. ms after the EMG's, and 300 at most can be corrected"),
        (lambda s: shifted(s, -700), "... ms before the EMG's, and 300 at most can be corrected"),
    ],
)
def test_where_no_lag_fits_it_says_why(typed, change, remark):
    lag = key_lag(change(typed))
    assert not lag.is_sure
    assert re.search(remark, lag.remark), lag.remark


def test_sessions_without_key_times_have_no_lag(typed):
    prompts = (Prompt("text", typed.time[0] + 1, typed.time[-1] - 1, "hello"),)
    assert key_lag(replace(typed, condition="on_table", keystrokes=(), prompts=prompts)) is None


def test_inspect_shows_each_sessions_lag(recordings):
    paths, _ = recordings
    shown = CliRunner().invoke(app, ["inspect", *map(str, paths)]).stdout
    rows = {line.split()[0]: line for line in shown.splitlines() if line and ": " not in line}
    lag = rows["session"].split().index("lag/ms")
    good, late, noisy = (rows[name].split()[lag] for name in ("good", "late", "noise"))
    assert abs(int(good)) < 15
    assert abs(int(late) + 150) < 15
    assert noisy == "unsure"
    assert re.search(r"late: key times are about 1[45]\d ms after", shown)
    assert "noise: no lag between keys and EMG stands out" in shown
    assert "good:" not in shown


def test_it_is_computed_once_and_kept_beside_the_recording(recordings, monkeypatch):
    paths, opened = recordings
    monkeypatch.setattr("emgmodels.windows.conversion.key_lag", None)
    monkeypatch.setattr("emgmodels.windows.looking.key_lag", None)
    again = [each.key_lag for each in (*prepare(paths), *look(paths))]
    assert again == 2 * [each.key_lag for each in opened]


def test_targets_are_corrected_and_windows_keep_their_keys(recordings):
    """A key in a window stays one of it, wherever the EMG has it: emg2qwerty cuts them so."""
    good, late, unsure = recordings[1]
    chosen = [good, late, unsure, good]
    windows = np.array([[index, 8000 * n] for index in range(4) for n in range(10)])

    def batch(key_lag_ms):
        cut = Cut(8000, 0, 8000, electrodes=(0,), key_lag_ms=key_lag_ms)
        return next(batches(chosen, windows, 40, cut))

    plain, auto, fixed = batch(0.0), batch("auto"), batch(-40.0)
    for other in (auto, fixed):
        assert torch.equal(other.labels, plain.labels)
        assert torch.equal(other.label_lengths, plain.label_lengths)
        assert torch.equal(other.emg, plain.emg)
    typed = plain.label_samples >= 0
    assert torch.equal(auto.label_samples[:10], plain.label_samples[:10])
    moved = (plain.label_samples - auto.label_samples)[10:20][auto.label_samples[10:20] >= 0]
    assert (moved / 2 - 150).abs().max() < 15
    assert typed[20:30].any()
    assert (auto.label_samples[20:30] == -1).all()
    inside = fixed.label_samples >= 0
    assert torch.equal(fixed.label_samples[inside], plain.label_samples[inside] - 80)
    assert (plain.label_samples[typed & ~inside] < 80).all()


@pytest.mark.parametrize("seed", range(4))
def test_a_key_that_is_moved_before_its_window_is_none_of_it_at_any_rate(recordings, seed):
    """Of a batch that is played faster such a key would be taken for one at the window's start."""
    windows = np.array([[0, 8000 * n] for n in range(10)])
    cut = Cut(8000, 0, 8000, electrodes=(0,), key_lag_ms=-400.0, stretch=0.3)
    rng = np.random.default_rng(seed)
    batch = next(batches(recordings[1][:1], windows, 10, cut, rng))
    assert (batch.label_samples[:, 0][batch.label_lengths > 0] == -1).any()
    assert not (batch.label_samples == 0).any()


@pytest.mark.parametrize(
    ("lags", "samples"),
    [
        ([-4, -8, 146], [0, 0, 300]),
        ([150, 146, 151], [0, 0, 0]),  # all by the same: a model learns that
        ([-150, 150, -75, 75], [-300, 300, -150, 150]),
        ([0, None, 15, -16], [0, 0, 0, -32]),
        ([0, 0, 301], [0, 0, None]),
        ([301, -900], [None, None]),
        ([], []),
    ],
)
def test_what_counts_is_how_sessions_differ(recordings, lags, samples):
    good = recordings[1][0]
    known = [replace(good, key_lag=None if ms is None else KeyLag(ms, 9)) for ms in lags]
    assert key_corrections(known, "auto") == samples
    assert key_corrections(known, 25) == [50] * len(lags)
    prompts = [replace(each, has_key_times=False) for each in known]
    assert key_corrections(prompts, "auto") == key_corrections(prompts, 0) == [None] * len(lags)


def first_loss(recordings, start):
    training = {"epochs": 1, "batch_size": 4, "warmup_steps": 2, "aligned_start": start}
    config = Config.model_validate(SMALL | {"training": training})
    return next(fit(config, recordings, recordings)).train_loss


def test_a_session_whose_lag_is_unsure_is_learnt_by_ctc_alone(recordings):
    _, (good, _, unsure) = recordings
    assert first_loss([unsure], {"epochs": 1}) == first_loss([unsure], None)
    assert first_loss([unsure], {"epochs": 1, "key_lag_ms": 0}) > first_loss([unsure], None)
    assert first_loss([good], {"epochs": 1}) > first_loss([good], None)


def test_what_is_corrected_and_what_is_not_is_told(recordings):
    paths, (good, late, silent) = recordings
    unsure, moved = lag_notes([good, late, silent, good])
    assert unsure.startswith("training session noise: no lag between keys and EMG stands out")
    assert "CTC alone (training.aligned_start.key_lag_ms: 0" in unsure
    assert "aligned start moves those of 1 of 4 by" in moved
    assert re.search(r"by \+1[45]\d to \+1[45]\d ms", moved.replace("-", "+"))
    assert not lag_notes([good, good])
    _, _, warnings = open_split(Split("u", tuple(paths), tuple(paths[:1]), (), "told"))
    assert not [each for each in warnings if "CTC" in each], "said where trainings start aligned"


@pytest.mark.parametrize("value", ["soon", "50", True, None, 1001, -2000, float("nan"), [50]])
def test_what_is_no_lag_is_refused_with_what_would_be_right(value):
    with pytest.raises(ValueError, match="auto, or milliseconds from -1000 to 1000: 0 takes key"):
        Config.model_validate({"training": {"aligned_start": {"key_lag_ms": value}}})


def test_a_lag_is_sure_where_it_stands_out_and_can_be_corrected():
    assert KeyLag(300, 7).is_sure
    assert not KeyLag(301, 50).is_sure
    assert not KeyLag(0, 4.9).is_sure
