"""A session's unit is found, and a model sees microvolts whatever it is."""

import dataclasses

import numpy as np
import pytest
import torch

from emgmodels.config import Config, FeaturesConfig
from emgmodels.factory import build
from emgmodels.network.features import LearnedFilters, LogSpectrogram
from emgmodels.reading.reader import Origin, Reader
from emgmodels.sessions import Split, read_session, write_session
from emgmodels.sessions.units import amplitude, scale_of, unit_remark
from emgmodels.windows.cache import open_split, prepare
from tests.conftest import make_session


def typing(amplitude, seed=0):
    """Return EMG with bursts, as of typing."""
    emg = np.random.default_rng(seed).normal(size=(9000, 2, 16)) * amplitude
    emg[::3000, 0] *= 50
    return emg.astype(np.float32)


@pytest.mark.parametrize("microvolts", [1.5, 5.0, 40.0, 200.0])
@pytest.mark.parametrize(("unit", "scale"), [(1e-6, 1e6), (1e-3, 1e3), (1.0, 1.0), (1e3, 1.0)])
def test_the_unit_is_found(microvolts, unit, scale):
    assert scale_of(typing(microvolts) * np.float32(unit)) == scale


@pytest.mark.parametrize("power", [-30, -18, -9, 9, 18, 30])
def test_features_of_any_unit_are_finite_and_tell_strong_from_weak(power):
    emg = typing(10.0).astype(np.float64) * 10.0**power
    emg = (emg * scale_of(emg)).astype(np.float32)
    signal = torch.from_numpy(emg).permute(1, 2, 0)[None]
    for kind in (LogSpectrogram, LearnedFilters):
        features = kind(FeaturesConfig())(signal).detach()
        assert torch.isfinite(features).all()
        assert features.std() > 0.3


@pytest.mark.parametrize("value", [0.0, 1e-20, 1e20, -7.0])
def test_a_constant_signal_has_no_unit(value):
    emg = np.full((500, 2, 16), value, np.float32)
    assert (amplitude(emg), scale_of(emg), scale_of(emg[:0])) == (0.0, 1.0, 1.0)


def test_offsets_artefacts_dead_electrodes_and_coarse_converters_do_not_move_the_unit():
    emg = typing(20.0) * np.float32(1e-6)
    emg[:, 1] = 0
    emg[:, 0] += 0.3
    emg[100:400] = 1e4
    assert scale_of(emg) == 1e6
    counts = (np.random.default_rng(0).random((9000, 2, 16)) < 0.1).astype(np.int16)
    assert scale_of(3 * counts) == 1.0


def test_what_is_done_about_a_unit_is_said():
    assert unit_remark(1.0) == ""
    assert unit_remark(1e6) == "emg looks like volts: read as microvolts, x 1e+06"
    assert unit_remark(1e3) == "emg looks like millivolts: read as microvolts, x 1000"
    assert "too strong for microvolts: read x 1e-15" in unit_remark(1e-15)


@pytest.fixture(scope="module")
def units(tmp_path_factory):
    """Return the recordings of one session in microvolts, millivolts and volts."""
    folder = tmp_path_factory.mktemp("units")
    paths = []
    for name, unit in {"micro": 1, "milli": 1e-3, "volt": 1e-6}.items():
        session = make_session(name=name)
        emg = (session.emg * np.float32(unit)).astype(np.float32)
        write_session(folder / f"{name}.hdf5", dataclasses.replace(session, emg=emg))
        paths.append(folder / f"{name}.hdf5")
    return paths


def test_microvolts_are_recorded_bit_by_bit_and_volts_as_the_same(units):
    micro, *others = prepare(units)
    np.testing.assert_array_equal(micro.emg[1, 3], read_session(units[0]).emg[:, 1, 3])
    for other in others:
        np.testing.assert_allclose(other.emg, micro.emg, rtol=1e-6)


def test_a_search_says_which_sessions_it_scales(units):
    split = Split("u", train=tuple(units[1:]), val=(units[0],), test=(), notes=("a note",))
    _, _, warnings = open_split(split)
    assert warnings[0] == "a note"
    assert "training session milli: emg looks like millivolts" in warnings[1]
    assert "training session volt: emg looks like volts" in warnings[2]


def test_a_reader_and_its_stream_read_volts_as_microvolts(units):
    model = {"mlp_features": 16, "encoder": {"order": ["conv"], "conv": {"layers": 1}}}
    config = Config.model_validate({"model": model})
    with torch.random.fork_rng():
        torch.manual_seed(0)
        reader = Reader(config, build(config.model), Origin())
    emg = read_session(units[0]).emg[:12_000]
    volts = emg * np.float32(1e-6)
    expected = reader.emissions(emg)
    np.testing.assert_allclose(reader.emissions(volts), expected, atol=1e-3)
    np.testing.assert_array_equal(reader.emissions(emg, scale=1.0), expected)
    assert np.abs(reader.emissions(volts, scale=1.0) - expected).max() > 0.1
    texts = []
    for stream, signal in ((reader.stream(), emg), (reader.stream(), volts)):
        padded = np.concatenate([np.zeros_like(signal[:300]), signal])
        for low in range(0, len(padded), 700):
            stream.push(padded[low : low + 700])
        stream.finish()
        texts.append(stream.text)
    assert texts[0] == texts[1] != ""
